//! Rules that hold for some time only, and those that say ports by their names, with real packets.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    thread,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tests::{Attached, Flow, Host, eventually, fetch};

const HTTP: [&str; 6] = ["httpd", "-f", "-p", "8080", "-h", "/etc"];
const ECHO: [&str; 6] = ["nc", "-ll", "-p", "7", "-e", "cat"];
const HOUR: i64 = 3600;

fn listens(server: &Attached, port: u16) {
    let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", &format!(":{port}")]);
    eventually("it listens", || (!listening().is_empty()).then_some(()));
}

fn apply(host: &Host, text: &str) {
    let file = host.path("policies.yaml");
    fs::write(&file, text).expect("the directory is ours");
    host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
}

/// Everything that comes in is denied, but to port 7 until a moment.
fn door(expires: Timestamp) -> String {
    format!(
        "{{apiVersion: fabric/v1, kind: Stance, metadata: {{name: closed}}, networks: [web], ingress: deny}}\n---\n\
         {{apiVersion: fabric/v1, kind: Policy, metadata: {{name: door}}, networks: [web], ingress: [{{action: allow, \
         ports: [7], expires: {expires}}}]}}\n"
    )
}

/// Starts the daemon with a clock that is as far ahead as the file `clock` says.
fn start(host: &Host) {
    host.spawn(host.netd_command().env("NETD_CLOCK_AHEAD", host.path("clock")));
    host.wait_until_ready();
}

/// Sets the daemon's clock so many seconds ahead.
fn set_clock(host: &Host, seconds: i64) {
    fs::write(host.path("clock.new"), seconds.to_string()).expect("the directory is ours");
    fs::rename(host.path("clock.new"), host.path("clock")).expect("the directory is ours");
}

/// Whether a connection to port 7 comes about.
fn connects(from: &Attached, to: &Attached) -> bool {
    let address = (to.ipv4, 7).into();
    from.namespace().enter(|| TcpStream::connect_timeout(&address, Duration::from_millis(700)).is_ok())
}

/// The rule is there no more, and what it allowed ends.
#[track_caller]
fn assert_stops(host: &Host, flow: &Flow, from: &Attached, to: &Attached) {
    eventually("it is closed", || (!connects(from, to)).then_some(()));
    assert!(host.ok(&["policy", "ls"]).contains("1 rule expired"));
    // What is cut is dropped: nothing comes any more, however long somebody listens.
    let mut last = u64::MAX;
    eventually("what it allowed is cut", || {
        thread::sleep(Duration::from_secs(1));
        let now = flow.echoed();
        let same = now == last;
        last = now;
        same.then_some(())
    });
}

#[test]
fn a_rule_that_expires_is_gone_at_its_moment_wherever_the_clock_comes_from() {
    let host = Host::stopped("");
    set_clock(&host, 0);
    start(&host);
    host.import_busybox();
    host.ok(&["network", "create", "web"]);
    let server = host.run("server", "web", &[], &ECHO);
    let client = host.run("client", "web", &[], &["sleep", "1000"]);
    listens(&server, 7);
    let open = || Flow::start(&client.namespace(), &server.namespace(), server.ipv4, 7);
    let goes_on = |flow: &Flow| {
        let count = flow.echoed();
        eventually("it goes on", || (flow.echoed() > count + 20).then_some(()));
    };

    // The clock is set forward, and back.
    let in_an_hour = Timestamp::now() + SignedDuration::from_secs(HOUR);
    apply(&host, &door(in_an_hour));
    let flow = open();
    goes_on(&flow);
    let shown = host.json(&["policy", "inspect", "door"]);
    assert_eq!((shown["expires"].as_str(), &shown["expired"]), (Some(in_an_hour.to_string().as_str()), &0.into()));
    set_clock(&host, 2 * HOUR);
    assert_stops(&host, &flow, &client, &server);
    drop(flow);
    host.assert_healthy();
    set_clock(&host, 0);
    eventually("it is there again", || host.ok(&["policy", "ls"]).contains("expires").then_some(()));
    eventually("it lets through again", || connects(&client, &server).then_some(()));

    // It expires while there is no daemon.
    let flow = open();
    goes_on(&flow);
    host.kill();
    goes_on(&flow);
    set_clock(&host, 2 * HOUR);
    start(&host);
    assert_stops(&host, &flow, &client, &server);
    drop(flow);
    host.assert_healthy();

    // By itself, in a moment, with the clock as it is.
    set_clock(&host, 0);
    let soon = Timestamp::now() + SignedDuration::from_secs(5);
    apply(&host, &door(soon));
    // One alone may be lost.
    let is_closed = || !connects(&client, &server) && !connects(&client, &server);
    eventually("the door is closed", || is_closed().then_some(()));
    assert!(Timestamp::now() >= soon, "not before");
    host.assert_healthy();
}

#[test]
fn a_port_is_what_the_target_calls_so() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--ipv6"]);
    let named = host.run("named", "web", &["--expose", "http=8080", "-l", "app=named"], &HTTP);
    let other = host.run("other", "web", &["--expose", "http=80", "-l", "app=other"], &HTTP);
    let client = host.run("client", "web", &[], &["sleep", "1000"]);
    for server in [&named, &other] {
        eventually("it listens", || fetch(&server.namespace(), Ipv4Addr::LOCALHOST, 8080, "hostname").ok());
    }
    assert_eq!(host.json(&["inspect", "named"])["port_names"]["http"], "8080/tcp");
    let gets = |server: &Attached| fetch(&client.namespace(), server.ipv4, 8080, "hostname").is_ok();
    apply(
        &host,
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: http, namespace: web}\nspec:\n  \
         podSelector: {}\n  policyTypes: [Ingress]\n  ingress:\n  - ports: [{port: http}]\n",
    );
    assert!(gets(&named), "it calls that port so");
    assert!(!gets(&other), "it calls another so");
    // Who comes later is found as well, also after a restart.
    let late = host.run("late", "web", &["--expose", "http=8080/tcp", "--expose", "web=8080"], &HTTP);
    eventually("it listens", || fetch(&late.namespace(), Ipv4Addr::LOCALHOST, 8080, "hostname").ok());
    assert!(gets(&late));
    host.restart();
    assert!(gets(&late) && gets(&named) && !gets(&other));
    let twice = host.fabric(&["create", "--network", "web", "--expose", "a=1", "--expose", "a=2", "busybox", "true"]);
    assert!(twice.code == 2 && twice.stderr.contains("1/tcp and 2/tcp both are"), "{twice}");
    host.assert_healthy();
}
