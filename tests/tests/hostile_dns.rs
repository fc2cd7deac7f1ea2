//! The daemon's own DNS listener under messages and clients that mean harm, while others are answered.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tests::{
    Answer, Attached, Host, Namespace, PATIENCE, RecordType, answer_everything, ask, ask_within, eventually, within,
};

/// A question for the address of `api`, of this type and class.
fn question(kind: u16, class: u16) -> Vec<u8> {
    let header = [0x46, 0x42, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], b"\x03api\0", &kind.to_be_bytes(), &class.to_be_bytes()].concat()
}

/// A header with these counts and what follows it.
fn message(counts: [u8; 8], tail: &[u8]) -> Vec<u8> {
    [&[0x46, 0x42, 1, 0][..], &counts, tail].concat()
}

/// After RFC 9267: names, counts and lengths that read past the end or in circles, a good question cut at each octet
/// and with each bit turned, and what the fuzz target begins with.
fn malformed() -> Vec<Vec<u8>> {
    let one = |tail: &[u8]| message([0, 1, 0, 0, 0, 0, 0, 0], tail);
    let opt = b"\x03api\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0";
    let mut all = vec![
        Vec::new(),
        vec![0; 11],
        vec![0xff; 12],
        vec![0xff; 4096],
        vec![0; 60_000],
        message([0xff; 8], b""),
        one(b""),
        // A pointer to itself, past the end, to a label before it, and two to each other (RFC 9267 §2).
        one(&[0xc0, 0x0c, 0, 1, 0, 1]),
        one(&[0xff, 0xff, 0, 1, 0, 1]),
        one(&[1, b'a', 0xc0, 0x0c, 0, 1, 0, 1]),
        one(&[0xc0, 0x0e, 0xc0, 0x0c, 0, 1, 0, 1]),
        // Half a pointer; labels longer than the message, of reserved kinds, without an end, and too many.
        one(&[0xc0]),
        one(&[63, b'a']),
        one(&[0x40, b'a', 0, 0, 1, 0, 1]),
        one(&[0x80, b'a', 0, 0, 1, 0, 1]),
        one(b"\x03api"),
        one(&[&[1, b'a'].repeat(200)[..], &[0, 0, 1, 0, 1]].concat()),
        // A name with a NUL and with dots inside a label (RFC 9267 §6).
        one(b"\x04a\0.i\0\0\x01\0\x01"),
        // Counts of records that are not there, or not as long as they say.
        message([0xff, 0xff, 0, 0, 0, 0, 0, 0], b"\x03api\0\0\x01\0\x01"),
        message([0, 1, 0, 0, 0, 0, 0xff, 0xff], b"\x03api\0\0\x01\0\x01"),
        message([0, 1, 0, 0, 0, 0, 0, 1], &[opt, &b"\xff\xff"[..]].concat()),
        message([0, 1, 0, 0, 0, 0, 0, 1], &[opt, &b"\0\x04\0\x0a\xff\xff"[..]].concat()),
        message([0, 1, 0, 0, 0, 0, 0, 2], &[opt, &b"\0\0\0\0\x29\x04\xd0\0\0\0\0\0\0"[..]].concat()),
    ];
    let good = question(1, 1);
    all.extend((0..good.len()).map(|length| good[..length].to_vec()));
    all.extend((16..good.len() * 8).map(|bit| {
        let mut turned = good.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        turned
    }));
    let seeds = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/dns_query"));
    let seeds = fs::read_dir(seeds).expect("the fuzz target has inputs to begin with");
    all.extend(seeds.map(|seed| fs::read(seed.expect("readable").path()).expect("readable")));
    all
}

/// Two containers on one network, and a third on another, all of whom are to be answered; the server of each.
struct Town {
    host: Host,
    attacker: Namespace,
    server: SocketAddr,
    bystanders: [(Attached, SocketAddr); 2],
}

impl Town {
    fn new() -> Self {
        Self::with_config("upstreams = []")
    }

