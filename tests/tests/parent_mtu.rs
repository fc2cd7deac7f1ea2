//! Networks on a parent have its MTU and follow it, and none gets a larger one.

use std::time::{Duration, Instant};

use tests::{Attached, Host, Namespace, PATIENCE, difference, eventually, within};

const SLEEP: [&str; 2] = ["sleep", "1000"];

fn create(host: &Host, name: &str, parent: &str, subnet: &str, more: &[&str]) {
    let parent = format!("parent={parent}");
    let basic = ["network", "create", name, "--driver", "macvlan", "--opt", &parent, "--subnet", subnet];
    host.ok(&[&basic[..], more].concat());
}

fn set(host: &Host, parent: &str, mtu: &str) {
    host.namespace().run(&["ip", "link", "set", parent, "mtu", mtu]);
}

fn mtu(inside: &Namespace, interface: &str) -> Option<String> {
    let shown = inside.try_run(&["ip", "-o", "link", "show", interface]);
    let after = shown.stdout.split_once(" mtu ")?.1;
    after.split_whitespace().next().map(str::to_owned)
}

/// The network's and that of the container's first interface.
fn mtus(host: &Host, network: &str, container: &Attached) -> [Option<String>; 2] {
    let shown = host.json(&["network", "inspect", network])["mtu"].to_string();
    [Some(shown), mtu(&container.namespace(), "eth0")]
}

#[track_caller]
fn follows(host: &Host, network: &str, container: &Attached, expected: &str) {
    let has = || mtus(host, network, container).iter().all(|mtu| mtu.as_deref() == Some(expected));
    eventually("the network follows its parent", || has().then_some(()));
}

#[test]
fn networks_follow_the_mtu_of_their_parents_and_fixed_ones_do_not() {
    let host = Host::new();
    let _lans = [host.lan(), host.lan()];
    set(&host, "lan1", "1450");
    create(&host, "wire", "lan1", "198.51.100.0/24", &["--ip-range", "198.51.100.128/25"]);
    create(&host, "fixed", "lan1", "10.7.0.0/24", &["--mtu", "1300"]);
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "wire", &["--network", "fixed"], &SLEEP);
    let inside = api.namespace();
    follows(&host, "wire", &api, "1450");
    assert_eq!(mtu(&inside, "eth1").as_deref(), Some("1300"));
    let mut took = Vec::new();
    for parent in ["1350", "1500", "1350", "1500", "1350"] {
        set(&host, "lan1", parent);
        let begun = Instant::now();
        follows(&host, "wire", &api, parent);
        took.push(begun.elapsed());
    }
    // The daemon is told: see `networks_follow_the_mtu_of_the_uplink_and_fixed_ones_do_not`.
    assert!(took[1..].iter().any(|took| *took < Duration::from_secs(5)), "{took:?}");
    assert_eq!(mtu(&inside, "eth1").as_deref(), Some("1300"));
    assert_eq!(host.json(&["network", "inspect", "web"])["mtu"], 1500, "its uplink is another interface");
    // Now that the parent's is smaller, an interface on it can be made anew all the same.
    inside.run(&["ip", "link", "del", "eth0"]);
    host.ok(&["doctor", "--fix"]);
    follows(&host, "wire", &api, "1350");
    host.ok(&["restart", "-t", "0", "api"]);
    let api = host.attached("api");
    follows(&host, "wire", &api, "1350");
    host.assert_healthy();
    // What changes while nobody looks is seen at the start.
    host.terminate();
    set(&host, "lan1", "1400");
    host.start();
    follows(&host, "wire", &api, "1400");
    host.ok(&["network", "update", "wire", "--mtu", "1380"]);
    follows(&host, "wire", &api, "1380");
    set(&host, "lan1", "1500");
    let moved =
        within(Duration::from_millis(500), || (mtus(&host, "wire", &api)[0].as_deref() != Some("1380")).then_some(()));
    assert!(moved.is_none(), "one that a person fixed stays");
    host.ok(&["network", "update", "wire", "--mtu", "auto"]);
    follows(&host, "wire", &api, "1500");
    host.assert_healthy();
}

