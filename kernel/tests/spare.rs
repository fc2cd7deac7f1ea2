//! Veth pairs that wait, down and in no bridge, for the endpoint that they become.

mod lab;

use std::collections::BTreeSet;

use lab::{Place, attachment, network, sh, state};
use model::{Admin, Inside, Ipv6, Namespace, Scope, Spare, State, Switch, Veth};

/// The pair that waits for the container of this number.
fn spare(number: u8) -> Spare {
    let attachment = attachment(number, &[]);
    Spare { namespace: attachment.namespace, endpoint: attachment.endpoint.id }
}

fn with(mut state: State, spare: &Spare) -> State {
    state.namespaces.insert(spare.namespace.clone(), Namespace::Ready);
    let inside = Inside {
        namespace: spare.namespace.clone(),
        interface: Spare::interface(),
        mac: Some(spare.endpoint.mac()),
        mtu: 1500,
        admin: Admin::Down,
        ipv6: Ipv6::Off,
        addresses: BTreeSet::new(),
        gateway: None,
        gateway6: None,
        routes: Default::default(),
    };
    let veth = Veth {
        alias: Veth::alias_of(&spare.endpoint),
        bridge: None,
        hairpin: Switch::Off,
        isolated: Switch::Off,
        fixed: None,
        mtu: 1500,
        admin: Admin::Down,
        ipv6: Ipv6::Off,
        inside: Some(inside),
    };
    state.veths.insert(spare.endpoint.host_interface(), veth);
    state
}

#[test]
fn an_endpoint_takes_the_pair_that_waits_for_it() {
    lab::run(|lab| {
        lab.settle(&state(&[attachment(12, &[])]));
        let spare = spare(13);
        let port = spare.endpoint.host_interface();
        let waiting = with(state(&[attachment(12, &[])]), &spare);
        let made = lab.reconcile(Scope::Spare(spare.clone()), &waiting);
        assert!(made.iter().any(|change| change.starts_with(&format!("create veth {port}"))), "{made:#?}");
        assert_eq!(lab.reconcile(Scope::Spare(spare.clone()), &waiting), [] as [&str; 0]);
        assert_eq!(lab.settle(&waiting), [] as [&str; 0], "whoever looks at everything finds it in order");
        let shown = sh(&format!("ip link show {port}"));
        assert!(!shown.contains("UP") && !shown.contains("master"), "{shown}");
        let index = || sh(&format!("ip -o link show {port} | cut -d: -f1"));
        let before = index();

        sh(&format!("ip link set {port} master {} up", network(1).bridge()));
        lab.reconcile(Scope::Spare(spare.clone()), &waiting);
        assert_ne!(index(), before, "one that somebody attached is made anew");
        assert_eq!(lab.settle(&waiting), [] as [&str; 0]);

        let before = index();
        let both = state(&[attachment(12, &[]), attachment(13, &[])]);
        let attached = lab.reconcile(Scope::from(attachment(13, &[])), &both);
        assert!(attached.iter().all(|change| !change.starts_with("create ")), "{attached:#?}");
        assert_eq!(index(), before, "it is the same pair");
        lab.sh_at(Place::Container(13), "ping -n -c 1 -W 30 10.89.1.12");
        assert_eq!(lab.settle(&both), [] as [&str; 0]);

        lab.settle(&state(&[attachment(12, &[])]));
        assert_eq!(sh(&format!("ip link show {port} 2> /dev/null | wc -l")), "0\n");
    });
}

#[test]
fn the_end_of_a_pair_that_waits_takes_the_name_that_is_chosen() {
    lab::run(|lab| {
        let spare = spare(13);
        lab.settle(&with(state(&[attachment(12, &[])]), &spare));
        let index = || sh(&format!("ip -o link show {} | cut -d: -f1", spare.endpoint.host_interface()));
        let before = index();
        let mut chosen = attachment(13, &[]);
        chosen.endpoint.interface = "a.b@UP".parse().expect("literal");
        let both = state(&[attachment(12, &[]), chosen.clone()]);
        let scope = || Scope::from(chosen.clone());
        let made = lab.reconcile(scope(), &both);
        assert!(made.contains(&"rename eth0 in c13 to a.b@UP".to_owned()), "{made:#?}");
        assert!(made.iter().all(|change| !change.starts_with("create ")), "{made:#?}");
        assert_eq!(index(), before, "it is the same pair");
        lab.sh_at(Place::Container(13), "ping -n -c 1 -W 30 10.89.1.12");
        assert_eq!(lab.settle(&both), [] as [&str; 0]);
        assert_eq!(lab.reconcile(scope(), &both), [] as [&str; 0]);

        // One that its container has renamed is what it was again; one that is up is made anew.
        for rename in ["ip link set a.b@UP down; ip link set a.b@UP name other", "ip link set a.b@UP name other"] {
            lab.sh_at(Place::Container(13), rename);
            lab.settle(&both);
            lab.sh_at(Place::Container(13), "ping -n -c 1 -W 30 10.89.1.12");
            assert_eq!(lab.settle(&both), [] as [&str; 0]);
        }
    });
}

#[test]
fn a_pair_for_which_a_bridge_has_no_port_is_told_as_any_other() {
    lab::run(|lab| {
        let bridge = network(1).bridge();
        lab.settle(&with(state(&[attachment(12, &[])]), &spare(13)));
        sh(&format!(
            "for n in $(seq 1022); do echo link add p$n master {bridge} type veth peer name q$n; done | ip -batch -"
        ));
        let both = state(&[attachment(12, &[]), attachment(13, &[])]);
        let error = lab.try_reconcile(Scope::from(attachment(13, &[])), &both).expect_err("there is no port left");
        assert!(error.is_full_bridge(), "{error}");
        sh("ip link del p1");
        lab.reconcile(Scope::from(attachment(13, &[])), &both);
        lab.sh_at(Place::Container(13), "ping -n -c 1 -W 30 10.89.1.12");
    });
}
