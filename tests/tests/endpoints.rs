//! Containers on several networks: where packets go, which names are seen, and how networks come and go while they run.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use tests::{Answer, Flow, Host, Namespace, Ping, RecordType, Wire, ask, difference, eventually, fetch, pings, serve};

/// A host with some networks: `a` is 10.9.1.0/24, `b` 10.9.2.0/24, and so on.
fn host_with(networks: &[&str]) -> Host {
    let host = Host::with_config("upstreams = []");
    for (number, name) in (1..).zip(networks) {
        host.ok(&["network", "create", name, "--subnet", &format!("10.9.{number}.0/24")]);
    }
    host
}

/// The container's endpoint on a network.
#[track_caller]
fn endpoint(host: &Host, container: &str, network: &str) -> Value {
    let inspected = host.json(&["inspect", container]);
    let endpoints = inspected["endpoints"].as_array().expect("a list");
    let found = endpoints.iter().find(|endpoint| endpoint["network"] == network);
    found.unwrap_or_else(|| panic!("{container} on {network}: {inspected:#}")).clone()
}

#[track_caller]
fn address(host: &Host, container: &str, network: &str) -> Ipv4Addr {
    endpoint(host, container, network)["ipv4"].as_str().expect("an address").parse().expect("an address")
}

/// The gateway and the interface of a namespace's IPv4 default routes.
fn default_routes(namespace: &Namespace) -> Vec<(String, String)> {
    let routes = namespace.run(&["ip", "-4", "route", "show", "default"]);
    let word = |line: &str, behind: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != behind);
        words.nth(1).unwrap_or_default().to_owned()
    };
    routes.lines().map(|line| (word(line, "via"), word(line, "dev"))).collect()
}

fn by(gateway: &str, interface: &str) -> Vec<(String, String)> {
    vec![(gateway.to_owned(), interface.to_owned())]
}

fn conntrack(host: &Host, address: Ipv4Addr) -> usize {
    let listed = host.namespace().run(&["sh", "-c", "conntrack -L 2> /dev/null || true"]);
    listed.lines().filter(|line| line.contains(&format!("={address} "))).count()
}

#[test]
fn a_container_on_several_networks_reaches_each_and_the_rest_by_the_highest_priority() {
    let host = host_with(&["a", "b", "c"]);
    let lan = host.lan();
    let options = ["--network", "b:gw-priority=5,ip=10.9.2.77", "--network", "c:gw-priority=5", "-p", "8080:80"];
    let many = host.run("many", "a", &options, &["httpd", "-f", "-p", "80", "-h", "/etc"]);
    let inside = many.namespace();
    for (number, network) in (0..).zip(["a", "b", "c"]) {
        let neighbour = host.run(&format!("on-{network}"), network, &[], &["sleep", "1000"]);
        let here = endpoint(&host, "many", network);
        assert_eq!(here["interface"], format!("eth{number}"));
        assert!(pings(&inside, neighbour.ipv4), "{network}: {neighbour:?}");
        assert!(pings(&neighbour.namespace(), address(&host, "many", network)), "{network}: the way back");
    }
    assert_eq!(address(&host, "many", "b"), Ipv4Addr::new(10, 9, 2, 77));
    // Of two with the highest priority the one named first.
    assert_eq!(default_routes(&inside), by("10.9.2.1", "eth1"));
    let shown: Vec<_> =
        ["a", "b", "c"].map(|network| endpoint(&host, "many", network)["default_routes"].clone()).into();
    assert_eq!(shown, [json!([]), json!(["ipv4"]), json!([])]);
    assert_eq!(endpoint(&host, "many", "c")["gateway_priority"], 5);

    let seen = serve(&lan.namespace, lan.address, 9000);
    fetch(&inside, lan.address, 9000, "").expect("the way out works");
    seen.join().expect("one request");
    let served = || fetch(&lan.namespace, lan.host_address, 8080, "hostname").ok();
    assert_eq!(eventually("the published port answers", served), "many");
    let elements = host.namespace().run(&["nft", "list", "table", "inet", "fabric"]);
    assert!(elements.contains("10.9.2.77"), "the port leads to the endpoint with the default route:\n{elements}");
    host.restart();
    host.assert_healthy();
    assert_eq!(default_routes(&inside), by("10.9.2.1", "eth1"));
}

