//! Routes that networks give their containers besides the default route, and networks that give none by default.

use std::time::Duration;

use tests::{Host, Lan, Namespace, eventually, pings, within};

const SLEEP: [&str; 2] = ["sleep", "1000"];
/// Beyond the neighbour of the host.
const BEYOND: [&str; 2] = ["203.0.113.7", "2001:db8:7::7"];

/// What is beyond a neighbour is a part of it here.
fn reach_beyond(host: &Host, lan: &Lan) {
    let [lan6, _] = lan.speak_ipv6(host.namespace());
    for (address, by) in BEYOND.into_iter().zip([lan.address.to_string(), lan6.to_string()]) {
        lan.namespace.run(&["ip", "address", "add", address, "dev", "lo"]);
        host.namespace().run(&["ip", "route", "add", address, "via", &by]);
    }
    lan.namespace.run(&["ip", "link", "set", "lo", "up"]);
}

/// Fabric's routes by a gateway in a namespace, of both families.
fn routes(namespace: &Namespace) -> Vec<String> {
    let of = |family: &str| namespace.run(&["ip", family, "route", "show", "proto", "102"]);
    let text = [of("-4"), of("-6")].join("\n");
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.split_whitespace().take(5).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn containers_reach_by_routes_what_no_default_route_leads_to() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    reach_beyond(&host, &lan);
    let create = ["network", "create", "web", "--subnet=10.9.1.0/24", "--subnet=fd09:1::/64", "--no-default-route"];
    host.ok(&[&create[..], &["--route", "203.0.113.0/24", "--route", "2001:db8:7::/48,fd09:1::1,77"]].concat());
    let shown = host.ok(&["network", "inspect", "web"]);
    assert!(shown.contains("203.0.113.0/24, 2001:db8:7::/48,fd09:1::1,77"), "{shown}");
    let api = host.run("api", "web", &[], &SLEEP);
    let inside = api.namespace();
    let expected = ["203.0.113.0/24 via 10.9.1.1 dev eth0", "2001:db8:7::/48 via fd09:1::1 dev eth0"];
    let works = |what: &str, inside: &Namespace| {
        assert_eq!(routes(inside), expected, "{what}");
        assert!(BEYOND.iter().all(|beyond| pings(inside, beyond)), "{what}");
        assert!(!pings(inside, lan.address), "{what}: nothing else leads out");
        host.assert_healthy();
    };
    works("new", &inside);
    host.kill();
    host.start();
    works("after a crash of the daemon", &inside);
    for damage in
        ["ip route flush proto 102; ip -6 route flush proto 102", "ip link set eth0 down; ip link set eth0 up"]
    {
        inside.run(&["sh", "-c", damage]);
        host.ok(&["doctor", "--fix"]);
        works(damage, &inside);
    }
    inside.run(&["ip", "route", "add", "198.51.100.0/24", "via", "10.9.1.1", "proto", "102"]);
    host.ok(&["doctor", "--fix"]);
    works("a route that nobody asked for", &inside);
    host.ok(&["restart", "-t", "0", "api"]);
    works("started again", &host.attached("api").namespace());
}

#[test]
fn routes_come_and_go_while_containers_run() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    reach_beyond(&host, &lan);
    host.ok(&["network", "create", "web", "--subnet=10.9.1.0/24"]);
    host.ok(&["network", "create", "back", "--subnet=10.9.2.0/24"]);
    let api = host.run("api", "web", &["--network", "back", "-p", "8080:80"], &SLEEP);
    let inside = api.namespace();
    let (to_web, to_back) = ("default via 10.9.1.1 dev eth0", "default via 10.9.2.1 dev eth1");
    let route = |network: u8| format!("203.0.113.0/24 via 10.9.{network}.1 dev eth{}", network - 1);
    let update = |arguments: &[&str]| host.ok(&[&["network", "update"], arguments].concat());
    assert_eq!(routes(&inside), [to_web]);
    update(&["web", "--no-default-route"]);
    assert_eq!(routes(&inside), [to_back]);
    assert!(pings(&inside, BEYOND[0]));
    update(&["back", "--no-default-route"]);
    assert_eq!(routes(&inside), [""; 0]);
    assert!(!pings(&inside, BEYOND[0]));
    // Both have a route there: the first has it, and the other when that is gone.
    update(&["web", "--add-route", "203.0.113.0/24"]);
    update(&["back", "--add-route", "203.0.113.0/24", "--add-route", "10.9.1.0/25"]);
    assert_eq!(routes(&inside), [route(1)], "nothing leads to what the container is on already");
    assert!(pings(&inside, BEYOND[0]));
    update(&["web", "--rm-route", "203.0.113.0/24"]);
    assert_eq!(routes(&inside), [route(2)]);
    assert!(pings(&inside, BEYOND[0]));
    update(&["web", "--add-route", "203.0.113.0/24"]);
    assert_eq!(routes(&inside), [route(1)]);
    host.ok(&["network", "disconnect", "web", "api"]);
    let others = ["10.9.1.0/25 via 10.9.2.1 dev eth1".to_owned(), route(2)];
    assert_eq!(routes(&inside), others);
    assert!(pings(&inside, BEYOND[0]));
    update(&["back", "--internal"]);
    assert_eq!(routes(&inside), [""; 0]);
    update(&["back", "--internal=false"]);
    assert_eq!(routes(&inside), others);
    update(&["back", "--rm-route", "203.0.113.0/24", "--rm-route", "10.9.1.0/25", "--no-default-route=false"]);
    assert_eq!(routes(&inside), [to_back]);
    host.assert_healthy();
    host.restart();
    assert_eq!(routes(&inside), [to_back]);
    host.assert_healthy();
}

