//! Names: what a container is answered, and what it is not.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tests::{
    Answer, Attached, Host, Namespace, RecordType, Transport, answer_everything, ask, ask_by, ask_within, eventually,
    fetch, serve,
};

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

const REFUSED: u8 = 5;

/// Waits for an answer from outside: a server there that stands still for long is taken for silent, and the client told
/// so.
#[track_caller]
fn expect_from_outside(ask: impl Fn(&str, RecordType) -> Answer, kind: RecordType, expected: &Answer) {
    const SERVER_FAILURE: u8 = 2;
    let answered = || Some(ask("www.example.com", kind)).filter(|answer| answer.code != SERVER_FAILURE);
    assert_eq!(eventually("an upstream is asked", answered), *expected);
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
    expect_from_outside(&ask, RecordType::A, &found(&[answer]));
    expect_from_outside(&ask, RecordType::Aaaa, &no_data());
    assert_eq!(ask("api.web.fabric.internal", RecordType::A), found(&[api.ipv4]), "ours stay ours");
    assert_eq!(ask("nobody.web.fabric.internal", RecordType::A), no_such_name(), "ours are not asked outside");
    host.restart();
    expect_from_outside(&ask, RecordType::A, &found(&[answer]));
    assert_eq!(ask("api.web.fabric.internal", RecordType::A), found(&[api.ipv4]));
}

/// Once with the kernel, which goes on with what it knows, and once without.
#[test]
fn no_name_is_denied_while_the_daemon_comes_back() {
    for config in ["upstreams = []", "upstreams = []\nshortcut = false"] {
        let host = Host::with_config(config);
        host.ok(&["network", "create", "web"]);
        let api = sleeper(&host, "api", "web");
        for number in 0..10 {
            sleeper(&host, &format!("c{number}"), "web");
        }
        let asker = sleeper(&host, "asker", "web");
        let (namespace, server) = (asker.namespace(), server(&host, "asker"));
        for _ in 0..2 {
            host.kill();
            let answers = answers_until_back(&host, &namespace, server, "api");
            assert!(!answers.is_empty(), "the control: {config}");
            assert!(answers.iter().all(|answer| *answer == found(&[api.ipv4])), "{config}: {answers:?}");
            assert_eq!(ask(&namespace, server, "api", RecordType::A).expect("it answers again"), found(&[api.ipv4]));
        }
    }
}

/// Starts the daemon, and meanwhile asks every few milliseconds, whether or not what was asked before is answered.
fn answers_until_back(host: &Host, namespace: &Namespace, server: SocketAddr, name: &str) -> Vec<Answer> {
    let is_back = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let ask_once = || {
                std::thread::sleep(Duration::from_millis(10));
                scope.spawn(|| ask_within(Duration::from_secs(2), namespace, server, name, RecordType::A))
            };
            let mut queries = Vec::new();
            while !is_back.load(Ordering::Relaxed) {
                queries.push(ask_once());
            }
            queries.extend((0..10).map(|_| ask_once()));
            // No answer is no denial.
            queries.into_iter().filter_map(|query| query.join().expect("asking does not panic").ok()).collect()
        });
        host.start();
        is_back.store(true, Ordering::Relaxed);
        asking.join().expect("asking does not panic")
    })
}

#[test]
fn containers_are_found_by_short_identifier_and_by_the_ports_they_publish() {
    let host = Host::with_config("upstreams = []\ndns_ttl = 7\ndomain = 'lab.example'");
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &["-p", "8080:80", "-p", "5300:53/udp"], &["sleep", "1000"]);
    let ask = asker(&host, "web");
    for name in
        [api.id[..12].to_owned(), format!("{}.web.lab.example", &api.id[..12]), "api.web.lab.example".to_owned()]
    {
        assert_eq!(ask(&name, RecordType::A), found(&[api.ipv4]), "{name}");
        assert_eq!(host.json(&["dns", "query", &name, "--as", "asker-web"])["answers"][0]["ttl"], 7, "{name}");
    }
    assert_ne!(ask("api.web.fabric.internal", RecordType::A).code, 0, "what is set takes the place of the domain");
    for (name, port) in [("_http._tcp.api", 80), ("_80._tcp.api.web.lab.example", 80), ("_domain._udp.api", 53)] {
        let records = vec![format!("0 1 {port} api.web.lab.example")];
        assert_eq!(ask(name, RecordType::Srv), Answer { code: 0, records }, "{name}");
    }
    assert_eq!(ask("_8080._tcp.api", RecordType::Srv), no_such_name(), "the port in the container counts");
    host.ok(&["rm", "-f", "api"]);
    assert_eq!(ask("_http._tcp.api", RecordType::Srv), no_such_name());
}

