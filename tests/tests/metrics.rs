//! `GET /metrics`: what monitoring sees.

use std::net::{Ipv4Addr, TcpStream};

use tests::{Host, eventually, fetch};

#[test]
fn what_happens_is_counted_in_series_that_do_not_grow() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let before = host.metrics();
    assert_eq!(before["fabric_networks"], 1.0);
    assert_eq!(before["fabric_addresses_used"], 0.0);
    assert_eq!(before["fabric_container_start_seconds_count"], 0.0);
    assert!(before["fabric_addresses_capacity"] > 200.0 && before["fabric_store_bytes"] > 0.0, "{before:?}");
    for number in 0..3 {
        host.run(&format!("c{number}"), "web", &[], &["sleep", "1000"]);
    }
    host.ok(&["run", "--name", "job", "busybox", "true"]);
    host.ok(&["exec", "c0", "nslookup", "c1"]);
    let after = host.metrics();
    assert_eq!(after["fabric_containers{state=\"running\"}"], 3.0);
    assert_eq!(after["fabric_containers{state=\"exited\"}"], 1.0);
    assert_eq!((after["fabric_endpoints"], after["fabric_addresses_used"]), (3.0, 3.0));
    assert_eq!(after["fabric_attach_seconds_count"], 4.0);
    assert_eq!(after["fabric_attach_seconds_bucket{le=\"+Inf\"}"], 4.0);
    assert!(after["fabric_attach_seconds_sum"] > 0.0);
    assert!(after["fabric_container_start_seconds_count"] >= 3.0, "{after:?}");
    assert!(after["fabric_kernel_changes_total"] > before["fabric_kernel_changes_total"]);
    assert_eq!(after["fabric_reconcile_failures_total"], 0.0);
    assert_eq!(before["fabric_dns_queries_total{transport=\"udp\",origin=\"zone\"}"], 0.0);
    assert!(after["fabric_dns_queries_total{transport=\"udp\",origin=\"zone\"}"] > 0.0, "{after:?}");
    assert!(after["fabric_reconcile_seconds_count"] > before["fabric_reconcile_seconds_count"]);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "no series for containers");

    // What passed between the containers and the host, which is not what passed between containers.
    let bytes = |direction: &str| {
        let samples = host.metrics();
        samples[&format!("fabric_network_bytes_total{{network=\"web\",direction=\"{direction}\"}}")]
    };
    let (had, sent) = (bytes("in"), bytes("out"));
    let [first, second] = ["c0", "c1"].map(|name| host.attached(name));
    let flood = |to: std::net::Ipv4Addr| {
        first.namespace().run(&["ping", "-n", "-q", "-c", "20", "-i", "0.01", "-s", "1000", &to.to_string()]);
    };
    flood(second.ipv4);
    let between = (bytes("in") - had, bytes("out") - sent);
    assert!(between.0 < 10_000.0 && between.1 < 10_000.0, "neighbours are not counted: {between:?}");
    flood("10.9.8.1".parse().expect("literal"));
    let with_host = (bytes("in") - had, bytes("out") - sent);
    assert!((20_000.0..40_000.0).contains(&with_host.0) && with_host.1 > 20_000.0, "the host is: {with_host:?}");

    // How full each network is.
    let of_network = |name: &str, state: &str| {
        host.metrics().get(&format!("fabric_network_{name}{{network=\"web\",state=\"{state}\"}}")).copied()
    };
    let free = of_network("addresses", "free").expect("web is a network");
    assert_eq!((of_network("addresses", "used"), of_network("addresses", "resting")), (Some(3.0), Some(0.0)));
    assert_eq!((of_network("endpoints", "attached"), of_network("endpoints", "detached")), (Some(3.0), Some(0.0)));
    host.ok(&["stop", "-t", "0", "c0"]);
    assert_eq!((of_network("endpoints", "attached"), of_network("endpoints", "detached")), (Some(2.0), Some(1.0)));
    host.ok(&["rm", "-f", "c0", "c1"]);
    assert_eq!((of_network("addresses", "used"), of_network("addresses", "resting")), (Some(1.0), Some(2.0)));
    assert_eq!(of_network("addresses", "free"), Some(free), "who rests is not free");
    host.ok(&["rm", "-f", "c2"]);
    host.ok(&["network", "rm", "web"]);
    assert_eq!(of_network("addresses", "free"), None);
}

#[test]
fn metrics_are_read_by_tcp_where_the_configuration_says() {
    let host = Host::with_config("metrics_listen = \"127.0.0.1:9273\"");
    let address = Ipv4Addr::LOCALHOST;
    let text = fetch(host.namespace(), address, 9273, "metrics").expect("an answer");
    assert!(text.contains("fabric_build_info{version="), "{text}");
    // Nothing else is told there, to strangers least of all.
    for path in ["v1/containers", "openapi.json", ""] {
        let refused = fetch(host.namespace(), address, 9273, path).expect_err(path).to_string();
        assert!(refused.contains("404"), "{path}: {refused}");
    }
    // Who holds connections without a word keeps nobody out for long, and not the API at all.
    let silent: Vec<TcpStream> = host
        .namespace()
        .enter(|| (0..16).map(|_| TcpStream::connect((address, 9273)).expect("the daemon listens")).collect());
    host.ok(&["status"]);
    drop(silent);
    eventually("there is room again", || fetch(host.namespace(), address, 9273, "metrics").ok());
}