#[test]
fn names_are_seen_on_each_network_and_by_whoever_shares_one() {
    let host = host_with(&["front", "back"]);
    host.run("db", "back:alias=store,alias=store", &[], &["sleep", "1000"]);
    host.run("both", "front:alias=edge", &["--network", "back"], &["sleep", "1000"]);
    host.run("web", "front:alias=app", &[], &["sleep", "1000"]);
    host.run("web2", "front:alias=app", &[], &["sleep", "1000"]);
    let answered = |container: &str, name: &str| {
        let namespace = host.attached(container).namespace();
        let gateway = host.json(&["inspect", container])["endpoints"][0]["gateway"].clone();
        let server = SocketAddr::new(gateway.as_str().expect("an address").parse().expect("an address"), 53);
        let Answer { mut records, .. } = ask(&namespace, server, name, RecordType::A).expect("an answer");
        records.sort();
        records
    };
    let is = |pairs: &[(&str, &str)]| {
        let mut all: Vec<_> = pairs.iter().map(|(name, network)| address(&host, name, network).to_string()).collect();
        all.sort();
        all
    };
    let (nobody, db) = (Vec::<String>::new(), is(&[("db", "back")]));
    for (asker, name, expected) in [
        ("both", "db", db.clone()),
        ("both", "store", db.clone()),
        ("both", "store.back", db),
        ("both", "store.front", nobody.clone()),
        ("both", "web", is(&[("web", "front")])),
        ("both", "both.front", is(&[("both", "front")])),
        ("both", "both.back", is(&[("both", "back")])),
        ("both", "both", is(&[("both", "front"), ("both", "back")])),
        ("web", "db", nobody.clone()),
        ("web", "store", nobody.clone()),
        ("web", "both", is(&[("both", "front")])),
        ("web", "edge", is(&[("both", "front")])),
        ("web", "app", is(&[("web", "front"), ("web2", "front")])),
        ("db", "both", is(&[("both", "back")])),
        ("db", "edge", nobody.clone()),
        ("db", "app", nobody.clone()),
    ] {
        assert_eq!(answered(asker, name), expected, "{asker} asks for {name}");
    }
    host.ok(&["network", "disconnect", "front", "web2"]);
    assert_eq!(answered("web", "app"), is(&[("web", "front")]), "an alias goes with its endpoint");
    host.ok(&["network", "connect", "back", "web", "--alias", "late"]);
    assert_eq!(answered("web", "store"), is(&[("db", "back")]), "names of a new network are seen at once");
    assert_eq!(answered("db", "late"), is(&[("web", "back")]));
    assert_eq!(answered("db", "web"), is(&[("web", "back")]));
    host.ok(&["network", "disconnect", "back", "web"]);
    assert_eq!(answered("web", "store"), nobody);
    assert_eq!(answered("db", "late"), Vec::<String>::new());
    let aliases = endpoint(&host, "db", "back")["aliases"].clone();
    assert_eq!(aliases, json!(["store"]), "one given twice counts once");
}

#[test]
fn networks_come_and_go_while_a_container_runs_and_its_flows_on_others_go_on() {
    let host = host_with(&["web", "back"]);
    let lan = host.lan();
    let publish = ["-p", "8080:80"];
    let app = host.run("app", "web", &publish, &["httpd", "-f", "-p", "80", "-h", "/etc"]);
    let echo = host.run("echo", "web", &[], &["nc", "-ll", "-p", "7", "-e", "cat"]);
    let db = host.run("db", "back", &[], &["httpd", "-f", "-p", "80", "-h", "/etc"]);
    let inside = app.namespace();
    let listening = || echo.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("the echo server listens", || (!listening().is_empty()).then_some(()));
    let (flow, ping) = (Flow::start(&inside, &echo.namespace(), echo.ipv4, 7), Ping::start(&inside, echo.ipv4));
    let published = || fetch(&lan.namespace, lan.host_address, 8080, "hostname").ok();
    eventually("the published port answers", published);
    assert_eq!(default_routes(&inside), by("10.9.1.1", "eth0"));
    let before = host.kernel_state();

    for round in 0..3 {
        let told = host.ok(&["network", "connect", "--ip", "10.9.2.50", "--gw-priority", "1", "back", "app"]);
        assert_eq!(told, "10.9.2.50");
        let (there, back) = (Ipv4Addr::new(10, 9, 2, 50), address(&host, "db", "back"));
        assert_eq!(default_routes(&inside), by("10.9.2.1", "eth1"), "round {round}: the default route moves");
        eventually("db listens", || fetch(&inside, back, 80, "hostname").ok());
        assert_eq!(fetch(&db.namespace(), there, 80, "hostname").expect("at once"), "app");
        assert_eq!(published().expect("the published port leads there"), "app");
        assert!(conntrack(&host, there) > 0, "control: the published flow is known");
        let hosts = host.ok(&["exec", "app", "cat", "/etc/hosts"]);
        assert!(hosts.contains("10.9.2.50\tapp"), "{hosts}");
        let resolvers = host.ok(&["exec", "app", "cat", "/etc/resolv.conf"]);
        assert!(resolvers.starts_with("nameserver 10.9.2.1\nnameserver 10.9.1.1\n"), "{resolvers}");
        host.ok(&["exec", "app", "nslookup", "db"]);
        host.assert_healthy();
        if round == 1 {
            host.restart();
            host.assert_healthy();
        }

        host.ok(&["network", "disconnect", "back", "app"]);
        assert_eq!(default_routes(&inside), by("10.9.1.1", "eth0"), "round {round}: the default route moves back");
        assert!(!inside.run(&["ip", "-o", "link"]).contains("eth1"), "nothing is left of the endpoint");
        assert_eq!(conntrack(&host, there), 0, "its flows are forgotten");
        assert_eq!(published().expect("the published port leads back"), "app");
        assert!(fetch(&db.namespace(), there, 80, "hostname").is_err());
        assert!(!host.ok(&["exec", "app", "cat", "/etc/hosts"]).contains("10.9.2.50"));
        let leased = host.json(&["network", "inspect", "back"])["usage"]["used"].clone();
        assert_eq!(leased, 1, "its address is free");
    }
    assert_eq!(difference(&before, &host.kernel_state()), "");
    flow.finish().assert_nothing_lost();
    ping.finish().assert_nothing_lost();
    host.assert_healthy();
}

