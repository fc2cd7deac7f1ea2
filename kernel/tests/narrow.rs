//! Reconciles of one endpoint or one network do that without a look at the others, and notice when the rules are gone.

mod lab;

use lab::{HOST, PEER, Place, attachment, network, sh, state};
use model::{Scope, State};

const WEB: Place = Place::Container(12);

fn intent() -> State {
    state(&[attachment(12, &["8080:80"]), attachment(13, &[])])
}

#[test]
fn one_endpoint_comes_and_goes_without_a_look_at_the_others() {
    lab::run(|lab| {
        lab.settle(&state(&[attachment(13, &[])]));
        let own = Scope::from(attachment(12, &["8080:80"]));
        let all = state(&[attachment(12, &["8080:80"]), attachment(13, &[])]);
        lab.reconcile(own.clone(), &all);
        assert_eq!(lab.reconcile(own.clone(), &all), Vec::<String>::new());
        lab.serve(WEB, 80);
        assert_eq!(lab.ask(Place::Lan, HOST, 8080), Some(PEER));
        let changes = lab.reconcile(own.clone(), &state(&[attachment(13, &[])]));
        assert_eq!(
            changes.iter().map(|change| change.split(' ').next().unwrap_or_default()).collect::<Vec<_>>(),
            ["set", "remove", "forget", "remove", "remove", "set"],
            "{changes:#?}"
        );
        assert_eq!(lab.settle(&state(&[attachment(13, &[])])), Vec::<String>::new(), "nothing is left");
        assert_eq!(sh("ls /run/fabric/netns"), "c13\n");
    });
}

#[test]
fn a_network_comes_and_goes_by_itself() {
    lab::run(|lab| {
        let scope = || Scope::Network(network(1));
        let other = state(&[attachment(22, &["8081:80"])]);
        lab.settle(&other);
        lab.serve(Place::Container(22), 80);
        let both = state(&[attachment(12, &[]), attachment(22, &["8081:80"])]);
        let difference = lab.wait(lab.kernel.difference(scope(), {
            let both = both.clone();
            move || both
        }));
        let made = lab.reconcile(scope(), &both);
        assert_eq!(difference.expect("it can be observed").iter().map(ToString::to_string).collect::<Vec<_>>(), made);
        assert_eq!(made.len(), 5, "{made:#?}");
        assert_eq!(lab.reconcile(scope(), &both), Vec::<String>::new());
        sh("ping -c 1 -W 30 10.89.1.1");
        assert_eq!(lab.reconcile(scope(), &other).len(), 3);
        assert_eq!(lab.settle(&other), Vec::<String>::new(), "nothing is left");
        assert_eq!(lab.ask(Place::Lan, HOST, 8081), Some(PEER), "the other network still works");
    });
}

#[test]
fn a_narrow_reconcile_puts_back_destroyed_rules() {
    lab::run(|lab| {
        lab.settle(&intent());
        sh("nft insert rule inet fabric forward drop");
        let own = Scope::from(attachment(13, &[]));
        let changes = lab.reconcile(own, &intent());
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(lab.settle(&intent()), Vec::<String>::new(), "the elements of others are still there");
    });
}

#[test]
fn narrow_reconciles_find_destroyed_rules_at_once_however_many_found_them_in_order() {
    lab::run(|lab| {
        lab.settle(&intent());
        let own = Scope::from(attachment(13, &[]));
        for damage in [
            "insert rule inet fabric forward drop",
            "flush chain bridge fabric port",
            "table inet fabric { flags dormant; }",
            "flush ruleset",
        ] {
            for _ in 0..2 {
                assert_eq!(lab.reconcile(own.clone(), &intent()), Vec::<String>::new());
                sh("nft 'add table inet mine; add chain inet mine input'");
            }
            sh(&format!("nft '{damage}'"));
            let changes = lab.reconcile(own.clone(), &intent());
            assert!(changes.len() == 1 && changes[0].starts_with("install table inet fabric"), "{damage}: {changes:?}");
            lab.reconcile(Scope::Firewall, &intent());
        }
    });
}
