//! Interfaces that sit on one of the host's, macvlan and ipvlan: made from the host's namespace directly inside a
//! container's.

use std::os::fd::{AsRawFd, BorrowedFd};

use model::{IpvlanFlag, IpvlanMode, MacvlanMode, SubInterface, SubInterfaceKind};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoIpVlan, InfoKind, InfoMacVlan, IpVlanFlags, IpVlanMode, MacVlanMode},
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use rustix::io::Errno;

use crate::{
    KernelError,
    link::{GROUP, find, refused},
    netlink::{Request, Socket, attribute, number},
};

// Attribute types of `include/uapi/linux/if_link.h`.
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;

// The kernel's numbers, of the same file.
const MACVLAN_MODES: [(MacvlanMode, u32); 4] =
    [(MacvlanMode::Private, 1), (MacvlanMode::Vepa, 2), (MacvlanMode::Bridge, 4), (MacvlanMode::Passthru, 8)];
const IPVLAN_MODES: [(IpvlanMode, u16); 3] = [(IpvlanMode::L2, 0), (IpvlanMode::L3, 1), (IpvlanMode::L3s, 2)];
const IPVLAN_FLAGS: [(IpvlanFlag, u16); 3] = [(IpvlanFlag::Bridge, 0), (IpvlanFlag::Private, 1), (IpvlanFlag::Vepa, 2)];

fn number_of<T: PartialEq, N: Copy>(known: &[(T, N)], wanted: &T) -> N {
    let found = known.iter().find(|(one, _)| one == wanted);
    found.expect("every variant has its number in its table").1
}

fn with_number<T: Copy, N: PartialEq>(known: &[(T, N)], wanted: &N) -> Option<T> {
    known.iter().find(|(_, number)| number == wanted).map(|(one, _)| *one)
}

/// The kind of an interface, from the name of its kind and its `IFLA_INFO_DATA`; none if it is not one of Fabric's.
pub(crate) fn kind(name: &str, data: &[u8]) -> Option<SubInterfaceKind> {
    let short = |kind| Some(u16::from_ne_bytes(attribute(data, kind)?.try_into().ok()?));
    match name {
        "macvlan" => {
            let mode = with_number(&MACVLAN_MODES, &attribute(data, IFLA_MACVLAN_MODE).and_then(number)?)?;
            Some(SubInterfaceKind::Macvlan { mode })
        }
        "ipvlan" => Some(SubInterfaceKind::Ipvlan {
            mode: with_number(&IPVLAN_MODES, &short(IFLA_IPVLAN_MODE)?)?,
            flag: with_number(&IPVLAN_FLAGS, &short(IFLA_IPVLAN_FLAGS)?)?,
        }),
        _ => None,
    }
}

fn message(kind: SubInterfaceKind) -> LinkMessageBuilder<LinkUnspec> {
    let (name, data) = match kind {
        SubInterfaceKind::Macvlan { mode } => {
            let mode = MacVlanMode::from(number_of(&MACVLAN_MODES, &mode));
            (InfoKind::MacVlan, InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]))
        }
        SubInterfaceKind::Ipvlan { mode, flag } => {
            let mode = IpVlanMode::from(number_of(&IPVLAN_MODES, &mode));
            let flags = IpVlanFlags::from_bits_retain(number_of(&IPVLAN_FLAGS, &flag));
            (InfoKind::IpVlan, InfoData::IpVlan(vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(flags)]))
        }
    };
    LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(name).set_info_data(data)
}

/// Whether the kernel can make interfaces of this kind. It is asked for one without a parent: a kernel that knows the
/// kind, or loads the module that does, misses the parent (`ipvlan_link_new` in `drivers/net/ipvlan/ipvlan_main.c`,
/// `macvlan_common_newlink` in `drivers/net/macvlan.c`), and another says that it does not know it. Nothing is made.
pub(crate) fn is_known(socket: &mut Socket, kind: SubInterfaceKind) -> Result<bool, KernelError> {
    let request = RouteNetlinkMessage::NewLink(message(kind).build());
    match socket.call(Request::new(request, NLM_F_CREATE | NLM_F_EXCL)) {
        Err(refusal) if refusal.is(Errno::OPNOTSUPP) => Ok(false),
        Err(refusal) if refusal.is(Errno::INVAL) => Ok(true),
        answer => answer.map(|_| true).map_err(refused(|| format!("say whether it has {}", kind.driver()))),
    }
}

/// Makes the interface, down, inside its namespace; `socket` is of the host's. One that is there already is left as it
/// is: whether it is Fabric's is seen when it is configured.
pub(crate) fn create(socket: &mut Socket, wanted: &SubInterface, namespace: BorrowedFd<'_>) -> Result<(), KernelError> {
    let (parent, inside) = (&wanted.parent, &wanted.inside);
    let missing = || KernelError::Missing { object: format!("interface {} on this host", parent.interface) };
    let lower = find(socket, &parent.interface)?.ok_or_else(missing)?;
    let mut message = message(parent.kind)
        .name(inside.interface.as_str())
        .link(lower.index)
        .link_group(GROUP)
        .mtu(inside.mtu)
        .setns_by_fd(namespace.as_raw_fd())
        .down();
    if let Some(mac) = inside.mac {
        message = message.address(mac.octets().to_vec());
    }
    match socket.call(Request::new(RouteNetlinkMessage::NewLink(message.build()), NLM_F_CREATE | NLM_F_EXCL)) {
        Err(refusal) if refusal.is(Errno::EXIST) => Ok(()),
        answer => {
            answer.map(drop).map_err(refused(|| format!("make an interface on {} ({})", parent.interface, parent.kind)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_has_one_number_and_is_found_by_it() {
        for (mode, number) in MACVLAN_MODES {
            assert_eq!((number_of(&MACVLAN_MODES, &mode), with_number(&MACVLAN_MODES, &number)), (number, Some(mode)));
        }
        for (mode, number) in IPVLAN_MODES {
            assert_eq!((number_of(&IPVLAN_MODES, &mode), with_number(&IPVLAN_MODES, &number)), (number, Some(mode)));
        }
        for (flag, number) in IPVLAN_FLAGS {
            assert_eq!((number_of(&IPVLAN_FLAGS, &flag), with_number(&IPVLAN_FLAGS, &number)), (number, Some(flag)));
        }
    }

    #[test]
    fn what_the_kernel_shows_is_read() {
        // Attributes of two and four octets, padded to four.
        let data = |mode: u16, flags: u16| {
            let attribute = |kind: u16, value: u16| {
                [6_u16, kind, value, 0].into_iter().flat_map(u16::to_ne_bytes).collect::<Vec<u8>>()
            };
            [attribute(IFLA_IPVLAN_MODE, mode), attribute(IFLA_IPVLAN_FLAGS, flags)].concat()
        };
        let (mode, flag) = (IpvlanMode::L3s, IpvlanFlag::Vepa);
        assert_eq!(kind("ipvlan", &data(2, 2)), Some(SubInterfaceKind::Ipvlan { mode, flag }));
        assert_eq!(kind("ipvlan", &data(9, 0)), None);
        assert_eq!(kind("veth", &data(0, 0)), None);
    }
}