    fn with_config(config: &str) -> Self {
        let host = Host::with_config(config);
        for (network, subnet) in [("web", "10.9.8.0/24"), ("db", "10.9.9.0/24")] {
            host.ok(&["network", "create", network, "--subnet", subnet]);
        }
        let [attacker, neighbour, other] = [("attacker", "web"), ("api", "web"), ("store", "db")]
            .map(|(name, network)| host.run(name, network, &[], &["sleep", "10000"]));
        let gateway = |third| SocketAddr::new(IpAddr::from(Ipv4Addr::new(10, 9, third, 1)), 53);
        let bystanders = [(neighbour, gateway(8)), (other, gateway(9))];
        Self { attacker: attacker.namespace(), server: gateway(8), host, bystanders }
    }

    /// Those who do no harm are answered, by the kernel and by the daemon.
    #[track_caller]
    fn others_are_answered(&self, meanwhile: &str) {
        for ((container, server), name) in self.bystanders.iter().zip(["api", "store"]) {
            for (kind, records) in known(container) {
                let answer = ask(&container.namespace(), *server, name, kind);
                let answer = answer.unwrap_or_else(|error| panic!("{name} {kind:?}: {error}, {meanwhile}"));
                assert_eq!(answer, Answer { code: 0, records }, "{name} {kind:?}, {meanwhile}");
            }
            let stream = self.connect(&container.namespace(), *server);
            let reply = asked_by_tcp(stream, &[b"\x46\x42\x01\0\0\x01\0\0\0\0\0\0", &label(name)[..]].concat());
            assert_eq!(reply.expect("it is answered by TCP, too")[3] & 0xf, 0, "{name}, {meanwhile}");
        }
    }

    fn connect(&self, from: &Namespace, to: SocketAddr) -> TcpStream {
        let stream = from.enter(|| TcpStream::connect_timeout(&to, PATIENCE)).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    fn udp(&self) -> UdpSocket {
        let socket = self.attacker.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port"));
        socket.connect(self.server).expect("a route");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        socket
    }

    /// Octets of memory that the daemon has, and how many descriptors.
    fn holds(&self) -> (u64, usize) {
        let process = format!("/proc/{}", self.host.netd_pid().as_raw_nonzero());
        let status = fs::read_to_string(format!("{process}/status")).expect("the daemon lives");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let resident: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
        (resident * 1024, fs::read_dir(format!("{process}/fd")).expect("the daemon lives").count())
    }
}

/// What there is of a container's name: the kernel answers for the first kind, and leaves the other to the daemon.
fn known(container: &Attached) -> [(RecordType, Vec<String>); 2] {
    [(RecordType::A, vec![container.ipv4.to_string()]), (RecordType::Aaaa, Vec::new())]
}

/// The rest of a question for the address of a name of one label.
fn label(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("short");
    [&[length][..], name.as_bytes(), &[0, 0, 1, 0, 1]].concat()
}

/// Sends a message by TCP (RFC 1035 §4.2.2) and reads the reply; none if the server hangs up instead.
fn asked_by_tcp(mut stream: TcpStream, message: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(message.len()).expect("what TCP can carry").to_be_bytes();
    // A server that has hung up already takes nothing.
    let _ = stream.write_all(&[&length[..], message].concat());
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut reply).ok()?;
    Some(reply)
}

