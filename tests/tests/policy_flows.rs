//! What rules that log tell of the connections that they decide or audit.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{Attached, Host, eventually};

const SLEEP: [&str; 2] = ["sleep", "1000"];
const PORT: u16 = 7000;
/// What takes longer to come about is filtered: shorter than a segment takes to be sent again, so that each attempt is
/// one packet.
const FILTERED: Duration = Duration::from_millis(700);

/// A server and a client on network `web`, and a policy for the server.
struct Stage {
    host: Host,
    server: Attached,
    client: Attached,
}

impl Stage {
    fn new() -> Self {
        let host = Host::with_config("upstreams = []");
        host.ok(&["network", "create", "web", "--ipv6"]);
        let server = host.run("server", "web", &["-l", "app=server"], &SLEEP);
        let client = host.run("client", "web", &["-l", "app=client"], &SLEEP);
        Self { host, server, client }
    }

    /// Puts a policy of these rules in force for the server.
    fn apply(&self, rules: &[&str]) {
        let file = self.host.path("shop.yaml");
        let rules: String = rules.iter().map(|rule| format!("- {{{rule}}}\n")).collect();
        let policy = format!(
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: shop}}\nnetworks: [web]\n\
             subject: {{labels: {{app: server}}}}\ningress:\n{rules}"
        );
        fs::write(&file, policy).expect("the directory is ours");
        self.host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
    }

    fn connects(&self, address: IpAddr, port: u16) -> bool {
        let to = SocketAddr::new(address, port);
        self.client.namespace().enter(|| TcpStream::connect_timeout(&to, FILTERED).is_ok())
    }

    fn listen(&self, port: u16) -> TcpListener {
        self.server.namespace().enter(|| TcpListener::bind((self.server.ipv4, port)).expect("free"))
    }

    /// The flows that are told, as soon as there are so many.
    #[track_caller]
    fn flows(&self, count: usize, options: &[&str]) -> Vec<Value> {
        let told = || {
            let text = self.host.ok(&[&["flows", "--format", "json"], options].concat());
            let flows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            (flows.len() >= count).then_some(flows)
        };
        let flows = eventually("they are told", told);
        assert_eq!(flows.len(), count, "{flows:#?}");
        flows
    }
}

#[test]
fn what_rules_log_is_told_with_who_asked_whom_for_what() {
    let stage = Stage::new();
    let Stage { host, server, .. } = &stage;
    let _listeners = [stage.listen(PORT), stage.listen(PORT + 1), stage.listen(PORT + 2)];
    stage.apply(&[
        "action: audit, ports: [7000]",
        "action: deny, ports: [7001, 53/udp], icmpv6: [echo-request], log: true",
        "action: allow, ports: [7000], log: true",
        "action: allow, ports: [7002]",
        "action: audit, ports: [7002], log: false",
    ]);
    let [_, ipv6] = host.addresses("server");
    assert!(stage.connects(server.ipv4.into(), PORT), "audited, and let through");
    assert!(!stage.connects(server.ipv4.into(), PORT + 1), "denied");
    assert!(stage.connects(server.ipv4.into(), PORT + 2), "let through and audited by rules that do not log");
    stage.client.namespace().enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("free");
        socket.send_to(b"?", (server.ipv4, 53)).expect("there is a route");
    });
    let ping = stage.client.namespace().try_run(&["ping", "-n", "-c", "1", "-W", "1", &ipv6.to_string()]);
    assert_ne!(ping.code, 0, "denied, too");

    let flows = stage.flows(5, &[]);
    let told = |flow: &Value| {
        for (end, name) in [("source", "client"), ("destination", "server")] {
            assert_eq!((&flow[end]["container"], &flow[end]["network"]), (&name.into(), &"web".into()), "{flow:#}");
        }
        let place = flow["place"].as_str().expect("a text").rsplit('/').next().expect("a last part").to_owned();
        assert_eq!(flow["policy"], "shop");
        format!(
            "{} {} {} {} {} {place}",
            flow["verdict"].as_str().expect("a text"),
            flow["rule"].as_str().expect("a text"),
            flow["protocol"].as_str().expect("a text"),
            flow["destination"]["port"],
            flow["message"],
        )
    };
    let flows: Vec<String> = flows.iter().map(told).collect();
    assert_eq!(
        flows,
        [
            "audit ingress rule 1 tcp 7000 null shop.yaml:7:3",
            "allow ingress rule 3 tcp 7000 null shop.yaml:9:3",
            "deny ingress rule 2 tcp 7001 null shop.yaml:8:3",
            "deny ingress rule 2 udp 53 null shop.yaml:8:3",
            "deny ingress rule 2 icmpv6 null [128,0] shop.yaml:8:3",
        ]
    );
    assert_eq!(stage.flows(3, &["--verdict", "deny", "--from", "web/client", "--to", "server"]).len(), 3);
    assert_eq!(stage.flows(0, &["--from", "server"]).len(), 0);
    assert_eq!(stage.flows(0, &["--policy", "other"]).len(), 0);
    let line = host.ok(&["flows", "--verdict", "deny", "--to", &ipv6.to_string()]);
    assert!(line.contains(" deny web/client -> web/server icmpv6 128/0 (shop, ingress rule 2, "), "{line}");

    let audited = host.json(&["policy", "audit"]);
    assert_eq!((&audited[0]["rule"], &audited[0]["packets"]), (&"ingress rule 1".into(), &1.into()), "{audited:#}");
    assert_eq!(audited.as_array().map(Vec::len), Some(2), "of the rules that audit: {audited:#}");
    assert_eq!((&audited[1]["packets"], &audited[1]["flows"]), (&1.into(), &Value::Array(vec![])), "{audited:#}");
    let pair = &audited[0]["flows"][0];
    assert_eq!((&pair["from"], &pair["to"]), (&"web/client".into(), &"web/server:7000/tcp".into()), "{audited:#}");
}

