//! Neighbours of a host.

use std::net::Ipv4Addr;

use crate::Namespace;

/// Another machine on a cable to the host: a namespace joined to the host's by a veth pair.
///
/// Its default route leads to the host, as that of an attacker on the LAN would.
#[derive(Debug)]
pub struct Lan {
    /// The neighbour itself.
    pub namespace: Namespace,
    /// Its address.
    pub address: Ipv4Addr,
    /// The host's address on the cable.
    pub host_address: Ipv4Addr,
}

impl Lan {
    /// The `number`th neighbour of `host`, on a documentation network (RFC 5737) of its own.
    pub(crate) fn connect(host: &Namespace, path: std::path::PathBuf, number: usize) -> Self {
        let networks = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
        let [a, b, c] = *networks.get(number).expect("RFC 5737 has three documentation networks");
        let lan = Self {
            namespace: Namespace::pinned(path),
            address: Ipv4Addr::new(a, b, c, 10),
            host_address: Ipv4Addr::new(a, b, c, 1),
        };
        let (name, peer) = (format!("lan{number}"), lan.namespace.path().display().to_string());
        host.run(&["ip", "link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &peer]);
        // A cable that has been there for a while has link-local addresses that are known to be unique.
        host.run(&["sysctl", "-qw", &format!("net.ipv6.conf.{name}.accept_dad=0")]);
        lan.namespace.run(&["sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0"]);
        host.run(&["ip", "address", "add", &format!("{}/24", lan.host_address), "dev", &name]);
        host.run(&["ip", "link", "set", &name, "up"]);
        lan.namespace.run(&["ip", "address", "add", &format!("{}/24", lan.address), "dev", "eth0"]);
        lan.namespace.run(&["ip", "link", "set", "eth0", "up"]);
        lan.namespace.run(&["ip", "route", "add", "default", "via", &lan.host_address.to_string()]);
        if number == 0 {
            host.run(&["ip", "route", "add", "default", "via", &lan.address.to_string()]);
        }
        lan
    }
}