#[test]
fn malformed_messages_cost_nobody_an_answer() {
    let town = Town::new();
    town.others_are_answered("before anything");
    let (before, netd) = (town.holds(), town.host.netd_pid());
    let all = malformed();
    let socket = town.udp();
    for (number, bad) in all.iter().enumerate() {
        socket.send(bad).expect("the network takes it");
        let stream = town.connect(&town.attacker, town.server);
        // Most of those who write nothing of a message that is too short are hung up on; nobody is kept.
        let _ = asked_by_tcp(stream, bad);
        if number % 25 == 0 {
            town.others_are_answered(&format!("after {bad:02x?}"));
        }
    }
    // A hundred thousand more, made of those by chance that is the same each time.
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        usize::try_from(chance % below.max(1) as u64).expect("below a length")
    };
    for round in 0..100_000 {
        let mut bad = all[draw(all.len())].clone();
        for _ in 0..=draw(4) {
            let place = draw(bad.len());
            if let Some(octet) = bad.get_mut(place) {
                *octet = draw(256) as u8;
            }
        }
        bad.truncate(1200);
        // What the kernel does not take is lost on the way as well.
        let _ = socket.send(&bad);
        if round % 20_000 == 0 {
            town.others_are_answered("in a stream of noise");
        }
    }
    town.others_are_answered("after all");
    assert_eq!(town.host.netd_pid(), netd, "the same daemon");
    let soon = || Some(town.holds()).filter(|(_, descriptors)| *descriptors <= before.1 + 8);
    let after = eventually("connections are closed", soon);
    assert!(after.0 < before.0 + (64 << 20), "memory: {before:?}, then {after:?}");
    town.host.assert_healthy();
}

#[test]
fn what_is_unusual_is_answered_with_little_or_refused() {
    let town = Town::new();
    let socket = town.udp();
    let answer = |query: &[u8]| {
        socket.send(query).expect("the network takes it");
        let mut reply = [0; 4096];
        let length = socket.recv(&mut reply).unwrap_or_else(|error| panic!("{query:02x?}: {error}"));
        assert_eq!(reply[..2], query[..2], "the answer to this one");
        assert!(reply[2] & 0x80 != 0, "an answer");
        reply[..length].to_vec()
    };
    let code = |reply: &[u8]| reply[3] & 0xf;
    const NOT_IMPLEMENTED: u8 = 4;
    const REFUSED: u8 = 5;
    for opcode in 1..16_u8 {
        let mut query = question(1, 1);
        query[2] |= opcode << 3;
        let reply = answer(&query);
        assert_eq!((code(&reply), reply.len()), (NOT_IMPLEMENTED, 12), "opcode {opcode}");
    }
    for class in [0, 2, 3, 4, 254, 255, 65535] {
        let reply = answer(&question(1, class));
        assert_eq!((code(&reply), reply[7]), (REFUSED, 0), "class {class}");
    }
    // Each type there is room for in an octet, and a few of those that would move a whole zone or much data.
    for kind in (0..=255).chain([256, 257, 32768, 65280, 65535]) {
        let plain = answer(&question(kind, 1));
        let mut query = question(kind, 1);
        query[11] = 1;
        query.extend_from_slice(b"\0\0\x29\xff\xff\0\0\x80\0\0\0");
        let extended = answer(&query);
        for reply in [plain, extended] {
            assert!(reply.len() <= 256, "type {kind}: {} octets for {}", reply.len(), question(kind, 1).len());
        }
    }
    let any = answer(&question(255, 1));
    assert_eq!((code(&any), any[7]), (0, 1), "ANY has one small record (RFC 8482): {any:02x?}");
    town.others_are_answered("after all");
    town.host.assert_healthy();
}

