//! The bridge driver's desired state and the changes that lead to it, as text a network engineer can read.

use std::net::IpAddr;

use drivers::{Intent, Segment, desired};
use insta::assert_snapshot;
use jiff::Timestamp;
use model::{
    Admin, Announcement, Attachment, Change, Driver, Element, Endpoint, EndpointId, Family, Forwarding, MacAddress,
    Namespace, Network, NetworkId, Observed, Reach, Scope, Spare, State, Structure, Subject, Subnet, diff,
};

fn network(number: u8, range: &str) -> Network {
    Network {
        id: NetworkId::from_bytes([number; 8]),
        name: format!("net{number}").parse().expect("literal"),
        driver: Driver::Bridge,
        parent: None,
        vlan: None,
        subnets: vec![Subnet::new(range.parse().expect("literal"), None).expect("literal")],
        reserved: Vec::new(),
        reach: Reach::Nat,
        icc: model::Icc::On,
        default_route: Default::default(),
        routes: Vec::new(),
        gateway_mac: MacAddress::local([2, 0, 0, 0, 0, number]),
        mtu: 1500,
        mtu_source: model::MtuSource::Fixed,
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
            mac: Some(MacAddress::local([2, 0, 0, 0, 1, number])),
            aliases: Vec::new(),
            interface: "eth0".parse().expect("literal"),
            gateway_priority: 0,
        },
        namespace: format!("c{number}").parse().expect("literal"),
        publishes: publishes.iter().map(|text| text.parse().expect("literal")).collect(),
        default_routes: model::Family::ALL.into(),
        routes: Default::default(),
        announcement: Default::default(),
    }
}

/// Two networks, three containers, and two namespaces that wait, one of them with a veth pair.
fn intent() -> Intent {
    let (web, back) = (network(1, "10.1.0.0/24"), network(2, "10.2.0.0/24"));
    Intent {
        segments: vec![
            Segment {
                attachments: vec![attachment(&web, 5, &["8080:80", "192.0.2.1:53:53/udp"]), attachment(&web, 6, &[])],
                network: web,
                published_to_loopback: true,
                judged: false,
            },
            Segment {
                attachments: vec![attachment(&back, 7, &["192.0.2.1:9000:9000"])],
                network: back,
                published_to_loopback: false,
                judged: false,
            },
        ],
        namespaces: ["pool-1", "pool-2"].map(|name| name.parse().expect("literal")).into(),
        spares: vec![Spare { namespace: "pool-2".parse().expect("literal"), endpoint: EndpointId::from_bytes([9; 8]) }],
    }
}

