//! Ranges, host ports that Fabric chooses, ports that an image exposes, and ports that are taken.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
    process::Command,
};

use serde_json::json;
use tests::{Attached, Host, Lan, PATIENCE, busybox_tar, eventually, fetch, within};

const WAIT: [&str; 2] = ["sleep", "1000"];

/// Serves `/etc` on a port inside a container.
fn serve(host: &Host, container: &Attached, name: &str, port: u16) {
    host.ok(&["exec", name, "httpd", "-p", &port.to_string(), "-h", "/etc"]);
    eventually("the server listens", || fetch(&container.namespace(), Ipv4Addr::LOCALHOST, port, "hostname").ok());
}

/// Where `fabric port` says that a port of a container is found.
fn published_at(host: &Host, name: &str, port: &str) -> u16 {
    let found = host.ok(&["port", name, port]);
    let port = found.lines().next().and_then(|line| line.rsplit(':').next()).map(str::parse);
    port.and_then(Result::ok).unwrap_or_else(|| panic!("a port: {found}"))
}

/// A datagram from the LAN to the host's port arrives at the container's, and what that answers comes back from there.
#[track_caller]
fn datagrams_pass(lan: &Lan, host_port: u16, container: &Attached, port: u16) {
    let server = container.namespace().enter(|| UdpSocket::bind((container.ipv4, port)).expect("free"));
    let client = lan.namespace.enter(|| UdpSocket::bind((lan.address, 0)).expect("free"));
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    }
    client.send_to(b"question", (lan.host_address, host_port)).expect("sent");
    let mut buffer = [0; 16];
    let (length, from) = server.recv_from(&mut buffer).expect("the question arrives");
    assert_eq!((&buffer[..length], from), (&b"question"[..], client.local_addr().expect("it is bound")));
    server.send_to(b"answer", from).expect("sent");
    let (length, from) = client.recv_from(&mut buffer).expect("the answer arrives");
    assert_eq!((&buffer[..length], from), (&b"answer"[..], (lan.host_address, host_port).into()));
}

#[test]
fn a_range_leads_each_port_to_its_own() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let same = host.run("same", "web", &["-p", "9000-9099:9000-9099"], &WAIT);
    serve(&host, &same, "same", 9042);
    let publish = ["-p", "127.0.0.1:7000-7009:80-89", "-p", "7000-7009:60-69/udp"];
    let shifted = host.run("shifted", "web", &publish, &WAIT);
    for index in [0, 4, 9] {
        datagrams_pass(&lan, 7000 + index, &shifted, 60 + index);
    }
    serve(&host, &shifted, "shifted", 83);
    assert_eq!(fetch(&lan.namespace, lan.host_address, 9042, "hostname").expect("published"), "same");
    assert!(fetch(&lan.namespace, lan.host_address, 9100, "hostname").is_err());
    assert_eq!(fetch(host.namespace(), Ipv4Addr::LOCALHOST, 7003, "hostname").expect("published"), "shifted");
    assert!(fetch(&lan.namespace, lan.host_address, 7003, "hostname").is_err());
    assert_eq!(host.ok(&["port", "same"]), "9000-9099/tcp -> 0.0.0.0:9000-9099");
    assert_eq!(host.ok(&["port", "shifted", "83"]), "127.0.0.1:7003");
    let elsewhere = host.fabric(&["port", "shifted", "90/udp"]).expect_code(1);
    assert!(elsewhere.stderr.contains("does not publish its port 90/udp"), "{elsewhere}");
    assert!(host.ok(&["ps"]).contains("0.0.0.0:9000-9099->9000-9099/tcp"));
    host.assert_healthy();
    host.restart();
    host.assert_healthy();
    assert_eq!(fetch(&lan.namespace, lan.host_address, 9042, "hostname").expect("published"), "same");
}

#[test]
fn every_port_there_is_can_be_published_at_once() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    host.run("one", "web", &["-p", "1:1"], &WAIT);
    let of_one = host.holdings();
    host.ok(&["rm", "-f", "one"]);
    let all = host.run("all", "web", &["-p", "1-65535:1-65535"], &WAIT);
    assert_eq!(host.holdings(), of_one, "no process, mount or group for each port");
    serve(&host, &all, "all", 31_337);
    fetch(&lan.namespace, lan.host_address, 31_337, "hostname").expect("published");
    host.ok(&["exec", "all", "nslookup", "all"]);
    host.assert_healthy();
}

