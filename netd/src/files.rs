//! The files of `/etc` that a container gets from its host: `resolv.conf`, `hosts`, `hostname`.
//!
//! Their content is decided purely; they are written to the container's data directory and mounted from there.

use std::{
    fmt::Write,
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use model::{Hostname, Network};

/// What the content of the files depends on.
pub(crate) struct Surroundings<'a> {
    pub(crate) hostname: &'a Hostname,
    /// The first endpoint's network and address; none for a container without a network.
    pub(crate) attachment: Option<(&'a Network, Ipv4Addr)>,
    /// The host's own search domains, so that short names mean in the container what they mean on the host.
    pub(crate) search: &'a [String],
}

impl Surroundings<'_> {
    /// `ndots:0` makes a name without dots be asked as it stands first: container names never wait for the host's
    /// search domains.
    fn resolv_conf(&self) -> String {
        let Some((network, _)) = self.attachment else { return String::new() };
        let mut text = format!("nameserver {}\n", network.subnet.gateway());
        if !self.search.is_empty() {
            writeln!(text, "search {}", self.search.join(" ")).expect("writing to a String never fails");
        }
        text.push_str("options ndots:0\n");
        text
    }

    fn hosts(&self) -> String {
        let mut text = String::from("127.0.0.1\tlocalhost\n");
        if let Some((_, address)) = self.attachment {
            writeln!(text, "{address}\t{}", self.hostname).expect("writing to a String never fails");
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
    use model::{Driver, MacAddress, NetworkId, Subnet};

    use super::*;

    #[test]
    fn files_name_the_gateway_as_resolver_and_the_container_itself() {
        let network = Network {
            id: NetworkId::from_bytes([1; 8]),
            name: "web".parse().expect("literal"),
            driver: Driver::Bridge,
            subnet: Subnet::new("10.1.0.0/24".parse().expect("literal"), None).expect("literal"),
            gateway_mac: MacAddress::local([0; 6]),
            mtu: 1500,
            labels: Default::default(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let hostname = "api".parse().expect("literal");
        let surroundings = Surroundings {
            hostname: &hostname,
            attachment: Some((&network, Ipv4Addr::new(10, 1, 0, 2))),
            search: &["corp.example".to_owned()],
        };
        assert_eq!(surroundings.resolv_conf(), "nameserver 10.1.0.1\nsearch corp.example\noptions ndots:0\n");
        assert_eq!(surroundings.hosts(), "127.0.0.1\tlocalhost\n10.1.0.2\tapi\n");
        let alone = Surroundings { hostname: &hostname, attachment: None, search: &[] };
        assert_eq!(alone.resolv_conf(), "");
        assert_eq!(alone.hosts(), "127.0.0.1\tlocalhost\n127.0.1.1\tapi\n");
    }
}
