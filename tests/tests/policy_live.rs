//! What `fabric policy` says of this host's containers, held against what their packets do.

use std::{fs, net::IpAddr};

use tests::{Attached, Host, Namespace, eventually, fetch};

const HTTP: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];
const SLEEP: [&str; 2] = ["sleep", "1000"];
const POLICIES: &str = "\
apiVersion: fabric/v1
kind: Stance
metadata: {name: closed}
networks: [web]
ingress: deny
---
apiVersion: fabric/v1
kind: Policy
metadata: {name: server}
networks: [web]
subject: {labels: {app: server}}
ingress:
- {action: allow, from: [{labels: {app: client}}], ports: [http]}
";

struct Stage {
    host: Host,
    server: Attached,
    client: Attached,
    both: Attached,
    stranger: Attached,
}

impl Stage {
    fn new() -> Self {
        let host = Host::new();
        host.ok(&["network", "create", "web", "--ipv6"]);
        host.ok(&["network", "create", "ops"]);
        let server = host.run("server", "web", &["-l", "app=server", "--expose", "http=80"], &HTTP);
        let client = host.run("client", "web", &["-l", "app=client"], &SLEEP);
        let stranger = host.run("stranger", "ops", &[], &HTTP);
        let run = ["run", "-d", "--name", "both", "--network", "web", "--network", "ops", "busybox"];
        host.ok(&[&run[..], &HTTP].concat());
        host.ok(&["run", "-d", "--name", "sharer", "--network", "container:client", "busybox", "sleep", "1000"]);
        host.ok(&["run", "-d", "--name", "hosted", "--network", "host", "busybox", "sleep", "1000"]);
        let both = &host.json(&["inspect", "both"]);
        let ipv4 = both["endpoints"][0]["ipv4"].as_str().expect("an address").parse().expect("an address");
        let both = Attached { id: String::new(), pid: both["pid"].as_i64().expect("it runs"), ipv4 };
        for server in [&server, &stranger, &both] {
            eventually("it listens", || fetch(&server.namespace(), server.ipv4, 80, "hostname").ok());
        }
        let stage = Self { host, server, client, both, stranger };
        let file = stage.file("policies.yaml", POLICIES);
        stage.host.ok(&["policy", "apply", "-f", &file]);
        stage
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.host.path(name);
        fs::write(&file, text).expect("the directory is ours");
        file.to_string_lossy().into_owned()
    }

    /// The verdicts on all connections that are meant, each once.
    fn verdict(&self, arguments: &[&str]) -> String {
        let explained = self.host.json(&[&["policy", "explain"], arguments].concat());
        let verdict = |one: &serde_json::Value| one["verdict"].as_str().expect("a verdict").to_owned();
        let mut verdicts: Vec<String> = explained.as_array().expect("a list").iter().map(verdict).collect();
        verdicts.dedup();
        verdicts.join(" ")
    }
}