#[test]
fn a_larger_mtu_than_the_parent_has_is_refused() {
    let host = Host::new();
    let _lan = host.lan();
    create(&host, "wire", "lan0", "10.7.0.0/24", &["--mtu", "1400"]);
    host.run("api", "wire", &[], &SLEEP);
    let state = || host.kernel_state() + &format!("{:#}", host.json(&["network", "inspect", "wire"]));
    let hint = "give 1500 or less; a network that is created without an MTU has its parent's and follows it, and so \
                does one that is updated with `--mtu auto`";
    for (request, network) in [
        (&["network", "update", "wire", "--mtu", "1501"][..], "wire"),
        (&["network", "update", "wire", "--opt", "mtu=1501"], "wire"),
        (
            &[
                "network",
                "create",
                "other",
                "--driver",
                "macvlan",
                "--opt",
                "parent=lan0",
                "--subnet",
                "10.8.0.0/24",
                "--mtu",
                "1501",
            ],
            "other",
        ),
    ] {
        let before = state();
        let refused = host.fabric(request).expect_code(1);
        let error =
            format!("error: network `{network}` cannot have MTU 1501: its parent `lan0` has 1500\nhint: {hint}\n");
        assert_eq!(refused.stderr, error);
        let unchanged = within(PATIENCE, || (state() == before).then_some(()));
        assert!(unchanged.is_some(), "it changed something:\n{}", difference(&before, &state()));
    }
    host.ok(&["network", "update", "wire", "--mtu", "1500"]);
    // Somebody else made it smaller: all but the MTU can be changed, and whoever asks is told.
    set(&host, "lan0", "1200");
    host.ok(&["network", "update", "wire", "--label", "tier=back"]);
    let refused = host.fabric(&["network", "update", "wire", "--mtu", "1500"]).expect_code(1);
    assert!(refused.stderr.contains("its parent `lan0` has 1200"), "{refused}");
    let doctor = host.fabric(&["doctor"]);
    let told = ["network `wire`", "an MTU of 1500, and its parent `lan0` of 1200", "network update wire --mtu auto"];
    assert!(told.iter().all(|words| doctor.stdout.contains(words)), "{doctor}");
    // IPv6 cannot do with so little.
    let six = [
        "network",
        "create",
        "six",
        "--driver",
        "macvlan",
        "--opt",
        "parent=lan0",
        "--no-ipv4",
        "--subnet",
        "fd00:7::/64",
    ];
    assert_eq!(
        host.fabric(&six).expect_code(1).stderr,
        "error: network `six` cannot have MTU 1280: its parent `lan0` has 1200\n\
         hint: IPv6 takes an MTU of 1280: give `lan0` as much, or leave subnets of IPv6 out\n"
    );
    host.ok(&["network", "update", "wire", "--mtu", "auto"]);
    assert_eq!(host.json(&["network", "inspect", "wire"])["mtu"], 1200);
    host.assert_healthy();
}

#[test]
fn an_interface_that_cannot_be_mended_keeps_no_other_of_its_container_from_it() {
    let host = Host::new();
    let _lans = [host.lan(), host.lan()];
    create(&host, "large", "lan0", "10.7.0.0/24", &["--mtu", "1500"]);
    create(&host, "wire", "lan1", "10.8.0.0/24", &[]);
    let api = host.run("api", "large", &["--network", "wire"], &SLEEP);
    let inside = api.namespace();
    // The kernel gives no interface on a parent a larger MTU than the parent has.
    set(&host, "lan0", "1400");
    inside.run(&["ip", "link", "del", "eth0"]);
    inside.run(&["ip", "link", "del", "eth1"]);
    let doctor = host.fabric(&["doctor", "--fix"]);
    assert_ne!(doctor.code, 0, "{doctor}");
    eventually("the other is made anew", || mtu(&inside, "eth1").filter(|mtu| mtu == "1500"));
    assert_eq!(mtu(&inside, "eth0"), None, "the control: this one is not");
    set(&host, "lan0", "1500");
    host.ok(&["doctor", "--fix"]);
    eventually("so is this one", || mtu(&inside, "eth0").filter(|mtu| mtu == "1500"));
    host.assert_healthy();
}
