//! Answers as they are on the wire: order, sizes, sections and how long they may be remembered.

use std::net::SocketAddr;

use tests::{Host, Namespace, Record, RecordType, Reply, Transport, ask_by, eventually};

const NO_SUCH_NAME: u8 = 3;
const SOA: u16 = 6;
const OPT: u16 = 41;

/// Who asks, and the name server that its `resolv.conf` names.
struct Asker {
    namespace: Namespace,
    server: SocketAddr,
}

impl Asker {
    fn new(host: &Host, network: &str) -> Self {
        let namespace = host.run("asker", network, &[], &["sleep", "1000"]).namespace();
        let file = host.ok(&["exec", "asker", "cat", "/etc/resolv.conf"]);
        let line = file.lines().find_map(|line| line.strip_prefix("nameserver ")).expect("a name server");
        Self { namespace, server: SocketAddr::new(line.trim().parse().expect("an address"), 53) }
    }

    #[track_caller]
    fn ask(&self, transport: Transport, name: &str, kind: RecordType) -> Reply {
        let reply = ask_by(transport, &self.namespace, self.server, name, kind);
        reply.unwrap_or_else(|error| panic!("{name} {kind:?} by {transport:?}: {error}"))
    }
}

/// How many questions the kernel has answered.
fn by_kernel(host: &Host) -> f64 {
    host.metrics()["fabric_dns_kernel_queries_total"]
}

#[test]
fn each_of_those_who_share_a_name_comes_first_as_often() {
    const TIMES: usize = 150;
    /// Of a fair draw less than once in a million times.
    const AT_LEAST: usize = 20;
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web", "--ipv6"]);
    for name in ["one", "two", "three"] {
        host.run(name, "web:alias=pool", &[], &["sleep", "1000"]);
    }
    let addresses = ["one", "two", "three"].map(|name| host.addresses(name));
    let asker = Asker::new(&host, "web");
    for (family, kind) in [RecordType::A, RecordType::Aaaa].into_iter().enumerate() {
        let mut expected = addresses.map(|both| both[family].to_string());
        expected.sort();
        let mut first = Vec::new();
        for _ in 0..TIMES {
            let Reply { code, sections: [answers, ..], .. } = asker.ask(Transport::Udp, "pool", kind);
            let mut told: Vec<String> = answers.into_iter().map(|record| record.data).collect();
            first.extend(told.first().cloned());
            told.sort();
            assert_eq!((code, &told[..]), (0, &expected[..]), "all of them, each once");
        }
        for address in &expected {
            let times = first.iter().filter(|first| *first == address).count();
            assert!(times >= AT_LEAST, "{address} came first {times} of {TIMES} times");
        }
    }
}

#[test]
fn sizes_sections_and_times_to_live_are_as_promised() {
    const TTL: u32 = 7;
    /// Each takes more than 80 octets of an answer, and all of them more than 1232.
    const MANY: usize = 16;
    let host = Host::with_config("upstreams = []\ndns_ttl = 7");
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let mut expected: Vec<String> = (0..MANY)
        .map(|number| {
            let name = format!("{}{number:02}", "a".repeat(60));
            host.run(&name, "web:alias=pool", &["--expose", "80"], &["sleep", "1000"]);
            format!("0 1 80 {name}.web.fabric.internal")
        })
        .collect();
    expected.sort();
    let asker = Asker::new(&host, "web");
    let services = |transport| asker.ask(transport, "_http._tcp.pool", RecordType::Srv);
    let has_opt = |reply: &Reply| reply.sections[2].iter().any(|record| record.kind == OPT);

    let plain = services(Transport::Udp);
    assert!(plain.is_truncated && plain.length <= 512 && !has_opt(&plain), "without EDNS: {plain:?}");
    for (payload, limit) in [(600, 600), (1232, 1232), (4096, 1232)] {
        let extended = services(Transport::Edns(payload));
        assert!(extended.is_truncated && has_opt(&extended), "{payload}: {extended:?}");
        assert!(extended.length <= limit, "{payload}: {} octets", extended.length);
        assert!(extended.length > plain.length, "{payload}: more than without EDNS: {} octets", extended.length);
    }
    let whole = services(Transport::Tcp);
    let mut told: Vec<&String> = whole.sections[0].iter().map(|record| &record.data).collect();
    told.sort();
    assert_eq!((whole.is_truncated, told), (false, expected.iter().collect()), "all of them by TCP");
    assert!(whole.sections.iter().flatten().all(|record| record.ttl == TTL), "{whole:?}");

    let small = asker.ask(Transport::Edns(1232), "api", RecordType::A);
    assert!(has_opt(&small) && !small.is_truncated, "{small:?}");
    // A question with EDNS is never the kernel's.
    let address = Record { kind: RecordType::A as u16, ttl: TTL, data: api.ipv4.to_string() };
    assert_eq!(small.sections[0][..], *std::slice::from_ref(&address), "from the server");
    let reply = eventually("the kernel answers", || {
        let before = by_kernel(&host);
        let reply = asker.ask(Transport::Udp, "api", RecordType::A);
        (by_kernel(&host) > before).then_some(reply)
    });
    assert_eq!(reply.sections[0], [address], "from the kernel");

    for (name, kind, code) in
        [("nobody.web.fabric.internal", RecordType::A, NO_SUCH_NAME), ("api", RecordType::Aaaa, 0)]
    {
        let none = asker.ask(Transport::Udp, name, kind);
        let [answers, authorities, _] = &none.sections;
        let [Record { kind: SOA, ttl: TTL, data }] = &authorities[..] else { panic!("{name}: {none:?}") };
        assert!(data.ends_with(" 7"), "for how long absence may be remembered (RFC 2308 §3): {data}");
        assert_eq!((none.code, answers.len()), (code, 0), "{name}");
    }
    host.assert_healthy();
}
