//! Damage from outside is repaired, what is not Fabric's stays as it is, and what is no longer desired goes.

mod lab;

use kernel::KernelError;
use lab::{HOST, Lab, PEER, Place, address, attachment, network, sh, state};
use model::{Scope, State};

const WEB: Place = Place::Container(12);

fn bridge() -> String {
    network(1).bridge().to_string()
}

fn port() -> String {
    attachment(12, &[]).endpoint.host_interface().to_string()
}

fn intent() -> State {
    state(&[attachment(12, &["8080:80"]), attachment(13, &[])])
}

/// Does damage, sees it repaired by exactly these changes, and the network work again.
fn repairs(damage: impl Fn(&Lab) + Send + Sync, expected: &[&str]) {
    lab::run(|lab| {
        lab.settle(&intent());
        lab.serve(WEB, 80);
        assert_eq!(lab.ask(Place::Lan, HOST, 8080), Some(PEER), "it works before");
        damage(lab);
        let changes = lab.settle(&intent());
        let names = |text: &str| text.replace("BRIDGE", &bridge()).replace("PORT", &port());
        let matches = changes.len() == expected.len()
            && changes.iter().zip(expected).all(|(change, start)| change.starts_with(&names(start)));
        assert!(matches, "{changes:#?}");
        assert_eq!(lab.ask(Place::Lan, HOST, 8080), Some(PEER), "it works again");
        assert_eq!(lab.ask(Place::Container(13), address(12), 80), Some(address(13)));
        assert_eq!(lab.ask(Place::Host, [127, 0, 0, 1].into(), 8080), Some(lab::gateway(1)));
    });
}

#[test]
fn a_deleted_veth() {
    repairs(
        |_| drop(sh(&format!("ip link del {}", port()))),
        &[
            "create veth PORT",
            "set PORT ipv6 off",
            "set PORT hairpin on fixed 02:00:00:00:00:0c alias",
            "configure eth0 in c12",
        ],
    );
}

#[test]
fn an_mtu_that_grows_lets_nothing_speak_ipv6() {
    lab::run(|lab| {
        for mtu in [1500, 1000, 1500] {
            let mut intent = intent();
            intent.bridges.values_mut().for_each(|bridge| bridge.mtu = mtu);
            intent.veths.values_mut().for_each(|veth| veth.mtu = mtu);
            lab.settle(&intent);
        }
    });
}

#[test]
fn a_deleted_bridge() {
    repairs(
        |_| drop(sh(&format!("ip link del {}", bridge()))),
        &[
            "create bridge BRIDGE",
            "set BRIDGE ipv6 off",
            "set BRIDGE loopback routing on",
            "add address 10.89.1.1/24 to BRIDGE",
            "set BRIDGE alias",
            "set PORT master BRIDGE",
            "reacquaint eth0 in c12",
            "set fe-",
            "reacquaint eth0 in c13",
        ],
    );
}

#[test]
fn a_port_that_is_down() {
    repairs(|_| drop(sh(&format!("ip link set {} down", port()))), &["set PORT up", "reacquaint eth0 in c12"]);
}

#[test]
fn a_flushed_ruleset() {
    repairs(|_| drop(sh("nft flush ruleset")), &["install table inet fabric with"]);
}

#[test]
fn an_added_rule() {
    repairs(|_| drop(sh("nft insert rule inet fabric forward drop")), &["install table inet fabric with"]);
}

#[test]
fn a_table_put_to_sleep() {
    repairs(|_| drop(sh("nft 'table inet fabric { flags dormant; }'")), &["install table inet fabric with"]);
}

