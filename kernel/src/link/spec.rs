//! An interface's settings per address family, as netlink tells and takes them (`IFLA_AF_SPEC`).
//!
//! The files below `/proc/sys/net` tell the same, but the kernel finds each by walking past the entries of every other
//! network namespace (`proc_sys_compare` in `fs/proc/proc_sysctl.c`): with 1,000 containers, 1 ms for each file.

use model::{Ipv6, Switch};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute},
};
use rtnetlink::LinkUnspec;

use crate::netlink::{Request, attribute, number};

// `include/uapi/linux/socket.h`, `if_link.h`
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
/// `IPV4_DEVCONF_ROUTE_LOCALNET` of `include/uapi/linux/ip.h`, which counts from 1.
const ROUTE_LOCALNET: usize = 25;
// `DEVCONF_` of `include/uapi/linux/ipv6.h`
const ACCEPT_RA: usize = 3;
const DISABLE_IPV6: usize = 26;

/// Whether the interface speaks IPv6. A kernel without IPv6 says nothing of it.
pub(super) fn ipv6(spec: &[u8]) -> Ipv6 {
    let settings = attribute(spec, AF_INET6).and_then(|family| attribute(family, IFLA_INET6_CONF)).unwrap_or_default();
    match (entry(settings, DISABLE_IPV6), entry(settings, ACCEPT_RA)) {
        (Some(0), Some(0)) => Ipv6::On,
        (Some(0), _) => Ipv6::Credulous,
        _ => Ipv6::Off,
    }
}

/// Whether 127.0.0.0/8 may be routed over the interface.
pub(super) fn loopback_routing(spec: &[u8]) -> Switch {
    let settings = attribute(spec, AF_INET).and_then(|family| attribute(family, IFLA_INET_CONF)).unwrap_or_default();
    if entry(settings, ROUTE_LOCALNET).is_some_and(|value| value != 0) { Switch::On } else { Switch::Off }
}

/// The interface is to have no IPv6 address but those it is given: it makes itself none when it comes up. A kernel
/// without IPv6 refuses with `EAFNOSUPPORT`. To be sent once the interface is there: no message that makes one may say
/// so.
pub(super) fn without_own_address(index: u32) -> Request {
    let mut message = LinkUnspec::new_with_index(index).build();
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])]));
    Request::new(RouteNetlinkMessage::SetLink(message), 0)
}

/// One of an array of 32-bit numbers.
fn entry(settings: &[u8], index: usize) -> Option<u32> {
    settings.get(4 * index..).and_then(number)
}
