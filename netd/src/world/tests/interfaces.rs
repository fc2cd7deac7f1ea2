use super::*;

/// The names that a container's interfaces get when it asks for these, one on each of as many networks, or what is
/// wrong.
fn names(asked: &[&str]) -> Result<Vec<String>, String> {
    let mut world = World::default();
    let networks: Vec<_> = (1..).zip(asked).map(|(number, _)| network(number, &format!("net{number}"))).collect();
    for network in &networks {
        world.reserve_network(network.clone()).expect("nobody is there");
        world.confirm_network(&network.id);
    }
    let ask = |(network, asked): (&Network, &&str)| EndpointCreate {
        interface: (!asked.is_empty()).then(|| asked.parse().expect("literal")),
        ..EndpointCreate::new(network.name.clone())
    };
    let together: Vec<_> = networks.iter().zip(asked).map(ask).collect();
    let mut container = record(&world, 1, "api", &networks[0], &[]).container;
    container.endpoints.clear();
    for (number, request) in (1..).zip(&together) {
        let endpoint = world.plan_endpoint(EndpointId::from_bytes([number; 8]), &container, request, &together);
        container.endpoints.push(endpoint.map_err(|failure| failure.to_string())?);
    }
    Ok(container.endpoints.iter().map(|endpoint| endpoint.interface.to_string()).collect())
}

#[test]
fn interfaces_are_called_as_asked_for_and_all_others_keep_clear_of_that() {
    let taken = |interface: &str, network: &str, holder: &str| {
        Err(format!(
            "container `api` cannot have interface `{interface}` on network `{network}`: that on network `{holder}` has the name"
        ))
    };
    let given = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    for (asked, expected) in [
        (&["", "", ""][..], given(&["eth0", "eth1", "eth2"])),
        (&["lan0", ""], given(&["lan0", "eth0"])),
        (&["", "eth0", ""], given(&["eth1", "eth0", "eth2"])),
        (&["", "eth1", "eth0", ""], given(&["eth2", "eth1", "eth0", "eth3"])),
        (&["lan0", "", "lan0"], taken("lan0", "net3", "net1")),
        (&["eth0", "eth0"], taken("eth0", "net2", "net1")),
    ] {
        assert_eq!(names(asked), expected, "{asked:?}");
    }
}
