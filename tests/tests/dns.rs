//! Names: what a container is answered, and what it is not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tests::{Answer, Attached, Host, RecordType, answer_everything, ask};

const NO_SUCH_NAME: u8 = 3;

/// The name server that the container's own `resolv.conf` names.
fn server(host: &Host, container: &str) -> SocketAddr {
    let file = host.ok(&["exec", container, "cat", "/etc/resolv.conf"]);
    let line = file.lines().find_map(|line| line.strip_prefix("nameserver ")).expect("a name server");
    SocketAddr::new(line.trim().parse().expect("an address"), 53)
}

fn asker(host: &Host, network: &str) -> impl Fn(&str, RecordType) -> Answer {
    let name = format!("asker-{network}");
    let container = host.run(&name, network, &[], &["sleep", "1000"]);
    let (namespace, server) = (container.namespace(), server(host, &name));
    move |name, kind| ask(&namespace, server, name, kind).unwrap_or_else(|error| panic!("{name} {kind:?}: {error}"))
}

fn found(addresses: &[Ipv4Addr]) -> Answer {
    Answer { code: 0, records: addresses.iter().map(ToString::to_string).collect() }
}

fn no_data() -> Answer {
    found(&[])
}

fn no_such_name() -> Answer {
    Answer { code: NO_SUCH_NAME, records: Vec::new() }
}

fn reverse(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

fn sleeper(host: &Host, name: &str, network: &str) -> Attached {
    host.run(name, network, &[], &["sleep", "1000"])
}

#[test]
fn containers_find_each_other_and_the_way_back() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web"]);
    let api = sleeper(&host, "api", "web");
    let ask = asker(&host, "web");
    for name in ["api", "API", "api.web.fabric.internal", "Api.Web.Fabric.Internal"] {
        assert_eq!(ask(name, RecordType::A), found(&[api.ipv4]), "{name}");
        assert_eq!(ask(name, RecordType::Aaaa), no_data(), "{name}: the name exists, an IPv6 address does not");
    }
    assert_eq!(ask("other.web.fabric.internal", RecordType::A), no_such_name());
    let back = ask(&reverse(api.ipv4), RecordType::Ptr);
    assert_eq!(back, Answer { code: 0, records: vec!["api.web.fabric.internal".to_owned()] });
}

#[test]
fn a_name_comes_and_goes_with_its_container() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web"]);
    let ask = asker(&host, "web");
    let name = "api.web.fabric.internal";
    for _ in 0..5 {
        assert_eq!(ask(name, RecordType::A), no_such_name());
        let api = sleeper(&host, "api", "web");
        assert_eq!(ask(name, RecordType::A), found(&[api.ipv4]), "resolvable as soon as run has returned");
        host.ok(&["rm", "-f", "api"]);
        assert_eq!(ask(name, RecordType::A), no_such_name(), "gone as soon as rm has returned");
        assert_eq!(ask(&reverse(api.ipv4), RecordType::Ptr), no_such_name());
    }
}

#[test]
fn only_the_askers_networks_are_seen() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web"]);
    host.ok(&["network", "create", "db"]);
    let here = sleeper(&host, "here", "web");
    let there = sleeper(&host, "there", "db");
    let ask = asker(&host, "web");
    assert_eq!(ask("here.web.fabric.internal", RecordType::A), found(&[here.ipv4]));
    for name in ["there", "there.db.fabric.internal"] {
        let answer = ask(name, RecordType::A);
        assert!(answer.records.is_empty() && answer.code != 0, "{name}: {answer:?}");
    }
    assert!(ask(&reverse(there.ipv4), RecordType::Ptr).records.is_empty());
}

#[test]
fn other_names_are_asked_of_the_hosts_upstreams() {
    let host = Host::with_config("upstreams = ['127.0.0.1:5353']");
    let answer = Ipv4Addr::new(203, 0, 113, 7);
    answer_everything(host.namespace(), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5353), answer);
    host.ok(&["network", "create", "web"]);
    let api = sleeper(&host, "api", "web");
    let ask = asker(&host, "web");
    assert_eq!(ask("www.example.com", RecordType::A), found(&[answer]));
    assert_eq!(ask("www.example.com", RecordType::Aaaa), no_data());
    assert_eq!(ask("api.web.fabric.internal", RecordType::A), found(&[api.ipv4]), "ours stay ours");
    assert_eq!(ask("nobody.web.fabric.internal", RecordType::A), no_such_name(), "ours are not asked outside");
    host.restart();
    assert_eq!(ask("www.example.com", RecordType::A), found(&[answer]), "also after a restart");
    assert_eq!(ask("api.web.fabric.internal", RecordType::A), found(&[api.ipv4]));
}

#[test]
fn no_name_is_denied_while_the_daemon_comes_back() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web"]);
    let api = sleeper(&host, "api", "web");
    for number in 0..10 {
        sleeper(&host, &format!("c{number}"), "web");
    }
    let asker = sleeper(&host, "asker", "web");
    let (namespace, server) = (asker.namespace(), server(&host, "asker"));
    for _ in 0..3 {
        host.kill();
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                // One query every few milliseconds, whether or not those before were answered.
                let queries: Vec<_> = (0..100)
                    .map(|_| {
                        std::thread::sleep(std::time::Duration::from_millis(10));
                        scope.spawn(|| ask(&namespace, server, "api", RecordType::A))
                    })
                    .collect();
                // Nobody answers while the daemon is away; that is no denial.
                queries.into_iter().filter_map(|query| query.join().expect("asking does not panic").ok()).collect()
            });
            host.start();
            asking.join().expect("asking does not panic")
        });
        assert!(!answers.is_empty(), "the daemon answers again");
        assert!(answers.iter().all(|answer| *answer == found(&[api.ipv4])), "{answers:?}");
    }
}
