//! What to do about networks that cannot be as they were asked for: nothing more where the error itself says it.

use model::{Family, SubnetError};

use crate::{NetworkCreateError as Create, NetworkUpdateError as Update};

impl Create {
    /// What a person can do about it; none where the error says it itself.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Create::Subnet { source, .. } => return of_subnet(source).map(str::to_owned),
            Create::ReservedName { .. }
            | Create::NoParent { .. }
            | Create::ParentOption { .. }
            | Create::NoSubnet { .. }
            | Create::Twice { .. }
            | Create::NoFamily { .. }
            | Create::InternalMode { .. }
            | Create::SmallMtu { .. }
            | Create::UnknownOption { .. }
            | Create::OptionTwice { .. }
            | Create::MtuOption { .. }
            | Create::GatewayModeOption { .. } => return None,
            Create::NeedsSubnet { family: Family::Ipv4, .. } => {
                "`--subnet RANGE` says which it is, `--no-ipv4` does without".into()
            }
            Create::NeedsSubnet { family: Family::Ipv6, .. } => {
                "`--subnet RANGE` says which it is; leave out `--ipv6` to do without".into()
            }
            Create::NotOfDriver { .. } => "leave it out: that is for networks with driver bridge".into(),
            Create::NoNeighbours { .. } => "leave the gateway out".into(),
            Create::SubnetsOverlap { .. } => "name subnets that have no address in common".into(),
            Create::Route { .. } => "leave it out, or name another: `DESTINATION[,GATEWAY[,METRIC]]`".into(),
            Create::Reserve { .. } => "leave it out, or reserve another address".into(),
            Create::Ipv4Subnet { .. } => "leave out `--no-ipv4`, or the subnet".into(),
        })
    }
}

impl Update {
    /// What a person can do about it; none where the error says it itself.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Update::Unfit(error) => return error.hint(),
            Update::Driver { .. }
            | Update::NoSuchSubnet { .. }
            | Update::NoSuchRoute { .. }
            | Update::NoSubnetLeft(_)
            | Update::LabelBoth { .. }
            | Update::StaysIsolated(_) => return None,
            Update::Nothing(_) => "`fabric network update --help` lists what can change".into(),
            Update::NotReserved { name, .. } => format!("`fabric network inspect {name}` shows what it reserves"),
        })
    }
}

fn of_subnet(error: &SubnetError) -> Option<&'static str> {
    match error {
        SubnetError::HostBits(_) | SubnetError::TooSmall(_) => None,
        SubnetError::NotUnicast(_) => Some("name another subnet, or none to have a free one chosen"),
        SubnetError::GatewayOutside { .. } => Some(
            "name another address of the subnet, or none for its first: not that of the subnet, nor the broadcast address",
        ),
        SubnetError::PoolOutside { .. } | SubnetError::PoolUseless { .. } => {
            Some("name a part of the subnet that has addresses for containers, or none to use all of it")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use model::{Chain, Driver, GatewayMode, MacvlanMode, SubInterfaceKind};

    use super::*;
    use crate::Mtu;

    fn parsed<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
        text.parse().expect("literal")
    }

    /// By what one sees that an error says itself what to do.
    const SAYS_ITSELF: [&str; 10] = [
        "did you mean",
        "; use ",
        "; choose ",
        "; add ",
        "; give ",
        "; make a ",
        "known: ",
        "expected ",
        "must be at least",
        "; it has ",
    ];

    #[test]
    fn what_to_do_is_said_once() {
        let (name, range, address) = (|| parsed("web"), || parsed("10.9.1.0/24"), || parsed("10.9.1.1"));
        let of_subnet = |source| Create::Subnet { name: name(), range: range(), source };
        let created = [
            of_subnet(SubnetError::HostBits(parsed("10.9.1.1/24"))),
            of_subnet(SubnetError::TooSmall(parsed("10.9.1.0/31"))),
            of_subnet(SubnetError::NotUnicast(parsed("127.0.0.0/8"))),
            of_subnet(SubnetError::GatewayOutside { range: range(), gateway: parsed("10.9.2.1") }),
            of_subnet(SubnetError::PoolOutside { range: range(), pool: parsed("10.9.2.0/25") }),
            of_subnet(SubnetError::PoolUseless { range: range(), pool: parsed("10.9.1.1/32") }),
            Create::ReservedName { name: parsed("none") },
            Create::NoParent { name: name() },
            Create::NeedsSubnet { name: name(), family: Family::Ipv4 },
            Create::NeedsSubnet { name: name(), family: Family::Ipv6 },
            Create::NotOfDriver { name: name(), what: "a gateway mode", driver: Driver::Macvlan },
            Create::ParentOption { name: name(), option: "mode", reason: "there is no mode `x`; known: bridge".into() },
            Create::NoNeighbours {
                name: name(),
                gateway: address(),
                kind: SubInterfaceKind::Macvlan { mode: MacvlanMode::Bridge },
            },
            Create::SubnetsOverlap { name: name(), first: range(), second: range() },
            Create::NoSubnet { name: name(), what: "gateway 10.9.2.1".into() },
            Create::Twice { name: name(), what: "gateways", range: range() },
            Create::Reserve { name: name(), address: address(), reason: "it is reserved twice" },
            Create::Route { name: name(), route: parsed("192.0.2.0/24"), reason: "it is given twice".into() },
            Create::Ipv4Subnet { name: name(), range: range() },
            Create::NoFamily { name: name() },
            Create::InternalMode { name: name(), mode: GatewayMode::Nat },
            Create::SmallMtu { name: name(), mtu: parsed("1000") },
            Create::UnknownOption { name: name(), key: "colour".into(), known: &["mtu"] },
            Create::OptionTwice { name: name(), what: "an MTU" },
            Create::MtuOption { name: name(), source: "x".parse::<Mtu>().expect_err("no number") },
            Create::GatewayModeOption { name: name(), source: "x".parse::<GatewayMode>().expect_err("no mode") },
        ];
        let changed = [
            Update::Unfit(Create::NoFamily { name: name() }),
            Update::Nothing(name()),
            Update::Driver { name: name(), driver: Driver::Macvlan },
            Update::NoSuchSubnet { name: name(), range: range(), subnets: vec![range()] },
            Update::NoSuchRoute { name: name(), destination: range(), routes: vec![parsed("192.0.2.0/24")] },
            Update::NoSubnetLeft(name()),
            Update::LabelBoth { name: name(), key: "tier".into() },
            Update::NotReserved { name: name(), address: address() },
            Update::StaysIsolated(name()),
        ];
        let of_created = created.iter().map(|error| (Chain(error).to_string(), error.hint()));
        let of_changed = changed.iter().map(|error| (Chain(error).to_string(), error.hint()));
        for (text, hint) in of_created.chain(of_changed) {
            let says_itself = SAYS_ITSELF.iter().any(|words| text.contains(words));
            assert_eq!(hint.is_none(), says_itself, "{text}\nhint: {hint:?}");
        }
    }
}
