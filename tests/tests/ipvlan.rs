//! Networks whose containers share the MAC address of an interface of the host's.

use std::time::Duration;

use tests::{Guest, Host, difference};

/// The module is loaded by the script, so that what happens without it is seen as well.
#[test]
fn a_kernel_with_ipvlan_makes_all_of_it_and_one_without_is_told_of() {
    let modules = ["veth", "bridge", "br_netfilter", "overlay", "macvlan", "nf_conntrack_netlink"];
    let guest = Guest::new(&modules, &["ipvlan"]);
    let (console, code) = guest.run(include_str!("../guests/ipvlan.sh"), Duration::from_secs(600));
    assert_eq!(code, Some(0), "the guest's console:\n{console}");
    assert!(console.trim_end().contains("== over"), "the guest's console:\n{console}");
    // Identifiers of containers begin with any letter.
    let told = |line: &&str| ["$ ", "error: ", "hint: "].iter().any(|start| line.starts_with(start));
    let refused: Vec<&str> = console.lines().filter(told).collect();
    let expected = "\
$ fabric network create wire --driver ipvlan --opt parent=lan0 --subnet 192.0.2.0/24 --ip-range 192.0.2.128/25 --subnet \
2001:db8::/64 --gateway 192.0.2.10 --gateway 2001:db8::10
error: network `wire` cannot have driver ipvlan: this host's kernel does not have it
hint: `modprobe ipvlan` brings it, if the kernel was built with CONFIG_IPVLAN; `--driver macvlan` does without it
$ fabric network create other --driver macvlan --opt parent=lan0 --subnet 198.51.100.0/24
error: network `other` cannot sit on `lan0` as macvlan mode bridge: network `wire` is there as ipvlan mode l2 flag bridge
hint: an interface of the host carries macvlan or ipvlan, and ipvlan in one mode and with one flag: choose another interface, \
or what network `wire` has; `fabric network rm wire` frees it
$ fabric network create other --driver ipvlan --opt parent=lan0 --opt mode=l3 --subnet 198.51.100.0/24
error: network `other` cannot sit on `lan0` as ipvlan mode l3 flag bridge: network `wire` is there as ipvlan mode l2 flag bridge
hint: an interface of the host carries macvlan or ipvlan, and ipvlan in one mode and with one flag: choose another interface, \
or what network `wire` has; `fabric network rm wire` frees it
$ fabric run --network wire:mac=02:00:00:00:00:01 busybox true
error: the endpoint on network `wire` cannot have MAC address 02:00:00:00:00:01: with driver ipvlan it has that of `lan0`
hint: leave it out; `--driver macvlan` gives each endpoint its own";
    assert_eq!(refused, expected.lines().collect::<Vec<_>>());
}

/// Whatever this machine's kernel has: `ip` is asked beforehand.
#[test]
fn this_kernel_is_asked_before_anything_is_changed() {
    let host = Host::new();
    let _lan = host.lan();
    let known = host.namespace().try_run(&["ip", "link", "add", "link", "lan0", "name", "probe", "type", "ipvlan"]);
    if known.code == 0 {
        host.namespace().run(&["ip", "link", "del", "probe"]);
    }
    let state = || host.kernel_state() + &format!("{:#}", host.json(&["network", "ls"])) + &host.holdings().join("\n");
    let before = state();
    let create =
        ["network", "create", "wire", "--driver", "ipvlan", "--opt", "parent=lan0", "--subnet", "192.0.2.0/24"];
    let made = host.fabric(&create);
    if known.code == 0 {
        assert_eq!(made.code, 0, "{made}");
        host.ok(&["network", "rm", "wire"]);
    } else {
        assert_eq!(
            made.expect_code(1).stderr,
            "error: network `wire` cannot have driver ipvlan: this host's kernel does not have it\n\
             hint: `modprobe ipvlan` brings it, if the kernel was built with CONFIG_IPVLAN; `--driver macvlan` does \
             without it\n"
        );
    }
    let after = state();
    assert_eq!(after, before, "something changed:\n{}", difference(&before, &after));
}
