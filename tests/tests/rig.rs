//! The rig itself: a loss that it did not notice would be a promise that no test holds.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
};

use tests::{Flow, Host, Namespace, Ping, eventually};

/// Echoes one connection to `port` in the host's namespace, on a thread that ends with the connection.
fn echo(host: &Host, port: u16) {
    let listener = host.namespace().enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("free"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        let mut buffer = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
    });
}

const ECHO_REQUEST: &str = "icmp type echo-request";
/// A segment with data: the last of what was written is pushed.
const DATA: &str = "tcp flags & psh == psh";

/// Drops all that comes, until there were so many of each kind.
fn lose_what_comes_to(namespace: &Namespace, kinds: &[(&str, u64)]) {
    let chain = "add table inet trouble; \
                 add chain inet trouble input { type filter hook input priority 0; policy drop; }";
    let rules = kinds.iter().map(|(kind, _)| format!("; add rule inet trouble input {kind} counter"));
    namespace.run(&["nft", &(chain.to_owned() + &rules.collect::<String>())]);
    eventually("enough is lost", || {
        let shown = namespace.run(&["nft", "list", "chain", "inet", "trouble", "input"]);
        let counts = shown.lines().filter_map(|line| line.split("packets ").nth(1)?.split(' ').next()?.parse().ok());
        let counts: Vec<u64> = counts.collect();
        assert_eq!(counts.len(), kinds.len(), "{shown}");
        counts.iter().zip(kinds).all(|(count, (_, enough))| count >= enough).then_some(())
    });
    namespace.run(&["nft", "delete table inet trouble"]);
}

fn goes_on(flow: &Flow) {
    let before = flow.echoed();
    eventually("the connection goes on", || (flow.echoed() > before + 20).then_some(()));
}

fn ping_goes_on(ping: &Ping) {
    let before = ping.answered();
    eventually("packets are answered", || (ping.answered() > before + 20).then_some(()));
}

#[test]
fn lost_packets_are_noticed() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let ping = Ping::start(&lan.namespace, lan.host_address);
    let flow = Flow::start(&lan.namespace, host.namespace(), lan.host_address, 7);
    lose_what_comes_to(host.namespace(), &[(ECHO_REQUEST, 10), (DATA, 1)]);
    ping_goes_on(&ping);
    goes_on(&flow);
    let report = ping.finish();
    assert!(report.lost.len() >= 10, "{report:?}");
    let report = flow.finish();
    assert!(report.broken.is_none() && report.lost > 0, "TCP goes on, and sent again: {report:?}");
}

#[test]
fn a_lost_answer_is_noticed() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let flow = Flow::start(&lan.namespace, host.namespace(), lan.host_address, 7);
    lose_what_comes_to(&lan.namespace, &[(DATA, 1)]);
    goes_on(&flow);
    let report = flow.finish();
    assert!(report.broken.is_none() && report.lost > 0, "TCP goes on, and sent again: {report:?}");
}

#[test]
fn what_is_late_is_not_lost() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let flow = Flow::start(&lan.namespace, host.namespace(), lan.host_address, 7);
    let shape = |verb: &str, rate: &str| {
        let tbf = ["tc", "qdisc", verb, "dev", "eth0", "root", "tbf", "rate", rate, "burst", "1540", "limit", "100000"];
        lan.namespace.run(&tbf);
    };
    // A segment takes a third of a second, and is taken for lost after a fifth.
    shape("add", "2kbit");
    let seen = || lan.namespace.run(&["ss", "-tinH", "dport", "=", ":7"]);
    eventually("the control: segments are sent again", || seen().contains("retrans:").then_some(()));
    shape("change", "1gbit");
    goes_on(&flow);
    flow.finish().assert_nothing_lost();
}

#[test]
fn without_trouble_nothing_is_lost() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let ping = Ping::start(&lan.namespace, lan.host_address);
    let flow = Flow::start(&lan.namespace, host.namespace(), lan.host_address, 7);
    ping_goes_on(&ping);
    goes_on(&flow);
    ping.finish().assert_nothing_lost();
    flow.finish().assert_nothing_lost();
}

#[test]
#[should_panic(expected = "left behind")]
fn what_a_test_leaves_behind_fails_it() {
    let host = Host::stopped("");
    host.namespace().run(&["ip", "link", "add", "fe-000000000000", "type", "veth", "peer", "name", "x"]);
}
