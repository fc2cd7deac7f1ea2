//! The files of `/etc` that a container gets from its host: `resolv.conf`, `hosts`, `hostname`.
//!
//! Their content is decided purely; they are written to the container's data directory and mounted from there.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use dns::HostResolver;
use model::{Endpoint, ExtraHost, HostAddress, Hostname, Network, ResolverSettings, Subnet};

use crate::inside_dns;

/// In a container's directory, beside the files: what Fabric wrote into them last.
pub(crate) const NOTE: &str = "written-by-fabric";

/// What the content of the files depends on.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) hostname: &'a Hostname,
    /// The host's own files, of a container that uses the host's network.
    pub(crate) host: Option<&'a HostFiles>,
    /// Its endpoints with their networks, the one with the default route first.
    pub(crate) attachments: &'a [(Network, Endpoint)],
    /// The host's own search domains, so that short names mean in the container what they mean on the host.
    pub(crate) search: &'a [String],
    /// What was asked for instead.
    pub(crate) settings: &'a ResolverSettings,
}

/// The host's own `resolv.conf` and `hosts`.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostFiles {
    resolv_conf: String,
    resolver: Arc<HostResolver>,
    hosts: String,
}

impl HostFiles {
    /// Reads them as they are now. One that cannot be read is empty: the host itself does without, too.
    pub(crate) fn read(resolv_conf: &Path, resolver: Arc<HostResolver>) -> Self {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        Self { resolv_conf: read(resolv_conf), resolver, hosts: read(Path::new("/etc/hosts")) }
    }

    /// The host's file as it is, or with what was asked for in place of the lines of its kind.
    fn resolv_conf(&self, settings: &ResolverSettings) -> String {
        if settings.servers.is_empty() && settings.search.is_empty() && settings.options.is_empty() {
            return self.resolv_conf.clone();
        }
        let or = |given: Vec<String>, own: Vec<String>| if given.is_empty() { own } else { given };
        let texts =
            |addresses: &mut dyn Iterator<Item = IpAddr>| addresses.map(|address| address.to_string()).collect();
        let servers = or(
            texts(&mut settings.servers.iter().map(|server| server.address().ip())),
            texts(&mut self.resolver.servers.iter().map(|server| server.ip())),
        );
        let search = if settings.search.is_empty() {
            self.resolver.search.clone()
        } else {
            settings.search.iter().filter(|domain| !domain.is_root()).map(ToString::to_string).collect()
        };
        let options = or(settings.options.iter().map(ToString::to_string).collect(), self.resolver.options.clone());
        let line = |word: &str, rest: String| if rest.is_empty() { rest } else { format!("{word} {rest}\n") };
        let servers = servers.into_iter().map(|server| line("nameserver", server));
        servers.chain([line("search", search.join(" ")), line("options", options.join(" "))]).collect()
    }
}

/// Lets what a container shares with another be the other's files; one that the other has not is the container's own.
pub(crate) fn share(mounts: &mut [(PathBuf, PathBuf)], directory: &Path) {
    for (source, _) in mounts {
        let shared = ["resolv.conf", "hosts"].map(|name| directory.join(name));
        if let Some(path) = shared.into_iter().find(|path| path.file_name() == source.file_name() && path.exists()) {
            *source = path;
        }
    }
}

