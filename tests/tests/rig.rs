//! The rig itself: a loss that it did not notice would be a promise that no test holds.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use tests::{Flow, Host, Ping};

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

fn drop_everything_for(host: &Host, time: Duration) {
    host.namespace().run(&["nft", "add table inet trouble"]);
    host.namespace().run(&["nft", "add chain inet trouble input { type filter hook input priority 0; policy drop; }"]);
    std::thread::sleep(time);
    host.namespace().run(&["nft", "delete table inet trouble"]);
    std::thread::sleep(Duration::from_millis(700));
}

#[test]
fn lost_packets_are_noticed() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let ping = Ping::start(&lan.namespace, lan.host_address);
    let flow = Flow::start(&lan.namespace, lan.host_address, 7);
    drop_everything_for(&host, Duration::from_millis(100));
    let report = ping.finish();
    assert!((5..=30).contains(&report.lost.len()), "10 packets or so are lost in 100 ms: {report:?}");
    let report = flow.finish();
    assert!(report.broken.is_none() && report.repeated.is_some(), "TCP goes on, and sent again: {report:?}");
}

#[test]
fn without_trouble_nothing_is_lost() {
    let host = Host::stopped("");
    let lan = host.lan();
    echo(&host, 7);
    let ping = Ping::start(&lan.namespace, lan.host_address);
    let flow = Flow::start(&lan.namespace, lan.host_address, 7);
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