#[test]
fn ports_that_exited_containers_published_are_not_shown_as_if_in_force() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.run("brief", "web", &["-p", "8080:80"], &WAIT);
    host.ok(&["stop", "-t", "0", "brief"]);
    assert!(!host.ok(&["ps", "-a"]).contains("8080"));
    let closed = host.fabric(&["port", "brief"]).expect_code(1);
    assert!(closed.stderr.contains("has exited") && closed.stderr.contains("fabric start brief"), "{closed}");
    host.ok(&["start", "brief"]);
    assert_eq!(host.ok(&["port", "brief"]), "80/tcp -> 0.0.0.0:8080");
}

#[test]
fn host_ports_are_chosen_clear_of_taken_ones_and_stay() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    // Four ports are left where nothing is given to programs; two of them are listened on, in different ways.
    host.namespace().run(&["sh", "-c", "echo 1024 65531 >/proc/sys/net/ipv4/ip_local_port_range"]);
    let listeners = host.namespace().enter(|| {
        let bind = |address| TcpListener::bind(address).expect("free");
        [bind("[::]:65532"), bind("127.0.0.1:65534")]
    });
    let server = host.run("first", "web", &["-p", "80"], &WAIT);
    host.run("second", "web", &["-p", "127.0.0.1::80"], &WAIT);
    let mut chosen = ["first", "second"].map(|name| published_at(&host, name, "80"));
    serve(&host, &server, "first", 80);
    let seen = fetch(&lan.namespace, lan.host_address, chosen[0], "hostname").expect("published");
    assert_eq!(seen, "first");
    // A program that came to listen there does not move a container that is only started again.
    host.ok(&["restart", "-t", "0", "first"]);
    assert_eq!(published_at(&host, "first", "80"), chosen[0]);
    chosen.sort_unstable();
    assert_eq!(chosen, [65533, 65535]);
    drop(listeners);
    let run = ["run", "-d", "--name", "wide", "--network", "web", "-p", "1-65000", "busybox", "sleep", "1000"];
    let refused = host.fabric(&run).expect_code(125);
    assert!(refused.stderr.contains("not so many free host ports"), "{refused}");
    let row = host.run("row", "web", &["-p", "100-109/udp"], &WAIT);
    let shown = host.ok(&["port", "row"]);
    assert!(shown.starts_with("100-109/udp -> 0.0.0.0:"), "{shown}");
    datagrams_pass(&lan, published_at(&host, "row", "107/udp"), &row, 107);
}

/// The image `busybox` with ports that it exposes, under the name `exposing`.
fn import_exposing_image(host: &Host) {
    let saved = host.path("saved");
    fs::create_dir_all(&saved).expect("the directory is ours");
    fs::copy(busybox_tar(), saved.join("layer.tar")).expect("the directory is ours");
    let run = |program: &str, arguments: &[&Path]| {
        let output = Command::new(program).args(arguments).output().expect("it is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let sum = run("sha256sum", &[&saved.join("layer.tar")]);
    let sum = sum.split(' ').next().expect("a hash comes first");
    let configuration = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "ExposedPorts": { "80/tcp": {}, "53/udp": {}, "443": {} }, "Cmd": ["sleep", "1000"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
    });
    fs::write(saved.join("config.json"), configuration.to_string()).expect("the directory is ours");
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["exposing:latest"], "Layers": ["layer.tar"] }]);
    fs::write(saved.join("manifest.json"), manifest.to_string()).expect("the directory is ours");
    let archive = host.path("saved.tar");
    let flags = [Path::new("-C"), &saved, Path::new("-cf"), &archive, Path::new(".")];
    run("tar", &flags);
    host.ok(&["image", "import", &archive.to_string_lossy(), "exposing"]);
}

