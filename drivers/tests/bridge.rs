//! The bridge driver's desired state and the changes that lead to it, as text a network engineer can read.

use std::net::IpAddr;

use drivers::{Intent, Segment, desired};
use insta::assert_snapshot;
use jiff::Timestamp;
use model::{
    Admin, Attachment, Change, Driver, Element, Endpoint, EndpointId, Family, Forwarding, MacAddress, Namespace,
    Network, NetworkId, Observed, Reach, Scope, State, Structure, Subnet, diff,
};

fn network(number: u8, range: &str) -> Network {
    Network {
        id: NetworkId::from_bytes([number; 8]),
        name: format!("net{number}").parse().expect("literal"),
        driver: Driver::Bridge,
        subnets: vec![Subnet::new(range.parse().expect("literal"), None).expect("literal")],
        reserved: Vec::new(),
        reach: Reach::Nat,
        gateway_mac: MacAddress::local([2, 0, 0, 0, 0, number]),
        mtu: 1500,
        name_servers: Vec::new(),
        labels: Default::default(),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn attachment(network: &Network, number: u8, publishes: &[&str]) -> Attachment {
    let address = network.subnets[0].range().hosts().nth(usize::from(number) - 1).expect("a host of the subnet");
    let IpAddr::V4(address) = address else { panic!("the subnet is of IPv4") };
    Attachment {
        endpoint: Endpoint {
            id: EndpointId::from_bytes([number; 8]),
            network: network.id.clone(),
            ipv4: Some(address),
            ipv6: None,
            mac: MacAddress::local([2, 0, 0, 0, 1, number]),
            aliases: Vec::new(),
            interface: "eth0".parse().expect("literal"),
            gateway_priority: 0,
        },
        namespace: format!("c{number}").parse().expect("literal"),
        publishes: publishes.iter().map(|text| text.parse().expect("literal")).collect(),
        default_routes: model::Family::ALL.into(),
    }
}

/// Two networks, three containers, and one namespace that waits.
fn intent() -> Intent {
    let (web, back) = (network(1, "10.1.0.0/24"), network(2, "10.2.0.0/24"));
    Intent {
        segments: vec![
            Segment {
                attachments: vec![attachment(&web, 5, &["8080:80", "192.0.2.1:53:53/udp"]), attachment(&web, 6, &[])],
                network: web,
                published_to_loopback: true,
            },
            Segment {
                attachments: vec![attachment(&back, 7, &["192.0.2.1:9000:9000"])],
                network: back,
                published_to_loopback: false,
            },
        ],
        namespaces: ["pool-1".parse().expect("literal")].into(),
    }
}

fn seen(state: State) -> Observed {
    Observed { state, elements_beyond: Default::default() }
}

/// A host that Fabric has not touched yet.
fn untouched() -> Observed {
    seen(State { structure: Structure::Missing, ..State::empty() })
}

fn lines(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("{change}\n")).collect()
}

#[test]
fn desired_state_of_two_networks() {
    assert_snapshot!(desired(&Scope::Everything, &intent()));
}

#[test]
fn desired_state_of_one_endpoint_leaves_its_neighbours_out() {
    let intent = intent();
    let scope = Scope::from(intent.segments[0].attachments[1].clone());
    assert_snapshot!(desired(&scope, &intent));
    assert_eq!(desired(&scope, &intent), desired(&Scope::Everything, &intent).within(&scope));
}

#[test]
fn desired_state_of_one_network_leaves_its_endpoints_out() {
    let intent = intent();
    let scope = Scope::Network(intent.segments[1].network.id.clone());
    assert_snapshot!(desired(&scope, &intent));
    assert_eq!(desired(&scope, &intent), desired(&Scope::Everything, &intent).within(&scope));
}

#[test]
fn changes_on_a_host_that_has_just_booted() {
    assert_snapshot!(lines(&diff(&desired(&Scope::Everything, &intent()), &untouched())));
}

#[test]
fn changes_to_attach_one_endpoint() {
    let intent = intent();
    let scope = Scope::from(intent.segments[0].attachments[0].clone());
    let wanted = desired(&scope, &intent);
    let mut before = wanted.clone();
    before.veths.clear();
    before.elements.retain(|element| !matches!(element, Element::Published { .. }));
    assert_snapshot!(lines(&diff(&wanted, &seen(before))));
}

#[test]
fn changes_to_remove_one_endpoint() {
    let mut intent = intent();
    let scope = Scope::from(intent.segments[0].attachments[0].clone());
    let before = desired(&scope, &intent);
    intent.segments[0].attachments.remove(0);
    intent.segments[0].published_to_loopback = false;
    assert_snapshot!(lines(&diff(&desired(&scope, &intent), &seen(before))));
}

#[test]
fn changes_to_remove_everything() {
    let mut before = desired(&Scope::Everything, &intent());
    before.forwarding = Forwarding::TurnedOn;
    before.elements.insert(Element::ForwardingGuard(Family::Ipv4));
    assert_snapshot!(lines(&diff(&desired(&Scope::Everything, &Intent::default()), &seen(before))));
}

#[test]
fn changes_to_move_a_published_port() {
    let before = desired(&Scope::Everything, &intent());
    let mut after = intent();
    let publish = after.segments[0].attachments[0].publishes.remove(0);
    after.segments[0].attachments[1].publishes.push(publish);
    assert_snapshot!(lines(&diff(&desired(&Scope::Everything, &after), &seen(before))));
}

#[test]
fn changes_to_repair_damage() {
    let wanted = desired(&Scope::Everything, &intent());
    let mut damaged = wanted.clone();
    damaged.namespaces.insert("c6".parse().expect("literal"), Namespace::Unprepared);
    damaged.namespaces.insert("stray".parse().expect("literal"), Namespace::Unpinned);
    let bridge = damaged.bridges.values_mut().next().expect("there are two");
    bridge.admin = Admin::Down;
    bridge.mtu = 1400;
    bridge.addresses = ["10.9.0.1/24".parse().expect("literal")].into();
    let mut veths = damaged.veths.values_mut();
    veths.next().expect("there are three").inside = None;
    veths.next().expect("there are three").inside.as_mut().expect("it has one").gateway = None;
    veths.next().expect("there are three").bridge = None;
    assert_snapshot!(lines(&diff(&wanted, &seen(damaged))));
}

#[test]
fn an_altered_table_is_replaced_with_the_elements_of_others_in_it() {
    let intent = intent();
    let scope = Scope::from(intent.segments[0].attachments[1].clone());
    let wanted = desired(&scope, &intent);
    let mut observed = seen(State { structure: Structure::Altered, ..wanted.clone() });
    observed.elements_beyond = desired(&Scope::Everything, &intent).elements;
    assert_snapshot!(lines(&diff(&wanted, &observed)));
}

#[test]
fn what_is_as_desired_is_left_alone() {
    let wanted = desired(&Scope::Everything, &intent());
    assert_eq!(diff(&wanted, &seen(wanted.clone())), []);
}

#[test]
fn rules_are_in_force_before_a_link_comes_up_and_go_after_it_is_down() {
    let wanted = desired(&Scope::Everything, &intent());
    let position = |changes: &[Change], what: &dyn Fn(&Change) -> bool| changes.iter().position(what);
    let up = |change: &Change| matches!(change, Change::SetLink { settings, .. } if settings.admin == Some(Admin::Up));
    let rules = |change: &Change| matches!(change, Change::InstallFirewall { .. } | Change::AddElements { .. });
    let installed = State { structure: Structure::Current, ..State::empty() };
    for observed in [untouched(), seen(installed)] {
        let changes = diff(&wanted, &observed);
        for (index, change) in changes.iter().enumerate().filter(|(_, change)| up(change)) {
            let later = changes[index..].iter().filter(|later| rules(later));
            assert!(later.clone().all(|later| later.subject() != change.subject()), "{change} before {later:?}");
        }
    }
    let changes = diff(&State::empty(), &seen(wanted));
    let gone = position(&changes, &|change| matches!(change, Change::RemoveElements { .. })).expect("elements go");
    let down = changes.iter().rposition(|change| matches!(change, Change::SetLink { .. })).expect("links go down");
    let link = position(&changes, &|change| matches!(change, Change::RemoveLink(_))).expect("links go");
    assert!(down < gone && gone < link);
}