#[test]
fn what_is_explained_is_what_packets_do_however_the_ends_are_named() {
    let stage = Stage::new();
    let (host, server) = (&stage.host, &stage.server);
    let [ipv4, ipv6] = host.addresses("server").map(|address| address.to_string());
    let by_ipv6 = format!("[{ipv6}]:80");
    let gets = |from: &Namespace, to: IpAddr| fetch(from, to, 80, "hostname").is_ok();
    let client = stage.client.namespace();
    for (from, to, opener, address) in [
        ("client", "server:80", &client, ipv4.as_str()),
        ("client", "web/server:80", &client, &ipv6),
        (&stage.client.id[..9], &format!("{}:80", &server.id[..12]), &client, &ipv4),
        ("client", &by_ipv6, &client, &ipv6),
        ("sharer", "server:80", &client, &ipv4),
        ("client", "server.web.fabric.internal:80", &client, &ipv4),
        ("web/app=client", "web/app=server,x=y:81", &client, "127.0.0.9"),
        ("both", "server:80", &stage.both.namespace(), &ipv4),
        ("hosted", "server:80", host.namespace(), &ipv4),
        ("host", "server:80", host.namespace(), &ipv6),
        ("client", "both:80", &client, &stage.both.ipv4.to_string()),
    ] {
        let expected = if gets(opener, address.parse().expect("an address")) { "allow" } else { "deny" };
        assert_eq!(stage.verdict(&[from, to]), expected, "{from} {to}");
    }
    assert_eq!(stage.verdict(&["client", "server:80"]), "allow", "control: not all are denied");
    let told = host.ok(&["policy", "explain", "client", "server:81"]);
    assert!(told.contains("stance `closed` at") && told.contains("policies.yaml:1:1"), "{told}");
    let told = host.ok(&["policy", "explain", "client", "server:80"]);
    assert!(told.contains("ingress rule 1 of policy `server` at") && told.contains("policies.yaml:13:3"), "{told}");

    // What is only described has an address on its network, wherever that is.
    let ranges = ["0.0.0.0/0", "203.0.113.0/24"].map(|range| {
        let deny = format!(
            "{{apiVersion: fabric/v1, kind: Policy, metadata: {{name: r}}, networks: [web], tier: 1, ingress: [{{action: deny, \
             from: [{{cidr: {range}}}]}}]}}"
        );
        let file = stage.file("range.yaml", &deny);
        let [new, real] = [("web/app=client", &server.ipv4.to_string()), ("client", &server.ipv4.to_string())]
            .map(|(from, to)| stage.verdict(&["-f", &file, "--live", from, &format!("{to}:80")]));
        assert_eq!(new, real, "{range}");
        new
    });
    assert_eq!(ranges, ["deny", "allow"]);

    // Policies allow it, and networks are kept apart.
    let apart = host.fabric(&["policy", "explain", "server", "stranger:80"]);
    assert!(apart.code == 0 && apart.stderr.contains("networks `web` and `ops` are kept apart"), "{apart}");
    assert!(!gets(&server.namespace(), stage.stranger.ipv4.into()));
    for (from, to, told) in [
        ("both", "203.0.113.7:80", "write one of `ops/both`, `web/both`"),
        ("clinet", "server:80", "did you mean `client`"),
        ("client", "nobody.web.fabric.internal:80", "no address of"),
    ] {
        let outcome = host.fabric(&["policy", "explain", from, to]);
        assert!(outcome.code == 2 && outcome.stderr.contains(told), "{outcome}");
    }
}

/// Host and containers, of which a server has published ports.
#[test]
fn what_is_explained_of_published_ports_is_what_packets_do() {
    let host = Host::new();
    let lan = host.lan();
    let [lan6, host6] = lan.speak_ipv6(host.namespace());
    host.ok(&["network", "create", "web", "--ipv6"]);
    host.ok(&["network", "create", "ops"]);
    let server = host.run("server", "web", &["-p", "8080:80", "-p", "127.0.0.1:8081:80"], &HTTP);
    let neighbour = host.run("neighbour", "web", &[], &SLEEP).namespace();
    let stranger = host.run("stranger", "ops", &[], &SLEEP).namespace();
    eventually("it listens", || fetch(&server.namespace(), server.ipv4, 80, "hostname").ok());
    let gateway = host.json(&["network", "inspect", "web"])["subnets"][0]["gateway"].as_str().map(str::to_owned);
    let (gateway, on_lan) = (gateway.expect("it has one"), lan.host_address.to_string());
    let (client, client6) = (lan.address.to_string(), lan6.to_string());
    let own = server.namespace();
    let probes = [
        (client.as_str(), &lan.namespace, on_lan.clone(), 8080),
        (&client, &lan.namespace, on_lan.clone(), 8081),
        (&client6, &lan.namespace, host6.to_string(), 8080),
        ("stranger", &stranger, on_lan.clone(), 8080),
        ("stranger", &stranger, gateway.clone(), 8080),
        ("neighbour", &neighbour, gateway.clone(), 8080),
        ("server", &own, on_lan.clone(), 8080),
        ("host", host.namespace(), on_lan.clone(), 8080),
        ("host", host.namespace(), "127.0.0.1".to_owned(), 8081),
    ];
    let policy = |network: &str, rule: &str| {
        format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p}}\nnetworks: [{network}]\n{rule}\n")
    };
    let rules = [
        policy("web", "ingress: [{action: allow}]"),
        policy("web", "ingress: [{action: deny}]"),
        policy("ops", "egress: [{action: deny, to: [{entity: host}]}]"),
        policy("ops", "egress: [{action: deny, to: [{names: [server], networks: [web]}], ports: [80]}]"),
        policy("web", "ingress: [{action: deny, from: [{entity: world}], ports: [80]}]"),
        policy("web", "ingress: [{action: deny, from: [{names: [neighbour]}, {cidr: 127.0.0.0/8}]}]"),
        policy("web", &format!("ingress: [{{action: allow, from: [{{cidr: {client}/32}}]}}, {{action: deny}}]")),
    ];
    let is_published = |address: &str, port| port == 8080 || address == "127.0.0.1";
    for rule in &rules {
        let file = host.path("p.yaml");
        fs::write(&file, rule).expect("the directory is ours");
        host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
        let mut tests = "expect:\n".to_owned();
        for (from, opener, address, port) in probes.iter().filter(|(.., address, port)| is_published(address, *port)) {
            let at: IpAddr = address.parse().expect("an address");
            let expected = if fetch(opener, at, *port, "hostname").is_ok() { "allow" } else { "deny" };
            let target = if at.is_ipv6() { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
            let told = host.fabric(&["policy", "explain", from, &target]);
            assert!(
                told.stdout.contains(&format!(": {expected}\n  published: leads to web/server (")),
                "{told}\n{rule}"
            );
            assert!(!told.stderr.contains("whatever policies allow"), "{told}");
            tests.push_str(&format!("- {{from: '{from}', to: '{address}', port: {port}, verdict: {expected}}}\n"));
        }
        let file = host.path("tests.yaml");
        fs::write(&file, tests).expect("the directory is ours");
        host.ok(&["policy", "test", "-f", &file.to_string_lossy(), "--live"]);
    }
    // What is published to the host alone leads nobody else anywhere.
    let told = host.ok(&["policy", "explain", &client, &format!("{on_lan}:8081")]);
    assert!(told.contains("neither end is an endpoint"), "{told}");
    assert!(fetch(&lan.namespace, lan.host_address, 8081, "hostname").is_err());
}

