//! What is told of changes that others make, and that nothing is told of our own.

mod lab;

use kernel::{Notice, Watch};
use lab::{ENOUGH, Lab, attachment, network, sh, state};
use model::{IfName, Scope, State};

fn intent() -> State {
    state(&[attachment(12, &["8080:80"]), attachment(13, &[])])
}

/// What is told, once this was.
fn told_of(lab: &Lab, watch: &mut Watch, expected: &Notice) -> Vec<Notice> {
    let mut notices = Vec::new();
    lab.wait(async {
        let all = async {
            while !notices.contains(expected) {
                notices.push(watch.next().await.expect("the kernel tells"));
            }
        };
        let _: Result<(), _> = tokio::time::timeout(ENOUGH, all).await;
    });
    notices.extend(lab.told(watch));
    notices
}

fn port() -> IfName {
    attachment(12, &[]).endpoint.host_interface()
}

#[test]
fn what_others_change_is_told() {
    lab::run(|lab| {
        lab.settle(&intent());
        let mut watch = lab.wait(lab.kernel.watch()).expect("a subscription");
        let (port, bridge) = (port(), network(1).bridge());
        for (damage, expected) in [
            ("nft flush ruleset".to_owned(), Notice::Rules),
            ("nft insert rule inet fabric forward accept".to_owned(), Notice::Rules),
            ("nft flush set inet fabric bridges".to_owned(), Notice::Rules),
            (format!("ip link set {port} down"), Notice::Interface(port.clone())),
            (format!("ip link set {port} nomaster"), Notice::Interface(port.clone())),
            (format!("ip link del {port}"), Notice::Interface(port.clone())),
            (format!("ip link set {bridge} down"), Notice::Interface(bridge.clone())),
            (format!("ip addr flush dev {bridge}"), Notice::Interface(bridge.clone())),
        ] {
            // An interface that is made anew may give itself an address of IPv6 before it is told not to.
            let before = lab.told(&mut watch);
            assert!(before.iter().all(|notice| *notice == Notice::Addresses), "before `{damage}`: {before:?}");
            sh(&damage);
            let notices = told_of(lab, &mut watch, &expected);
            assert!(notices.contains(&expected), "`{damage}`: {notices:?}");
            let repaired = lab.settle(&intent());
            assert!(!repaired.is_empty(), "`{damage}`");
            // They are put back by a process of their own.
            assert!(!lab.told(&mut watch).contains(&Notice::Rules), "`{damage}`");
        }
    });
}

#[test]
fn of_our_own_changes_nothing_is_told_but_what_is_gone() {
    lab::run(|lab| {
        lab.settle(&intent());
        let mut watch = lab.wait(lab.kernel.watch()).expect("a subscription");
        let all = [attachment(12, &["8080:80"]), attachment(13, &[]), attachment(22, &["8081:80"])];
        lab.reconcile(Scope::Network(network(2)), &state(&all));
        lab.reconcile(Scope::from(all[2].clone()), &state(&all));
        assert_eq!(lab.told(&mut watch), [], "made");
        lab.reconcile(Scope::Everything, &intent());
        let gone = [Notice::Interface(all[2].endpoint.host_interface()), Notice::Interface(network(2).bridge())];
        let notices = lab.told(&mut watch);
        assert!(notices.iter().all(|notice| gone.contains(notice)), "{notices:?}");
    });
}

#[test]
fn what_is_not_ours_is_not_told() {
    lab::run(|lab| {
        lab.settle(&intent());
        let mut watch = lab.wait(lab.kernel.watch()).expect("a subscription");
        sh("ip link add mine type bridge; ip addr add 10.90.0.1/24 dev mine; ip link set mine up; ip link del mine");
        let notices = lab.told(&mut watch);
        let is_addresses = |notice: &Notice| *notice == Notice::Addresses;
        assert!(!notices.is_empty() && notices.iter().all(is_addresses), "that there is one, and no more: {notices:?}");
        sh("nft add table ip fabric; nft delete table ip fabric; nft add table inet mine; nft delete table inet mine");
        let notices = lab.told(&mut watch);
        assert!(
            notices.iter().all(|notice| *notice == Notice::Judges),
            "whose rules they are, and no more: {notices:?}"
        );
    });
}

#[test]
fn lost_notifications_are_told_as_everything() {
    lab::run(|lab| {
        lab.settle(&intent());
        let mut watch = lab.wait(lab.kernel.watch()).expect("a subscription");
        let numbers: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
        let elements = numbers.join(", ");
        let rules = format!("table inet mine {{\n set many {{\n type mark\n elements = {{ {elements} }}\n }}\n}}\n");
        std::fs::write("/run/mine.nft", rules).expect("there is room");
        // Each round is told in several megabytes, which nobody reads.
        for _ in 0..20 {
            sh("nft -f /run/mine.nft; nft delete table inet mine");
        }
        sh("nft flush ruleset");
        let notices = told_of(lab, &mut watch, &Notice::Everything);
        assert!(notices.contains(&Notice::Everything), "{notices:?}");
        lab.settle(&intent());
        sh("nft flush ruleset");
        assert!(told_of(lab, &mut watch, &Notice::Rules).contains(&Notice::Rules), "and it goes on");
    });
}
