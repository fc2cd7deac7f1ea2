//! Questions for names that the kernel answers at the container's port: they are answered as the server answers, and no
//! longer than that. `fabric_dns_kernel_queries_total` says how many there were.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use tests::{Answer, Attached, Host, Namespace, RecordType, ask, ask_within, eventually};

const NO_SUCH_NAME: u8 = 3;

/// Who asks, and from what network.
struct Asker<'a> {
    host: &'a Host,
    namespace: Namespace,
    server: SocketAddr,
}

impl<'a> Asker<'a> {
    fn new(host: &'a Host, network: &str) -> Self {
        let name = format!("asker-{network}");
        let namespace = host.run(&name, network, &[], &["sleep", "1000"]).namespace();
        let file = host.ok(&["exec", &name, "cat", "/etc/resolv.conf"]);
        let line = file.lines().find_map(|line| line.strip_prefix("nameserver ")).expect("a name server");
        let server = SocketAddr::new(line.trim().parse().expect("an address"), 53);
        Self { host, namespace, server }
    }

    fn ask(&self, name: &str) -> Answer {
        ask(&self.namespace, self.server, name, RecordType::A).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What is answered, and whether the kernel did that.
    fn answered(&self, name: &str) -> (Answer, bool) {
        let before = by_kernel(self.host);
        let answer = self.ask(name);
        (answer, by_kernel(self.host) > before)
    }

    /// All the time there is this answer, and in the end it is the kernel's.
    #[track_caller]
    fn is_soon_answered_by_kernel(&self, name: &str, expected: &Answer) {
        eventually(&format!("{name}: answered by the kernel"), || {
            let (answer, by_kernel) = self.answered(name);
            assert_eq!(answer, *expected, "{name}");
            by_kernel.then_some(())
        });
    }

    /// The same of the server.
    #[track_caller]
    fn is_soon_answered_by_server(&self, name: &str, expected: &Answer) {
        eventually(&format!("{name}: answered by the server"), || {
            let (answer, by_kernel) = self.answered(name);
            assert_eq!(answer, *expected, "{name}");
            (!by_kernel).then_some(())
        });
    }

    /// The first answer is this one, by the server.
    #[track_caller]
    fn is_answered_by_server(&self, name: &str, expected: &Answer) {
        assert_eq!(self.answered(name), (expected.clone(), false), "{name}");
    }
}

/// A host with the network `web` and, besides that nobody answers for names of others, this setting.
fn host_with_web(setting: &str) -> Host {
    let host = Host::with_config(&format!("upstreams = []\n{setting}"));
    host.ok(&["network", "create", "web"]);
    host
}

fn by_kernel(host: &Host) -> f64 {
    host.metrics()["fabric_dns_kernel_queries_total"]
}

fn sleeper(host: &Host, name: &str, network: &str) -> Attached {
    host.run(name, network, &[], &["sleep", "1000"])
}

fn found(containers: &[&Attached]) -> Answer {
    Answer { code: 0, records: containers.iter().map(|container| container.ipv4.to_string()).collect() }
}

fn no_such_name() -> Answer {
    Answer { code: NO_SUCH_NAME, records: Vec::new() }
}

#[test]
fn a_name_is_answered_by_the_kernel_as_long_as_it_is_there() {
    let host = host_with_web("");
    let asker = Asker::new(&host, "web");
    let mut api = sleeper(&host, "api", "web");
    for name in ["api", "API.web", "Api.Web.Fabric.Internal", &api.id[..12]] {
        asker.is_soon_answered_by_kernel(name, &found(&[&api]));
    }
    // From here on the asker's port is open: what is told is answered by the kernel at once.
    for _ in 0..3 {
        host.ok(&["rm", "-f", "api"]);
        asker.is_answered_by_server("api", &no_such_name());
        api = sleeper(&host, "api", "web");
        assert_eq!(asker.answered("api"), (found(&[&api]), true));
    }
    host.ok(&["rename", "api", "store"]);
    asker.is_answered_by_server("api", &no_such_name());
    assert_eq!(asker.answered("store"), (found(&[&api]), true));
    let [one, two] = ["one", "two"].map(|name| host.run(name, "web:alias=pool", &[], &["sleep", "1000"]));
    let answer = asker.ask("pool");
    assert_eq!(answer.records.len(), 2, "{answer:?}");
    let (_, by_kernel) = asker.answered("pool");
    assert!(!by_kernel, "several addresses are the server's to shuffle");
    host.ok(&["rm", "-f", "two"]);
    assert_eq!(asker.answered("pool"), (found(&[&one]), true));
    assert_ne!(one.ipv4, two.ipv4);
    // Whatever the kernel does not answer is counted with what it does.
    let udp = || host.metrics()["fabric_dns_queries_total{transport=\"udp\",origin=\"zone\"}"];
    let before = udp();
    asker.ask("pool");
    asker.ask("nobody");
    assert_eq!(udp(), before + 2.0);
    host.assert_healthy();
}

#[test]
fn who_is_on_two_networks_is_answered_by_the_server() {
    let host = host_with_web("");
    host.ok(&["network", "create", "back"]);
    let asker = Asker::new(&host, "web");
    let (api, db) = (sleeper(&host, "api", "web"), sleeper(&host, "db", "back"));
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
    asker.is_answered_by_server("db", &no_such_name());
    for _ in 0..2 {
        host.ok(&["network", "connect", "back", "asker-web"]);
        asker.is_answered_by_server("api", &found(&[&api]));
        asker.is_answered_by_server("db", &found(&[&db]));
        host.ok(&["network", "disconnect", "back", "asker-web"]);
        asker.is_answered_by_server("db", &no_such_name());
        asker.is_soon_answered_by_kernel("api", &found(&[&api]));
    }
    // A name on two networks is one that its own network knows.
    host.ok(&["network", "connect", "back", "api"]);
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
}

#[test]
fn it_goes_on_without_the_daemon_and_the_next_one_begins_anew() {
    let host = host_with_web("");
    let asker = Asker::new(&host, "web");
    let [api, gone] = ["api", "gone"].map(|name| sleeper(&host, name, "web"));
    for (name, container) in [("api", &api), ("gone", &gone)] {
        asker.is_soon_answered_by_kernel(name, &found(&[container]));
    }
    host.kill();
    assert_eq!(asker.ask("api"), found(&[&api]), "by the kernel, for nobody else is there");
    let silence = ask_within(Duration::from_millis(300), &asker.namespace, asker.server, "nobody", RecordType::A);
    silence.expect_err("other names wait for the daemon");
    host.start();
    assert_eq!(asker.ask("api"), found(&[&api]));
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
    host.ok(&["rm", "-f", "gone"]);
    asker.is_answered_by_server("gone", &no_such_name());
    host.restart();
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
    host.assert_healthy();
}

#[test]
fn whoever_is_to_see_questions_sees_them() {
    let host = host_with_web("");
    let asker = Asker::new(&host, "web");
    let api = sleeper(&host, "api", "web");
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
    // Rules of another program that see what comes in for the host.
    host.namespace().run(&[
        "nft",
        "add table inet mine; add chain inet mine in { type filter hook input priority 0; }; \
         add rule inet mine in udp dport 53 counter",
    ]);
    asker.is_soon_answered_by_server("api", &found(&[&api]));
    asker.is_answered_by_server("api", &found(&[&api]));
    host.namespace().run(&["nft", "delete", "table", "inet", "mine"]);
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
    // A policy about the network.
    let file = host.path("policies.yaml");
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: web }\n\
                  spec: { podSelector: { matchLabels: { app: none } }, policyTypes: [Ingress] }\n";
    fs::write(&file, policy).expect("the directory is ours");
    host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
    asker.is_answered_by_server("api", &found(&[&api]));
    host.ok(&["policy", "rm", "web/p"]);
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
    // Somebody who follows the query log.
    let mut following = host.fabric_command(&["dns", "log", "-f"]);
    let mut following = following.stdout(Stdio::piped()).spawn().expect("fabric runs");
    asker.is_soon_answered_by_server("api", &found(&[&api]));
    let output = following.stdout.take().expect("it is piped");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output)).map(|line| line.expect("it is text"));
    assert!(lines.any(|line| line.contains("asker-web") && line.contains(" api A: NOERROR (1) from zone")));
    following.kill().expect("it runs");
    following.wait().expect("it is our child");
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
}

