//! Who is given an address that was given back.

use std::net::Ipv4Addr;

use tests::Host;

fn host_with(subnet: &str) -> Host {
    let host = Host::with_config("upstreams = []\nnamespace_pool = 0");
    host.ok(&["network", "create", "web", "--subnet", subnet]);
    host
}

fn run(host: &Host, name: &str, network: &str) -> Ipv4Addr {
    host.run(name, network, &[], &["sleep", "1000"]).ipv4
}

/// What lies between the end of a container and its next beginning.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Restart,
    Kill,
}

impl Between {
    const ALL: [Self; 3] = [Self::Nothing, Self::Restart, Self::Kill];

    fn pass(self, host: &Host) {
        match self {
            Self::Nothing => {}
            Self::Restart => host.restart(),
            Self::Kill => {
                host.kill();
                host.start();
            }
        }
    }
}

fn usage(host: &Host) -> [u64; 4] {
    let usage = &host.json(&["network", "inspect", "web"])["usage"];
    assert_eq!(usage["leaked"], serde_json::json!([]));
    for field in ["capacity", "used", "resting", "free"] {
        assert_eq!(usage["subnets"][0][field], usage[field], "{usage}");
    }
    ["capacity", "used", "resting", "free"].map(|field| usage[field].as_u64().expect("a number"))
}

#[test]
fn a_name_keeps_its_address_however_the_daemon_ends_and_no_other_gets_it() {
    let host = host_with("10.9.1.0/24");
    let db = run(&host, "db", "web");
    for (number, between) in Between::ALL.into_iter().enumerate() {
        let others = number as u64;
        host.ok(&["rm", "-f", "db"]);
        between.pass(&host);
        assert_eq!(usage(&host), [253, others, 1, 252 - others], "{between:?}");
        assert!(host.ok(&["network", "inspect", "web"]).contains(&format!("{others} of 253 used, 1 resting")));
        let other = run(&host, &format!("other{number}"), "web");
        assert_ne!(other, db, "{between:?}");
        assert_eq!(run(&host, "db", "web"), db, "{between:?}");
        assert_eq!(usage(&host), [253, others + 2, 0, 251 - others], "{between:?}");
    }
    host.ok(&["network", "disconnect", "web", "db"]);
    assert_eq!(host.ok(&["network", "connect", "web", "db"]).trim(), db.to_string());
    host.ok(&["rename", "db", "store"]);
    host.ok(&["rm", "-f", "store"]);
    assert_ne!(run(&host, "db", "web"), db, "what it was called last counts");
    assert_eq!(run(&host, "store", "web"), db);
    host.assert_healthy();
}

#[test]
fn a_name_keeps_its_addresses_of_both_families() {
    let host = Host::with_config("upstreams = []\nnamespace_pool = 0");
    host.ok(&["network", "create", "web", "--subnet", "10.9.1.0/24", "--subnet", "fd09::/64"]);
    run(&host, "db", "web");
    let db = host.addresses("db");
    for (number, between) in Between::ALL.into_iter().enumerate() {
        host.ok(&["rm", "-f", "db"]);
        between.pass(&host);
        let other = format!("other{number}");
        run(&host, &other, "web");
        let others = host.addresses(&other);
        assert!(others.iter().all(|address| !db.contains(address)), "{between:?}: {others:?} and {db:?}");
        run(&host, "db", "web");
        assert_eq!(host.addresses("db"), db, "{between:?}");
    }
    let usage = &host.json(&["network", "inspect", "web"])["usage"];
    let count = |usage: &serde_json::Value| ["capacity", "free", "used"].map(|field| usage[field].as_u64());
    assert_eq!(count(&usage["subnets"][0]), [Some(253), Some(249), Some(4)]);
    assert_eq!(count(&usage["subnets"][1]), [None, None, Some(4)], "JSON has no number for it that all readers take");
    assert_eq!(count(usage), [None, None, Some(8)]);
    assert!(usage["capacity"].is_null(), "{usage}");
    host.assert_healthy();
}

#[test]
fn none_that_is_free_is_refused_and_the_longest_free_is_given_first() {
    // Two addresses beside network, gateway and broadcast would need a /29 with three of its five set aside.
    let host = Host::with_config("upstreams = []\nnamespace_pool = 0");
    let reserve = ["--reserve", "10.9.1.4", "--reserve", "10.9.1.5", "--reserve", "10.9.1.6"];
    host.ok(&[&["network", "create", "web", "--subnet", "10.9.1.0/29"], &reserve[..]].concat());
    let [a, b] = ["a", "b"].map(|name| run(&host, name, "web"));
    host.ok(&["rm", "-f", "b"]);
    host.ok(&["rm", "-f", "a"]);
    assert_eq!(usage(&host), [2, 0, 2, 0]);
    host.restart();
    assert_eq!(run(&host, "c", "web"), b);
    assert_eq!(run(&host, "d", "web"), a);
    let refused = host.fabric(&["run", "-d", "--network", "web", "busybox", "true"]).expect_code(125);
    assert_eq!(
        refused.stderr,
        "error: network `web` has no address to give\n  \
         caused by: no free address in 10.9.1.0/29: 2 of 2 are leased\n\
         hint: remove containers that are not used, or create a network with a larger subnet\n"
    );
    host.assert_healthy();
}

#[test]
fn who_asks_for_an_address_has_it_though_it_rests() {
    let host = host_with("10.9.1.0/24");
    let db = run(&host, "db", "web");
    host.ok(&["rm", "-f", "db"]);
    assert_eq!(run(&host, "other", &format!("web:ip={db}")), db);
    assert_ne!(run(&host, "db", "web"), db, "it is not shared");
    host.assert_healthy();
}

#[test]
fn with_the_network_goes_what_was_remembered_of_it() {
    let host = host_with("10.9.1.0/24");
    run(&host, "first", "web");
    let second = run(&host, "second", "web");
    for name in ["first", "second"] {
        host.ok(&["rm", "-f", name]);
    }
    host.ok(&["network", "rm", "web"]);
    host.ok(&["network", "create", "web", "--subnet", "10.9.1.0/24"]);
    assert_ne!(run(&host, "second", "web"), second);
    host.assert_healthy();
}
