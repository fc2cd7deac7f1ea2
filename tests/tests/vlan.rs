//! Networks on VLANs of the host's interfaces.

use std::time::Duration;

use tests::{Guest, Host, PATIENCE, difference, within};

/// The module is loaded by the script, so that what happens without it is seen as well.
#[test]
fn a_kernel_with_vlans_makes_them_and_one_without_is_told_of() {
    let modules =
        ["veth", "bridge", "br_netfilter", "overlay", "macvlan", "ipvlan", "nf_conntrack_netlink", "garp", "mrp"];
    let guest = Guest::new(&modules, &["8021q"]);
    let (console, code) = guest.run(include_str!("../guests/vlan.sh"), Duration::from_secs(600));
    assert_eq!(code, Some(0), "the guest's console:\n{console}");
    assert!(console.contains("== over"), "the guest's console:\n{console}");
    let told = |line: &&str| ["error: ", "hint: "].iter().any(|start| line.starts_with(start));
    let refused: Vec<&str> = console.lines().filter(told).collect();
    let expected = "\
error: network `wire` cannot sit on `lan0.10`: this host's kernel has no VLANs (802.1Q)
hint: `modprobe 8021q` brings them, if the kernel was built with CONFIG_VLAN_8021Q
error: network `wire` cannot sit on `lan9.10`: this host has no interface `lan9` to make it on
hint: did you mean `lan0`? it has: lan0
error: network `wire` cannot sit on `lan0.4095`: VLANs have numbers from 1 to 4094
hint: `parent=eth0.10` has an interface made for VLAN 10 of `eth0`; the number has no zeros before it
error: network `wire` cannot have MTU 9000: its parent `lan0.10` has 1500
hint: give 1500 or less; a network that is created without an MTU has its parent's and follows it, and so does one that is \
updated with `--mtu auto`
error: network `wire` cannot sit on `lan0.10`: interface `blue` is for that VLAN already
hint: use it: `--opt parent=blue`
error: network `other` cannot sit on `lan0.10` as ipvlan mode l2 flag bridge: network `more` is there as macvlan mode bridge
hint: an interface of the host carries macvlan or ipvlan, and ipvlan in one mode and with one flag: choose another interface, \
or what network `more` has; `fabric network rm more` frees it
error: network `wire` cannot have MTU 1500: its parent `lan0.10` has 1400
hint: give 1400 or less; a network that is created without an MTU has its parent's and follows it, and so does one that is \
updated with `--mtu auto`";
    assert_eq!(refused, expected.lines().collect::<Vec<_>>());
}

/// Whatever this machine's kernel has: `ip` is asked beforehand.
#[test]
fn what_cannot_be_made_is_refused_before_anything_is_changed() {
    let host = Host::new();
    let _lan = host.lan();
    let known =
        host.namespace().try_run(&["ip", "link", "add", "link", "lan0", "name", "probe", "type", "vlan", "id", "9"]);
    if known.code == 0 {
        host.namespace().run(&["ip", "link", "del", "probe"]);
    }
    let state = || host.kernel_state() + &format!("{:#}", host.json(&["network", "ls"])) + &host.holdings().join("\n");
    let before = state();
    let hint_of_number =
        "`parent=eth0.10` has an interface made for VLAN 10 of `eth0`; the number has no zeros before it";
    let number = |parent: &str| {
        format!(
            "error: network `wire` cannot sit on `{parent}`: VLANs have numbers from 1 to 4094\nhint: {hint_of_number}\n"
        )
    };
    let mut cases = vec![
        ("lan0.0", 1, number("lan0.0")),
        ("lan0.4095", 1, number("lan0.4095")),
        ("lan0.010", 1, number("lan0.010")),
        ("lan0.99999999", 1, number("lan0.99999999")),
        (
            "lan9.10",
            1,
            "error: network `wire` cannot sit on `lan9.10`: this host has no interface `lan9` to make it on\n\
             hint: did you mean `lan0`? it has: lan0\n"
                .to_owned(),
        ),
        (
            "lo.10",
            1,
            "error: network `wire` cannot sit on `lo`, the loopback interface: nothing leaves the host by it\n\
             hint: it has: lan0\n"
                .to_owned(),
        ),
        (
            "lan0.blue",
            1,
            "error: network `wire` cannot sit on `lan0.blue`: this host has no such interface\nhint: it has: lan0\n"
                .to_owned(),
        ),
        (
            "enp129s0f1.4094",
            1,
            "error: network `wire` cannot sit on `enp129s0f1.4094`: this host has no interface `enp129s0f1` to make it \
             on\nhint: it has: lan0\n"
                .to_owned(),
        ),
        (
            "enp129s0f1n.4094",
            2,
            "error: network `wire` cannot have the option `parent`: `enp129s0f1n.4094` is not an interface name: 1 to 15 \
             printable characters without `/`, `:`, `%` and spaces\n"
                .to_owned(),
        ),
    ];
    if known.code != 0 {
        let missing = "error: network `wire` cannot sit on `lan0.10`: this host's kernel has no VLANs (802.1Q)\n\
             hint: `modprobe 8021q` brings them, if the kernel was built with CONFIG_VLAN_8021Q\n";
        cases.push(("lan0.10", 1, missing.to_owned()));
    }
    for (parent, code, expected) in cases {
        let option = format!("parent={parent}");
        let create =
            ["network", "create", "wire", "--driver", "macvlan", "--opt", &option, "--subnet", "198.51.100.0/24"];
        assert_eq!(host.fabric(&create).expect_code(code).stderr, expected, "{parent}");
        let unchanged = within(PATIENCE, || (state() == before).then_some(()));
        assert!(unchanged.is_some(), "{parent} changed something:\n{}", difference(&before, &state()));
    }
}