impl Surroundings<'_> {
    /// Whoever is on a network asks its gateway, which passes on what it does not know; whoever is on none could reach
    /// no server, but may be told of one all the same.
    ///
    /// `ndots:0` makes a name without dots be asked as it stands first: container names never wait for the host's
    /// search domains.
    fn resolv_conf(&self) -> String {
        if let Some(host) = self.host {
            return host.resolv_conf(self.settings);
        }
        let mut text = String::new();
        let mut line = |words: String| writeln!(text, "{words}").expect("writing to a String never fails");
        if self.attachments.is_empty() {
            // The file has no place for ports.
            self.settings.servers.iter().for_each(|server| line(format!("nameserver {}", server.address().ip())));
        } else {
            // As many as a resolver asks (`MAXNS` of resolv.h); each knows the names of all the container's networks.
            const MOST: usize = 3;
            let all = self.attachments.iter().flat_map(|(network, endpoint)| gateways(network, endpoint));
            let mut servers: Vec<IpAddr> = all.take(MOST).collect();
            if servers.is_empty() && self.attachments.iter().any(|(network, _)| network.parent.is_some()) {
                servers.push(inside_dns::ADDRESS.into());
            }
            servers.iter().for_each(|server| line(format!("nameserver {server}")));
        }
        let search = match &self.settings.search[..] {
            [] if !self.attachments.is_empty() => self.search.to_vec(),
            given => given.iter().filter(|domain| !domain.is_root()).map(ToString::to_string).collect(),
        };
        if !search.is_empty() {
            line(format!("search {}", search.join(" ")));
        }
        let given: Vec<_> = self.settings.options.iter().map(ToString::to_string).collect();
        let has_ndots = self.settings.options.iter().any(|option| option.word() == "ndots");
        let own = if has_ndots || self.attachments.is_empty() { None } else { Some("ndots:0".to_owned()) };
        let options: Vec<_> = own.into_iter().chain(given).collect();
        if !options.is_empty() {
            line(format!("options {}", options.join(" ")));
        }
        text
    }

    fn hosts(&self) -> String {
        let mut text = self.host.map_or("127.0.0.1\tlocalhost\n", |host| &host.hosts).to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for address in self.attachments.iter().flat_map(|(_, endpoint)| endpoint.addresses()) {
            writeln!(text, "{address}\t{}", self.hostname).expect("writing to a String never fails");
        }
        if self.attachments.is_empty() && self.hostname.as_str() != "localhost" {
            writeln!(text, "127.0.1.1\t{}", self.hostname).expect("writing to a String never fails");
        }
        for ExtraHost { name, address } in &self.settings.hosts {
            let addresses: Vec<IpAddr> = match (address, self.attachments.first()) {
                (HostAddress::Given(address), _) => vec![*address],
                (HostAddress::Gateway, Some((network, endpoint))) => gateways(network, endpoint).collect(),
                (HostAddress::Gateway, None) => Vec::new(),
            };
            for address in addresses {
                writeln!(text, "{address}\t{name}").expect("writing to a String never fails");
            }
        }
        text
    }

    /// Brings the files that depend on endpoints up to date where a container may have them mounted: they stay the
    /// files they are.
    pub(crate) fn refresh(&self, directory: &Path) -> io::Result<()> {
        // One that is being made has none yet, and is given them as they are then.
        if !directory.try_exists()? {
            return Ok(());
        }
        for (name, text) in self.changing() {
            let mut file = match File::options().read(true).write(true).open(directory.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            // Cut to length afterwards: whoever reads meanwhile never finds it empty.
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)?;
        }
        self.note(directory)
    }

    /// Whether the files that depend on endpoints were last written for others: a crash came between a change and them.
    /// What the container wrote into them itself does not count.
    pub(crate) fn are_outdated(&self, directory: &Path) -> io::Result<bool> {
        match std::fs::read_to_string(directory.join(NOTE)) {
            Ok(noted) => Ok(noted != self.written()),
            // Nothing was ever written, or by a release that made no note.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Last of all: without it they are written again.
    fn note(&self, directory: &Path) -> io::Result<()> {
        std::fs::write(directory.join(NOTE), self.written())
    }

    /// The host's search domains come and go with the networks it is on; containers follow when there is another
    /// reason.
    fn written(&self) -> String {
        let of_endpoints = Self { search: &[], ..*self };
        of_endpoints.changing().map(|(name, text)| format!("== {name}\n{text}")).concat()
    }

    /// The files that depend on endpoints, by their names.
    fn changing(&self) -> [(&'static str, String); 2] {
        [("resolv.conf", self.resolv_conf()), ("hosts", self.hosts())]
    }

    /// Writes the files into `directory`; each is returned with the path it is mounted to.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
        let [resolv_conf, hosts] = self.changing();
        let write = |(name, text)| {
            let path = directory.join(name);
            std::fs::write(&path, text)?;
            Ok((path, Path::new("/etc").join(name)))
        };
        let files = [resolv_conf, hosts, ("hostname", format!("{}\n", self.hostname))];
        let written = files.into_iter().map(write).collect::<io::Result<_>>()?;
        self.note(directory)?;
        Ok(written)
    }
}

/// The gateways of the endpoint's subnets that the host has the addresses of, that of IPv4 first.
fn gateways(network: &Network, endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    let holds = |subnet: &&Subnet| endpoint.addresses().any(|address| subnet.range().contains(&address));
    network.gateways().filter(holds).map(Subnet::gateway)
}

#[cfg(test)]
mod tests {
    use model::{Driver, EndpointId, MacAddress, NetworkId, Reach};

    use super::*;

    #[test]
    fn files_name_the_gateway_as_resolver_and_the_container_itself() {
        let network = Network {
            id: NetworkId::from_bytes([1; 8]),
            name: "web".parse().expect("literal"),
            driver: Driver::Bridge,
            parent: None,
            vlan: None,
            subnets: ["10.1.0.0/24", "fd00:1::/64"]
                .map(|range| Subnet::new(range.parse().expect("literal"), None).expect("literal"))
                .into(),
            reserved: Vec::new(),
            reach: Reach::Nat,
            icc: model::Icc::On,
            default_route: Default::default(),
            routes: Vec::new(),
            gateway_mac: MacAddress::local([0; 6]),
            mtu: 1500,
            mtu_source: model::MtuSource::Fixed,
            name_servers: Vec::new(),
            labels: Default::default(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let endpoint = Endpoint {
            id: EndpointId::from_bytes([1; 8]),
            network: network.id.clone(),
            ipv4: Some([10, 1, 0, 2].into()),
            ipv6: Some("fd00:1::2".parse().expect("literal")),
            mac: Some(MacAddress::local([0; 6])),
            aliases: Vec::new(),
            interface: "eth0".parse().expect("literal"),
            gateway_priority: 0,
        };
        let hostname = "api".parse().expect("literal");
        let surroundings = Surroundings {
            hostname: &hostname,
            host: None,
            attachments: &[(network, endpoint)],
            search: &["corp.example".to_owned()],
            settings: &ResolverSettings::default(),
        };
        assert_eq!(
            surroundings.resolv_conf(),
            "nameserver 10.1.0.1\nnameserver fd00:1::1\nsearch corp.example\noptions ndots:0\n"
        );
        assert_eq!(surroundings.hosts(), "127.0.0.1\tlocalhost\n10.1.0.2\tapi\nfd00:1::2\tapi\n");
        let asked = ResolverSettings {
            servers: vec!["192.0.2.53:5353".parse().expect("literal")],
            search: vec!["lab.example".parse().expect("literal")],
            options: vec!["ndots:2".parse().expect("literal"), "rotate".parse().expect("literal")],
            hosts: ["db:192.0.2.7", "host:host-gateway"].map(|text| text.parse().expect("literal")).into(),
        };
        let other = Surroundings { settings: &asked, ..surroundings };
        assert_eq!(
            other.resolv_conf(),
            "nameserver 10.1.0.1\nnameserver fd00:1::1\nsearch lab.example\noptions ndots:2 rotate\n"
        );
        assert_eq!(
            other.hosts(),
            "127.0.0.1\tlocalhost\n10.1.0.2\tapi\nfd00:1::2\tapi\n192.0.2.7\tdb\n10.1.0.1\thost\nfd00:1::1\thost\n"
        );
        let nowhere = Surroundings { attachments: &[], ..other };
        assert_eq!(nowhere.resolv_conf(), "nameserver 192.0.2.53\nsearch lab.example\noptions ndots:2 rotate\n");
        let no_search = ResolverSettings { search: vec![".".parse().expect("literal")], ..Default::default() };
        let plain = Surroundings { settings: &no_search, ..surroundings };
        assert_eq!(plain.resolv_conf(), "nameserver 10.1.0.1\nnameserver fd00:1::1\noptions ndots:0\n");
        let alone = Surroundings { attachments: &[], search: &[], ..surroundings };
        assert_eq!(alone.resolv_conf(), "");
        assert_eq!(alone.hosts(), "127.0.0.1\tlocalhost\n127.0.1.1\tapi\n");
        let text = "# mine\nnameserver 192.0.2.1\nsearch corp.example\n";
        let host = HostFiles {
            resolv_conf: text.to_owned(),
            resolver: HostResolver::parse(text).into(),
            hosts: "127.0.0.1 localhost\n192.0.2.9 printer".to_owned(),
        };
        let on_host = Surroundings { host: Some(&host), ..alone };
        assert_eq!(on_host.resolv_conf(), text);
        assert_eq!(on_host.hosts(), "127.0.0.1 localhost\n192.0.2.9 printer\n127.0.1.1\tapi\n");
        let told = ResolverSettings { options: asked.options.clone(), search: no_search.search, ..Default::default() };
        let told = Surroundings { settings: &told, ..on_host };
        assert_eq!(told.resolv_conf(), "nameserver 192.0.2.1\noptions ndots:2 rotate\n");
    }
}
