//! Names in DNS as targets of policies: what a container is answered is open before it has the answer, and nothing
//! else.

mod stage;

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    thread,
    time::Duration,
};

use tests::{Attached, Flow, Host, NameServer, PATIENCE, RecordType, Said, Transport, ask_by, ask_within, eventually};

use stage::{ECHO, FILTERED, POLICY, SLEEP, Stage, connect, echo, server, world, world6};

const SERVER_FAILURE: u8 = 2;

#[test]
fn the_first_connection_after_an_answer_comes_about_and_nothing_else_opens() {
    let stage = Stage::new();
    let (upstream, client) = (&stage.upstream, &stage.client);
    for address in [world(1), world6(1)] {
        assert!(!stage.connects(client, address), "nobody has asked: {address}");
        assert_eq!(stage.verdict(address), "deny");
    }
    let denied = stage.denied();
    let namespace = client.namespace();
    for round in 1..60 {
        let name = if round % 2 == 0 { "api.example.com".to_owned() } else { format!("n{round}.a.cdn.example.com") };
        let address = if round % 3 == 0 { world6(round.into()) } else { world(round) };
        upstream.says(&name, address, if round % 2 == 0 { 0 } else { 300 });
        stage.learn(&name, address);
        // With the patience for a segment that is sent again, which the rule would have counted.
        assert!(connect(&namespace, address, PATIENCE).is_some(), "{name} {address}");
    }
    assert_eq!(stage.denied(), denied, "not one segment was lost");
    assert_eq!(stage.verdict(world(2)), "allow");

    upstream.says("api.example.com", Said::Alias("edge.example.net"), 300);
    upstream.says("edge.example.net", world(70), 300);
    upstream.says("other.example.com", world(71), 300);
    upstream.says("cdn.example.com", world(72), 300);
    upstream.says("v2.api.example.com", world(73), 300);
    stage.learn("API.example.COM", world(70));
    assert!(stage.connects(client, world(70)), "by another name");
    for (name, address) in
        [("edge.example.net", 70), ("other.example.com", 71), ("cdn.example.com", 72), ("v2.api.example.com", 73)]
    {
        stage.learn(name, world(address));
    }
    for address in [71, 72, 73, 80] {
        assert!(!stage.connects(client, world(address)), "no rule is about it: {address}");
    }
    let other_port = client.namespace().try_run(&["nc", "-z", "-w", "1", "198.51.100.70", "7001"]);
    assert_ne!(other_port.code, 0);
    let shown = stage.host.json(&["policy", "inspect", "names"]);
    assert!(shown["names"]["api.example.com"].as_array().is_some_and(|known| known.contains(&"198.51.100.70".into())));
    assert!(shown["names"].get("other.example.com").is_none(), "{shown:#}");
    assert!(stage.host.ok(&["policy", "inspect", "names"]).contains("198.51.100.70"));
    assert!(stage.host.ok(&["policy", "explain", "client", "api.example.com:7000"]).contains(": allow"));
    stage.host.assert_healthy();
}

