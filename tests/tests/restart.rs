//! The daemon may die and return at any time; containers and their traffic do not notice.

use std::{
    io::{Read, Write},
    net::IpAddr,
    process::Stdio,
};

use tests::{Attached, Flow, Host, Ping, eventually, fetch};

const ECHO: [&str; 6] = ["nc", "-ll", "-p", "7", "-e", "cat"];

/// An echo server, reachable as soon as this returns.
fn echo_server(host: &Host, name: &str, options: &[&str]) -> Attached {
    let container = host.run(name, "web", options, &ECHO);
    let listening = || container.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("the server listens", || (!listening().is_empty()).then_some(()));
    container
}

#[test]
fn killing_the_daemon_loses_no_packet() {
    let host = Host::new();
    let lan = host.lan();
    let [_, host6] = lan.speak_ipv6(host.namespace());
    host.ok(&["network", "create", "web", "--ipv6"]);
    let server = echo_server(&host, "server", &["-p", "7000:7"]);
    let client = host.run("client", "web", &[], &["sleep", "1000"]);
    let own = host.addresses("server");
    let published = [IpAddr::from(lan.host_address), host6.into()]
        .map(|to| Flow::start(&lan.namespace, &server.namespace(), to, 7000));
    let between = own.map(|to| Flow::start(&client.namespace(), &server.namespace(), to, 7));
    let pings = own.map(|to| Ping::start(&client.namespace(), to));
    let progress = |what| {
        let (echoed, answered) = (published.each_ref().map(Flow::echoed), pings.each_ref().map(Ping::answered));
        let flows_go_on = || published.iter().zip(echoed).all(|(flow, before)| flow.echoed() > before + 20);
        let pings_go_on = || pings.iter().zip(answered).all(|(ping, before)| ping.answered() > before + 20);
        eventually(what, || (flows_go_on() && pings_go_on()).then_some(()));
    };
    for _ in 0..3 {
        progress("traffic with the daemon");
        host.kill();
        progress("traffic without the daemon");
        host.start();
    }
    host.terminate();
    progress("traffic after SIGTERM");
    host.start();
    progress("traffic with the new daemon");
    published.into_iter().chain(between).for_each(|flow| flow.finish().assert_nothing_lost());
    pings.into_iter().for_each(|ping| ping.finish().assert_nothing_lost());
    assert_eq!((host.attached("server"), host.attached("client")), (server, client));
    host.assert_healthy();
}

#[test]
fn a_new_daemon_finds_its_containers_again() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let script = "trap 'echo stopped; exit 4' TERM; i=0; while :; do echo line$i; i=$((i+1)); sleep 0.05; done";
    let api = host.run("api", "web", &[], &["sh", "-c", script]);
    eventually("the first lines", || host.ok(&["logs", "api"]).contains("line2").then_some(()));
    host.restart();
    assert_eq!(host.attached("api"), api);
    assert_eq!(host.ok(&["exec", "api", "echo", "here"]), "here");
    assert_eq!(host.fabric_with_input(&["exec", "-i", "api", "cat"], b"octets"), (b"octets".to_vec(), 0));
    let seen = host.ok(&["logs", "api"]).lines().count();
    eventually("logs go on", || (host.ok(&["logs", "api"]).lines().count() > seen).then_some(()));
    host.ok(&["stop", "api"]);
    assert_eq!(host.ok(&["wait", "api"]), "4");
    let lines: Vec<String> = host.ok(&["logs", "api"]).lines().map(str::to_owned).collect();
    let expected = (0..lines.len() - 1).map(|number| format!("line{number}")).chain(["stopped".to_owned()]);
    assert_eq!(lines, expected.collect::<Vec<_>>(), "no line is missing");
    host.ok(&["rm", "api"]);
}

#[test]
fn what_ended_meanwhile_is_known_afterwards() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let go = host.path("go");
    std::fs::create_dir(&go).expect("the directory is ours");
    let mount = format!("{}:/go", go.display());
    let script = "until [ -e /go/now ]; do sleep 0.05; done; exit 6";
    for options in [&["--name", "job"][..], &["--rm", "--name", "brief"]] {
        let run =
            [&["run", "-d", "--network", "web", "-v", &mount], options, &["busybox", "sh", "-c", script]].concat();
        host.ok(&run);
    }
    let processes = ["job", "brief"].map(|name| format!("/proc/{}", host.attached(name).pid));
    host.kill();
    std::fs::write(go.join("now"), "").expect("the directory is ours");
    let ended = || processes.iter().all(|process| !std::path::Path::new(process).exists()).then_some(());
    eventually("both have ended", ended);
    host.start();
    assert_eq!(host.ok(&["wait", "job"]), "6");
    let gone = || (host.fabric(&["inspect", "brief"]).code == 1).then_some(());
    eventually("what was to remove itself has done so", gone);
    host.ok(&["rm", "job"]);
    assert_eq!(host.json(&["network", "inspect", "web"])["usage"]["used"], 0);
}

#[test]
fn two_daemons_live_side_by_side() {
    let (one, two) = (Host::new(), Host::new());
    let mut contents = Vec::new();
    for (host, name) in [(&one, "one"), (&two, "two")] {
        host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
        let options = ["-p", "8080:80", "--hostname", name];
        host.run("api", "web", &options, &["httpd", "-f", "-p", "80", "-h", "/etc"]);
        let ask = || fetch(host.namespace(), std::net::Ipv4Addr::LOCALHOST, 8080, "hostname").ok();
        contents.push(eventually("the published port answers", ask));
    }
    assert_eq!(contents, ["one", "two"]);
    one.kill();
    assert_eq!(two.json(&["ps"]).as_array().map(Vec::len), Some(1));
    one.start();
    one.ok(&["rm", "-f", "api"]);
    two.assert_healthy();
    fetch(two.namespace(), std::net::Ipv4Addr::LOCALHOST, 8080, "hostname").expect("untouched by the other");
}

#[test]
fn an_attached_run_does_not_notice() {
    let host = Host::new();
    let mut command = host.fabric_command(&["run", "-i", "--name", "echo", "busybox", "sh", "-c", "cat; exit 3"]);
    let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("fabric runs");
    let (mut input, mut output) = (run.stdin.take().expect("piped"), run.stdout.take().expect("piped"));
    let mut echo = |line: &[u8]| {
        input.write_all(line).expect("it reads");
        let mut back = vec![0; line.len()];
        output.read_exact(&mut back).expect("it writes");
        assert_eq!(back, line);
    };
    echo(b"with the daemon\n");
    host.kill();
    echo(b"without it\n");
    host.start();
    echo(b"with the next one\n");
    drop(input);
    assert_eq!(run.wait().expect("it is our child").code(), Some(3));
    assert_eq!(host.fabric(&["logs", "echo"]).success().lines().count(), 3);
}

#[test]
fn after_a_reboot_nothing_runs_twice() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.run("once", "web", &[], &["sh", "-c", "echo ran >> /ran; cat /ran; sleep 1000"]);
    host.reboot();
    let container = host.json(&["inspect", "once"]);
    assert_eq!((&container["state"], &container["exit_code"]), (&"exited".into(), &255.into()), "{container:#}");
    host.ok(&["rm", "once"]);
    host.assert_healthy();
}
