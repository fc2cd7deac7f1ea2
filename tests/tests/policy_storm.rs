//! Policies that change all the time, under load: what they always allow loses nothing, what they always deny never
//! comes.
//!
//! `FABRIC_CHANGES=10000` makes as many changes instead of some.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use tests::{Attached, Flow, Host, PATIENCE, eventually};

/// So many changes are made where nobody says otherwise.
const SOME: usize = 200;
const SLEEP: [&str; 2] = ["sleep", "100000"];
/// TCP repeats what opens a connection after a second.
const AT_ONCE: Duration = Duration::from_millis(900);

/// How long an answer to a datagram may take before it counts as lost: longer than the machine stands still.
const LOST: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(1);
/// Of so many connections one may take a second segment (of 210,000 one did).
const ONE_REPEATED_IN: u64 = 1000;

/// What holds whatever else is said: the client may connect to ports 7 and 8, and never to port 9.
const ALWAYS: &str = "apiVersion: fabric/v1
kind: Policy
metadata: {name: always}
networks: [web]
tier: 0
ingress:
- {action: allow, from: [{names: [client]}], ports: [7, 8, 7/udp]}
- {action: deny, from: [{names: [client]}], ports: [9, 9/udp]}
egress:
- {action: allow, ports: [7, 8, 7/udp]}
";

/// What is said besides, and how: to `policy apply`, or what is to go.
enum Change {
    Apply(String),
    Remove(&'static str),
}

/// Changes of every kind: of a port, of a range, of who is selected, of rules, of policies, of their form, of the
/// stance.
fn change(number: usize) -> Change {
    let policy = |name: &str, subject: &str, rules: String| {
        let text = "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: NAME}\nnetworks: [web]\nsubject: SUBJECT\n";
        Change::Apply(text.replace("NAME", name).replace("SUBJECT", subject) + &rules)
    };
    let stance = |effect: &str| {
        Change::Apply(format!(
            "{{apiVersion: fabric/v1, kind: Stance, metadata: {{name: stance}}, networks: [web], ingress: {effect}, egress: {effect}}}\n"
        ))
    };
    let port = 10_000 + number % 50_000;
    let last = number / 12 % 256;
    match number % 12 {
        0 => policy("ports", "{}", format!("ingress: [{{action: deny, ports: [{port}]}}]\n")),
        1 => policy("ports", "{}", format!("ingress: [{{action: deny, ports: [{port}, {port}/udp]}}]\n")),
        2 => stance("deny"),
        3 => policy("ranges", "{}", format!("ingress: [{{action: deny, from: [{{cidr: 203.0.113.{last}/32}}]}}]\n")),
        4 => policy("ranges", "{}", format!("ingress: [{{action: deny, from: [{{cidr: 198.51.{last}.0/24}}]}}]\n")),
        5 => policy("who", "{names: [server]}", format!("ingress: [{{action: deny, ports: [{port}]}}]\n")),
        6 => stance("allow"),
        7 => policy("who", "{names: [client]}", format!("egress: [{{action: deny, ports: [{port}]}}]\n")),
        8 => Change::Apply(format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: pods, namespace: web}}\nspec: {{podSelector: {{}}, \
             policyTypes: [Ingress, Egress], ingress: [{{ports: [{{port: {port}}}]}}]}}\n"
        )),
        9 => Change::Remove("who"),
        10 => Change::Remove("web/pods"),
        _ => Change::Remove("ranges"),
    }
}

/// What somebody who never stops trying has seen.
#[derive(Default)]
struct Count {
    tried: AtomicU64,
    failed: AtomicU64,
    /// How often what opens a connection was sent again: what comes in the moment of a change may be judged by half of
    /// either, and is dropped then.
    repeated: AtomicU64,
}

