//! Containers without a network of their own: `--network none`, `host` and `container:NAME`.

use std::net::Ipv4Addr;

use tests::{Host, Namespace, PATIENCE, difference, eventually, fetch, within};

/// The interfaces of a namespace.
fn links(namespace: &Namespace) -> Vec<String> {
    let listed = namespace.run(&["ip", "-o", "link"]);
    let name = |line: &str| line.split(": ").nth(1).expect("a name").split('@').next().expect("a name").to_owned();
    listed.lines().map(name).collect()
}

fn namespace_of(host: &Host, container: &str) -> Namespace {
    Namespace::of_process(host.json(&["inspect", container])["pid"].as_i64().expect("it runs"))
}

fn column(host: &Host, container: &str, key: &str) -> String {
    host.json(&["inspect", container])[key].as_str().expect("a text").to_owned()
}

#[test]
fn none_is_the_loopback_interface_alone() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "lonely", "--network", "none", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "silent", "busybox", "sleep", "1000"]);
    for name in ["lonely", "silent"] {
        assert_eq!(links(&namespace_of(&host, name)), ["lo"]);
        assert_eq!(column(&host, name, "network_mode"), "none");
    }
    host.ok(&["exec", "lonely", "ping", "-c", "1", "-W", "30", "127.0.0.1"]);
    host.assert_healthy();
}

#[test]
fn host_is_the_namespace_of_the_daemon_with_its_resolver() {
    let host = Host::stopped("");
    let config = format!("resolv_conf = \"{}\"", host.path("resolv.conf").display());
    std::fs::write(host.path("netd.toml"), config).expect("the directory is ours");
    std::fs::write(host.path("resolv.conf"), "# as it is\nnameserver 192.0.2.53\n").expect("the directory is ours");
    host.start();
    host.import_busybox();
    let lan = host.lan();
    let before = host.kernel_state();
    let command = ["busybox", "httpd", "-f", "-p", "8090", "-h", "/etc"];
    host.ok(&[&["run", "-d", "--name", "web", "--network", "host"][..], &command].concat());
    assert_eq!(links(&namespace_of(&host, "web")), links(host.namespace()));
    let answer = || fetch(&lan.namespace, lan.host_address, 8090, "hostname").ok();
    assert_eq!(eventually("it answers at the host's address", answer).trim(), "web");
    assert_eq!(host.ok(&["exec", "web", "cat", "/etc/resolv.conf"]), "# as it is\nnameserver 192.0.2.53");
    assert!(host.ok(&["exec", "web", "cat", "/etc/hosts"]).ends_with("127.0.1.1\tweb"));
    assert_eq!(column(&host, "web", "network_mode"), "host");
    assert!(host.ok(&["ps"]).lines().any(|line| line.contains("web") && line.contains(" host ")), "ps tells it");

    host.kill();
    host.start();
    host.assert_healthy();
    host.ok(&["restart", "-t", "0", "web"]);
    assert_eq!(eventually("it answers again", answer).trim(), "web");
    host.ok(&["rm", "-f", "web"]);
    let after = host.kernel_state();
    assert_eq!(after, before, "the host's network is as it was:\n{}", difference(&before, &after));
}

#[test]
fn a_container_shares_the_network_of_another_with_its_names_and_addresses() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web", "--subnet", "10.9.1.0/24", "--ipv6"]);
    let api = host.run("api", "web", &["-p", "8080:80", "--add-host", "db:192.0.2.7"], &["sleep", "1000"]);
    let other = host.run("other", "web", &[], &["sleep", "1000"]);
    // A beginning of the id does, too.
    let network = format!("container:{}", &api.id[..12]);
    let command = ["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"];
    host.ok(&[&["run", "-d", "--name", "side", "--network", &network][..], &command].concat());
    assert_eq!(column(&host, "side", "network_mode"), "container:api");
    let side = namespace_of(&host, "side");
    assert_eq!(side.run(&["ip", "address"]), api.namespace().run(&["ip", "address"]));
    let answer = || fetch(&other.namespace(), api.ipv4, 80, "hostname").ok();
    assert_eq!(eventually("it answers at the other's address", answer).trim(), "side");
    assert_eq!(fetch(host.namespace(), Ipv4Addr::LOCALHOST, 8080, "hostname").expect("published").trim(), "side");
    for file in ["/etc/hosts", "/etc/resolv.conf"] {
        let (ours, theirs) = (host.ok(&["exec", "side", "cat", file]), host.ok(&["exec", "api", "cat", file]));
        assert_eq!(ours, theirs, "{file}");
    }
    host.ok(&["exec", "side", "nslookup", "other"]);
    let seen = host.ok(&["dns", "query", "other", "--as", "side"]);
    assert!(seen.contains(&other.ipv4.to_string()), "{seen}");

    // What joins the owner later is there for both.
    host.ok(&["network", "create", "back"]);
    host.ok(&["network", "connect", "back", "api"]);
    assert_eq!(links(&side), ["lo", "eth0", "eth1"]);
    host.ok(&["rename", "api", "front"]);
    assert_eq!(column(&host, "side", "network_mode"), "container:front");
    host.kill();
    host.start();
    host.assert_healthy();
    assert_eq!(fetch(&other.namespace(), api.ipv4, 80, "hostname").expect("it still answers").trim(), "side");
}