#[test]
fn a_removed_element() {
    repairs(
        |_| {
            sh("nft delete element inet fabric published_address { tcp . 8080 }
                nft delete element inet fabric published_port { tcp . 8080 }");
        },
        &["add publish tcp *:8080"],
    );
}

#[test]
fn an_element_that_leads_elsewhere() {
    repairs(
        |_| {
            sh("nft delete element inet fabric published_address { tcp . 8080 }
                nft add element inet fabric published_address { tcp . 8080 : 10.89.1.99 }");
        },
        &["remove publish tcp *:8080 -> 10.89.1.99:80", "forget flows", "add publish tcp *:8080 -> 10.89.1.12:80"],
    );
}

#[test]
fn half_an_element() {
    let halves = [("published_address", "0.0.0.0:80"), ("published_port", "10.89.1.12:0")];
    for (map, left) in halves {
        repairs(
            |_| drop(sh(&format!("nft delete element inet fabric {map} {{ tcp . 8080 }}"))),
            &[
                &format!("remove publish tcp *:8080 -> {left}"),
                "forget flows",
                "add publish tcp *:8080 -> 10.89.1.12:80",
            ],
        );
    }
}

#[test]
fn half_an_element_that_leads_elsewhere() {
    repairs(
        |_| {
            sh("nft flush map inet fabric published_address; nft flush map inet fabric published_port
                nft add element inet fabric published_port { tcp . 8080 : 81 }");
        },
        &["remove publish tcp *:8080 -> 0.0.0.0:81", "forget flows", "add publish tcp *:8080 -> 10.89.1.12:80"],
    );
}

#[test]
fn a_flushed_address() {
    repairs(
        |lab| drop(lab.sh_at(WEB, "ip addr flush dev eth0; ip addr add 10.89.1.77/24 dev eth0")),
        &["configure eth0 in c12"],
    );
}

#[test]
fn a_bridge_without_its_address() {
    repairs(|_| drop(sh(&format!("ip addr flush dev {}", bridge()))), &["add address 10.89.1.1/24 to BRIDGE"]);
}

#[test]
fn links_down() {
    repairs(
        |lab| {
            lab.sh_at(WEB, "ip link set eth0 down");
            sh(&format!("ip link set {} down; ip link set {} down", port(), bridge()));
        },
        &["set BRIDGE up", "set PORT up", "configure eth0 in c12", "reacquaint eth0 in c13"],
    );
}

#[test]
fn a_bridge_that_is_down() {
    repairs(
        |_| drop(sh(&format!("ip link set {} down", bridge()))),
        &["set BRIDGE up", "reacquaint eth0 in c12", "reacquaint eth0 in c13"],
    );
}

#[test]
fn a_port_that_no_longer_reflects() {
    repairs(|_| drop(sh(&format!("ip link set {} type bridge_slave hairpin off", port()))), &["set PORT hairpin on"]);
}

#[test]
fn wrong_mtus() {
    repairs(
        |lab| {
            lab.sh_at(WEB, "ip link set eth0 mtu 1400");
            sh(&format!("ip link set {} mtu 1300", port()));
        },
        &["set BRIDGE mtu 1500", "set PORT mtu 1500", "configure eth0 in c12"],
    );
}

#[test]
fn wrong_settings() {
    repairs(
        |lab| {
            lab.sh_at(WEB, "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo down");
            let conf = "/proc/sys/net";
            sh(&format!(
                "echo 0 > {conf}/ipv6/conf/{0}/disable_ipv6; echo 0 > {conf}/ipv4/conf/{0}/route_localnet
                 ip link set {0} alias nonsense; ip link set {1} nomaster",
                bridge(),
                port(),
            ));
        },
        &[
            "prepare namespace c12",
            "set BRIDGE ipv6 off",
            "set BRIDGE loopback routing on",
            "set BRIDGE alias",
            "set PORT master BRIDGE hairpin on",
            "configure eth0 in c12",
        ],
    );
}

#[test]
fn a_namespace_that_was_unpinned() {
    lab::run(|lab| {
        lab.settle(&intent());
        sh("umount /run/fabric/netns/c12");
        let changes = lab.settle(&intent());
        assert_eq!(changes[0], "create namespace c12");
        lab.serve(WEB, 80);
        assert_eq!(lab.ask(Place::Lan, HOST, 8080), Some(PEER));
    });
}

/// Everything that other programs could have configured, as text.
fn foreign() -> String {
    let ours = format!("{}|fe-", bridge());
    sh(&format!(
        "ip -d link show | grep -vE '{ours}' | sed 's/ifindex [0-9]*//' | grep -A1 -E ' (lan0|mine|fb-mine)' 
         ip addr show dev mine; ip addr show dev fb-mine; ip route show table 77; ip rule
         nft list table inet mine; nft list table ip fabric
         for f in /proc/sys/net/ipv4/conf/lan0/*; do cat $f 2> /dev/null || true; done"
    ))
}

#[test]
fn what_others_made_stays() {
    lab::run(|lab| {
        sh("ip link add mine type bridge; ip addr add 10.90.0.1/24 dev mine; ip link set mine up
            ip link add fb-mine type bridge
            ip rule add from 10.90.0.0/24 table 77; ip route add 10.91.0.0/24 dev mine table 77
            nft add table inet mine; nft add chain inet mine input '{ type filter hook input priority 0; }'
            nft add rule inet mine input tcp dport 1 drop
            nft add table ip fabric; nft add set ip fabric bridges '{ type ifname; }'
            echo 1 > /proc/sys/net/ipv4/ip_forward; while ip addr show mine | grep -q tentative; do sleep 0.1; done");
        let before = foreign();
        lab.settle(&intent());
        assert_eq!(foreign(), before);
        sh(&format!("ip addr add 10.92.0.1/24 dev {}; ip -n lan link set eth0 mtu 1400", bridge()));
        lab.settle(&intent());
        assert!(sh(&format!("ip addr show dev {}", bridge())).contains("10.92.0.1/24"), "an address of someone else's");
        lab.settle(&State::empty());
        assert_eq!(foreign(), before);
        assert_eq!(sh("ip link show | grep -cE ' (fe-|fb-[0-9])' || true"), "0\n");
        assert_eq!(sh("ls /run/fabric/netns"), "");
    });
}

#[test]
fn an_interface_that_is_not_ours_is_an_error_and_the_rest_goes_on() {
    lab::run(|lab| {
        sh(&format!("ip link add {} type bridge; ip link set {0} mtu 1400", bridge()));
        let before = sh(&format!("ip link show {}", bridge()));
        let both = state(&[attachment(12, &["8080:80"]), attachment(22, &["8081:80"])]);
        let error = lab.try_reconcile(Scope::Everything, &both).expect_err("the name is taken");
        let KernelError::Changes(failures) = &error else { panic!("{error}") };
        assert_eq!(failures.len(), 1, "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("interface {} exists and is not Fabric's", bridge())), "{text}");
        assert_eq!(sh(&format!("ip link show {}", bridge())), before);
        lab.serve(Place::Container(22), 80);
        assert_eq!(lab.ask(Place::Lan, HOST, 8081), Some(PEER), "the other network works");
    });
}

#[test]
fn without_nft_the_error_names_the_package() {
    lab::run(|lab| {
        sh("mkdir /run/empty; for d in /usr/sbin /sbin; do mount --bind /run/empty $d; done");
        let error = lab.try_reconcile(Scope::Everything, &intent()).expect_err("nft is hidden");
        assert!(error.to_string().contains("install the package `nftables`"), "{error}");
    });
}

#[test]
fn the_host_tells_what_its_routes_occupy_and_how_large_its_packets_are() {
    lab::run(|lab| {
        lab.settle(&intent());
        sh("ip route add 10.8.0.0/16 via 192.0.2.2; ip route add 100.64.0.0/10 via 192.0.2.2 table 52
            ip route add blackhole 10.7.0.0/16; ip link set lan0 mtu 1450
            ip address add fd00:8::1/64 dev lan0 nodad; ip route add fd00:9::/48 via fd00:8::2");
        let routes = lab.wait(lab.kernel.host_routes()).expect("routes");
        let routes: Vec<_> = routes.iter().map(|(interface, net)| format!("{net} {interface}")).collect();
        let through_lan =
            ["10.8.0.0/16 lan0", "100.64.0.0/10 lan0", "192.0.2.0/24 lan0", "fd00:8::/64 lan0", "fd00:9::/48 lan0"];
        let through_loopback = ["10.7.0.0/16 lo", "127.0.0.0/8 lo", "::1/128 lo"];
        assert_eq!(routes, [&through_lan[..], &through_loopback].concat());
        assert_eq!(lab.wait(lab.kernel.uplink_mtu()).expect("mtu"), 1450);
        sh("ip route del default");
        assert_eq!(lab.wait(lab.kernel.uplink_mtu()).expect("mtu"), 1500);
    });
}

#[test]
fn namespaces_can_be_made_ahead() {
    lab::run(|lab| {
        let name: model::NamespaceName = "pool-1".parse().expect("literal");
        for _ in 0..2 {
            lab.wait(lab.kernel.make_namespace(name.clone())).expect("made, or already there");
        }
        assert_eq!(sh("grep -c netns/pool-1 /proc/self/mountinfo"), "1\n");
        let settings = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range";
        let inside = format!("nsenter --net=/run/fabric/netns/pool-1 sh -c '{settings}; ip -br link show lo up'");
        assert!(sh(&inside).starts_with("0\n0\t2147483647\nlo "), "{}", sh(&inside));
        let mut wanted = State::empty();
        wanted.namespaces.insert(name, model::Namespace::Ready);
        let other: model::NamespaceName = "alone".parse().expect("literal");
        let mut alone = State::empty();
        alone.namespaces.insert(other.clone(), model::Namespace::Ready);
        let scope = Scope::Container { namespace: other, attachments: Vec::new() };
        assert_eq!(lab.reconcile(scope.clone(), &alone).last().map(String::as_str), Some("create namespace alone"));
        assert_eq!(lab.reconcile(scope, &wanted), ["remove namespace alone"]);
        assert_eq!(lab.settle(&wanted), Vec::<String>::new());
    });
}