#[test]
fn a_container_without_a_network_gets_one_and_loses_it() {
    let host = host_with(&["web"]);
    host.ok(&["run", "-d", "--name", "app", "busybox", "sleep", "1000"]);
    let other = host.run("other", "web", &[], &["sleep", "1000"]);
    host.ok(&["network", "connect", "web", "app"]);
    let app = host.attached("app");
    assert_eq!(default_routes(&app.namespace()), by("10.9.1.1", "eth0"));
    assert!(pings(&app.namespace(), other.ipv4) && pings(&other.namespace(), app.ipv4));
    host.ok(&["exec", "app", "nslookup", "other"]);
    host.ok(&["network", "disconnect", "web", "app"]);
    assert_eq!(default_routes(&app.namespace()), []);
    assert!(!pings(&other.namespace(), app.ipv4));
    assert_eq!(host.ok(&["exec", "app", "cat", "/etc/resolv.conf"]), "");
    host.assert_healthy();
}

#[test]
fn containers_that_do_not_run_are_connected_too() {
    let host = host_with(&["web", "back"]);
    host.run("db", "back", &[], &["sleep", "1000"]);
    let db = address(&host, "db", "back");
    host.ok(&["create", "--name", "waiting", "--network", "web", "busybox", "sleep", "1000"]);
    host.run("ended", "web", &[], &["sleep", "1000"]);
    host.ok(&["stop", "-t", "0", "ended"]);
    for name in ["waiting", "ended"] {
        host.ok(&["network", "connect", "back", name, "--gw-priority", "1"]);
        host.ok(&["network", "disconnect", "web", name]);
        host.ok(&["start", name]);
        let inside = host.attached(name).namespace();
        assert_eq!(default_routes(&inside), by("10.9.2.1", "eth1"), "{name}");
        assert!(pings(&inside, db), "{name}");
        assert!(!inside.run(&["ip", "-o", "link"]).contains("eth0"), "{name}");
        host.ok(&["exec", name, "nslookup", "db"]);
    }
    assert_eq!(host.json(&["network", "inspect", "web"])["usage"]["used"], 0);
    host.ok(&["network", "rm", "web"]);
    host.assert_healthy();
}