#[test]
fn exposed_ports_are_answered_for_without_being_published() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web"]);
    let options = ["--expose", "80", "--expose", "53/udp", "--expose", "80/tcp"];
    host.run("api", "web", &options, &["httpd", "-f", "-p", "80", "-h", "/etc"]);
    let ask = asker(&host, "web");
    let services = || [("_http._tcp.api", 80), ("_53._udp.api.web.fabric.internal", 53)].into_iter();
    let assert_answered = || {
        for (name, port) in services() {
            let records = vec![format!("0 1 {port} api.web.fabric.internal")];
            assert_eq!(ask(name, RecordType::Srv), Answer { code: 0, records }, "{name}");
        }
    };
    assert_answered();
    assert_eq!(ask("_domain._tcp.api", RecordType::Srv), no_such_name(), "another protocol is another service");
    let shown = host.json(&["inspect", "api"]);
    assert_eq!(
        (&shown["exposed"], host.ok(&["port", "api"])),
        (&serde_json::json!(["53/udp", "80/tcp"]), String::new())
    );
    host.restart();
    assert_answered();
    host.ok(&["stop", "-t", "0", "api"]);
    services().for_each(|(name, _)| assert_eq!(ask(name, RecordType::Srv), no_such_name(), "{name}"));
    host.ok(&["start", "api"]);
    assert_answered();
    host.ok(&["rm", "-f", "api"]);
}

#[test]
fn each_network_and_each_container_can_have_upstreams_of_its_own() {
    let host = Host::with_config("upstreams = ['127.0.0.1:5301']");
    for (port, last) in [(5301, 1), (5302, 2), (5303, 3)] {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        answer_everything(host.namespace(), address, Ipv4Addr::new(203, 0, 113, last));
    }
    host.ok(&["network", "create", "plain"]);
    host.ok(&["network", "create", "own", "--dns", "127.0.0.1:5302"]);
    assert_eq!(host.json(&["network", "inspect", "own"])["name_servers"], serde_json::json!(["127.0.0.1:5302"]));
    host.run("picky", "own", &["--dns", "127.0.0.1:5303"], &["sleep", "1000"]);
    host.run("easy", "own", &[], &["sleep", "1000"]);
    host.run("other", "plain", &[], &["sleep", "1000"]);
    for _at_first_and_after_a_restart in 0..2 {
        for (container, last) in [("other", 1), ("easy", 2), ("picky", 3)] {
            let (namespace, server) = (host.attached(container).namespace(), server(&host, container));
            let ask = |name: &str, kind| ask(&namespace, server, name, kind).expect("an answer");
            expect_from_outside(ask, RecordType::A, &found(&[Ipv4Addr::new(203, 0, 113, last)]));
        }
        host.restart();
    }
    // The next query is asked of the others, though the same was asked before, and a container's own stay.
    for (options, last) in
        [(&["--dns", "127.0.0.1:5301"][..], 1), (&["--dns", "127.0.0.1:5302"], 2), (&["--dns", "auto"], 1)]
    {
        host.ok(&[&["network", "update", "own"], options].concat());
        for _at_first_and_after_a_restart in 0..2 {
            for (container, last) in [("easy", last), ("picky", 3)] {
                let (namespace, server) = (host.attached(container).namespace(), server(&host, container));
                let ask = |name: &str, kind| ask(&namespace, server, name, kind).expect("an answer");
                expect_from_outside(ask, RecordType::A, &found(&[Ipv4Addr::new(203, 0, 113, last)]));
            }
            host.restart();
        }
    }
    assert_eq!(host.json(&["network", "inspect", "own"])["name_servers"], serde_json::json!([]));
}

#[test]
fn a_container_is_told_of_hosts_domains_and_options() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let options = ["--dns-search", "lab.example", "--dns-option", "ndots:2", "--add-host", "db:192.0.2.7"];
    host.run("api", "web", &[&options[..], &["--add-host", "outside:host-gateway"]].concat(), &["sleep", "1000"]);
    let read = |file: &str| host.ok(&["exec", "api", "cat", file]);
    assert_eq!(read("/etc/resolv.conf"), "nameserver 10.9.8.1\nsearch lab.example\noptions ndots:2");
    let hosts = read("/etc/hosts");
    assert!(hosts.contains("\n192.0.2.7\tdb\n") && hosts.contains("\n10.9.8.1\toutside"), "{hosts}");
    let refused = host.fabric(&["run", "--rm", "--add-host", "outside:host-gateway", "busybox", "true"]);
    assert!(refused.expect_code(2).stderr.contains("no network"), "it cannot be led to");
}

