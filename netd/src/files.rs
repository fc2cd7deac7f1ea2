//! The files of `/etc` that a container gets from its host: `resolv.conf`, `hosts`, `hostname`.
//!
//! Their content is decided purely; they are written to the container's data directory and mounted from there.

use std::{
    fmt::Write,
    io,
    path::{Path, PathBuf},
};

use model::{Endpoint, Hostname, Network};

/// What the content of the files depends on.
pub(crate) struct Surroundings<'a> {
    pub(crate) hostname: &'a Hostname,
    /// The first endpoint with its network; none for a container without a network.
    pub(crate) attachment: Option<(&'a Network, &'a Endpoint)>,
    /// The host's own search domains, so that short names mean in the container what they mean on the host.
    pub(crate) search: &'a [String],
}

impl Surroundings<'_> {
    /// `ndots:0` makes a name without dots be asked as it stands first: container names never wait for the host's
    /// search domains.
    fn resolv_conf(&self) -> String {
        let Some((network, endpoint)) = self.attachment else { return String::new() };
        let mut text = String::new();
        let gateways = endpoint.addresses().filter_map(|address| Some(network.subnet_with(address)?.gateway()));
        for gateway in gateways {
            writeln!(text, "nameserver {gateway}").expect("writing to a String never fails");
        }
        if !self.search.is_empty() {
            writeln!(text, "search {}", self.search.join(" ")).expect("writing to a String never fails");
        }
        text.push_str("options ndots:0\n");
        text
    }

    fn hosts(&self) -> String {
        let mut text = String::from("127.0.0.1\tlocalhost\n");
        if let Some((_, endpoint)) = self.attachment {
            for address in endpoint.addresses() {
                writeln!(text, "{address}\t{}", self.hostname).expect("writing to a String never fails");
            }
        } else if self.hostname.as_str() != "localhost" {
            writeln!(text, "127.0.1.1\t{}", self.hostname).expect("writing to a String never fails");
        }
        text
    }

    /// Writes the files into `directory`; each is returned with the path it is mounted to.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
        let files = [
            ("resolv.conf", self.resolv_conf()),
            ("hosts", self.hosts()),
            ("hostname", format!("{}\n", self.hostname)),
        ];
        files
            .into_iter()
            .map(|(name, text)| {
                let path = directory.join(name);
                std::fs::write(&path, text)?;
                Ok((path, Path::new("/etc").join(name)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use model::{Driver, EndpointId, MacAddress, NetworkId, Subnet};

    use super::*;

    #[test]
    fn files_name_the_gateway_as_resolver_and_the_container_itself() {
        let network = Network {
            id: NetworkId::from_bytes([1; 8]),
            name: "web".parse().expect("literal"),
            driver: Driver::Bridge,
            subnets: ["10.1.0.0/24", "fd00:1::/64"]
                .map(|range| Subnet::new(range.parse().expect("literal"), None).expect("literal"))
                .into(),
            gateway_mac: MacAddress::local([0; 6]),
            mtu: 1500,
            labels: Default::default(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let endpoint = Endpoint {
            id: EndpointId::from_bytes([1; 8]),
            network: network.id.clone(),
            ipv4: Some([10, 1, 0, 2].into()),
            ipv6: Some("fd00:1::2".parse().expect("literal")),
            mac: MacAddress::local([0; 6]),
            aliases: Vec::new(),
            interface: "eth0".parse().expect("literal"),
            gateway_priority: 0,
        };
        let hostname = "api".parse().expect("literal");
        let surroundings = Surroundings {
            hostname: &hostname,
            attachment: Some((&network, &endpoint)),
            search: &["corp.example".to_owned()],
        };
        assert_eq!(
            surroundings.resolv_conf(),
            "nameserver 10.1.0.1\nnameserver fd00:1::1\nsearch corp.example\noptions ndots:0\n"
        );
        assert_eq!(surroundings.hosts(), "127.0.0.1\tlocalhost\n10.1.0.2\tapi\nfd00:1::2\tapi\n");
        let alone = Surroundings { hostname: &hostname, attachment: None, search: &[] };
        assert_eq!(alone.resolv_conf(), "");
        assert_eq!(alone.hosts(), "127.0.0.1\tlocalhost\n127.0.1.1\tapi\n");
    }
}