#[test]
fn routes_on_a_lan_lead_by_any_neighbour() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    reach_beyond(&host, &lan);
    let create = ["network", "create", "wire", "--driver", "macvlan", "--opt", "parent=lan0", "--no-default-route"];
    let subnet = ["--subnet", "192.0.2.0/24", "--ip-range", "192.0.2.128/25", "--gateway", "192.0.2.254"];
    host.ok(&[&create[..], &subnet, &["--route", "203.0.113.0/24,192.0.2.10"]].concat());
    let api = host.run("api", "wire:ifname=up0", &[], &SLEEP);
    let inside = api.namespace();
    assert_eq!(routes(&inside), ["203.0.113.0/24 via 192.0.2.10 dev up0"]);
    eventually("it is reached by the neighbour", || pings(&inside, BEYOND[0]).then_some(()));
    inside.run(&["ip", "route", "del", "203.0.113.0/24"]);
    // The look at everything comes every 10 s.
    let back = within(Duration::from_secs(15), || pings(&inside, BEYOND[0]).then_some(()));
    assert!(back.is_some(), "{:?}", routes(&inside));
    host.ok(&["network", "update", "wire", "--rm-route", "203.0.113.0/24"]);
    assert_eq!(routes(&inside), [""; 0]);
    host.assert_healthy();
}

#[test]
fn routes_that_cannot_be_had_are_refused_and_nothing_is_changed() {
    let host = Host::with_config("upstreams = []");
    let refused = |arguments: &[&str], code: i32, expected: &str| {
        let outcome = host.fabric(arguments).expect_code(code);
        assert!(outcome.stderr.contains(expected), "{arguments:?}: {outcome}");
    };
    let create = |route| ["network", "create", "web", "--subnet", "10.9.1.0/24", "--route", route];
    refused(&create("203.0.113.9/24"), 2, "203.0.113.9/24 is not a network address; did you mean 203.0.113.0/24?");
    refused(&create("0.0.0.0/0,10.9.1.1"), 2, "everything is where the default route leads");
    for (route, why) in [
        ("10.9.0.0/16", "10.9.0.0/16 overlaps its own subnet 10.9.1.0/24"),
        ("2001:db8::/32", "it has no IPv6 subnet"),
        ("203.0.113.0/24,10.9.2.1", "the gateway 10.9.2.1 lies in none of its subnets that are known"),
        ("203.0.113.0/24,10.9.1.9", "on a bridge nobody but its own gateway 10.9.1.1 passes on what others send"),
    ] {
        refused(
            &create(route),
            2,
            &format!("error: network `web` cannot have the route {route}: {why}\nhint: leave it out"),
        );
    }
    assert_eq!(host.json(&["network", "ls"]), serde_json::json!([]), "nothing was made");
    host.ok(&create("203.0.113.0/24"));
    let update = ["network", "update", "web"];
    refused(&[&update[..], &["--rm-route", "198.51.100.0/24"]].concat(), 1, "it has 203.0.113.0/24");
    refused(&[&update[..], &["--add-route", "203.0.113.0/24,10.9.1.1"]].concat(), 1, "it is given twice");
    refused(&[&update[..], &["--add-subnet", "203.0.113.0/25"]].concat(), 1, "overlaps its own subnet 203.0.113.0/25");
    host.ok(&["network", "update", "web", "--no-default-route"]);
    refused(&["run", "-d", "--network", "web", "-p", "80:80", "busybox", "true"], 125, "gives a default route");
    assert_eq!(host.json(&["network", "inspect", "web"])["routes"], serde_json::json!(["203.0.113.0/24"]));
    host.assert_healthy();
}
