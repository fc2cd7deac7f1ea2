//! The host's table of connections is everybody's, and no container fills it.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tests::{
    ALL, Attached, Frame, Host, Lan, Namespace, PATIENCE, Wire, difference, eventually, path_with_picky_nft, within,
};

const LIMIT: usize = 512;
const PORT: u16 = 7000;
/// What the host, the daemon and other containers have open meanwhile, at most.
const OTHERS: usize = 40;

/// How many connections the host knows of.
fn known(host: &Host) -> usize {
    let count = host.namespace().run(&["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]);
    count.parse().expect("a number")
}

/// A datagram to each of so many ports: to a table of connections, each is one.
fn flood(from: &Namespace, to: Ipv4Addr, ports: u16) {
    let socket = from.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("free"));
    for port in 1..=ports {
        socket.send_to(b"?", (to, port)).expect("there is a route");
    }
}

/// The first segment of a connection to each of so many ports, which nobody will answer.
fn half_open(host: &Host, from: &Attached, to: Ipv4Addr, ports: u16) {
    let bridges = host.namespace().run(&["ip", "-o", "link", "show", "type", "bridge"]);
    let bridge = bridges.split(": ").nth(1).expect("the network's bridge").to_owned();
    let inside = from.namespace();
    let (gateway, own) = (host.namespace().mac(&bridge), inside.mac("eth0"));
    let wire = Wire::open(&inside, "eth0", ALL);
    for port in 1..=ports {
        wire.send(&Frame::tcp_syn(gateway, own, [from.ipv4.into(), to.into()], [40000, port]));
    }
}

fn connect(from: &Namespace, to: SocketAddr) -> Option<TcpStream> {
    from.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(500))).ok()
}

/// Takes all connections that come to the LAN, sends back what comes of each, and closes those that the other side has.
fn while_serving<T>(lan: &Lan, act: impl FnOnce(SocketAddr) -> T) -> T {
    let listener = lan.namespace.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("free"));
    // All have room to wait: that a connection comes about is not up to how soon it is taken.
    rustix::net::listen(&listener, 4096).expect("a listener");
    listener.set_nonblocking(true).expect("a socket");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut taken: Vec<TcpStream> = Vec::new();
            while !done.load(Ordering::Relaxed) {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).expect("a socket");
                    taken.push(stream);
                }
                taken.retain_mut(|stream| {
                    let mut octet = [0];
                    match stream.read(&mut octet) {
                        Ok(1) => stream.write_all(&octet).is_ok(),
                        // A side that stays open keeps a connection that the other has closed in the table.
                        Ok(_) => false,
                        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
                    }
                });
                thread::sleep(Duration::from_millis(1));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act((lan.address, PORT).into())));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_container_has_no_more_connections_than_it_may_have() {
    let host = Host::with_config(&format!("connection_limit = {LIMIT}"));
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let attacker = host.run("attacker", "web", &[], &["sleep", "1000"]);
    let neighbour = host.run("neighbour", "web", &[], &["sleep", "1000"]).namespace();
    while_serving(&lan, |server| {
        let mut older = connect(&attacker.namespace(), server).expect("the first of its connections");
        flood(&attacker.namespace(), lan.address, 3000);
        let by_datagrams = known(&host);
        assert!((LIMIT..LIMIT + OTHERS).contains(&by_datagrams), "{by_datagrams}");
        half_open(&host, &attacker, lan.address, 3000);
        let half = known(&host);
        assert!(half < LIMIT + OTHERS, "half-open ones count as well: {half}");
        assert!(connect(&attacker.namespace(), server).is_none(), "it can open no more");
        older.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
        older.write_all(b"!").expect("what it had open goes on");
        older.read_exact(&mut [0]).expect("what it had open goes on");
        assert!(connect(&neighbour, server).is_some(), "others are not concerned");
    });
    host.assert_healthy();
    host.restart();
    host.assert_healthy();
}

#[test]
fn who_has_closed_connections_can_open_others() {
    let host = Host::with_config(&format!("connection_limit = {LIMIT}"));
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let inside = host.run("client", "web", &[], &["sleep", "1000"]).namespace();
    while_serving(&lan, |server| {
        let mut open = Vec::new();
        while let Some(stream) = connect(&inside, server) {
            open.push(stream);
            assert!(open.len() <= LIMIT, "it has more than it may");
        }
        assert!(open.len() > LIMIT * 3 / 4, "it has fewer than it may: {}", open.len());
        drop(open);
        eventually("it can open others", || connect(&inside, server).is_some().then_some(()));
    });
}

#[test]
fn without_a_limit_one_container_has_as_many_as_it_likes() {
    let host = Host::with_config("connection_limit = 0");
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let attacker = host.run("attacker", "web", &[], &["sleep", "1000"]).namespace();
    let all = || {
        flood(&attacker, lan.address, 3000);
        (known(&host) >= 3000).then_some(())
    };
    assert!(within(PATIENCE, all).is_some(), "the control: {}", known(&host));
}

#[test]
fn a_kernel_that_cannot_limit_them_is_told_of_and_asked_again_at_the_next_start() {
    let host = Host::stopped(&format!("connection_limit = {LIMIT}"));
    let no_limits = "case $input in *'ct count'*) echo 'Error: no such expression' >&2; exit 1;; esac";
    let path = path_with_picky_nft(&host, no_limits);
    let start_without = || {
        host.spawn(host.netd_command().env("PATH", &path));
        host.wait_until_ready();
    };
    start_without();
    host.import_busybox();
    host.ok(&["network", "create", "web"]);
    let client = host.run("client", "web", &[], &["sleep", "1000"]);
    let lan = host.lan();
    let chain = || host.namespace().run(&["nft", "list", "table", "inet", "fabric"]).contains("chain opening");
    while_serving(&lan, |server| assert!(connect(&client.namespace(), server).is_some(), "everything else holds"));
    assert!(!chain(), "control: there is no limit");
    let is_told = || {
        let told = host.ok(&["doctor"]);
        for word in
            ["connections", "is not in force", "no such expression", "modprobe nft_connlimit", "connection_limit = 0"]
        {
            assert!(told.contains(word), "`{word}` in\n{told}");
        }
    };
    is_told();
    // Every object has a number, which another that takes its place has not.
    let objects = || host.namespace().run(&["nft", "-a", "-t", "list", "ruleset"]);
    let before = objects();
    host.terminate();
    start_without();
    is_told();
    let after = objects();
    assert_eq!(before, after, "nothing is put in place anew: {}", difference(&before, &after));
    host.restart();
    assert!(chain(), "the next netd tries again");
    let told = host.ok(&["doctor"]);
    assert!(!told.contains("is not in force"), "{told}");
    host.assert_healthy();
}
