//! The table that judges connections by policies: it is put in place, changed, looked at and mended.

mod lab;

use std::sync::Arc;

use kernel::Notice;
use lab::{Lab, sh, state};
use model::{
    DataPath, Family, Policing, Protocol, Scope, State,
    data_path::{Chain, ChainName, ChainRule, Hook, Key, Match, PacketVerdict, Part, SetKind, SetName, Then},
};

const TABLE: &str = "table inet fabric-policy";

/// A data path that drops what comes to these addresses at this port.
fn dropping(addresses: &[u8], port: u16) -> State {
    let map = SetName::new(SetKind::AddressMap(Family::Ipv4), "ingress4");
    let pairs = SetName::new(SetKind::Pairs(Family::Ipv4), "pairs4");
    let targets = SetName::new(SetKind::Targets(Family::Ipv4), "targets4");
    let (ports, class) = (SetName::new(SetKind::Ports, "ports"), ChainName::new("class"));
    let address = |last: &u8| [10, 89, 1, *last].into();
    let leads = addresses.iter().map(|last| (Key::Address(address(last)), Some(PacketVerdict::Jump(class.clone()))));
    let with_itself = addresses.iter().map(|last| (Key::Pair(address(last), address(last)), None));
    let named = addresses.iter().map(|last| (Key::Target(address(last), Protocol::Udp, 53), None));
    let accept =
        |set: &SetName| ChainRule::new([Match::In(Part::Whole, set.clone())], Then::Verdict(PacketVerdict::Accept));
    let dropped = ChainRule::new([Match::In(Part::Whole, ports.clone())], Then::Verdict(PacketVerdict::Drop));
    let lookup = ChainRule::new([], Then::Lookup(Part::Destination, map.clone()));
    let path = DataPath {
        chains: [
            (
                class.clone(),
                Chain { about: "the class".to_owned(), hook: None, rules: vec![accept(&targets), dropped] },
            ),
            (
                ChainName::new("leaving"),
                Chain { about: "all".to_owned(), hook: Some(Hook::Output), rules: vec![accept(&pairs), lookup] },
            ),
        ]
        .into(),
        sets: [
            (map, leads.collect()),
            (pairs, with_itself.collect()),
            (targets, named.collect()),
            (ports, [(Key::Ports(Protocol::Tcp, port, port), None)].into()),
        ]
        .into(),
        ..DataPath::default()
    };
    State { policing: Policing::Holds(Arc::new(path)), ..state(&[]) }
}

#[track_caller]
fn assert_changes(lab: &Lab, desired: &State, expected: &str) {
    assert_eq!(lab.reconcile(Scope::Policing, desired), [expected]);
    for scope in [Scope::Policing, Scope::Everything] {
        assert_eq!(lab.reconcile(scope, desired), Vec::<String>::new(), "it is as it should be");
    }
}

#[test]
fn who_comes_and_goes_is_elements_and_all_else_is_told() {
    lab::run(|lab| {
        let nothing = state(&[]);
        lab.settle(&nothing);
        assert!(!sh("nft list tables").contains(TABLE));
        assert_changes(lab, &dropping(&[2], 80), &format!("install {TABLE} with 2 chains"));
        assert_changes(lab, &dropping(&[2, 3, 4], 80), &format!("change {TABLE}: 6 elements come"));
        assert_changes(lab, &dropping(&[4, 5], 80), &format!("change {TABLE}: 3 elements come, 6 elements go"));
        let listed = sh("nft list table inet fabric-policy");
        assert!(listed.contains("10.89.1.4 : jump class") && listed.contains("10.89.1.5 . 10.89.1.5"), "{listed}");
        assert!(!listed.contains("10.89.1.2"), "{listed}");
        // So are ports, which are as constant as rules are otherwise. More than a socket has room for are a run of nft.
        assert_changes(lab, &dropping(&[4, 5], 81), &format!("change {TABLE}: 1 elements come, 1 elements go"));
        let many: Vec<u8> = (4..204).collect();
        assert_changes(lab, &dropping(&many, 81), &format!("change {TABLE}: 594 elements come"));
        assert_changes(lab, &nothing, &format!("remove {TABLE}"));
        assert!(!sh("nft list tables").contains(TABLE));
    });
}

#[test]
fn only_what_others_change_is_told() {
    lab::run(|lab| {
        let desired = dropping(&[2, 3], 80);
        lab.settle(&state(&[]));
        let mut watch = lab.wait(lab.kernel.watch()).expect("a subscription");
        for (desired, doing) in [
            (&desired, "put in place by a process"),
            (&dropping(&[2, 4], 80), "changed in process"),
            (&dropping(&[2, 4], 81), "changed by a process"),
            (&state(&[]), "removed by a process"),
            (&desired, "put in place again"),
        ] {
            assert_eq!(lab.reconcile(Scope::Policing, desired).len(), 1, "{doing}");
            assert_eq!(lab.told(&mut watch), [], "{doing}");
        }
        sh("nft delete element inet fabric-policy pairs4 { 10.89.1.2 . 10.89.1.2 }");
        assert!(lab.told(&mut watch).contains(&Notice::Rules), "somebody else did that");
    });
}

#[test]
fn whatever_others_change_is_seen_by_whoever_looks() {
    lab::run(|lab| {
        let desired = dropping(&[2, 3], 80);
        lab.settle(&desired);
        let install = format!("install {TABLE} with 2 chains");
        let (come, go) = (format!("change {TABLE}: 1 elements come"), format!("change {TABLE}: 1 elements go"));
        for (damage, expected) in [
            ("flush chain inet fabric-policy class", &install),
            ("add rule inet fabric-policy leaving accept", &install),
            ("add element inet fabric-policy ports { 6 . 22 }", &install),
            ("add chain inet fabric-policy another", &install),
            ("flush map inet fabric-policy marker", &install),
            ("delete table inet fabric-policy", &install),
            ("delete element inet fabric-policy ingress4 { 10.89.1.2 }", &come),
            ("add element inet fabric-policy pairs4 { 10.89.1.2 . 10.89.1.9 }", &go),
        ] {
            for scope in [Scope::Policing, Scope::Firewall, Scope::Everything] {
                sh(&format!("nft '{damage}'"));
                let seen = lab.reconcile(scope.clone(), &desired);
                assert!(seen.contains(expected), "{damage}, {scope:?}: {seen:?}");
                assert_eq!(lab.reconcile(Scope::Everything, &desired), Vec::<String>::new(), "{damage}");
            }
        }
    });
}
