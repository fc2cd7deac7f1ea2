//! Neighbours of a host.

use std::net::{Ipv4Addr, Ipv6Addr};

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
    /// Gives both ends of the cable addresses of IPv6 as well (RFC 3849), and routes to each other; returns the
    /// neighbour's and the host's.
    pub fn speak_ipv6(&self, host: &Namespace) -> [Ipv6Addr; 2] {
        let [address, host_address] = [0x10, 1].map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        host.run(&["ip", "address", "add", &format!("{host_address}/64"), "dev", "lan0", "nodad"]);
        self.namespace.run(&["ip", "address", "add", &format!("{address}/64"), "dev", "eth0", "nodad"]);
        self.namespace.run(&["ip", "route", "add", "default", "via", &host_address.to_string()]);
        host.run(&["ip", "route", "add", "default", "via", &address.to_string()]);
        [address, host_address]
    }
}
