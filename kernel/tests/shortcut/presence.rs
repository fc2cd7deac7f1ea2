//! When the shortcut is there: put back where it is damaged, gone where somebody else looks at what passes a bridge.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use kernel::{Kernel, Notice};
use model::{Barrier, Scope, State, Switch};

use crate::{
    lab::{self, Lab, Place, address, attachment, bridges_call_iptables, sh, state, with_passages},
    port, spliced, takes, tcp,
};

/// How many octets have left by the host's end of a container's pair: those of frames that come by the bridge.
fn bridged(number: u8) -> u64 {
    let path = format!("/sys/class/net/{}/statistics/tx_bytes", port(number));
    // The mount of /sys shows another namespace.
    let shown = sh(&format!("mount -t sysfs sysfs /sys && cat {path} && umount /sys"));
    shown.trim().parse().expect("a number")
}

#[test]
fn whatever_others_do_to_it_is_mended_and_what_is_nobodys_goes() {
    lab::run(|lab| {
        let all = spliced(&[12, 13]);
        let installed = "install the shortcut for 2 ports";
        assert_eq!(lab.settle(&all).last().map(String::as_str), Some(installed));
        let open = |number| format!("open a passage for {}: {}", port(number), lab::passage(number));
        let one = port(12);
        let filter = "bpf bytecode '1,6 0 0 0'";
        for (damage, mended) in [
            ("tc filter del block 64177".to_owned(), vec![installed.to_owned()]),
            (format!("tc filter add block 64177 prio 2 {filter}"), vec![installed.to_owned()]),
            (
                format!("tc filter del block 64177; tc filter add block 64177 prio 1 {filter}"),
                vec![installed.to_owned()],
            ),
            (format!("tc qdisc del dev {one} clsact"), vec![open(12)]),
        ] {
            for scope in [Scope::Everything, Scope::Shortcut] {
                sh(&damage);
                assert_eq!(lab.reconcile(scope, &all), mended, "{damage}");
                assert!(takes(lab, 12, &tcp(12, 13)), "{damage}");
                assert_eq!(lab.reconcile(Scope::Everything, &all), Vec::<String>::new(), "{damage}");
            }
        }
        // As after a crash: the next daemon knows only what the kernel tells.
        lab.kernel = Kernel::open(Path::new(lab::RUN), lab::LIMIT, Switch::On).expect("the kernel opens");
        assert_eq!(lab.reconcile(Scope::Everything, &all), Vec::<String>::new(), "nothing is remembered elsewhere");
        let index = sh(&format!("ip -o link show {one}")).split(':').next().expect("it begins so").to_owned();
        sh(&format!("ip link del {one}"));
        let changes = lab.reconcile(Scope::Everything, &all);
        let cleared = "clear the shortcut of interface number ";
        let stray = changes.iter().find(|change| change.starts_with(cleared)).expect("somebody is gone");
        assert!(stray.starts_with(&format!("{cleared}{index}, ")), "{stray}");
        assert_eq!(changes.last(), Some(&open(12)));
        assert!(takes(lab, 12, &tcp(12, 13)) && takes(lab, 13, &tcp(13, 12)), "the new pair takes it");
        let state = with_passages(&all, &[13]);
        lab.kernel = Kernel::open(Path::new(lab::RUN), lab::LIMIT, Switch::On).expect("the kernel opens");
        let closed = format!("close the passage of {one}");
        assert_eq!(lab.reconcile(Scope::Everything, &state), [closed], "what the last one left to be done");
    });
}

#[test]
fn a_port_that_somebody_uses_otherwise_is_left_alone() {
    lab::run(|lab| {
        let all = spliced(&[12, 13, 14]);
        lab.settle(&all);
        let one = port(13);
        for (use_it, leave_it) in [
            (format!("tc qdisc add dev {one} root tbf rate 1mbit burst 10k latency 1s"), "tc qdisc del dev PORT root"),
            (format!("tc qdisc del dev {one} clsact; tc qdisc add dev {one} clsact"), "tc qdisc del dev PORT clsact"),
            (format!("tc qdisc del dev {one} clsact; tc qdisc add dev {one} ingress"), "tc qdisc del dev PORT ingress"),
        ] {
            sh(&use_it);
            let closed = format!("close the passage of {one}");
            assert_eq!(lab.reconcile(Scope::from(attachment(13, &[])), &all), [closed], "{use_it}");
            assert!(!takes(lab, 12, &tcp(12, 13)) && takes(lab, 12, &tcp(12, 14)), "{use_it}");
            assert_eq!(lab.reconcile(Scope::Everything, &all), Vec::<String>::new(), "{use_it}");
            sh(&leave_it.replace("PORT", one.as_str()));
            assert_eq!(lab.reconcile(Scope::from(attachment(13, &[])), &all).len(), 1, "{use_it}");
            assert!(takes(lab, 12, &tcp(12, 13)) && takes(lab, 13, &tcp(13, 12)), "{use_it}");
        }
    });
}

