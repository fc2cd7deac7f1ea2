//! Removals that nobody waits for: they are done all the same, and never to the harm of what comes next.

mod lab;

use std::time::Instant;

use kernel::Removal;
use lab::{HOST, Lab, PEER, Place, attachment, conntrack, sh, state};
use model::{Attachment, Scope, State};

fn scope(attachment: &Attachment) -> Scope {
    Scope::from(attachment.clone())
}

/// Brings one endpoint to what `state` says of it, and leaves to be swept what can be.
fn sweep(lab: &Lab, attachment: &Attachment, state: &State) {
    let state = state.clone();
    let swept = lab.kernel.reconcile(scope(attachment), Removal::Swept, move || state, |_| {});
    lab.wait(swept).expect("all changes apply");
}

#[test]
fn many_endpoints_removed_one_by_one_are_all_gone_with_their_flows() {
    lab::run(|lab| {
        let all: Vec<Attachment> = (12..52).map(|number| attachment(number, &[])).collect();
        lab.settle(&state(&all));
        lab.serve(Place::Lan, 9000);
        for number in [12, 30, 51] {
            assert_eq!(lab.ask(Place::Container(number), PEER, 9000), Some(HOST));
        }
        sh("ip link add bystander type bridge");
        assert_eq!(conntrack("dport=9000"), 3, "control: they are there");
        let none = state(&[]);
        let started = Instant::now();
        for one in &all {
            sweep(lab, one, &none);
        }
        println!("40 endpoints were out of reach after {:?}", started.elapsed());
        let mut left = lab.reconcile(Scope::Everything, &none);
        // Networks go with a scope of their own, which knows their gateways; here they go with their last endpoints.
        left.retain(|change| !change.starts_with("remove gateway"));
        assert_eq!(left, Vec::<String>::new(), "nothing was left to be removed");
        println!("and gone after {:?}", started.elapsed());
        assert_eq!(conntrack("dport=9000"), 0);
        assert_eq!(sh("ip -o link show group 0x66616273"), "");
        sh("ip link show bystander");
    });
}

#[test]
fn an_endpoint_that_comes_back_at_once_keeps_its_links_and_flows() {
    lab::run(|lab| {
        let one = attachment(12, &[]);
        let (with, without) = (state(std::slice::from_ref(&one)), state(&[]));
        lab.serve(Place::Lan, 9000);
        for _ in 0..5 {
            lab.reconcile(scope(&one), &with);
            assert_eq!(lab.ask(Place::Container(12), PEER, 9000), Some(HOST));
            assert_eq!(conntrack("10.89.1.12"), 1, "that of its predecessor is gone");
            sweep(lab, &one, &without);
        }
        lab.reconcile(scope(&one), &with);
        assert_eq!(lab.reconcile(Scope::Everything, &with), Vec::<String>::new());
    });
}

/// The container goes on in its namespace: nobody waits for the kernel, and yet nothing is to be seen of the endpoint.
#[test]
fn an_endpoint_of_a_container_that_goes_on_is_out_of_sight_at_once_and_its_place_is_free() {
    lab::run(|lab| {
        let beside = |number: u8| {
            let mut attachment = attachment(number, &[]);
            attachment.namespace = "c12".parse().expect("literal");
            attachment.endpoint.interface = "eth1".parse().expect("literal");
            attachment.default_routes.clear();
            attachment
        };
        let with = |attachments: &[Attachment]| {
            let mut state = state(attachments);
            for veth in state.veths.values_mut() {
                let inside = veth.inside.as_mut().expect("every pair has another end");
                inside.gateway = inside.gateway.filter(|_| inside.interface.as_str() == "eth0");
            }
            state
        };
        let (stays, all) = (attachment(12, &[]), [22, 23, 24, 25].map(beside));
        lab.serve(Place::Lan, 9000);
        for pair in all.windows(2) {
            let [old, new] = pair else { unreachable!("windows of two") };
            let [before, after] = [old, new].map(|second| with(&[stays.clone(), second.clone()]));
            lab.reconcile(Scope::Everything, &before);
            let scope = |second: &Attachment| Scope::Container {
                namespace: stays.namespace.clone(),
                attachments: vec![stays.clone(), second.clone()],
            };
            let gone = with(std::slice::from_ref(&stays));
            let started = Instant::now();
            let swept = lab.kernel.reconcile(scope(old), Removal::Swept, move || gone, |_| {});
            let report = lab.wait(swept).expect("all changes apply");
            let lost = started.elapsed();
            assert_eq!(lab.reconcile(scope(old), &with(std::slice::from_ref(&stays))), Vec::<String>::new());
            println!("an endpoint was out of sight after {lost:?}, and gone after {:?}", started.elapsed());
            let removed = format!("remove {}", old.endpoint.host_interface());
            assert!(report.changes.iter().all(|change| change.to_string() != removed), "nobody waits for the kernel");
            let links = lab.sh_at(Place::Container(12), "ip -o link; ip -4 -o address; ip route");
            assert!(links.contains("eth0") && !links.contains("eth1"), "{links}");
            assert!(!sh("ip -o link").contains(old.endpoint.host_interface().as_str()));
            assert_eq!(lab.ask(Place::Container(12), PEER, 9000), Some(HOST), "the rest goes on");
            let made = lab.reconcile(scope(new), &after);
            assert!(made.iter().any(|change| change.contains("configure eth1 in c12")), "{made:?}");
            assert_eq!(lab.reconcile(scope(new), &after), Vec::<String>::new());
        }
    });
}
