//! Rules that count, and rules that let only so much through.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use tests::{Attached, Host, eventually};

const SLEEP: [&str; 2] = ["sleep", "1000"];
/// What takes longer to come about is filtered: shorter than a segment takes to be sent again, so that each attempt is
/// one packet.
const FILTERED: Duration = Duration::from_millis(700);

/// A server and two clients on network `web`.
struct Stage {
    host: Host,
    listener: TcpListener,
    at: SocketAddr,
    clients: [Attached; 2],
    _server: Attached,
}

/// Both ends of a connection.
type Connection = (TcpStream, TcpStream);

impl Stage {
    fn new() -> Self {
        let host = Host::new();
        host.ok(&["network", "create", "web"]);
        let server = host.run("server", "web", &["-l", "app=server"], &SLEEP);
        let clients = ["one", "two"].map(|name| host.run(name, "web", &["-l", "app=client"], &SLEEP));
        let listener = server.namespace().enter(|| TcpListener::bind((server.ipv4, 7000)).expect("free"));
        let at = listener.local_addr().expect("it is bound");
        Self { host, listener, at, clients, _server: server }
    }

    /// Puts a policy of this rule in force for the server.
    fn apply(&self, rule: &str) {
        let file = self.host.path("policies.yaml");
        let policy = format!(
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: shop}}\nnetworks: [web]\n\
             subject: {{labels: {{app: server}}}}\ningress:\n- {{{rule}}}\n"
        );
        fs::write(&file, policy).expect("the directory is ours");
        self.host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
    }

    fn connect(&self, client: &Attached) -> Option<Connection> {
        let near = client.namespace().enter(|| TcpStream::connect_timeout(&self.at, FILTERED)).ok()?;
        let (far, _) = self.listener.accept().expect("it has come about");
        Some((near, far))
    }

    /// How many of so many connections come about, one after the other, each closed at once.
    fn count(&self, client: &Attached, attempts: usize) -> usize {
        (0..attempts).filter(|_| self.connect(client).is_some()).count()
    }

    /// What the rule has counted.
    fn counted(&self) -> u64 {
        let shown = self.host.json(&["policy", "inspect", "shop"]);
        let [counter] = &shown["counters"].as_array().expect("it counts")[..] else { panic!("one rule: {shown}") };
        assert_eq!(counter["rule"], "ingress rule 1");
        counter["packets"].as_u64().expect("a number")
    }
}

#[test]
fn a_rule_lets_only_so_many_be_opened_in_a_time() {
    let stage = Stage::new();
    let [one, two] = &stage.clients;
    assert_eq!(stage.count(one, 8), 8, "without a policy");
    stage.apply("action: allow, rate: 5/h");
    // All whom the rule is about have one budget.
    assert_eq!(stage.count(one, 3) + stage.count(two, 5), 5);
    assert_eq!(stage.counted(), 5, "what is dropped is not counted");
    stage.apply("action: allow, rate: 100/s");
    assert_eq!(stage.count(one, 8), 8, "a rule that says something else begins anew");
}

#[test]
fn a_rule_lets_only_so_many_be_there_at_once() {
    let stage = Stage::new();
    let [one, two] = &stage.clients;
    stage.apply("action: allow, connections: 3");
    let mut open: Vec<Connection> = (0..2).filter_map(|_| stage.connect(one)).collect();
    open.extend((0..4).filter_map(|_| stage.connect(two)));
    assert_eq!(open.len(), 3);
    open.truncate(2);
    // The kernel sees that one is over when it sees it closed on both sides.
    let another = eventually("a place is free", || stage.connect(two));
    assert!(stage.connect(one).is_none(), "and no more than one");
    drop(another);
}

#[test]
fn what_a_rule_audits_is_counted_and_let_through() {
    let stage = Stage::new();
    let [one, two] = &stage.clients;
    stage.apply("action: audit, from: [{names: [one]}]");
    assert_eq!((stage.count(one, 4), stage.count(two, 3)), (4, 3));
    assert_eq!(stage.counted(), 4);
    let shown = stage.host.ok(&["policy", "inspect", "shop"]);
    assert!(shown.lines().any(|line| line.contains("ingress rule 1") && line.contains("audit: 4 packets")), "{shown}");

    stage.host.kill();
    assert_eq!(stage.count(one, 2), 2);
    stage.host.start();
    assert_eq!(stage.counted(), 6, "counted by the kernel, whoever is away");
    // Another policy, and somebody who comes, leave it what it has counted.
    let other = stage.host.path("other.yaml");
    let policy = "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: other}\nnetworks: [web]\n\
                  subject: {labels: {app: client}}\ningress:\n- {action: deny, ports: [99]}\n";
    fs::write(&other, policy).expect("the directory is ours");
    stage.host.ok(&["policy", "apply", "-f", &other.to_string_lossy()]);
    let _third = stage.host.run("three", "web", &["-l", "app=server"], &SLEEP);
    assert_eq!(stage.counted(), 6);

    // A rule before it takes the number, and nothing else.
    stage.apply("action: allow, from: [{names: [nobody]}], connections: 9}\n- {action: audit, from: [{names: [one]}]");
    let shown = stage.host.json(&["policy", "inspect", "shop"]);
    let counted = |at: usize| (shown["counters"][at]["rule"].clone(), shown["counters"][at]["packets"].clone());
    assert_eq!(counted(0), ("ingress rule 1".into(), 0.into()), "{shown:#}");
    assert_eq!(counted(1), ("ingress rule 2".into(), 6.into()), "{shown:#}");

    stage.apply("action: deny, from: [{names: [one]}]");
    assert_eq!((stage.count(one, 2), stage.count(two, 1)), (0, 1), "denied, it is not let through");
}