#[test]
fn a_port_that_somebody_keeps_apart_is_joined_and_takes_it_again() {
    lab::run(|lab| {
        let all = spliced(&[12, 13]);
        lab.settle(&all);
        let one = port(13);
        sh(&format!("bridge link set dev {one} isolated on"));
        let changes = lab.reconcile(Scope::Everything, &all);
        assert_eq!(changes, [format!("close the passage of {one}"), format!("set {one} isolated off")]);
        lab.settle(&all);
        assert!(takes(lab, 12, &tcp(12, 13)) && takes(lab, 13, &tcp(13, 12)));
    });
}

/// What a reconcile changes, but for questions for names.
fn about_frames(lab: &Lab, scope: Scope, state: &State) -> Vec<String> {
    let mut changes = lab.reconcile(scope, state);
    changes.retain(|change| !change.contains("questions for names"));
    changes
}

#[test]
fn it_is_off_as_long_as_rules_of_others_look_at_bridged_frames() {
    lab::run(|lab| {
        let all = spliced(&[12, 13]);
        lab.settle(&all);
        let chain = |family: &str, hook: &str, more: &str| {
            format!("add table {family} t; add chain {family} t c {{ type filter hook {hook} priority 0; {more} }};")
        };
        let rule = |family: &str| format!("add rule {family} t c counter");
        let at = |device: &str| format!("ingress device {device}");
        let (bridge, inet, ip6) = (rule("bridge"), rule("inet"), rule("ip6"));
        let with = |chain: String, rule: &str| chain + rule;
        for (iptables, script, judged) in [
            ("0", chain("bridge", "forward", ""), false),
            ("0", with(chain("bridge", "forward", ""), &bridge), true),
            ("0", with(chain("bridge", "prerouting", ""), &bridge), true),
            ("0", with(chain("bridge", "postrouting", ""), &bridge), true),
            ("0", with(chain("bridge", "input", ""), &bridge), false),
            ("0", chain("bridge", "forward", "policy drop;"), true),
            ("0", with(chain("inet", "forward", ""), &inet), false),
            ("1", chain("inet", "forward", ""), false),
            ("1", with(chain("inet", "forward", ""), &inet), true),
            ("1", with(chain("inet", "input", ""), &inet), false),
            ("1", with(chain("ip6", "prerouting", ""), &ip6), true),
            ("1", chain("inet", "postrouting", "policy drop;"), true),
            ("0", with(chain("netdev", &at("lan0"), ""), &rule("netdev")), false),
            ("0", with(chain("netdev", &at(port(12).as_str()), ""), &rule("netdev")), true),
        ] {
            bridges_call_iptables(iptables);
            sh(&format!("cd /proc/sys/net/bridge 2> /dev/null && echo {iptables} > bridge-nf-call-ip6tables || true"));
            sh(&format!("nft '{script}'"));
            let family = script.split(' ').nth(2).expect("the third word");
            // What is believed undisturbed, and what is looked at anew.
            for scope in [Scope::from(attachment(12, &[])), Scope::Shortcut, Scope::Everything] {
                let removed: &[&str] =
                    if judged && matches!(scope, Scope::Container { .. }) { &["remove the shortcut"] } else { &[] };
                assert_eq!(about_frames(lab, scope, &all), removed, "{script}");
                assert_eq!(takes(lab, 12, &tcp(12, 13)), !judged, "{script}");
            }
            let barrier = lab.wait(lab.kernel.barrier()).expect("can be asked");
            let named = format!("table {family} t, chain c");
            assert_eq!(barrier, judged.then_some(Barrier::Judged { by: named }), "{script}");
            sh(&format!("nft delete table {family} t"));
            lab.reconcile(Scope::Shortcut, &all);
            assert!(takes(lab, 12, &tcp(12, 13)), "it is back after {script}");
        }
    });
}

#[test]
fn iptables_of_old_is_noticed() {
    lab::run(|lab| {
        let all = spliced(&[12, 13]);
        lab.settle(&all);
        bridges_call_iptables("1");
        assert!(lab.reconcile(Scope::Shortcut, &all).is_empty());
        sh("iptables-legacy -A FORWARD -j ACCEPT");
        assert_eq!(about_frames(lab, Scope::Shortcut, &all), ["remove the shortcut"]);
        bridges_call_iptables("0");
        assert_eq!(lab.reconcile(Scope::Shortcut, &all).len(), 1, "it is not asked then");
        sh("iptables-legacy -F");
    });
}