#[test]
fn a_bad_request_says_what_is_wrong_and_changes_nothing() {
    let host = host_with(&["web", "back"]);
    host.run("db", "back:ip=10.9.2.9,mac=02:00:00:00:00:09", &[], &["sleep", "1000"]);
    host.run("app", "web", &[], &["sleep", "1000"]);
    let state = || (host.kernel_state(), host.json(&["inspect", "app"]), host.json(&["network", "ls"]));
    let before = state();
    let connect = |arguments: &[&str]| {
        let outcome = host.fabric(&[&["network", "connect"], arguments].concat());
        assert_eq!(outcome.code, 1, "{outcome}");
        outcome.stderr
    };
    for (arguments, expected) in [
        (&["web", "app"][..], "error: container `app` is already connected to network `web`"),
        (&["bakc", "app"], "error: there is no network `bakc`\nhint: did you mean `back`?"),
        (&["back", "nobody"], "error: there is no container `nobody`"),
        (
            &["--ip", "10.9.2.9", "back", "app"],
            "error: network `back` cannot give address 10.9.2.9: container `db` has it",
        ),
        (&["--ip", "10.9.1.9", "back", "app"], "error: network `back` cannot give address 10.9.1.9\n"),
        (&["--ip", "10.9.2.1", "back", "app"], "error: network `back` cannot give address 10.9.2.1\n"),
        (&["--ip6", "fd00::9", "back", "app"], "error: network `back` cannot give address fd00::9\n"),
        (
            &["--mac", "02:00:00:00:00:09", "back", "app"],
            "error: MAC address 02:00:00:00:00:09 is taken on network `back`: container `db` has it",
        ),
    ] {
        let told = connect(arguments);
        assert!(told.starts_with(expected), "{arguments:?}: {told}");
        assert!(told.contains("hint: "), "{arguments:?}: {told}");
        assert_eq!(state(), before, "{arguments:?}");
    }
    let refused = host.fabric(&["network", "disconnect", "back", "app"]).expect_code(1);
    assert!(refused.stderr.starts_with("error: container `app` is not connected to network `back`"), "{refused}");
    let id = host.json(&["network", "inspect", "web"])["id"].as_str().expect("a text").to_owned();
    for (again, code) in [("web", 2), (&id, 1)] {
        let told = host.fabric(&["create", "--network", "web", "--network", again, "busybox"]).expect_code(code);
        assert!(told.stderr.starts_with("error: network `web` is given twice"), "its id only netd knows: {told}");
    }
    let static_taken = ["run", "-d", "--network", "web", "--network", "back:ip=10.9.2.9", "busybox", "true"];
    let refused = host.fabric(&static_taken).expect_code(125);
    assert!(refused.stderr.contains("container `db` has it"), "{refused}");
    assert_eq!(state(), before, "of several networks all are had, or none");
}

#[test]
fn of_many_who_ask_for_one_address_one_gets_it() {
    let host = host_with(&["web"]);
    for round in 0..3 {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let host = &host;
            let ask = |number: u32| {
                let name = format!("c{round}-{number}");
                scope.spawn(move || {
                    let run =
                        ["run", "-d", "--name", &name, "--network", "web:ip=10.9.1.99", "busybox", "sleep", "1000"];
                    host.fabric(&run)
                })
            };
            let asked: Vec<_> = (0..6).map(ask).collect();
            asked.into_iter().map(|one| one.join().expect("fabric runs")).collect()
        });
        let (had, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|outcome| outcome.code == 0);
        assert_eq!(had.len(), 1);
        for outcome in refused {
            assert!(outcome.stderr.contains("cannot give address 10.9.1.99: container `c"), "{outcome}");
        }
        host.ok(&["rm", "-f", had[0].stdout.trim()]);
    }
}

/// The MAC address that a namespace remembers for an address.
fn remembered(namespace: &Namespace, address: Ipv4Addr) -> Option<String> {
    let line = namespace.run(&["ip", "-4", "neighbour", "show", "to", &address.to_string()]);
    line.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).map(str::to_owned)
}