impl Count {
    fn note(&self, is_well: bool) {
        self.tried.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(!is_well), Ordering::Relaxed);
    }

    fn seen(&self) -> (u64, u64) {
        (self.tried.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// Opens connections, one after the other, each of which has to come about.
fn connect_always(client: &Attached, server: &Attached, stop: &AtomicBool, count: &Count) {
    let listener = server.namespace().enter(|| TcpListener::bind((server.ipv4, 8)).expect("free"));
    client.namespace().enter(|| {
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let connected = TcpStream::connect_timeout(&SocketAddr::from((server.ipv4, 8)), PATIENCE);
            count.repeated.fetch_add(u64::from(begun.elapsed() > AT_ONCE), Ordering::Relaxed);
            count.note(connected.is_ok_and(|_| listener.accept().is_ok()));
            thread::sleep(Duration::from_millis(5));
        }
    });
}

/// Asks by datagrams on one open flow, and answers, each of which has to arrive.
fn ask_always(client: &Attached, server: &Attached, address: IpAddr, stop: &AtomicBool, count: &Count) {
    let bind = |of: &Attached, at: SocketAddr| {
        let socket = of.namespace().enter(|| UdpSocket::bind(at)).expect("free");
        socket.set_read_timeout(Some(LOST)).expect("not zero");
        socket
    };
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let (asked, asks) = (bind(server, (address, 7).into()), bind(client, any));
    asks.connect((address, 7)).expect("there is a way");
    while !stop.load(Ordering::Relaxed) {
        let question = count.seen().0.to_be_bytes();
        let ask = || {
            let mut heard = [0; 8];
            asks.send(&question)?;
            let (_, from) = asked.recv_from(&mut heard)?;
            asked.send_to(&heard, from)?;
            asks.recv(&mut heard)?;
            std::io::Result::Ok(heard == question)
        };
        count.note(ask().is_ok_and(|is_same| is_same));
        thread::sleep(INTERVAL);
    }
}

/// Endpoints that come and go, each of which the policies are about.
fn attach_always(host: &Host, stop: &AtomicBool, count: &Count) {
    host.ok(&["run", "-d", "--name", "guest", "--network", "none", "busybox", "sleep", "100000"]);
    while !stop.load(Ordering::Relaxed) {
        let done = ["connect", "disconnect"].map(|verb| host.fabric(&["network", verb, "web", "guest"]).code);
        count.note(done == [0, 0]);
    }
}

/// Sends datagrams, and begins connections, none of which may arrive.
fn trespass_always(client: &Attached, server: &Attached, stop: &AtomicBool, count: &Count) {
    let (datagrams, listener) = server.namespace().enter(|| {
        let bound = UdpSocket::bind((server.ipv4, 9)).expect("free");
        (bound, TcpListener::bind((server.ipv4, 9)).expect("free"))
    });
    datagrams.set_nonblocking(true).expect("it can");
    listener.set_nonblocking(true).expect("it can");
    client.namespace().enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("free");
        while !stop.load(Ordering::Relaxed) {
            let _ = socket.send_to(b"?", (server.ipv4, 9));
            let connected = TcpStream::connect_timeout(&SocketAddr::from((server.ipv4, 9)), Duration::from_millis(2));
            let came = datagrams.recv(&mut [0; 8]).is_ok() || listener.accept().is_ok();
            count.note(connected.is_err() && !came);
        }
    });
}

