//! `fabric dns query`: what a container would be answered.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tests::{Host, answer_everything, eventually};

#[test]
fn a_query_shows_what_a_container_is_answered_and_from_where() {
    let host = Host::with_config("upstreams = ['127.0.0.1:5301']");
    let outside = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5301);
    answer_everything(host.namespace(), outside, Ipv4Addr::new(203, 0, 113, 1));
    for network in ["web", "db"] {
        host.ok(&["network", "create", network]);
    }
    let store = host.run("store", "db", &[], &["sleep", "1000"]);
    host.run("shop", "web", &[], &["sleep", "1000"]);
    let query = |arguments: &[&str]| {
        let outcome = host.fabric(&[&["--format", "json", "dns", "query"], arguments].concat());
        let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert_eq!(outcome.code == 0, answer["code"] == "NOERROR", "{outcome}");
        answer
    };
    let seen = query(&["store"]);
    assert_eq!((&seen["code"], &seen["origin"]), (&"NOERROR".into(), &"zone".into()), "the host sees every network");
    assert_eq!(seen["answers"][0]["data"], store.ipv4.to_string());
    assert_eq!(query(&["store", "--as", "shop"])["code"], "NXDOMAIN", "who is elsewhere does not");
    for origin in ["upstream", "cache"] {
        // A server outside that stands still for long is taken for silent.
        let answered =
            || Some(query(&["www.example.com", "--as", "shop"])).filter(|answer| answer["code"] != "SERVFAIL");
        let answer = eventually("an upstream is asked", answered);
        assert_eq!((&answer["origin"], &answer["answers"][0]["data"]), (&origin.into(), &"203.0.113.1".into()));
    }
    let outside = host.fabric(&["dns", "query", "www.example.com"]).expect_code(1);
    assert!(outside.stdout.starts_with("REFUSED") && outside.stderr.contains("--as CONTAINER"), "{outside}");
    for refused in [&["a..b"][..], &["x", "NOTYPE"], &["x", "--as", "nobody"]] {
        let outcome = host.fabric(&[&["dns", "query"], refused].concat());
        assert_eq!(outcome.code, 1, "{outcome}");
    }
}
