//! What passes when another program flushes the host's rules, and for how long.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tests::{ALL, Frame, Host, Namespace, PATIENCE, Wire, eventually, within};

/// What the longest window may be. Half of them must be shorter than 100 ms, as promised; a machine that also builds
/// and tests other things keeps a process waiting now and then. The look at everything comes every 10 s; it must not be what
/// closes one.
const LONGEST: Duration = Duration::from_secs(8);

/// Datagrams that somebody sends every millisecond, and when they arrived.
struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<()>,
    receiver: UdpSocket,
}

impl Stream {
    fn start(from: &Namespace, to: &Namespace, address: Ipv4Addr, port: u16) -> Self {
        let socket = from.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("free"));
        Self::of(to, address, port, move || {
            // An unreachable answer to an earlier one is told here; it does not matter.
            let _ = socket.send_to(b"?", (address, port));
        })
    }

    fn of(to: &Namespace, address: Ipv4Addr, port: u16, send: impl Fn() + Send + 'static) -> Self {
        let receiver = to.enter(|| UdpSocket::bind((address, port)).expect("free"));
        receiver.set_read_timeout(Some(Duration::from_millis(1))).expect("not zero");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sender = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                send();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, sender, receiver }
    }

    /// When datagrams arrived, from now on, until none came for `quiet`.
    fn arrivals(&self, quiet: Duration) -> Vec<Instant> {
        let mut arrivals = Vec::new();
        let mut last = Instant::now();
        while last.elapsed() < quiet {
            if self.receiver.recv(&mut [0; 8]).is_ok() {
                last = Instant::now();
                arrivals.push(last);
            }
        }
        arrivals
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().expect("sending does not panic");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn rules_that_another_program_flushes_are_back_within_100_milliseconds() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    host.ok(&["network", "create", "db"]);
    let victim = host.run("victim", "db", &[], &["sleep", "1000"]);
    let client = host.run("client", "web", &[], &["sleep", "1000"]);
    let neighbour = host.run("neighbour", "db", &[], &["sleep", "1000"]);
    let [from, to] = [&neighbour, &victim].map(|container| container.namespace().mac("eth0"));
    let gateway = host.json(&["network", "inspect", "db"])["subnets"][0]["gateway"].as_str().map(str::parse);
    let gateway: Ipv4Addr = gateway.expect("it has one").expect("an address");
    let forged = Frame::udp(to, from, [gateway, victim.ipv4].map(IpAddr::from), [53, 7000]);
    let wire = Arc::new(Wire::open(&neighbour.namespace(), "eth0", ALL));
    let to_victim = |from: &Namespace| Stream::start(from, &victim.namespace(), victim.ipv4, 7000);
    type Start<'a> = &'a dyn Fn() -> Stream;
    let attacks: [(&str, Start<'_>); 3] = [
        ("a container of another network", &|| to_victim(&client.namespace())),
        ("the LAN", &|| to_victim(&lan.namespace)),
        ("a neighbour in the gateway's name", &|| {
            let (wire, forged) = (Arc::clone(&wire), forged.clone());
            Stream::of(&victim.namespace(), victim.ipv4, 7000, move || wire.send(&forged))
        }),
    ];
    for (who, start) in attacks {
        let stream = start();
        assert_eq!(stream.arrivals(Duration::from_millis(300)).len(), 0, "{who} is kept out");
        let mut windows = Vec::new();
        for _ in 0..20 {
            host.namespace().run(&["nft", "flush", "ruleset"]);
            let arrived = stream.arrivals(Duration::from_millis(150));
            let open = arrived.first().zip(arrived.last()).map(|(first, last)| last.duration_since(*first));
            windows.push(open.unwrap_or_default());
        }
        stream.finish();
        let (most, half) = (windows.iter().copied().max().expect("twenty"), median(windows));
        println!("{who} got through for {half:?} (median), {most:?} (longest) after `nft flush ruleset`");
        assert!(half < Duration::from_millis(100), "{who}: {half:?}");
        assert!(most < LONGEST, "{who}: {most:?}");
    }
    host.assert_healthy();
}

#[test]
fn who_came_in_through_the_window_is_cut_off() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.ok(&["network", "create", "db"]);
    let victim = host.run("victim", "db", &[], &["sleep", "1000"]);
    let client = host.run("client", "web", &[], &["sleep", "1000"]);
    // Somebody else's rule, which is not flushed, makes the kernel remember connections all the time.
    host.namespace().run(&["nft", "add table inet other"]);
    host.namespace().run(&["nft", "add chain inet other input { type filter hook input priority 0; }"]);
    host.namespace().run(&["nft", "add rule inet other input ct state established accept"]);
    let server = victim.namespace().enter(|| UdpSocket::bind((victim.ipv4, 7000)).expect("free"));
    server.set_read_timeout(Some(Duration::from_millis(300))).expect("not zero");
    let socket = client.namespace().enter(|| UdpSocket::bind((client.ipv4, 7001)).expect("free"));
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
    let ask = || {
        socket.send_to(b"?", (victim.ipv4, 7000)).ok()?;
        let (_, from) = server.recv_from(&mut [0; 8]).ok()?;
        server.send_to(b"!", from).ok()?;
        socket.recv(&mut [0; 8]).ok()
    };
    assert_eq!(ask(), None, "networks are apart");
    host.kill();
    host.namespace().run(&["nft", "delete", "table", "inet", "fabric"]);
    eventually("the control: without rules they are not", ask);
    host.start();
    // What was under way without rules is none of it.
    while server.recv(&mut [0; 8]).is_ok() || socket.recv(&mut [0; 8]).is_ok() {}
    assert_eq!(ask(), None, "a connection that is established by now is not let go on");
    host.namespace().run(&["nft", "delete", "table", "inet", "other"]);
}

#[test]
fn interfaces_that_another_program_takes_down_are_back_at_once() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let server = host.run("server", "web", &[], &["sleep", "1000"]);
    let (bridge, port) = (host.interface("fb-"), host.interface("fe-"));
    let answers_within = |seconds: &str| {
        let ping = ["ping", "-n", "-c", "1", "-W", seconds, &server.ipv4.to_string()];
        host.namespace().try_run(&ping).code == 0
    };
    let answers = || answers_within("0.1");
    assert!(answers_within("10"), "the control");
    let damages: [&[&str]; 6] = [
        &["ip", "link", "set", &port, "down"],
        &["ip", "link", "set", &port, "nomaster"],
        &["ip", "link", "delete", &port],
        &["ip", "link", "set", &bridge, "down"],
        &["ip", "address", "flush", "dev", &bridge],
        &["ip", "link", "delete", &bridge],
    ];
    for damage in damages {
        host.namespace().run(damage);
        // The look at everything comes every 10 s; it must not be what mended this.
        let start = Instant::now();
        assert!(within(Duration::from_secs(8), || answers().then_some(())).is_some(), "{damage:?}: not mended");
        println!("{damage:?}: mended within {:?}", start.elapsed());
        let well = || (host.fabric(&["doctor"]).code == 0).then_some(());
        assert!(within(PATIENCE, well).is_some(), "{damage:?}");
    }
}