/// Keeps the kernel busy with what passes between two others.
fn stream_always(from: &Attached, to: &Attached, stop: &AtomicBool) {
    let listener = to.namespace().enter(|| TcpListener::bind((to.ipv4, 7)).expect("free"));
    let sender = from.namespace().enter(|| TcpStream::connect((to.ipv4, 7)).expect("it is allowed"));
    let (mut receiver, _) = listener.accept().expect("it connected");
    for stream in [&sender, &receiver] {
        stream.set_nonblocking(true).expect("it can");
    }
    let (full, mut buffer) = ([0; 16_384], [0; 65_536]);
    while !stop.load(Ordering::Relaxed) {
        for result in [(&sender).write(&full), receiver.read(&mut buffer)] {
            match result {
                Ok(0) => panic!("the stream ended"),
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "the stream broke: {error}"),
            }
        }
        thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn what_is_always_allowed_loses_nothing_and_what_is_always_denied_never_comes() {
    let changes = std::env::var("FABRIC_CHANGES").map_or(SOME, |text| text.parse().expect("a number"));
    let host = Host::new();
    host.ok(&["network", "create", "web", "--ipv6"]);
    let server = host.run("server", "web", &[], &["nc", "-ll", "-p", "7", "-e", "cat"]);
    let [client, third, fourth] = ["client", "third", "fourth"].map(|name| host.run(name, "web", &[], &SLEEP));
    let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("it listens", || (!listening().is_empty()).then_some(()));
    let (file, always) = (host.path("policies.yaml"), host.path("always.yaml"));
    let (file, always) = (file.to_string_lossy(), always.to_string_lossy());
    fs::write(&*always, ALWAYS.replace("{names: [client]}", "{names: [client, third]}"))
        .expect("the directory is ours");
    host.ok(&["policy", "apply", "-f", &always]);

    let flow = Flow::start(&client.namespace(), &server.namespace(), server.ipv4, 7);
    let (stop, connections, trespasses) = (AtomicBool::new(false), Count::default(), Count::default());
    let (questions, attachments) = ([Count::default(), Count::default()], Count::default());
    let addresses = host.addresses("server");
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| connect_always(&client, &server, &stop, &connections));
        scope.spawn(|| trespass_always(&client, &server, &stop, &trespasses));
        scope.spawn(|| stream_always(&third, &fourth, &stop));
        scope.spawn(|| attach_always(&host, &stop, &attachments));
        for (address, count) in addresses.into_iter().zip(&questions) {
            let (client, server, stop) = (&client, &server, &stop);
            scope.spawn(move || ask_always(client, server, address, stop, count));
        }
        let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 0..changes {
                match change(number) {
                    Change::Apply(text) => {
                        fs::write(&*file, text).expect("the directory is ours");
                        host.ok(&["policy", "apply", "-f", &file]);
                    }
                    Change::Remove(name) => drop(host.ok(&["policy", "rm", name])),
                }
                let (wrong, came) = (connections.seen().1, trespasses.seen().1);
                assert!((wrong, came) == (0, 0), "after change {number}: {wrong} did not connect, {came} came");
                let lost = questions.each_ref().map(|count| count.seen().1);
                assert_eq!(lost, [0, 0], "after change {number}: datagrams of IPv4 and IPv6 were lost");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        all.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let report = flow.finish();
    let repeated = connections.repeated.load(Ordering::Relaxed);
    let (connections, trespasses) = (connections.seen(), trespasses.seen());
    let (questions, attachments) = (questions.map(|count| count.seen()), attachments.seen());
    println!(
        "{changes} changes in {:?}: {} echoed, the slowest in {:?}; {} connections, {} failed, {repeated} took a second segment; \
         {} trespasses, {} came; asked, and lost, over IPv4 and IPv6: {questions:?}; {attachments:?} attachments",
        begun.elapsed(),
        report.echoed,
        report.slowest.0,
        connections.0,
        connections.1,
        trespasses.0,
        trespasses.1
    );
    report.assert_nothing_lost();
    assert!(connections.0 > 50 && trespasses.0 > 50, "control: {connections:?} {trespasses:?}");
    assert_eq!((connections.1, trespasses.1), (0, 0));
    assert!(repeated <= connections.0.div_ceil(ONE_REPEATED_IN), "{repeated} of {} were sent again", connections.0);
    assert!(questions.iter().all(|(asked, lost)| *asked > 1000 && *lost == 0), "{questions:?}");
    assert!(attachments.0 > 5 && attachments.1 == 0, "{attachments:?}");
    // Control: it comes where nobody forbids it.
    host.ok(&["policy", "rm", "always"]);
    host.ok(&["policy", "rm", "stance"]);
    let bound = server.namespace().enter(|| UdpSocket::bind((server.ipv4, 9)).expect("free"));
    bound.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    let socket = client.namespace().enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("free"));
    eventually("a datagram comes", || {
        socket.send_to(b"?", (server.ipv4, 9)).ok()?;
        bound.recv(&mut [0; 8]).ok()
    });
    host.assert_healthy();
}