#[test]
fn the_namespace_lives_as_long_as_somebody_lives_in_it() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web", "--subnet", "10.9.1.0/24"]);
    let other = host.run("other", "web", &[], &["sleep", "1000"]);
    let before = host.holdings();
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let command = ["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"];
    host.ok(&[&["run", "-d", "--name", "side", "--network", "container:api"][..], &command].concat());
    let side = namespace_of(&host, "side");
    let answer = || fetch(&other.namespace(), api.ipv4, 80, "hostname").ok();
    eventually("it answers", answer);

    host.ok(&["stop", "-t", "0", "api"]);
    assert_eq!(links(&side), ["lo"], "the endpoint went with its container");
    assert_eq!(column(&host, "side", "state"), "running");
    host.assert_healthy();
    host.kill();
    host.start();
    host.assert_healthy();
    assert_eq!(links(&side), ["lo"]);

    // Unlike elsewhere, the owner comes back to those who wait in its namespace.
    host.ok(&["start", "api"]);
    assert_eq!(links(&side), ["lo", "eth0"]);
    assert_eq!(host.attached("api").ipv4, api.ipv4);
    eventually("it answers again", answer);
    host.ok(&["restart", "-t", "0", "api"]);
    eventually("it answers once more", answer);
    host.ok(&["restart", "-t", "0", "side"]);
    eventually("it answers after its own restart", answer);
    host.assert_healthy();

    let side = namespace_of(&host, "side");
    host.ok(&["rm", "-f", "api"]);
    assert_eq!(links(&side), ["lo"]);
    assert_eq!(column(&host, "side", "state"), "running");
    host.assert_healthy();
    host.ok(&["stop", "-t", "0", "side"]);
    let refused = host.fabric(&["start", "side"]).expect_code(1);
    assert!(refused.stderr.contains("which is gone") && refused.stderr.contains("fabric rm side"), "{refused}");
    drop(side);
    host.ok(&["rm", "side"]);
    host.assert_healthy();
    let left = within(PATIENCE, || (host.holdings() == before).then_some(()));
    assert!(left.is_some(), "{:?} is not {before:?}", host.holdings());
}

#[test]
fn what_only_a_container_with_its_own_network_can_have_is_refused() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.1.0/24"]);
    host.run("api", "web", &[], &["sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "side", "--network", "container:api", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "low", "--network", "host", "busybox", "sleep", "1000"]);
    host.ok(&["create", "--name", "waits", "--network", "web", "busybox", "true"]);
    host.ok(&["create", "--name", "sharer", "--network", "container:waits", "busybox", "true"]);
    host.ok(&["run", "-d", "--name", "done", "--network", "web", "busybox", "true"]);
    host.ok(&["wait", "done"]);
    let run = |options: &[&'static str]| [&["run", "--rm"][..], options, &["busybox", "true"]].concat();
    let requests: Vec<Vec<&str>> = vec![
        run(&["--network", "host", "-p", "80:80"]),
        run(&["--network", "container:api", "-p", "80:80"]),
        run(&["--network", "none", "-p", "80:80"]),
        run(&["--network", "host", "--network", "web"]),
        run(&["--network", "container:api", "--network", "web"]),
        run(&["--network", "none", "--network", "web"]),
        run(&["--network", "none", "--network", "host"]),
        run(&["--network", "host:ip=10.9.1.9"]),
        run(&["--network", "container"]),
        run(&["--network", "container:nope"]),
        run(&["--network", "container:done"]),
        run(&["--network", "container:waits"]),
        run(&["--network", "container:side"]),
        run(&["--network", "container:low"]),
        run(&["--network", "container:api", "--dns", "192.0.2.1"]),
        run(&["--network", "container:api", "--add-host", "db:192.0.2.1"]),
        run(&["--network", "host", "--add-host", "me:host-gateway"]),
        run(&["--network", "host", "--sysctl", "net.core.somaxconn=1024"]),
        run(&["--network", "container:api", "--sysctl", "net.core.somaxconn=1024"]),
        vec!["start", "sharer"],
        vec!["network", "connect", "web", "low"],
        vec!["network", "connect", "web", "side"],
        vec!["network", "disconnect", "web", "side"],
        vec!["network", "create", "none"],
        vec!["network", "create", "host"],
        vec!["network", "create", "container"],
        vec!["network", "inspect", "host"],
        vec!["network", "connect", "host", "api"],
    ];
    let state = || host.kernel_state() + &format!("{:#}", host.json(&["ps", "-a"])) + &host.holdings().join("\n");
    let before = state();
    let mut text = String::new();
    for request in &requests {
        let outcome = host.fabric(request);
        assert_ne!(outcome.code, 0, "{outcome}");
        let line = &outcome.line;
        text.push_str(&format!("$ {line}\n{}\n[exit code {}]\n\n", outcome.stderr.trim_end(), outcome.code));
        let unchanged = within(PATIENCE, || (state() == before).then_some(()));
        assert!(unchanged.is_some(), "`{line}` changed something:\n{}", difference(&before, &state()));
    }
    insta::with_settings!({ filters => [(r"c-[0-9a-f]{12}", "[drawn name]")], omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("modes", text);
    });
}