#[test]
fn neighbours_learn_who_has_an_address_before_anybody_speaks() {
    let host = host_with(&["web", "back"]);
    let client = host.run("client", "web", &[], &["sleep", "1000"]).namespace();
    // It does not find out by itself, by asking again some seconds after it has sent something.
    client.run(&["sysctl", "-qw", "net.ipv4.neigh.eth0.delay_first_probe_time=600"]);
    let (address, first, second) = (Ipv4Addr::new(10, 9, 1, 50), "02:00:00:00:00:01", "02:00:00:00:00:02");
    let with = |mac: &str| format!("web:ip={address},mac={mac}");
    host.run("old", &with(first), &[], &["sleep", "1000"]);
    for namespace in [&client, host.namespace()] {
        assert!(pings(namespace, address));
        assert_eq!(remembered(namespace, address).as_deref(), Some(first), "control: it is remembered");
    }
    host.ok(&["rm", "-f", "old"]);
    assert_eq!(remembered(&client, address).as_deref(), Some(first), "control: nothing else makes it forget");
    host.run("new", &with(second), &[], &["sleep", "1000"]);
    let learnt = || (remembered(&client, address).as_deref() == Some(second)).then_some(());
    eventually("a neighbour learns of a container that was started", learnt);
    let learnt = || (remembered(host.namespace(), address).as_deref() == Some(second)).then_some(());
    eventually("the host learns it too", learnt);
    host.ok(&["network", "disconnect", "web", "new"]);
    host.ok(&["network", "connect", "--ip", "10.9.1.50", "--mac", first, "web", "new"]);
    let learnt = || (remembered(&client, address).as_deref() == Some(first)).then_some(());
    eventually("a neighbour learns of a container that was connected", learnt);
    assert!(pings(&client, address));

    // Who follows on an address that was somewhere else than the address itself says is told of, without asking for it.
    host.ok(&["rm", "-f", "new"]);
    host.restart();
    for successor in ["heir", "next"] {
        let before = remembered(&client, address);
        host.run(successor, &format!("web:ip={address}"), &[], &["sleep", "1000"]);
        let own = endpoint(&host, successor, "web")["mac"].as_str().map(str::to_owned);
        assert_ne!(own, before, "control: it is somewhere else");
        let learnt = || (remembered(&client, address) == own).then_some(());
        eventually("a neighbour learns of a container with a MAC address that nobody asked for", learnt);
        host.ok(&["rm", "-f", successor]);
    }

    // So is who asks for the very MAC address that the address would lead to.
    let own = "0a:fb:0a:09:01:32";
    assert_ne!(remembered(&client, address).as_deref(), Some(own), "control: it is somewhere else");
    host.run("own", &with(own), &[], &["sleep", "1000"]);
    let learnt = || (remembered(&client, address).as_deref() == Some(own)).then_some(());
    eventually("a neighbour learns of a container whose MAC address follows from its address", learnt);
    assert!(pings(&client, address));
}

#[test]
fn a_mac_address_that_is_asked_for_brings_the_address_that_neighbours_know_it_by() {
    let host = host_with(&["web"]);
    let client = host.run("client", "web", &[], &["sleep", "1000"]).namespace();
    let (with, mac) = ("web:mac=02:00:00:00:00:01", "02:00:00:00:00:01");
    let old = host.run("old", with, &[], &["sleep", "1000"]);
    assert!(pings(&client, old.ipv4));
    host.ok(&["rm", "-f", "old"]);
    host.restart();
    let new = host.run("new", with, &[], &["sleep", "1000"]);
    assert_eq!(new.ipv4, old.ipv4);
    assert_eq!(remembered(&client, new.ipv4).as_deref(), Some(mac), "what is remembered is right again");
    assert!(pings(&client, new.ipv4));
}

#[test]
fn a_container_whose_address_nobody_knows_bothers_nobody() {
    const ARP: u16 = 0x0806;
    let host = host_with(&["web"]);
    let client = host.run("client", "web", &[], &["sleep", "1000"]);
    // Later than this test ends it makes sure of its gateway, of whose answer it would hear.
    client.namespace().run(&["sysctl", "-qw", "net.ipv4.neigh.eth0.delay_first_probe_time=600"]);
    // And the gateway of it.
    let setting = format!("net.ipv4.neigh.{}.delay_first_probe_time=600", host.interface("fb-"));
    host.namespace().run(&["sysctl", "-qw", &setting]);
    assert!(pings(&client.namespace(), Ipv4Addr::new(10, 9, 1, 1)));
    let heard = Wire::open(&client.namespace(), "eth0", ARP);
    for name in ["first", "second", "first"] {
        let other = host.run(name, "web", &[], &["sleep", "1000"]);
        let gateway = remembered(&other.namespace(), Ipv4Addr::new(10, 9, 1, 1));
        assert!(gateway.is_some(), "{name} knows where its gateway is");
        let own = endpoint(&host, name, "web")["mac"].as_str().map(str::to_owned);
        assert_eq!(remembered(host.namespace(), other.ipv4), own, "the host knows where {name} is");
        assert!(pings(&other.namespace(), Ipv4Addr::new(10, 9, 1, 1)));
        host.ok(&["rm", "-f", name]);
    }
    assert_eq!(heard.frames(Duration::from_millis(300)), Vec::<Vec<u8>>::new());
    let asking = host.run("asking", "web", &[], &["sleep", "1000"]);
    assert!(pings(&asking.namespace(), client.ipv4));
    assert!(!heard.frames(Duration::from_millis(300)).is_empty(), "control: a question is heard");
}
