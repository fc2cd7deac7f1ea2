//! Interfaces for VLANs of the host's interfaces (802.1Q).

use model::{IfName, VlanId, VlanLink, VlanMtu};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, VlanFlags},
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVlan};
use rustix::io::Errno;

use crate::{
    KernelError,
    link::{self, GROUP, Link, find, find_ours, refused},
    netlink::{Request, Socket, attribute},
};

/// The name of the kind of such interfaces.
pub(crate) const KIND: &str = "vlan";

// `include/uapi/linux/if_link.h`, `include/uapi/linux/if_ether.h`
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const ETH_P_8021Q: u16 = 0x8100;

/// The VLAN of an interface, from the name of its kind and its `IFLA_INFO_DATA`; none if it is of another kind, or for
/// tags of providers (802.1ad).
pub(crate) fn id(kind: &str, data: &[u8]) -> Option<VlanId> {
    let short = |kind| <[u8; 2]>::try_from(attribute(data, kind)?).ok();
    let protocol = u16::from_be_bytes(short(IFLA_VLAN_PROTOCOL)?);
    let number = u16::from_ne_bytes(short(IFLA_VLAN_ID)?);
    VlanId::new(number).filter(|_| kind == KIND && protocol == ETH_P_8021Q)
}

/// An interface for a VLAN as it is, from what the kernel shows of it and of the interface that it is on.
pub(crate) fn seen(link: &Link, on: &Link) -> Option<VlanLink> {
    Some(VlanLink {
        alias: link.alias.clone(),
        link: on.name.parse().ok()?,
        id: link.vlan?,
        mtu: if link.mtu == on.mtu { VlanMtu::Inherited } else { VlanMtu::Other },
        admin: link.admin,
        ipv6: link.ipv6,
    })
}

/// Whether the kernel can make such interfaces. It is asked for one on nothing: a kernel that knows them, or loads the
/// module that does, misses what it is to be on (`vlan_newlink` in `net/8021q/vlan_netlink.c`), and another says that
/// it does not know them. Nothing is made.
pub(crate) fn is_known(socket: &mut Socket) -> Result<bool, KernelError> {
    let message = LinkMessageBuilder::<LinkVlan>::new_with_info_kind(InfoKind::Vlan).id(1).build();
    match socket.call(Request::new(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)) {
        Err(refusal) if refusal.is(Errno::OPNOTSUPP) => Ok(false),
        Err(refusal) if refusal.is(Errno::INVAL) => Ok(true),
        answer => answer.map(|_| true).map_err(refused(|| "say whether it has VLANs".into())),
    }
}

/// Makes the interface, down. One that is there already is left as it is, provided it is Fabric's.
pub(crate) fn create(socket: &mut Socket, name: &IfName, vlan: &VlanLink) -> Result<(), KernelError> {
    let on = on(socket, &vlan.link)?;
    // Otherwise it could not be up while the interface that it is on is down, and would go down with it.
    let loose = VlanFlags::LooseBinding;
    let message = LinkMessageBuilder::<LinkVlan>::new(name.as_str())
        .id(vlan.id.number())
        .flags(loose, loose)
        .link(on.index)
        .link_group(GROUP)
        .down()
        .build();
    link::create(socket, name, message, || format!("create {name} for VLAN {} of {}", vlan.id, vlan.link))
}

/// Gives the interface the MTU of the one that it is on.
pub(crate) fn inherit_mtu(socket: &mut Socket, name: &IfName, link: &IfName) -> Result<(), KernelError> {
    let (own, on) = (find_ours(socket, name)?, on(socket, link)?);
    let message = LinkUnspec::new_with_index(own.index).mtu(on.mtu).build();
    let set = socket.call(Request::new(RouteNetlinkMessage::SetLink(message), 0));
    set.map(drop).map_err(refused(|| format!("set {name} mtu {}", on.mtu)))
}

fn on(socket: &mut Socket, link: &IfName) -> Result<Link, KernelError> {
    find(socket, link)?.ok_or_else(|| KernelError::Missing { object: format!("interface {link} on this host") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_shows_is_read() {
        // Attributes of two octets, padded to four.
        let attribute = |kind: u16, value: [u8; 2]| {
            let header = [6_u16, kind].into_iter().flat_map(u16::to_ne_bytes);
            header.chain(value).chain([0, 0]).collect::<Vec<u8>>()
        };
        let data = |protocol: u16, number: u16| {
            let number = attribute(IFLA_VLAN_ID, number.to_ne_bytes());
            [attribute(IFLA_VLAN_PROTOCOL, protocol.to_be_bytes()), number].concat()
        };
        for (kind, protocol, number, expected) in [
            (KIND, ETH_P_8021Q, 10, Some(10)),
            (KIND, ETH_P_8021Q, 4094, Some(4094)),
            (KIND, ETH_P_8021Q, 0, None),
            (KIND, 0x88a8, 10, None),
            ("bridge", ETH_P_8021Q, 10, None),
        ] {
            assert_eq!(id(kind, &data(protocol, number)).map(VlanId::number), expected, "{kind} {protocol:x} {number}");
        }
    }
}
