//! An interface as the kernel shows it.

use model::{Admin, Ipv6, MacAddress, SubInterfaceKind, Switch, VlanId};

use super::{DOOMED, GROUP, spec};
use crate::{
    netlink::{Reply, attribute, attributes, number, string},
    sub_interface, vlan,
};

const LINK_HEADER: usize = 16;

// Attribute types of `include/uapi/linux/if_link.h`.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_QDISC: u16 = 6;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_ISOLATED: u16 = 33;

/// An interface as the kernel shows it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) ours: bool,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu: u32,
    pub(crate) admin: Admin,
    /// Whether packets can pass, as far as the kernel's link watch has noticed.
    pub(super) operational: bool,
    pub(crate) alias: String,
    pub(crate) master: Option<u32>,
    /// Whether it is a bridge's port that a frame may leave by which came in by it.
    pub(crate) hairpin: Switch,
    /// Whether it is a bridge's port that is kept apart from others that are so too.
    pub(crate) isolated: Switch,
    /// Whether it is a bridge's port that the bridge learns from, or floods with what is for nobody it knows.
    pub(crate) lax: bool,
    /// Whether nobody has what leaves by it wait, or keeps it, as a port, from the other ports.
    pub(crate) is_plain_port: bool,
    /// Index of the other end of a veth pair, or of what it sits on, in its namespace.
    pub(crate) peer: Option<u32>,
    /// What kind it is of, if it sits on another.
    pub(crate) sub_interface: Option<SubInterfaceKind>,
    /// The VLAN that it is for, if it is for one.
    pub(crate) vlan: Option<VlanId>,
    pub(crate) ipv6: Ipv6,
    /// Whether 127.0.0.0/8 may be routed over it.
    pub(crate) loopback_routing: Switch,
    /// Whether it is a bridge by whose ports packets come by the rules of the family `inet`, of IPv4 and IPv6 alike.
    pub(crate) filtered: Switch,
    /// Whether it is a bridge that listens to who joins which multicast group.
    pub(crate) snooping: Switch,
}

impl Link {
    pub(crate) fn parse(reply: &Reply) -> Option<Self> {
        let (header, rest) = reply.payload.split_at_checked(LINK_HEADER)?;
        const UP: u32 = 1;
        let mut link = Self {
            index: number(&header[4..])?,
            name: String::new(),
            kind: String::new(),
            ours: false,
            mac: None,
            mtu: 0,
            admin: if number(&header[8..])? & UP == 0 { Admin::Down } else { Admin::Up },
            operational: false,
            alias: String::new(),
            master: None,
            hairpin: Switch::Off,
            isolated: Switch::Off,
            lax: false,
            is_plain_port: false,
            peer: None,
            sub_interface: None,
            vlan: None,
            ipv6: Ipv6::Off,
            loopback_routing: Switch::Off,
            filtered: Switch::Off,
            snooping: Switch::Off,
        };
        let mut queued = false;
        for (kind, value) in attributes(rest) {
            match kind {
                IFLA_ADDRESS => link.mac = <[u8; 6]>::try_from(value).ok().and_then(|octets| octets.try_into().ok()),
                IFLA_IFNAME => link.name = string(value),
                IFLA_MTU => link.mtu = number(value)?,
                IFLA_LINK => link.peer = number(value),
                // RFC 2863: up
                IFLA_OPERSTATE => link.operational = value == [6],
                // What an interface without hardware has as long as nobody wants it otherwise.
                IFLA_QDISC => queued = !["noqueue", "noop"].contains(&string(value).as_str()),
                IFLA_MASTER => link.master = number(value),
                IFLA_LINKINFO => {
                    link.kind = attribute(value, IFLA_INFO_KIND).map(string).unwrap_or_default();
                    let data = attribute(value, IFLA_INFO_DATA).unwrap_or_default();
                    link.sub_interface = sub_interface::kind(&link.kind, data);
                    link.vlan = vlan::id(&link.kind, data);
                    if link.kind == "bridge" {
                        let does = |setting| attribute(data, setting) == Some(&[1]);
                        let switch = |is| if is { Switch::On } else { Switch::Off };
                        link.filtered = switch(does(IFLA_BR_NF_CALL_IPTABLES) && does(IFLA_BR_NF_CALL_IP6TABLES));
                        link.snooping = switch(does(IFLA_BR_MCAST_SNOOPING));
                    }
                    let port = port_settings(value);
                    let is = |setting, number: u8| attribute(port, setting) == Some(&[number]);
                    let switch = |setting| if is(setting, 1) { Switch::On } else { Switch::Off };
                    (link.hairpin, link.isolated) = (switch(IFLA_BRPORT_MODE), switch(IFLA_BRPORT_ISOLATED));
                    link.lax = is(IFLA_BRPORT_LEARNING, 1) || is(IFLA_BRPORT_UNICAST_FLOOD, 1);
                }
                IFLA_IFALIAS => link.alias = string(value),
                IFLA_AF_SPEC => {
                    link.ipv6 = spec::ipv6(value);
                    link.loopback_routing = spec::loopback_routing(value);
                }
                IFLA_GROUP => link.ours = matches!(number(value)?, GROUP | DOOMED),
                _ => {}
            }
        }
        link.is_plain_port = link.isolated == Switch::Off && !queued;
        Some(link)
    }
}

/// The settings of a bridge's port in its `IFLA_LINKINFO`; those of other masters' ports have other meanings.
fn port_settings(info: &[u8]) -> &[u8] {
    let port = attribute(info, IFLA_INFO_SLAVE_KIND).is_some_and(|kind| string(kind) == "bridge");
    let settings = if port { attribute(info, IFLA_INFO_SLAVE_DATA) } else { None };
    settings.unwrap_or_default()
}
