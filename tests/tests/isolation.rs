//! Networks are apart.

use std::net::Ipv4Addr;

use tests::{Host, Ping, eventually, fetch};

#[test]
fn two_networks_do_not_reach_each_other() {
    let host = Host::new();
    // With a route between the namespaces' subnets, which every host has.
    host.ok(&["network", "create", "web"]);
    host.ok(&["network", "create", "db"]);
    let server = ["httpd", "-f", "-p", "80", "-h", "/etc"];
    let neighbour = host.run("neighbour", "web", &[], &server);
    let stranger = host.run("stranger", "db", &["-p", "8080:80"], &server);
    let client = host.run("client", "web", &[], &["sleep", "1000"]).namespace();
    for container in [&neighbour, &stranger] {
        let listens = || fetch(&container.namespace(), Ipv4Addr::LOCALHOST, 80, "hostname").ok();
        eventually("the server listens", listens);
    }
    fetch(&client, neighbour.ipv4, 80, "hostname").expect("the control: same network");
    fetch(host.namespace(), stranger.ipv4, 80, "hostname").expect("the control: the server answers the host");
    Ping::start(&client, neighbour.ipv4).finish();
    let direct = fetch(&client, stranger.ipv4, 80, "hostname");
    assert!(direct.is_err(), "a container of `web` reached one of `db`");
    let ping = client.try_run(&["ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", &stranger.ipv4.to_string()]);
    assert_ne!(ping.code, 0, "{ping}");
}

#[test]
fn ipv6_is_off_on_a_network_without_it() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let addresses = host.ok(&["run", "--rm", "--network", "web", "busybox", "ip", "-6", "-o", "address"]);
    assert_eq!(addresses, "", "no IPv6 address, not even a link-local one");
}

#[test]
fn a_container_has_no_descriptor_of_its_makers() {
    let host = Host::new();
    for command in [&["run", "--rm", "busybox"][..], &["exec", "long"]] {
        if command[0] == "exec" {
            host.ok(&["run", "-d", "--name", "long", "busybox", "sleep", "1000"]);
        }
        // Not by listing the directory: that takes a descriptor itself.
        let script = "n=0; while [ $n -lt 100 ]; do [ -e /proc/self/fd/$n ] && echo $n; n=$((n+1)); done; true";
        let found = host.ok(&[command, &["sh", "-c", script]].concat());
        assert_eq!(found, "0\n1\n2", "{command:?}");
    }
}

#[test]
fn no_standard_stream_is_a_device_of_the_host() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    let look = ["sh", "-c", "for fd in 0 1 2; do readlink /proc/self/fd/$fd; done"];
    let streams = [&["run", "--rm", "busybox"][..], &["exec", "c"]].map(|start| host.ok(&[start, &look[..]].concat()));
    for kinds in streams {
        assert!(kinds.lines().all(|kind| kind.starts_with("pipe:")), "{kinds}");
    }
}
