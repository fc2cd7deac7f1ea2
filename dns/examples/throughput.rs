//! How many queries one client gets answered in a second, beside a bare UDP echo with the same client on the same
//! machine: what is left of the echo's rate is what DNS itself costs.
//!
//! ```console
//! $ cargo run --release -p dns --example throughput
//! ```

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use dns::{
    Attachment, DEFAULT_TTL, Domain, ForwarderConfig, Forwarding, HostUpstreams, Listeners, Server, Snapshot,
    ZoneConfig, Zones,
};

/// How long each is measured, and how often; the median counts.
const LENGTH: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;
/// Queries under way at once.
const WINDOW: usize = 64;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
    let gateway = SocketAddr::from(([127, 77, 0, 1], 5377));
    let zones = Zones::new(snapshot());
    let upstream = upstream();
    let server = Server::new(zones, ForwarderConfig::new(HostUpstreams::Fixed(Arc::new([upstream]))), 0)
        .expect("threads can be made");
    let listeners = Listeners { gateways: [gateway].into(), host: None };
    runtime.block_on(server.listen(listeners)).expect("the address is free");
    let echo = echo();
    let cases = [
        ("bare UDP echo", echo, query("api", 1)),
        ("NAME A", gateway, query("api", 1)),
        ("NAME AAAA, which it has not", gateway, query("api", 28)),
        ("no such NAME", gateway, query("nobody", 1)),
        ("64 replicas A", gateway, query("many", 1)),
        ("_http._tcp.NAME SRV", gateway, query("_http._tcp.api", 33)),
        ("another name, from the cache", gateway, query("www.example.com", 1)),
    ];
    let mut rates = vec![Vec::new(); cases.len()];
    // Interleaved, so that what else the machine does befalls all alike.
    for _ in 0..ROUNDS {
        for (case, (_, server, query)) in cases.iter().enumerate() {
            rates[case].push(measure(*server, query));
        }
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let medians: Vec<f64> = rates.iter_mut().map(median).collect();
    println!("{:<32} {:>10} {:>8}", "", "queries/s", "of echo");
    for ((name, ..), rate) in cases.iter().zip(&medians) {
        println!("{name:<32} {rate:>10.0} {:>7.0}%", 100.0 * rate / medians[0]);
    }
    runtime.block_on(server.shutdown());
}

/// Answered queries in a second, as a client sees them that keeps [`WINDOW`] of them under way.
fn measure(server: SocketAddr, query: &[u8]) -> f64 {
    let socket = UdpSocket::bind("127.77.0.2:0").expect("loopback has free ports");
    socket.connect(server).expect("loopback is reachable");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("not zero");
    let mut buffer = [0; 2048];
    let (start, mut answered) = (Instant::now(), 0_u64);
    for _ in 0..WINDOW {
        socket.send(query).expect("loopback takes datagrams");
    }
    while start.elapsed() < LENGTH {
        // What was lost is not waited for.
        answered += u64::from(socket.recv(&mut buffer).is_ok());
        socket.send(query).expect("loopback takes datagrams");
    }
    answered as f64 / start.elapsed().as_secs_f64()
}

/// A thread that sends back what it gets, one datagram at a time.
fn echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.77.0.1:0").expect("loopback has free ports");
    let address = socket.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            // A client that has gone misses nothing.
            let _ = socket.send_to(&buffer[..length], client);
        }
    });
    address
}

/// An upstream whose every answer may be kept for an hour.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.77.0.3:0").expect("loopback has free ports");
    let address = socket.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 1]);
            let _ = socket.send_to(&answer, client);
        }
    });
    address
}

fn snapshot() -> Snapshot {
    let network = ZoneConfig {
        network: "web".parse().expect("a name"),
        subnets: vec!["127.77.0.0/16".parse().expect("a range")],
        forwarding: Forwarding::Host,
    };
    let mut snapshot = Snapshot::new(Domain::default(), DEFAULT_TTL).with_network(network).expect("the only one");
    for number in 2..1002_u16 {
        let [high, low] = number.to_be_bytes();
        let name = if number == 2 { "api".to_owned() } else { format!("c{number}") };
        let attachment = Attachment {
            network: "web".parse().expect("a name"),
            container: name.parse().expect("a name"),
            short_id: format!("{number:012x}"),
            addresses: vec![[127, 77, high, low].into()],
            aliases: if number < 66 { vec!["many".parse().expect("a name")] } else { Vec::new() },
            services: vec![dns::Service { port: 80.try_into().expect("not zero"), protocol: model::Protocol::Tcp }],
            upstreams: Arc::default(),
        };
        snapshot = snapshot.with_attachment(attachment).expect("it fits");
    }
    snapshot
}

fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut octets = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).expect("a short label"));
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets.extend(kind.to_be_bytes());
    octets.extend([0, 1]);
    octets
}