/// Recipes and manifests have no rule that denies: what denies there is a stance, or that a policy isolates.
#[test]
fn what_a_stance_or_isolation_denies_is_told_and_counted_where_they_say_so() {
    let stage = Stage::new();
    let apply = |text: &str| {
        let file = stage.host.path("rest.yaml");
        fs::write(&file, text).expect("the directory is ours");
        stage.host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
    };
    let told = |name: &str, rule: &str| {
        let flows = stage.flows(1, &["--policy", name]);
        let place = flows[0]["place"].as_str().expect("a text");
        assert!(place.ends_with("rest.yaml:1:1"), "{flows:#?}");
        assert_eq!((&flows[0]["verdict"], &flows[0]["rule"]), (&"deny".into(), &rule.into()), "{flows:#?}");
        let shown = stage.host.json(&["policy", "inspect", name]);
        let counter = &shown["counters"].as_array().and_then(|all| all.last()).expect("it counts");
        assert_eq!((&counter["rule"], &counter["action"]), (&rule.into(), &"deny".into()), "{shown:#}");
        assert_eq!(counter["packets"], 1, "{shown:#}");
        let explained = stage.host.ok(&["policy", "explain", "client", "server:7001"]);
        assert!(explained.contains("ingress: deny, logged:"), "{explained}");
    };
    let stance =
        "{apiVersion: fabric/v1, kind: Stance, metadata: {name: closed}, networks: [web], ingress: deny, log: true}";
    apply(stance);
    assert!(!stage.connects(stage.server.ipv4.into(), 7001));
    told("closed", "ingress stance");
    // A policy that isolates decides before the stance.
    apply(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {name: db, namespace: web, annotations: {fabric/log: denied}}\n\
         spec: {podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 7000}]}]}\n",
    );
    let _listener = stage.listen(PORT);
    assert!(stage.connects(stage.server.ipv4.into(), PORT), "allowed, and not logged");
    assert!(!stage.connects(stage.server.ipv4.into(), 7001));
    told("web/db", "ingress isolation");
    assert_eq!(stage.flows(2, &[]).len(), 2, "and nothing else");
}

#[test]
fn who_follows_is_told_at_once_and_a_new_daemon_goes_on() {
    let stage = Stage::new();
    stage.apply(&["action: deny, ports: [7001], log: true"]);
    let follow = |from: &Host| {
        let mut command = from.fabric_command(&["flows", "-f"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("fabric runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        (child, lines)
    };
    let (mut child, mut lines) = follow(&stage.host);
    for _ in 0..2 {
        assert!(!stage.connects(stage.server.ipv4.into(), 7001));
        let line = lines.next().expect("it goes on").expect("it is text");
        assert!(line.contains(" deny web/client:") && line.contains(" -> web/server:7001/tcp (shop, "), "{line}");
    }
    stage.host.kill();
    assert!(!stage.connects(stage.server.ipv4.into(), 7001), "nobody reads, and it is denied");
    assert!(!child.wait().expect("it ends").success(), "there is nobody to follow");
    stage.host.start();
    let told = || {
        assert!(!stage.connects(stage.server.ipv4.into(), 7001));
        let text = stage.host.ok(&["flows"]);
        text.contains(" deny web/client:").then_some(())
    };
    eventually("the next daemon reads on", told);
}

/// Who makes more lines than anybody reads takes neither memory for them nor the daemon's time.
#[test]
fn a_flood_is_told_in_part_and_keeps_nobody_waiting() {
    let stage = Stage::new();
    stage.apply(&["action: deny, ports: [9/udp], log: true"]);
    let begun = Instant::now();
    stage.client.namespace().enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("free");
        for _ in 0..100_000 {
            // Each is a first packet, as nothing of a flow that is denied is remembered.
            let _ = socket.send_to(b"?", (stage.server.ipv4, 9));
        }
    });
    let asked = Instant::now();
    stage.host.ok(&["ps"]);
    assert!(asked.elapsed() < Duration::from_secs(5), "the daemon answers");
    let shown = stage.host.json(&["policy", "inspect", "shop"]);
    let packets = shown["counters"][0]["packets"].as_u64().expect("a number");
    assert!(packets > 50_000, "control: they came, and all are counted: {packets}");
    let flows = stage.host.ok(&["flows", "--format", "json"]).lines().count() as u64;
    let most = 1000 * (begun.elapsed().as_secs() + 2);
    assert!((500..=most.min(4096)).contains(&flows), "{flows} of {packets}");
}
