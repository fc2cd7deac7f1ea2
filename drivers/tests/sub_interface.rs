//! The desired state of the drivers macvlan and ipvlan and the changes that lead to it.

use std::collections::BTreeSet;

use drivers::{Intent, Segment, desired};
use jiff::Timestamp;
use model::{
    Attachment, Change, Endpoint, EndpointId, Family, IpvlanFlag, IpvlanMode, MacAddress, MacvlanMode, Network,
    NetworkId, Observed, Parent, Reach, Scope, State, SubInterfaceKind, Subnet, Vlan, VlanId, VlanLink, VlanMtu, diff,
};

fn macvlan(mode: MacvlanMode) -> SubInterfaceKind {
    SubInterfaceKind::Macvlan { mode }
}

fn ipvlan(mode: IpvlanMode) -> SubInterfaceKind {
    SubInterfaceKind::Ipvlan { mode, flag: IpvlanFlag::Bridge }
}

fn intent(kind: SubInterfaceKind) -> Intent {
    let range = "192.0.2.0/24".parse().expect("literal");
    let network = Network {
        id: NetworkId::from_bytes([1; 8]),
        name: "wire".parse().expect("literal"),
        driver: kind.driver(),
        parent: Some(Parent { interface: "lan0".parse().expect("literal"), kind }),
        vlan: None,
        subnets: vec![Subnet::new(range, None).expect("literal")],
        reserved: Vec::new(),
        reach: Reach::Lan,
        icc: model::Icc::On,
        default_route: Default::default(),
        routes: Vec::new(),
        gateway_mac: MacAddress::local([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        mtu_source: model::MtuSource::Fixed,
        name_servers: Vec::new(),
        labels: Default::default(),
        created_at: Timestamp::UNIX_EPOCH,
    };
    let attachment = Attachment {
        endpoint: Endpoint {
            id: EndpointId::from_bytes([5; 8]),
            network: network.id.clone(),
            ipv4: Some([192, 0, 2, 5].into()),
            ipv6: None,
            mac: kind.has_own_mac().then(|| MacAddress::local([2, 0, 0, 0, 1, 5])),
            aliases: Vec::new(),
            interface: "eth0".parse().expect("literal"),
            gateway_priority: 0,
        },
        namespace: "c5".parse().expect("literal"),
        publishes: vec!["80:80".parse().expect("literal")],
        default_routes: Family::ALL.into(),
        routes: Default::default(),
        announcement: Default::default(),
    };
    Intent {
        segments: vec![Segment { network, published_to_loopback: false, judged: false, attachments: vec![attachment] }],
        ..Intent::default()
    }
}

fn changes(desired: &State, state: State) -> Vec<String> {
    let observed = Observed { state, elements_beyond: BTreeSet::new(), unreadable: BTreeSet::new() };
    diff(desired, &observed).iter().map(Change::to_string).collect()
}

const CREATE: &str = "create eth0 in c5 as macvlan mode bridge on lan0 mac 02:00:00:00:01:05 mtu 1500";
const CONFIGURE: &str =
    "configure eth0 in c5: up mtu 1500 mac 02:00:00:00:01:05 address 192.0.2.5/24 default via 192.0.2.1";

#[test]
fn an_endpoint_is_an_interface_in_its_namespace_and_nothing_on_the_host() {
    let wanted = desired(&Scope::Everything, &intent(macvlan(MacvlanMode::Bridge)));
    assert!(wanted.bridges.is_empty() && wanted.veths.is_empty() && wanted.elements.is_empty(), "{wanted}");
    assert_eq!(changes(&wanted, State::empty()), ["create namespace c5", CREATE, CONFIGURE]);
    assert_eq!(changes(&wanted, wanted.clone()), [] as [&str; 0]);
}

#[test]
fn what_differs_is_mended_and_what_is_gone_goes() {
    let wanted = desired(&Scope::Everything, &intent(macvlan(MacvlanMode::Bridge)));
    let place = wanted.sub_interfaces.keys().next().expect("one endpoint").clone();
    let without = |change: &dyn Fn(&mut State)| {
        let mut state = wanted.clone();
        change(&mut state);
        changes(&wanted, state)
    };
    let remove = "remove eth0 in c5";
    assert_eq!(without(&|state| state.sub_interfaces.clear()), [CREATE, CONFIGURE]);
    let mode = |state: &mut State| {
        state.sub_interfaces.get_mut(&place).expect("it is there").parent.kind = macvlan(MacvlanMode::Vepa);
    };
    assert_eq!(without(&mode), [remove, CREATE, CONFIGURE]);
    let address = |state: &mut State| {
        let inside = &mut state.sub_interfaces.get_mut(&place).expect("it is there").inside;
        inside.addresses = ["192.0.2.9/24".parse().expect("literal")].into();
    };
    assert_eq!(without(&address), [format!("{CONFIGURE} without 192.0.2.9/24")]);
    let gone = desired(&Scope::Everything, &Intent::default());
    assert_eq!(changes(&gone, wanted), [remove, "remove namespace c5"]);
}

#[test]
fn with_ipvlan_the_mac_address_is_the_parent_s_and_without_neighbours_the_route_leads_to_the_interface() {
    let cases = [
        (IpvlanMode::L2, "default via 192.0.2.1 default via 2001:db8::1"),
        (IpvlanMode::L3, "IPv4 default itself IPv6 default itself"),
        (IpvlanMode::L3s, "IPv4 default itself IPv6 default itself"),
    ];
    for (mode, routes) in cases {
        let mut intent = intent(ipvlan(mode));
        let segment = &mut intent.segments[0];
        segment.network.subnets.push(Subnet::new("2001:db8::/64".parse().expect("literal"), None).expect("literal"));
        segment.attachments[0].endpoint.ipv6 = Some("2001:db8::5".parse().expect("literal"));
        let wanted = desired(&Scope::Everything, &intent);
        assert!(wanted.bridges.is_empty() && wanted.veths.is_empty() && wanted.elements.is_empty(), "{wanted}");
        let expected = [
            "create namespace c5".to_owned(),
            format!("create eth0 in c5 as ipvlan mode {mode} flag bridge on lan0 mtu 1500"),
            format!("configure eth0 in c5: up mtu 1500 address 192.0.2.5/24, 2001:db8::5/64 ipv6 on {routes}"),
        ];
        assert_eq!(changes(&wanted, State::empty()), expected);
        assert_eq!(changes(&wanted, wanted.clone()), [] as [&str; 0]);
    }
}

/// An endpoint on VLAN 10 of lan0, by the interface that is made for it.
fn tagged() -> Intent {
    let mut intent = intent(macvlan(MacvlanMode::Bridge));
    let network = &mut intent.segments[0].network;
    let vlan: Vlan = "lan0.10".parse().expect("literal");
    network.parent.as_mut().expect("it has one").interface = vlan.interface().clone();
    network.vlan = Some(vlan);
    intent
}

const CREATE_VLAN: &str = "create lan0.10 for VLAN 10 of lan0";
const SILENCE_VLAN: &str = "set lan0.10 ipv6 off";
const RAISE_VLAN: &str = "set lan0.10 alias fabric:vlan:lan0.10 up";

#[test]
fn an_interface_for_a_vlan_comes_before_what_sits_on_it_and_goes_after() {
    let wanted = desired(&Scope::Everything, &tagged());
    let create = CREATE.replace("lan0", "lan0.10");
    let all = ["create namespace c5", CREATE_VLAN, SILENCE_VLAN, RAISE_VLAN, &create, CONFIGURE];
    assert_eq!(changes(&wanted, State::empty()), all);
    assert_eq!(changes(&wanted, wanted.clone()), [] as [&str; 0]);
    let gone = desired(&Scope::Everything, &Intent::default());
    let removal = ["set lan0.10 down", "remove eth0 in c5", "remove lan0.10", "remove namespace c5"];
    assert_eq!(changes(&gone, wanted), removal);
}

#[test]
fn an_interface_for_a_vlan_is_mended_and_takes_along_what_sits_on_it() {
    let wanted = desired(&Scope::Everything, &tagged());
    let create = CREATE.replace("lan0", "lan0.10");
    let made = [CREATE_VLAN, SILENCE_VLAN, RAISE_VLAN, &create, CONFIGURE];
    let anew = [&["remove lan0.10"], &made[..]].concat();
    let with = |damage: fn(&mut VlanLink)| {
        let mut state = wanted.clone();
        damage(state.vlans.values_mut().next().expect("it is there"));
        changes(&wanted, state)
    };
    assert_eq!(changes(&wanted, State { vlans: Default::default(), ..wanted.clone() }), made);
    assert_eq!(with(|vlan| vlan.id = VlanId::new(11).expect("literal")), anew);
    assert_eq!(with(|vlan| vlan.link = "lan1".parse().expect("literal")), anew);
    assert_eq!(with(|vlan| vlan.mtu = VlanMtu::Other), ["set lan0.10 mtu of lan0"]);
    assert_eq!(with(|vlan| vlan.admin = model::Admin::Down), ["set lan0.10 up"]);
    assert_eq!(with(|vlan| vlan.ipv6 = model::Ipv6::Credulous), [SILENCE_VLAN]);
}

#[test]
fn an_interface_for_a_vlan_is_no_single_network_s() {
    let intent = tagged();
    let network = &intent.segments[0].network;
    let (id, vlan) = (network.id.clone(), network.vlan.clone().expect("it has one"));
    let own = Scope::Vlan(vlan.interface().clone());
    let other = Scope::Vlan("lan0.11".parse().expect("literal"));
    for (scope, covered) in [(Scope::Everything, 1), (own, 1), (other, 0), (Scope::Network(id), 0)] {
        assert_eq!(desired(&scope, &intent).within(&scope).vlans.len(), covered, "{scope:?}");
    }
    let mut both = intent.clone();
    both.segments.extend(intent.segments.clone());
    let own = Scope::Vlan(vlan.interface().clone());
    let wanted = desired(&own, &both);
    assert_eq!(changes(&wanted, State::empty()), [CREATE_VLAN, SILENCE_VLAN, RAISE_VLAN]);
    // What another scope would look at is left alone.
    assert_eq!(changes(&wanted.clone().within(&own), wanted), [] as [&str; 0]);
}