#[test]
fn changes_to_rules_of_others_are_told() {
    lab::run(|lab| {
        lab.settle(&spliced(&[12, 13]));
        let mut watch = lab.wait(lab.kernel.watch()).expect("the kernel tells");
        for change in [
            "add table bridge t",
            "add chain bridge t c { type filter hook forward priority 0; }",
            "delete table bridge t",
        ] {
            sh(&format!("nft '{change}'"));
            let told = lab.wait(async { tokio::time::timeout(Duration::from_secs(60), watch.next()).await });
            assert_eq!(told.expect("at once").expect("the kernel tells"), Notice::Judges, "{change}");
        }
    });
}

#[test]
fn who_turns_it_off_has_it_no_more() {
    lab::run(|lab| {
        let all = spliced(&[12, 13]);
        lab.settle(&all);
        lab.kernel = Kernel::open(Path::new(lab::RUN), lab::LIMIT, Switch::Off).expect("the kernel opens");
        // What the last one left is gone before anything else is looked at.
        assert!(!takes(lab, 12, &tcp(12, 13)));
        assert_eq!(lab.reconcile(Scope::Everything, &all), Vec::<String>::new());
        assert_eq!(lab.wait(lab.kernel.barrier()).expect("can be asked"), Some(Barrier::TurnedOff));
        lab.kernel = Kernel::open(Path::new(lab::RUN), lab::LIMIT, Switch::On).expect("the kernel opens");
        lab.settle(&all);
        assert!(takes(lab, 12, &tcp(12, 13)));
        // Nobody would hear of another program's rules any more.
        lab.wait(lab.kernel.close()).expect("nothing keeps it");
        assert!(!takes(lab, 12, &tcp(12, 13)));
    });
}

/// How many octets are said in each direction.
const WORDS: u64 = 100_000;

/// A connection between containers 12 and 13.
struct Talk {
    ends: [TcpStream; 2],
}

impl Talk {
    fn begin(lab: &Lab, port: u16) -> Self {
        let listener =
            lab.at(Place::Container(13), || TcpListener::bind((address(13), port)).expect("the port is free"));
        let one = lab.at(Place::Container(12), || TcpStream::connect((address(13), port)).expect("is reached"));
        let (other, _) = listener.accept().expect("somebody connected");
        for end in [&one, &other] {
            end.set_read_timeout(Some(lab::ENOUGH)).expect("a timeout can be set");
        }
        Self { ends: [one, other] }
    }

    /// Says much in both directions, all of which must be heard.
    fn go_on(&mut self, when: &str) {
        let start = Instant::now();
        let words: Vec<u8> = (0..WORDS).map(|number| number.to_le_bytes()[0]).collect();
        for (from, to) in [(0, 1), (1, 0)] {
            let mut speaker = self.ends[from].try_clone().expect("it is open");
            let said = words.clone();
            let speaking = std::thread::spawn(move || speaker.write_all(&said).expect("is connected"));
            let mut heard = vec![0; words.len()];
            self.ends[to].read_exact(&mut heard).unwrap_or_else(|error| panic!("{when}: {error}"));
            assert!(heard == words, "{when}");
            speaking.join().expect("it was said");
        }
        assert!(start.elapsed() < lab::ENOUGH, "{when}");
    }
}

#[test]
fn connections_go_on_wherever_their_packets_go() {
    lab::run(|lab| {
        // Conntrack sees what passes a bridge, and none of what does not.
        bridges_call_iptables("1");
        let plain = state(&[12, 13].map(|number| attachment(number, &[])));
        let spliced = with_passages(&plain, &[12, 13]);
        lab.settle(&plain);
        let mut talks = vec![Talk::begin(lab, 7000)];
        talks[0].go_on("by the bridge");
        for round in 0..3 {
            for (state, way) in [(&spliced, "port to port"), (&plain, "by the bridge")] {
                lab.reconcile(Scope::Everything, state);
                let when = format!("{way}, round {round}");
                let before = bridged(13);
                talks.iter_mut().for_each(|talk| talk.go_on(&when));
                let by_the_bridge = bridged(13) - before;
                // A question for an address now and then goes by the bridge always: some dozens of octets.
                assert_eq!(by_the_bridge > WORDS / 2, way == "by the bridge", "{when}: {by_the_bridge} octets");
                talks.push(Talk::begin(lab, 7001 + u16::try_from(talks.len()).expect("few")));
            }
        }
    });
}
