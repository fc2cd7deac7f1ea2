//! Removals that nobody waits for: they are done all the same, and never to the harm of what comes next.

mod lab;

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
        let started = std::time::Instant::now();
        for one in &all {
            sweep(lab, one, &none);
        }
        println!("40 endpoints were out of reach after {:?}", started.elapsed());
        assert_eq!(lab.reconcile(Scope::Everything, &none), Vec::<String>::new(), "nothing was left to be removed");
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