#[test]
fn slow_and_many_connections_keep_nobody_from_being_answered() {
    let town = Town::new();
    let before = town.holds();
    let mut open = Vec::new();
    // All that are let in say that much is to come and send nothing, or a little, of it.
    let beginnings: [&[u8]; 4] = [&[], &[0xff], &[0xff, 0xff], &[0, 29, 0x46, 0x42, 1]];
    for beginning in beginnings.iter().cycle().take(300) {
        let mut stream = town.connect(&town.attacker, town.server);
        // Who has too many is hung up on.
        let _ = stream.write_all(beginning);
        open.push(stream);
    }
    town.others_are_answered("while 300 connections of one container are idle");
    let is_open = |stream: &TcpStream| {
        stream.set_nonblocking(true).expect("a socket");
        let mut stream = stream;
        let read = stream.read(&mut [0; 1]);
        matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    let left = eventually("those above its share are hung up on", || {
        let left = open.iter().filter(|stream| is_open(stream)).count();
        (left <= 16).then_some(left)
    });
    println!("{left} of 300 are left");
    let during = town.holds();
    assert!(during.1 <= before.1 + 32, "descriptors: {before:?}, then {during:?}");
    eventually("all are ended", || open.iter().all(|stream| !is_open(stream)).then_some(()));
    let again = || asked_by_tcp(town.connect(&town.attacker, town.server), &question(1, 1));
    assert_eq!(again().expect("its places are free again")[3] & 0xf, 0);
    // One that asks without end and never reads what it is answered.
    let mut deaf = town.connect(&town.attacker, town.server);
    deaf.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout can be set");
    let piece: Vec<u8> = [&[0, 21][..], &question(1, 1)].concat().repeat(1000);
    let mut sent = 0;
    while sent < 64 << 20
        && let Ok(count @ 1..) = deaf.write(&piece)
    {
        sent += count;
    }
    println!("{sent} octets were taken of who reads no answer");
    assert!(sent < 64 << 20, "the server does not read on");
    town.others_are_answered("while somebody reads no answer");
    let after = town.holds();
    assert!(after.0 < before.0 + (64 << 20), "memory: {before:?}, then {after:?}");
    drop(deaf);
    let closed = || (town.holds().1 <= before.1 + 4).then_some(());
    eventually("nothing of it is left", closed);
    town.host.assert_healthy();
}

/// As far as the machine comes to that, 200,000 queries in a second from one container, for names of its network, of no
/// one, and of others, while others on its network and on another one ask. A loss now and then is what resolvers ask
/// again for; a server that took queries in the order of their arrival would lose many.
#[test]
fn a_flood_from_one_container_costs_the_others_no_answers() {
    /// Of 100 questions.
    const ENOUGH: usize = 3;
    let town = Town::with_config("upstreams = ['127.0.0.1:5301']");
    let outside = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5301);
    answer_everything(town.host.namespace(), outside, Ipv4Addr::new(203, 0, 113, 1));
    let done = AtomicBool::new(false);
    let (mut asked, mut lost, mut is_flooded, flooded) = (0, Vec::new(), false, AtomicU64::new(0));
    let flood = || {
        let socket = town.udp();
        let queries = ["api", "nobody", "www.example.com", "other.example.com"].map(|name| {
            let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
            let question = labels.chain([0, 0, 1, 0, 1]);
            [1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].into_iter().chain(question).collect::<Vec<u8>>()
        });
        let (start, mut sent) = (Instant::now(), 0_u64);
        while !done.load(Ordering::Relaxed) {
            for query in queries.iter().cycle().take(100) {
                // What the kernel does not take is lost on the way as well.
                let _ = socket.send(query);
            }
            sent += 100;
            flooded.fetch_add(100, Ordering::Relaxed);
            let due = Duration::from_micros(sent * 10);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(flood);
        }
        'ask: for _ in 0..25 {
            for ((container, server), name) in town.bystanders.iter().zip(["api", "store"]) {
                for (kind, records) in known(container) {
                    // Whoever gets a processor when: so many are sent between two questions.
                    let before = flooded.load(Ordering::Relaxed);
                    let floods = || (flooded.load(Ordering::Relaxed) >= before + 1000).then_some(());
                    is_flooded = within(PATIENCE, floods).is_some();
                    if !is_flooded || lost.len() > ENOUGH {
                        break 'ask;
                    }
                    let answer = ask_within(Duration::from_secs(2), &container.namespace(), *server, name, kind);
                    asked += 1;
                    if answer.as_ref().ok() != Some(&Answer { code: 0, records }) {
                        lost.push(format!("{name} {kind:?}: {answer:?}"));
                    }
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let overload = town.host.metrics()["fabric_dns_unanswered_total{reason=\"overload\"}"];
    println!("{} queries, {overload} of them too many, {} of {asked} lost", flooded.into_inner(), lost.len());
    assert!(is_flooded && overload > 0.0, "the control: it floods, and with more than is answered");
    assert!(lost.len() <= ENOUGH, "{} of {asked} were lost: {lost:#?}", lost.len());
}