#[test]
fn whoever_asks_at_once_and_however_waits_for_the_same() {
    let stage = Stage::new();
    let clients: Vec<Attached> =
        ["one", "two", "three"].iter().map(|name| stage.host.run(name, "web", &["-l", "app=client"], &SLEEP)).collect();
    stage.upstream.delay(Duration::from_millis(30));
    let denied = stage.denied();
    for round in 1..25 {
        stage.upstream.says("api.example.com", world(round), if round % 2 == 0 { 0 } else { 300 });
        // One after the other from the cache, where there is one; otherwise all at once.
        let name = if round % 2 == 0 { "api.example.com" } else { &*format!("r{round}.cdn.example.com") };
        stage.upstream.says(name, world(round), if round % 2 == 0 { 0 } else { 300 });
        thread::scope(|scope| {
            for (number, client) in clients.iter().enumerate() {
                scope.spawn(move || {
                    let namespace = client.namespace();
                    let transport = [Transport::Udp, Transport::Tcp, Transport::Edns(1232)][number];
                    let reply = ask_by(transport, &namespace, server(&namespace), name, RecordType::A);
                    let reply = reply.unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(reply.sections[0][0].data, world(round).to_string(), "{reply:?}");
                    assert!(connect(&namespace, world(round), PATIENCE).is_some(), "{round} {transport:?}");
                });
            }
        });
    }
    assert_eq!(stage.denied(), denied, "not one segment was lost");
    // More than a datagram takes: what is cut opens nothing, the whole by TCP all of it.
    let many = || (100..160).map(world);
    stage.upstream.says_all("many.cdn.example.com", many(), 300);
    let namespace = stage.client.namespace();
    let by = |transport| ask_by(transport, &namespace, server(&namespace), "many.cdn.example.com", RecordType::A);
    let cut = by(Transport::Udp).expect("an answer");
    assert!(cut.is_truncated && cut.sections[0].is_empty(), "{cut:?}");
    assert!(!stage.connects(&stage.client, world(100)));
    assert_eq!(by(Transport::Tcp).expect("an answer").sections[0].len(), 60);
    let denied = stage.denied();
    assert!(many().all(|address| connect(&namespace, address, PATIENCE).is_some()));
    assert_eq!(stage.denied(), denied);
    // What teaches nothing new does not touch the kernel.
    stage.host.holdings();
    let reconciled = || stage.host.metrics()["fabric_reconcile_seconds_count"];
    let before = (stage.upstream.asked(), reconciled());
    (0..100).for_each(|_| stage.learn("r1.cdn.example.com", world(1)));
    assert_eq!((stage.upstream.asked(), reconciled()), before);
    // No answer is remembered for longer than it is open.
    stage.upstream.says("long.cdn.example.com", world(200), 604_800);
    let reply = ask_by(Transport::Udp, &namespace, server(&namespace), "long.cdn.example.com", RecordType::A);
    assert_eq!(reply.expect("an answer").sections[0][0].ttl, 3600);
}

#[test]
fn who_no_rule_is_for_teaches_nothing_and_no_name_opens_what_is_inside() {
    let stage = Stage::new();
    let (upstream, host) = (&stage.upstream, &stage.host);
    // A name server of the neighbour's own choice says what it likes.
    let forger = NameServer::start(&stage.lan.namespace, (stage.lan.address, 53).into());
    let address = stage.lan.address.to_string();
    let liar = host.run("liar", "web", &["--dns", &address], &SLEEP);
    forger.says("api.example.com", world(66), 300);
    upstream.says("api.example.com", world(67), 300);
    for (container, expected) in [(&liar, world(66)), (&stage.other, world(67))] {
        let answer = stage.ask(container, "api.example.com", RecordType::A);
        assert_eq!(answer.records, [expected.to_string()]);
        assert!(!stage.connects(&stage.client, expected), "{container:?} teaches nothing");
    }
    stage.learn("api.example.com", world(67));
    assert!(stage.connects(&stage.client, world(67)), "control: who the rule is for does");

    // Rebinding: the name's own server says that it is somebody here.
    let server_inside = host.run("server", "web", &[], &["nc", "-ll", "-p", "7000", "-e", "cat"]);
    echo(host.namespace());
    let [inside, inside6] = host.addresses("server");
    let gateway = server(&stage.client.namespace()).ip();
    let free = IpAddr::V4((u32::from(server_inside.ipv4) + 9).into());
    for to in [inside, inside6, gateway, stage.lan.host_address.into()] {
        eventually("it can be reached by others", || connect(&stage.other.namespace(), to, FILTERED));
        upstream.says("rebound.cdn.example.com", to, 0);
        stage.learn("rebound.cdn.example.com", to);
        assert!(!stage.connects(&stage.client, to), "{to} is inside");
        assert_eq!(stage.verdict(to), "deny", "{to}");
    }
    // One whom somebody gets afterwards.
    upstream.says("free.cdn.example.com", free, 300);
    stage.learn("free.cdn.example.com", free);
    let got = host.run("got", &format!("web:ip={free}"), &[], &["nc", "-ll", "-p", "7000", "-e", "cat"]);
    eventually("it listens", || connect(&stage.other.namespace(), got.ipv4.into(), FILTERED));
    assert!(!stage.connects(&stage.client, free));
    assert_eq!(stage.verdict(free), "deny");
    upstream.says("rebound.cdn.example.com", world(9), 0);
    stage.learn("rebound.cdn.example.com", world(9));
    assert!(stage.connects(&stage.client, world(9)), "control: outside it opens");
    host.assert_healthy();
}

