//! Whether a network's routes lead anywhere.

use std::collections::BTreeSet;

use model::{Family, NetworkName, NetworkRoute, Parent, Subnet};

use super::NetworkCreateError;

/// Refuses routes that the containers of a network could not have, or that would lead nowhere. `automatic` are the
/// families whose subnets are not known yet, `parent` is what its endpoints sit on; with none they are ports of a
/// bridge.
///
/// # Errors
/// [`NetworkCreateError::Route`] says which route, and why.
pub fn check_routes(
    name: &NetworkName,
    routes: &[NetworkRoute],
    subnets: &[Subnet],
    automatic: &[Family],
    parent: Option<&Parent>,
) -> Result<(), NetworkCreateError> {
    let mut seen = BTreeSet::new();
    for route in routes {
        let own = subnets.iter().filter(|subnet| subnet.family() == route.family());
        let fault = if !seen.insert((route.destination(), route.metric())) {
            Some("it is given twice".to_owned())
        } else if own.clone().next().is_none() && !automatic.contains(&route.family()) {
            Some(format!("it has no {} subnet", route.family()))
        } else if let Some(subnet) = own.clone().find(|subnet| subnet.overlaps(route.destination())) {
            Some(format!("{} overlaps its own subnet {}", route.destination(), subnet.range()))
        } else {
            gateway_fault(route, own, parent)
        };
        if let Some(reason) = fault {
            return Err(NetworkCreateError::Route { name: name.clone(), route: *route, reason });
        }
    }
    Ok(())
}

fn gateway_fault<'a>(
    route: &NetworkRoute,
    mut subnets: impl Iterator<Item = &'a Subnet>,
    parent: Option<&Parent>,
) -> Option<String> {
    let gateway = route.gateway()?;
    if let Some(parent) = parent.filter(|parent| !parent.kind.has_neighbours()) {
        return Some(format!(
            "with {} the host's kernel routes what containers send, and no gateway is asked",
            parent.kind
        ));
    }
    let Some(subnet) = subnets.find(|subnet| subnet.range().contains(&gateway)) else {
        return Some(format!("the gateway {gateway} lies in none of its subnets that are known"));
    };
    // Whoever else on a bridge passes on what others sent is taken for an impostor.
    match parent {
        None if gateway != subnet.gateway() => {
            Some(format!("on a bridge nobody but its own gateway {} passes on what others send", subnet.gateway()))
        }
        Some(_) if gateway != subnet.gateway() && !subnet.is_endpoint_address(gateway) => {
            Some(format!("the gateway {gateway} is the first or last address of {}, which nobody has", subnet.range()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use model::{IpvlanFlag, IpvlanMode, MacvlanMode, SubInterfaceKind};

    use super::*;

    #[test]
    fn routes_that_lead_nowhere_are_refused() {
        let bridge = || None;
        let on = |kind| Some(Parent { interface: "lan0".parse().expect("literal"), kind });
        let macvlan = || on(SubInterfaceKind::Macvlan { mode: MacvlanMode::Bridge });
        let routed = || on(SubInterfaceKind::Ipvlan { mode: IpvlanMode::L3, flag: IpvlanFlag::Bridge });
        let subnets = ["10.1.0.0/24", "10.2.0.0/24"];
        let subnets = subnets.map(|range| Subnet::new(range.parse().expect("literal"), None).expect("literal"));
        for (routes, parent, expected) in [
            (&["192.0.2.0/24"][..], bridge(), None),
            (&["192.0.2.0/24,10.2.0.1", "192.0.2.0/24,10.1.0.1,5"], bridge(), None),
            (&["192.0.2.0/24,10.2.0.9"], macvlan(), None),
            (&["192.0.2.0/24"], routed(), None),
            (
                &["2001:db8::/32,fd00::1"],
                bridge(),
                Some("the gateway fd00::1 lies in none of its subnets that are known"),
            ),
            (&["2001:db8::/32"], bridge(), None),
            (&["192.0.2.0/24", "192.0.2.0/24,10.1.0.1"], bridge(), Some("it is given twice")),
            (&["10.1.0.0/25"], bridge(), Some("10.1.0.0/25 overlaps its own subnet 10.1.0.0/24")),
            (&["10.0.0.0/8"], macvlan(), Some("10.0.0.0/8 overlaps its own subnet 10.1.0.0/24")),
            (
                &["192.0.2.0/24,10.3.0.1"],
                macvlan(),
                Some("the gateway 10.3.0.1 lies in none of its subnets that are known"),
            ),
            (
                &["192.0.2.0/24,10.1.0.9"],
                bridge(),
                Some("on a bridge nobody but its own gateway 10.1.0.1 passes on what others send"),
            ),
            (
                &["192.0.2.0/24,10.1.0.255"],
                macvlan(),
                Some("the gateway 10.1.0.255 is the first or last address of 10.1.0.0/24, which nobody has"),
            ),
            (
                &["192.0.2.0/24,10.1.0.1"],
                routed(),
                Some(
                    "with ipvlan mode l3 flag bridge the host's kernel routes what containers send, and no gateway is asked",
                ),
            ),
        ] {
            let name = "web".parse().expect("literal");
            let parsed: Vec<NetworkRoute> = routes.iter().map(|route| route.parse().expect("literal")).collect();
            let checked = check_routes(&name, &parsed, &subnets, &[Family::Ipv6], parent.as_ref());
            let reason = checked.err().map(|error| match error {
                NetworkCreateError::Route { reason, .. } => reason,
                other => panic!("{other}"),
            });
            assert_eq!(reason.as_deref(), expected, "{routes:?}");
        }
        let (name, route) = ("web".parse().expect("literal"), "2001:db8::/32".parse().expect("literal"));
        let error = check_routes(&name, &[route], &subnets, &[], None).expect_err("it has no IPv6");
        assert_eq!(error.to_string(), "network `web` cannot have the route 2001:db8::/32: it has no IPv6 subnet");
    }
}
