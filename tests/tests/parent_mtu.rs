//! Networks on a parent, and the parent's MTU.

use tests::{Host, Namespace, eventually};

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