/// Of rules of `iptables-legacy` the kernel tells nobody: they hold from the next look on.
#[test]
fn rules_of_iptables_legacy_hold_for_questions() {
    let host = host_with_web("");
    let asker = Asker::new(&host, "web");
    let api = sleeper(&host, "api", "web");
    // Where bridges call iptables, such rules see what passes from port to port as well.
    host.namespace().run(&["sh", "-c", "echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables || true"]);
    asker.is_soon_answered_by_kernel("api", &found(&[&api]));
    let rule = |what| ["iptables-legacy", what, "INPUT", "-p", "udp", "--dport", "53", "-j", "DROP"];
    host.namespace().run(&rule("-I"));
    let ask = || ask_within(Duration::from_millis(300), &asker.namespace, asker.server, "api", RecordType::A);
    eventually("no question goes past the rule", || {
        let before = by_kernel(&host);
        let answer = ask();
        (by_kernel(&host) == before).then_some(answer)
    })
    .expect_err("it drops them");
    host.namespace().run(&rule("-D"));
    asker.is_answered_by_server("api", &found(&[&api]));
    host.assert_healthy();
}

#[test]
fn settings_turn_it_off() {
    for setting in ["shortcut = false", "dns_query_log = 10"] {
        let host = host_with_web(setting);
        let asker = Asker::new(&host, "web");
        let api = sleeper(&host, "api", "web");
        for name in ["api", "API", "api.web", "api.web.fabric.internal"] {
            asker.is_answered_by_server(name, &found(&[&api]));
        }
        // What is made behind the reply stands when everything does.
        host.assert_healthy();
        asker.is_answered_by_server("api", &found(&[&api]));
    }
}
