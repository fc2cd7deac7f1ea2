//! The rig itself: a loss that it did not notice would be a promise that no test holds.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use tests::{Flow, Host, Namespace, Ping};

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

fn lose_what_comes_to(namespace: &Namespace, time: Duration) {
    namespace.run(&["nft", "add table inet trouble"]);
    namespace.run(&["nft", "add chain inet trouble input { type filter hook input priority 0; policy drop; }"]);
    std::thread::sleep(time);
    namespace.run(&["nft", "delete table inet trouble"]);
    std::thread::sleep(Duration::from_millis(700));
}

#[test]
fn lost_packets_are_noticed() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let ping = Ping::start(&lan.namespace, lan.host_address);
    let flow = Flow::start(&lan.namespace, host.namespace(), lan.host_address, 7);
    lose_what_comes_to(host.namespace(), Duration::from_millis(100));
    let report = ping.finish();
    assert!(report.lost.len() >= 5, "10 packets or more are lost in 100 ms: {report:?}");
    let report = flow.finish();
    assert!(report.broken.is_none() && report.lost > 0, "TCP goes on, and sent again: {report:?}");
}

#[test]
fn a_lost_answer_is_noticed() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let flow = Flow::start(&lan.namespace, host.namespace(), lan.host_address, 7);
    lose_what_comes_to(&lan.namespace, Duration::from_millis(100));
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
    std::thread::sleep(Duration::from_secs(1));
    shape("change", "1gbit");
    std::thread::sleep(Duration::from_millis(700));
    let seen = lan.namespace.run(&["ss", "-tinH", "dport", "=", ":7"]);
    assert!(seen.contains("retrans:"), "the control: segments are sent again: {seen}");
    flow.finish().assert_nothing_lost();
}

#[test]
fn without_trouble_nothing_is_lost() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let ping = Ping::start(&lan.namespace, lan.host_address);
    let flow = Flow::start(&lan.namespace, host.namespace(), lan.host_address, 7);
    std::thread::sleep(Duration::from_millis(500));
    ping.finish().assert_nothing_lost();
    flow.finish().assert_nothing_lost();
}

#[test]
#[should_panic(expected = "left behind")]
fn what_a_test_leaves_behind_fails_it() {
    let host = Host::stopped("");
    host.namespace().run(&["ip", "link", "add", "fe-000000000000", "type", "veth", "peer", "name", "x"]);
}
