//! A router that says it is one.

use std::net::{Ipv6Addr, SocketAddrV6};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket, sockopt};

use crate::Namespace;

/// Sends one router advertisement (RFC 4861 §4.2) out of `interface` of `namespace`: the sender is a default router for
/// half an hour.
pub fn advertise_router(namespace: &Namespace, interface: &str) {
    let shown = namespace.run(&["ip", "-o", "link", "show", "dev", interface]);
    let index = shown.split(':').next().and_then(|index| index.parse().ok()).expect("it begins with its index");
    // Type 134, code 0, checksum by the kernel, hop limit 64, no flags, lifetime 1800 s, both timers unspecified.
    let message = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    namespace.enter(|| {
        let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).expect("tests run as root");
        // Receivers drop what could have come through a router (§6.1.2).
        sockopt::set_ipv6_multicast_hops(&socket, 255).expect("a socket of IPv6 has hops");
        let to = SocketAddrV6::new(all_nodes, 0, 0, index);
        sendto(&socket, &message, SendFlags::empty(), &to).expect("the interface is up");
    });
}
