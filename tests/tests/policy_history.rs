//! What was in force when, and putting it back: exactly, all or none, whenever `netd` dies.

use std::{fs, thread, time::Duration};

use tests::{Attached, Flow, Host, Scenario, crash_after_each, eventually, fetch};

const HTTP: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];
const CLOSED: &str =
    "# nobody\napiVersion: fabric/v1\nkind: Stance\nmetadata: {name: closed}\nnetworks: [web]\ningress: deny\n";
const OPEN: &str = "# who may\napiVersion: fabric/v1\nkind: Policy\nmetadata: {name: door}\nnetworks: [web]\ningress:\n\
                    - {action: allow, ports: [7]}\n";

/// A server and a client on network `web`.
struct Stage {
    host: Host,
    server: Attached,
    client: Attached,
}

impl Stage {
    fn new(command: &[&str], port: u16) -> Self {
        let host = Host::new();
        host.ok(&["network", "create", "web"]);
        let server = host.run("server", "web", &[], command);
        let client = host.run("client", "web", &[], &["sleep", "1000"]);
        let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", &format!(":{port}")]);
        eventually("it listens", || (!listening().is_empty()).then_some(()));
        Self { host, server, client }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.host.path(name);
        fs::write(&file, text).expect("the directory is ours");
        file.to_string_lossy().into_owned()
    }

    fn names(&self) -> String {
        self.host.ok(&["policy", "ls", "-q"]).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The kinds of requests that were carried out, the last first.
    fn requests(&self) -> Vec<String> {
        let history = self.host.json(&["policy", "history"]);
        let kind = |revision: &serde_json::Value| revision["request"]["kind"].as_str().expect("a kind").to_owned();
        history.as_array().expect("a list").iter().map(kind).collect()
    }
}

#[test]
fn what_was_in_force_is_so_again_exactly() {
    let stage = Stage::new(&["nc", "-ll", "-p", "7", "-e", "cat"], 7);
    let host = &stage.host;
    assert!(host.fabric(&["policy", "rollback"]).stderr.contains("no policies were applied"));
    let (closed, open) = (stage.file("closed.yaml", CLOSED), stage.file("open.yaml", OPEN));
    host.ok(&["policy", "apply", "-f", &closed, "-f", &open]);
    host.ok(&["policy", "apply", "-f", &closed]);
    assert_eq!(stage.requests(), ["apply"], "what changes nothing is none");
    let flow = Flow::start(&stage.client.namespace(), &stage.server.namespace(), stage.server.ipv4, 7);
    eventually("it talks", || (flow.echoed() > 20).then_some(()));
    host.ok(&["policy", "rm", "closed"]);
    let changed = stage.file("open.yaml", &OPEN.replace("who may", "who else").replace("allow", "deny"));
    let difference = host.ok(&["policy", "diff", "-f", &changed]);
    assert!(difference.starts_with("Policy door changed\n@@ "), "{difference}");
    assert!(difference.contains("\n-- {action: allow, ports: [7]}\n+- {action: deny, ports: [7]}"), "{difference}");
    let trial = host.ok(&["policy", "rollback", "--dry-run", "1"]);
    assert_eq!(trial, "Stance closed created\nPolicy door unchanged");
    assert_eq!(stage.names(), "door", "only tried");

    // Exactly as they were, and what goes on goes on.
    assert_eq!(host.ok(&["policy", "rollback"]), trial);
    assert_eq!(host.json(&["policy", "inspect", "door"])["source"], OPEN);
    let count = flow.echoed();
    eventually("it goes on", || (flow.echoed() > count + 20).then_some(()));
    host.ok(&["policy", "apply", "-f", &changed]);
    let shown = host.ok(&["policy", "history", "4"]);
    let lines = ["-- {action: allow, ports: [7]}", "+- {action: deny, ports: [7]}", "Policy door changed"];
    assert!(lines.iter().all(|line| shown.contains(line)), "{shown}");

    // Once more, and once more after a restart; what it denies is cut.
    drop(flow);
    host.ok(&["policy", "rollback", "2"]);
    assert_eq!(stage.names(), "door");
    let flow = Flow::start(&stage.client.namespace(), &stage.server.namespace(), stage.server.ipv4, 7);
    eventually("it talks", || (flow.echoed() > 20).then_some(()));
    host.restart();
    assert_eq!(stage.requests(), ["rollback", "apply", "rollback", "remove", "apply"]);
    host.ok(&["policy", "rollback"]);
    assert_eq!(stage.names(), "closed door");
    assert!(host.json(&["policy", "inspect", "door"])["source"].as_str().is_some_and(|text| text.contains("who else")));
    let mut last = u64::MAX;
    eventually("it is cut", || {
        thread::sleep(Duration::from_secs(1));
        let now = flow.echoed();
        let same = now == last;
        last = now;
        same.then_some(())
    });
    drop(flow);

    let none = host.ok(&["policy", "rollback", "0"]);
    assert_eq!(none, "Stance closed removed\nPolicy door removed");
    assert!(!host.namespace().run(&["nft", "list", "tables"]).contains("fabric-policy"));
    let unknown = host.fabric(&["policy", "rollback", "99"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("there is no revision 99"), "{unknown}");
    host.assert_healthy();
}

#[test]
fn a_crash_in_the_middle_of_a_rollback_leaves_one_or_the_other() {
    let stage = Stage::new(&HTTP, 80);
    let closed = stage.file("closed.yaml", CLOSED);
    let requests = [vec!["policy", "apply", "-f", closed.as_str()], vec!["policy", "rollback"]];
    let learned = Scenario::of(&requests).play(&stage.host, None);
    stage.host.start();
    let wanted = |step: &str| ["polic", "filtered", "denied", "passage"].iter().any(|word| step.contains(word));
    assert!(learned.steps.iter().filter(|step| wanted(step)).count() >= 8, "{:#?}", learned.steps);
    let is_open = || fetch(&stage.client.namespace(), stage.server.ipv4, 80, "hostname").is_ok();
    crash_after_each(&learned.steps, wanted, |crash_at| {
        let course = Scenario::of(&requests).play(&stage.host, Some(crash_at));
        stage.host.start();
        let names = stage.names();
        let when = format!("{names} after {:?}", course.steps.last());
        assert_eq!(is_open(), names.is_empty(), "{when}");
        // What is in force is what the last revision says, which came with it.
        let last = stage.requests().first().cloned().unwrap_or_default();
        assert_eq!(last == "apply", names == "closed", "{when}, of {last}");
        if course.done == [true, true] {
            assert_eq!(names, "", "it was said to be put back");
        }
        stage.host.assert_healthy();
        if !names.is_empty() {
            stage.host.ok(&["policy", "rollback"]);
        }
        assert!(is_open());
        course.steps
    });
}
