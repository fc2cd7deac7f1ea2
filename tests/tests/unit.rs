//! Fabric's unit under a real systemd, on a host that is booted for it.

use std::time::Duration;

use tests::Guest;

#[test]
fn systemd_starts_watches_and_replaces_netd_and_containers_go_on_until_the_host_ends() {
    let modules = ["veth", "bridge", "br_netfilter", "overlay", "nf_conntrack_netlink"];
    let guest = Guest::new(&modules, &[]).with_systemd();
    let (console, code) = guest.run(include_str!("../guests/unit.sh"), Duration::from_secs(600));
    assert_eq!(code, Some(0), "the guest's console:\n{console}");
    let (_, end) = console.split_once("== over").unwrap_or_else(|| panic!("the guest's console:\n{console}"));
    let (_, db) = end.split_once("== db\n").unwrap_or_else(|| panic!("the guest's console:\n{console}"));
    // Its neighbour's name, which it asked for at its end, tells that DNS and the network were still there.
    assert_eq!(db.trim_end(), "begun\nasked clock\nended well\nand so has clock", "the guest's console:\n{console}");
    // Otherwise systemd would wait for 90 s before it kills what is left.
    let (_, after) = end.split_once("everything has ended after ").expect("it is told");
    let seconds: u64 = after.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    assert!(seconds < 60, "the guest's console:\n{console}");
}