#[test]
fn an_address_that_lapses_is_closed_and_what_is_open_goes_on_until_the_rule_goes() {
    let clock = |host: &Host| host.path("clock");
    let set = |host: &Host, seconds: u32| {
        fs::write(host.path("clock.new"), seconds.to_string()).expect("the directory is ours");
        fs::rename(host.path("clock.new"), clock(host)).expect("the directory is ours");
    };
    let start = |host: &Host| {
        host.spawn(host.netd_command().env("NETD_CLOCK_AHEAD", clock(host)));
        host.wait_until_ready();
    };
    let stage = Stage::of(|host| {
        set(host, 0);
        start(host);
    });
    let (host, client) = (&stage.host, &stage.client);
    stage.upstream.says("api.example.com", world(1), 300);
    stage.upstream.says("b.cdn.example.com", world(2), 3000);
    stage.learn("api.example.com", world(1));
    stage.learn("b.cdn.example.com", world(2));
    let flow = Flow::start(&client.namespace(), &stage.lan.namespace, world(1), ECHO);
    let goes_on = || {
        let count = flow.echoed();
        eventually("it goes on", || (flow.echoed() > count + 20).then_some(()));
    };
    // Clients may use it for all of its TTL, and a little longer.
    set(host, 320);
    thread::sleep(Duration::from_millis(1500));
    assert!(stage.connects(client, world(1)));
    set(host, 400);
    eventually("it lapses", || (!stage.connects(client, world(1))).then_some(()));
    assert!(stage.connects(client, world(2)), "the other one is there");
    assert_eq!((stage.verdict(world(1)), stage.verdict(world(2))), ("deny".to_owned(), "allow".to_owned()));
    goes_on();
    // Whatever else has connections looked at.
    stage
        .apply(&POLICY.replace("name: names", "name: more").replace("deny, order: 200, log: true", "deny, ports: [1]"));
    host.namespace().run(&["nft", "delete", "table", "inet", "fabric-policy"]);
    eventually("it is put back", || (!stage.connects(client, world(1))).then_some(()));
    host.kill();
    start(host);
    assert!(!stage.connects(client, world(1)) && stage.connects(client, world(2)));
    goes_on();
    // The next answer opens it again.
    stage.learn("api.example.com", world(1));
    assert!(stage.connects(client, world(1)));
    set(host, 4000);
    eventually("it lapses", || (!stage.connects(client, world(1))).then_some(()));
    goes_on();
    host.ok(&["policy", "rm", "more"]);
    goes_on();
    stage.apply(&POLICY.replace("api.example.com, ", ""));
    let cut = eventually("it is cut with its rule", || {
        let count = flow.echoed();
        thread::sleep(Duration::from_millis(500));
        (flow.echoed() == count).then_some(count)
    });
    assert!(cut > 0);
    drop(flow);
}

#[test]
fn what_was_learned_outlives_netd_and_its_end_by_force() {
    let stage = Stage::new();
    let (host, client) = (&stage.host, &stage.client);
    for round in 0..4_u8 {
        let (known, unknown) = (world(10 + round), world(20 + round));
        stage.upstream.says("api.example.com", known, 0);
        stage.learn("api.example.com", known);
        if round % 2 == 0 {
            host.kill()
        } else {
            host.terminate()
        };
        assert!(stage.connects(client, known) && !stage.connects(client, unknown), "while it is dead: {round}");
        host.start();
        // Whatever else changes afterwards.
        let _more = host.run(&format!("more{round}"), "web", &["-l", "app=client"], &SLEEP);
        for earlier in 0..=round {
            assert!(stage.connects(client, world(10 + earlier)), "{round}: {earlier}");
        }
        assert_eq!(stage.verdict(known), "allow");
        assert!(!stage.connects(client, unknown));
        host.assert_healthy();
    }
}