#[test]
fn the_host_is_reached_by_the_name_that_was_given_to_it() {
    let host = Host::with_config("upstreams = []");
    for (network, family, any) in [
        ("four", &[][..], IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        ("six", &["--no-ipv4", "--ipv6", "--subnet=fd09:6::/64"], IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ] {
        host.ok(&[&["network", "create", network], family].concat());
        let options = ["--network", network, "--add-host", "outside:host-gateway"];
        host.ok(&[&["run", "-d", "--name", network], &options[..], &["busybox", "sleep", "1000"]].concat());
        let server = serve(host.namespace(), any, 8000);
        let (hosts, pid) = (host.ok(&["exec", network, "cat", "/etc/hosts"]), &host.json(&["inspect", network])["pid"]);
        let inside = Namespace::of_process(pid.as_i64().expect("it runs"));
        let line = hosts.lines().find_map(|line| line.strip_suffix("\toutside")).expect("a line of that name");
        let address: IpAddr = line.parse().expect("an address");
        let told = fetch(&inside, address, 8000, "").expect("the host is reached");
        let endpoint = &host.json(&["inspect", network])["endpoints"][0];
        let own = endpoint["ipv4"].as_str().or(endpoint["ipv6"].as_str()).expect("an address");
        assert_eq!(told, own, "who asked, as the host sees it");
        server.join().expect("it is asked");
    }
}

#[test]
fn the_hosts_resolver_is_followed_when_it_changes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.11\n").expect("the directory is ours");
    let host = Host::with_config(&format!("resolv_conf = '{}'", path.display()));
    for last in [11, 12] {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 53);
        answer_everything(host.namespace(), address, Ipv4Addr::new(203, 0, 113, last));
    }
    host.ok(&["network", "create", "web"]);
    let ask = asker(&host, "web");
    expect_from_outside(&ask, RecordType::A, &found(&[Ipv4Addr::new(203, 0, 113, 11)]));
    std::fs::write(&path, "nameserver 127.0.0.12\nsearch corp.example\n").expect("the directory is ours");
    let new = found(&[Ipv4Addr::new(203, 0, 113, 12)]);
    eventually("the new resolver is asked", || (ask("www.example.com", RecordType::A) == new).then_some(()));
    host.run("late", "web", &[], &["sleep", "1000"]);
    assert!(host.ok(&["exec", "late", "cat", "/etc/resolv.conf"]).contains("search corp.example"));
}

#[test]
fn the_host_finds_containers_too() {
    let host = Host::with_config("upstreams = ['127.0.0.1:5301']\ndns_host_listener = '127.0.0.54:53'");
    let outside = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5301);
    answer_everything(host.namespace(), outside, Ipv4Addr::new(203, 0, 113, 1));
    host.ok(&["network", "create", "web", "--ipv6"]);
    host.ok(&["network", "create", "db"]);
    let (api, store) = (sleeper(&host, "api", "web"), sleeper(&host, "store", "db"));
    let listener = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54)), 53);
    let ask = |name: &str| ask(host.namespace(), listener, name, RecordType::A).expect("an answer");
    assert_eq!(ask("api.web.fabric.internal"), found(&[api.ipv4]));
    assert_eq!(ask("store.db.fabric.internal"), found(&[store.ipv4]));
    assert_eq!(ask("store"), found(&[store.ipv4]));
    assert_eq!(ask("nobody.web.fabric.internal"), no_such_name());
    let [ipv4, ipv6] = host.addresses("api").map(|address| address.to_string());
    let full = "api.web.fabric.internal";
    for transport in [Transport::Udp, Transport::Tcp] {
        for (name, kind, expected) in [
            (full, RecordType::A, &ipv4[..]),
            (full, RecordType::Aaaa, &ipv6),
            (&reverse(api.ipv4), RecordType::Ptr, full),
            (&reverse(store.ipv4), RecordType::Ptr, "store.db.fabric.internal"),
        ] {
            let reply = ask_by(transport, host.namespace(), listener, name, kind).expect("an answer");
            let told: Vec<String> = reply.sections[0].iter().map(|record| record.data.clone()).collect();
            assert_eq!((reply.code, &told[..]), (0, &[expected.to_owned()][..]), "{name} {kind:?} by {transport:?}");
        }
    }
    assert_eq!(ask("www.example.com").code, REFUSED, "a host that asks itself would ask without end");
    let run = ["run", "-d", "--network", "web", "-p", "53:53/udp", "busybox", "true"];
    let refused = host.fabric(&run).expect_code(125);
    assert!(refused.stderr.contains("the setting `dns_host_listener` of netd.toml"), "{refused}");
}

#[test]
fn the_query_log_tells_who_asked_for_what() {
    let host = Host::with_config("upstreams = []\ndns_query_log = 2");
    host.ok(&["network", "create", "web"]);
    let api = sleeper(&host, "api", "web");
    let ask = asker(&host, "web");
    for name in ["first", "nobody", "api"] {
        ask(name, RecordType::A);
    }
    let log = host.ok(&["dns", "log", "--format", "json"]);
    let entries: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let told: Vec<_> = entries.iter().map(|entry| format!("{} {}", entry["name"], entry["code"])).collect();
    assert_eq!(told, ["\"nobody\" \"NXDOMAIN\"", "\"api\" \"NOERROR\""], "the last two");
    assert_eq!((&entries[1]["container"], &entries[1]["origin"]), (&"asker-web".into(), &"zone".into()));
    let mut following = host.fabric_command(&["dns", "log", "-f"]);
    let mut following = following.stdout(std::process::Stdio::piped()).spawn().expect("fabric runs");
    let output = following.stdout.take().expect("it is piped");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output)).map(|line| line.expect("it is text"));
    for _ in 0..2 {
        lines.next().expect("what is remembered comes first");
    }
    assert_eq!(ask("api", RecordType::A), found(&[api.ipv4]));
    let line = lines.next().expect("then what is asked");
    assert!(line.contains("asker-web") && line.contains(" api A: NOERROR (1) from zone"), "{line}");
    following.kill().expect("it runs");
    following.wait().expect("it is our child");
}