#[test]
fn every_port_that_an_image_exposes_is_published_when_asked_for() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    import_exposing_image(&host);
    host.ok(&[
        "run",
        "-d",
        "--name",
        "all",
        "--network",
        "web",
        "-P",
        "-p",
        "8443:443",
        "--expose",
        "7/sctp",
        "exposing",
    ]);
    let shown = host.ok(&["port", "all"]);
    let lines: Vec<&str> = shown.lines().map(|line| line.split(" -> ").next().expect("an arrow")).collect();
    assert_eq!(lines, ["443/tcp", "7/sctp", "53/udp", "80/tcp"], "{shown}");
    assert_eq!(published_at(&host, "all", "443"), 8443);
    serve(&host, &host.attached("all"), "all", 80);
    let port = published_at(&host, "all", "80");
    fetch(host.namespace(), Ipv4Addr::LOCALHOST, port, "hostname").expect("published");
    datagrams_pass(&lan, published_at(&host, "all", "53/udp"), &host.attached("all"), 53);
    host.ok(&["run", "-d", "--name", "none", "--network", "web", "exposing"]);
    assert_eq!(host.ok(&["port", "none"]), "", "nothing is published unasked");
    let exposed = &host.json(&["inspect", "none"])["exposed"];
    assert_eq!(*exposed, json!(["53/udp", "80/tcp", "443/tcp"]), "what DNS answers SRV for");
}

#[test]
fn ports_of_others_are_found_before_anything_is_changed() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    host.run("first", "web", &["-p", "8000-8009:8000-8009"], &WAIT);
    let listeners = host.namespace().enter(|| {
        let tcp = |address: &str| TcpListener::bind(address).expect("free");
        let udp = |address: &str| UdpSocket::bind(address).expect("free");
        let tcp = ["0.0.0.0:9090", "[::]:9091", "127.0.0.1:9092"].map(tcp);
        (tcp, ["127.0.0.1:9200", "[::]:9201"].map(udp))
    });
    let before = (host.kernel_state(), host.json(&["ps", "-a"]));
    let own = format!("(pid {}) listens on", std::process::id());
    let on_lan = format!("{}:9090:80", lan.host_address);
    for (publish, said) in [
        (&["8005:80"][..], "host port 8005 is already published by container `first`"),
        (&["7990-8000:7990-8000"], "host port 8000 is already published by container `first`"),
        (&["127.0.0.1:8009:80"], "host port 8009 is already published by container `first`"),
        (&["9090:80"], &own),
        (&["9000-9999:9000-9999"], "listens on 0.0.0.0:9090/tcp"),
        (&[&on_lan], "listens on 0.0.0.0:9090/tcp"),
        (&["9091:80"], "listens on [::]:9091/tcp"),
        (&["127.0.0.1:9092:80"], "listens on 127.0.0.1:9092/tcp"),
        (&["9200:53/udp"], "listens on 127.0.0.1:9200/udp"),
        (&["9201:53/udp"], "listens on [::]:9201/udp"),
        (&["203.0.113.77:9300:80"], "203.0.113.77 is not an address of this host"),
        (&["81:80", "80-89:80-89"], "host port 81 is given twice"),
        (&["81:80", "127.0.0.1:81:81"], "host port 81 is given twice"),
        (&["[::]:81:80"], "the container has no address of that family"),
    ] {
        let options = publish.iter().flat_map(|publish| ["-p", publish]);
        let run: Vec<&str> = ["run", "-d", "--name", "second", "--network", "web"]
            .into_iter()
            .chain(options)
            .chain(["busybox", "sleep", "1000"])
            .collect();
        // What contradicts itself is not asked for.
        let code = if said.contains("given twice") { 2 } else { 125 };
        let refused = host.fabric(&run).expect_code(code);
        assert!(refused.stderr.contains(said) && refused.stderr.contains("hint: "), "{publish:?}: {said}\n{refused}");
        let same = || ((host.kernel_state(), host.json(&["ps", "-a"])) == before).then_some(());
        assert!(within(PATIENCE, same).is_some(), "after {publish:?}");
    }
    // What looks taken and is not.
    for publish in ["8010:80", "8005:80/udp", "9200:80", "9092:53/udp", "53:53/udp", "53:53"] {
        host.run("second", "web", &["-p", publish], &WAIT);
        host.ok(&["rm", "-f", "second"]);
    }
    let free = format!("{}:9092:80", lan.host_address);
    host.run("second", "web", &["-p", &free], &WAIT);
    drop(listeners);
}

#[test]
fn a_port_that_a_program_took_meanwhile_keeps_a_container_from_starting_again() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.run("api", "web", &["-p", "8080:80"], &WAIT);
    host.ok(&["stop", "-t", "0", "api"]);
    let listener = host.namespace().enter(|| TcpListener::bind(("0.0.0.0", 8080)).expect("the port is free"));
    let refused = host.fabric(&["start", "api"]).expect_code(1);
    assert!(refused.stderr.contains("listens on 0.0.0.0:8080/tcp"), "{refused}");
    drop(listener);
    host.ok(&["start", "api"]);
}