#[test]
fn a_crash_while_it_learns_loses_an_answer_and_nothing_else() {
    let stage = Stage::new();
    let (host, client) = (&stage.host, &stage.client);
    let namespace = client.namespace();
    stage.upstream.says("a.cdn.example.com", world(1), 300);
    stage.learn("a.cdn.example.com", world(1));
    for (round, step) in ["addresses of names noted", "addresses of names learned"].iter().enumerate() {
        let (name, address) = (format!("r{round}.cdn.example.com"), world(10 + round as u8));
        stage.upstream.says(&name, address, 300);
        host.terminate();
        host.spawn(host.netd_command().env("NETD_CRASH_AT", step));
        host.wait_until_ready();
        let answer = ask_within(Duration::from_secs(2), &namespace, server(&namespace), &name, RecordType::A);
        assert!(answer.is_err(), "{step}: it died before it answered: {answer:?}");
        assert!(stage.connects(client, world(1)), "{step}: what was learned before is there");
        assert_eq!(host.ended_by(PATIENCE), Some(9), "{step}");
        host.start();
        host.assert_healthy();
        stage.learn(&name, address);
        assert!(stage.connects(client, address) && stage.connects(client, world(1)), "{step}");
        assert!(!stage.connects(client, world(99)));
    }
}

#[test]
fn a_zone_without_end_fills_its_part_and_no_more() {
    let stage = Stage::new();
    let client = &stage.client;
    // The world has more of IPv6.
    let many =
        |zone: u16| (0..64).map(move |number| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, zone, number)));
    let namespace = client.namespace();
    let by_tcp = |name: &str| {
        let reply = ask_by(Transport::Tcp, &namespace, server(&namespace), name, RecordType::Aaaa);
        reply.unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let mut answered = 0;
    for zone in 1..50 {
        let name = format!("n{zone}.cdn.example.com");
        stage.upstream.says_all(&name, many(zone), 0);
        let reply = by_tcp(&name);
        match reply.code {
            0 => answered += 1,
            code => assert_eq!((code, reply.sections[0].len()), (SERVER_FAILURE, 0), "{reply:?}"),
        }
        let first = many(zone).next().expect("one");
        assert_eq!(
            stage.connects(client, first),
            reply.code == 0,
            "what is answered is open, and nothing else: {zone}"
        );
    }
    assert_eq!(answered, 2048 / 64);
    stage.upstream.says_all("api.example.com", (0..300).map(|number| world6(500 + number)), 0);
    assert_eq!(by_tcp("api.example.com").code, SERVER_FAILURE, "too many at once");
    stage.upstream.says("api.example.com", world(1), 300);
    stage.learn("api.example.com", world(1));
    assert!(stage.connects(client, world(1)), "others have their part");
    stage.host.assert_healthy();
}

#[test]
fn what_the_kernel_refuses_is_not_answered() {
    let path = std::cell::RefCell::new(String::new());
    let stage = Stage::of(|host| {
        fs::write(host.path("refused"), "").expect("the directory is ours");
        let refusal = format!(
            "if [ -s {} ] && echo \"$input\" | grep -q 2001:db8:1::; then echo 'Error: refused' >&2; exit 1; fi",
            host.path("refused").display()
        );
        *path.borrow_mut() = tests::path_with_picky_nft(host, &refusal);
        host.spawn(host.netd_command().env("PATH", &*path.borrow()));
        host.wait_until_ready();
    });
    let namespace = stage.client.namespace();
    // More elements than one batch takes are for `nft`.
    stage.upstream.says_all("api.example.com", (1..=254).map(world6), 300);
    let by_tcp = || ask_by(Transport::Tcp, &namespace, server(&namespace), "api.example.com", RecordType::Aaaa);
    fs::write(stage.host.path("refused"), "all").expect("the directory is ours");
    let reply = by_tcp().expect("an answer");
    assert_eq!((reply.code, reply.sections[0].len()), (SERVER_FAILURE, 0), "{reply:?}");
    assert!(!stage.connects(&stage.client, world6(1)));
    assert!(stage.host.log_tail().contains("cannot be answered"), "{}", stage.host.log_tail());
    fs::write(stage.host.path("refused"), "").expect("the directory is ours");
    assert_eq!(by_tcp().expect("an answer").sections[0].len(), 254);
    assert!(stage.connects(&stage.client, world6(1)) && stage.connects(&stage.client, world6(254)));
    stage.host.assert_healthy();
}