fn seen(state: State) -> Observed {
    Observed { state, elements_beyond: Default::default(), unreadable: Default::default() }
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
fn who_is_announced_is_announced_whenever_its_end_is_configured_and_no_neighbour_of_it() {
    let mut intent = intent();
    intent.segments[0].attachments[0].announcement = Announcement::Due;
    let announced = |desired: &State, observed: State| {
        let changes = diff(desired, &seen(observed));
        let of = |change: &Change| matches!(change, Change::ConfigureInside { .. }).then(|| change.to_string());
        let configured: Vec<_> = changes.iter().filter_map(of).collect();
        let (told, rest): (Vec<_>, Vec<_>) = configured.into_iter().partition(|text| text.ends_with(" announced"));
        (told, rest.len())
    };
    let all = desired(&Scope::Everything, &intent);
    let (told, rest) = announced(&all, State::empty());
    assert_eq!(
        told,
        ["configure eth0 in c5: up mtu 1500 mac 02:00:00:00:01:05 address 10.1.0.5/24 default via 10.1.0.1 announced"]
    );
    assert_eq!(rest, 2, "control: others are configured");
    for attachment in &intent.segments[0].attachments {
        let scope = Scope::from(attachment.clone());
        let is_due = attachment.announcement == Announcement::Due;
        assert_eq!(announced(&desired(&scope, &intent), State::empty()).0.len(), usize::from(is_due));
        let alone = all.clone().within(&scope);
        assert_eq!(alone.announced.len(), usize::from(is_due));
    }
}

#[test]
fn desired_state_of_one_network_leaves_its_endpoints_out() {
    let intent = intent();
    let scope = Scope::Network(intent.segments[1].network.id.clone());
    assert_snapshot!(desired(&scope, &intent));
    assert_eq!(desired(&scope, &intent), desired(&Scope::Everything, &intent).within(&scope));
}

#[test]
fn a_pair_that_waits_becomes_an_endpoint_s_and_is_not_made_again() {
    let waiting = intent();
    let mut attachment = attachment(&waiting.segments[0].network, 9, &["9090:80"]);
    attachment.namespace = "pool-2".parse().expect("literal");
    let mut then = waiting.clone();
    then.spares.clear();
    then.segments[0].attachments.push(attachment.clone());
    let before = desired(&Scope::Everything, &waiting);
    let scope = Scope::Spare(waiting.spares[0].clone());
    assert_eq!(desired(&scope, &waiting).veths, before.clone().within(&scope).veths);
    assert_snapshot!(lines(&diff(&desired(&scope, &waiting), &seen(State::empty()))), @r"
    create namespace pool-2
    create veth fe-090909090909 mtu 1500 <-> eth0 in pool-2 mac 0a:09:09:09:09:09
    set fe-090909090909 ipv6 off
    set fe-090909090909 alias fabric:endpoint:0909090909090909
    ");
    let scope = Scope::from(attachment);
    let changes = diff(&desired(&scope, &then), &seen(before.within(&scope)));
    assert_snapshot!(lines(&changes), @r"
    add publish tcp *:9090 -> 10.1.0.9:80, sender 02:00:00:00:01:09 at fe-090909090909, source 10.1.0.9 of 02:00:00:00:01:09 at fe-090909090909, holder of 10.1.0.9 at fe-090909090909
    set fe-090909090909 master fb-010101010101 hairpin on fixed 02:00:00:00:01:09 up
    configure eth0 in pool-2: up mtu 1500 mac 02:00:00:00:01:09 address 10.1.0.9/24 default via 10.1.0.1
    install the shortcut for 1 ports
    ");
}

#[test]
fn a_pair_that_waits_gets_the_name_that_is_chosen_before_another_gets_the_one_that_it_had() {
    let waiting = intent();
    let mut then = waiting.clone();
    then.spares.clear();
    let ends = [(9, "lan0", 0), (8, "eth0", 1)].map(|(number, interface, on)| {
        let segment = &mut then.segments[on];
        let mut attachment = attachment(&segment.network, number, &[]);
        attachment.namespace = "pool-2".parse().expect("literal");
        attachment.endpoint.interface = interface.parse().expect("literal");
        segment.attachments.push(attachment.clone());
        attachment
    });
    let scope = Scope::Container { namespace: "pool-2".parse().expect("literal"), attachments: ends.into() };
    let before = desired(&Scope::Everything, &waiting).within(&scope);
    let changes = diff(&desired(&scope, &then), &seen(before)).into_iter();
    let of_links = |change: &Change| !matches!(change, Change::AddElements { .. } | Change::InstallShortcut { .. });
    assert_snapshot!(lines(&changes.filter(of_links).collect::<Vec<_>>()), @r"
    rename eth0 in pool-2 to lan0
    create veth fe-080808080808 mtu 1500 master fb-020202020202 <-> eth0 in pool-2 mac 02:00:00:00:01:08
    set fe-080808080808 ipv6 off
    set fe-080808080808 fixed 02:00:00:00:01:08 alias fabric:endpoint:0808080808080808 up
    configure eth0 in pool-2: up mtu 1500 mac 02:00:00:00:01:08 address 10.2.0.8/24 default via 10.2.0.1
    set fe-090909090909 master fb-010101010101 fixed 02:00:00:00:01:09 up
    configure lan0 in pool-2: up mtu 1500 mac 02:00:00:00:01:09 address 10.1.0.9/24 default via 10.1.0.1
    ");
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
    before.shortcut.passages.clear();
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
fn a_namespace_that_cannot_be_looked_into_is_left_alone_and_the_rest_is_repaired() {
    let wanted = desired(&Scope::Everything, &intent());
    let hidden: model::NamespaceName = "c6".parse().expect("literal");
    let mut observed = seen(wanted.clone());
    observed.unreadable = [hidden.clone()].into();
    let leads_to =
        |veth: &model::Veth, name: &str| veth.inside.as_ref().is_some_and(|it| it.namespace.as_str() == name);
    // Nothing inside is seen; what is seen of the host's end says nothing.
    observed.state.veths.values_mut().filter(|veth| leads_to(veth, "c6")).for_each(|veth| veth.inside = None);
    assert_eq!(diff(&wanted, &observed), [], "c6 may be as it should be");
    observed.state.veths.retain(|_, veth| !leads_to(veth, "c7"));
    let all: Vec<_> = wanted.veths.iter().filter(|(_, veth)| leads_to(veth, "c7")).map(|(name, _)| name).collect();
    let changes = diff(&wanted, &observed);
    let is_made = |change: &Change| matches!(change, Change::CreateVeth { name, .. } if name == all[0]);
    assert!(changes.iter().any(is_made), "{}", lines(&changes));
    let of_it = Some(Subject::Link(all[0].clone()));
    assert!(changes.iter().all(|change| change.subject() == of_it), "{}", lines(&changes));
    // One that is to go goes, with its links.
    let mut fewer = intent();
    fewer.segments[0].attachments.remove(1);
    let changes = lines(&diff(&desired(&Scope::Everything, &fewer), &observed));
    assert!(changes.contains("remove namespace c6") || changes.contains("c6"), "{changes}");
}

#[test]
fn flows_are_forgotten_of_an_address_that_its_container_had_taken_off() {
    let mut intent = intent();
    let scope = Scope::from(intent.segments[0].attachments[0].clone());
    let mut before = desired(&scope, &intent);
    intent.segments[0].attachments.remove(0);
    let after = desired(&scope, &intent);
    let forgotten = |before: &State| -> Vec<String> {
        let changes = diff(&after, &seen(before.clone()));
        let flows = changes.iter().filter(|change| matches!(change, Change::ForgetFlows(_)));
        flows.map(ToString::to_string).collect()
    };
    let expected = forgotten(&before);
    assert_eq!(expected, ["forget flows of 10.1.0.5"]);
    let insides = before.veths.values_mut().filter_map(|veth| veth.inside.as_mut());
    insides.for_each(|inside| inside.addresses.clear());
    assert_eq!(forgotten(&before), expected);
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

#[test]
fn changes_to_shut_a_network_off_and_to_open_it_again() {
    let open = desired(&Scope::Everything, &intent());
    let mut shut = intent();
    shut.segments[0].network.reach = Reach::Internal;
    let shut = desired(&Scope::Everything, &shut);
    assert_snapshot!("changes_to_shut_a_network_off", lines(&diff(&shut, &seen(open.clone()))));
    assert_snapshot!("changes_to_open_a_network_again", lines(&diff(&open, &seen(shut))));
}