#[test]
fn what_files_would_change_here_is_told_and_nothing_of_it_done() {
    let stage = Stage::new();
    let host = &stage.host;
    let file = stage.file("open.yaml", &POLICIES.replace("ports: [http]", "ports: [81]"));
    assert_eq!(stage.verdict(&["-f", &file, "--live", "client", "server:80"]), "deny");
    assert_eq!(stage.verdict(&["-f", &file, "--live", "client", "server:81"]), "allow");
    // What is of another name comes beside what is in force.
    let tier =
        "{apiVersion: fabric/v1, kind: Policy, metadata: {name: ops}, networks: [ops], ingress: [{action: deny}]}";
    let ops = stage.file("ops.yaml", tier);
    assert_eq!(stage.verdict(&["-f", &ops, "--live", "both", "stranger:80"]), "deny");
    assert_eq!(stage.verdict(&["-f", &ops, "--live", "client", "server:80"]), "allow");
    assert_eq!(stage.verdict(&["client", "server:80"]), "allow", "nothing was done");

    let passes = |matrix: &serde_json::Value, from: &str, to: &str| {
        let pairs = matrix.as_array().expect("a list");
        let pair = pairs.iter().find(|pair| pair["from"] == from && pair["to"] == to).expect("a pair");
        pair["passes"]["ipv4"].as_array().expect("a list").iter().map(|text| text.to_string()).collect::<String>()
    };
    let matrix = host.json(&["policy", "matrix"]);
    assert_eq!(passes(&matrix, "web/client", "web/server"), "\"80/tcp\"");
    assert_eq!(passes(&matrix, "web/both", "web/server"), "");
    let matrix = host.json(&["policy", "matrix", "-f", &file, "--live"]);
    assert_eq!(passes(&matrix, "web/client", "web/server"), "\"81/tcp\"");

    let tests = |policies: &str| {
        let text = format!(
            "{policies}expect:\n- {{from: client, to: server, port: 80, verdict: allow}}\n\
             - {{from: both, to: server, port: 80, verdict: deny}}\n"
        );
        let file = stage.file("tests.yaml", &text);
        host.fabric(&["policy", "test", "-f", &file, "--live"])
    };
    let met = tests("");
    assert_eq!((met.code, met.stdout.as_str()), (0, "2 expectations met\n"), "{met}");
    let unmet = tests("policies: [open.yaml]\n");
    assert!(unmet.code == 1 && unmet.stdout.contains("1 of 2 expectations not met"), "{unmet}");
    let both = tests("networks: {web: }\n");
    assert!(both.code == 2 && both.stderr.contains("--live"), "{both}");
    host.assert_healthy();
}
