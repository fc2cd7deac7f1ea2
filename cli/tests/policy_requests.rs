//! `fabric policy` with a server that answers as told: what is asked of it, and what people are told.

mod rig;

use api::{PolicyChanges, PolicyRevision, PolicyRollback, PolicyWorld};
use hyper::{Request, body::Incoming};
use rig::{
    daemon::{self, Answer, Daemon, body},
    fabric, output, text,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

const OLD: &str = "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: db}\nnetworks: [shop]\ningress:\n\
                   - {action: allow, ports: [http]}\n";

fn revision(number: u64, request: serde_json::Value, actions: &[&str]) -> serde_json::Value {
    let change = |action: &&str| json!({"name": "db", "kind": "Policy", "action": action});
    let changes: Vec<_> = actions.iter().map(change).collect();
    json!({"revision": number, "at": "2026-11-22T10:00:00.123Z", "request": request, "changes": changes})
}

/// An answer that is what the API documents.
fn typed<T: Serialize + DeserializeOwned>(value: serde_json::Value) -> Answer {
    daemon::json(200, &serde_json::from_value::<T>(value).expect("a documented answer"))
}

/// Three revisions, of which the second has another rule than the first.
async fn history(request: Request<Incoming>) -> Answer {
    let all = [
        revision(3, json!({"kind": "remove", "name": "db"}), &["removed"]),
        revision(2, json!({"kind": "apply", "files": ["a.yaml", "b.yaml", "c.yaml", "d.yaml"]}), &["changed"]),
        revision(1, json!({"kind": "apply", "files": ["a.yaml"]}), &["created", "created"]),
    ];
    let with = |number: usize, text: &str| {
        let mut value = all[3 - number].clone();
        value["in_force"] = json!([{"name": "a.yaml", "network": null, "text": text, "documents": ["db"]}]);
        typed::<PolicyRevision>(value)
    };
    match request.uri().path() {
        "/v1/policy/history" => typed::<Vec<PolicyRevision>>(json!(all)),
        "/v1/policy/history/1" => with(1, OLD),
        "/v1/policy/history/2" => with(2, &OLD.replace("allow", "deny")),
        "/v1/policy/rollback" => {
            let asked: PolicyRollback = serde_json::from_slice(&body(request).await).expect("a documented request");
            assert_eq!(asked, PolicyRollback { revision: Some(1), dry_run: true });
            let changes =
                json!({"changes": [{"name": "db", "kind": "Policy", "action": "created"}], "warnings": ["odd"]});
            typed::<PolicyChanges>(changes)
        }
        other => panic!("nobody asks for {other}"),
    }
}

#[tokio::test]
async fn what_changed_the_policies_is_listed_and_shown_line_by_line() {
    let daemon = Daemon::start(history);
    let mut told = String::new();
    for arguments in [&["history"][..], &["history", "2"], &["history", "1"]] {
        let output = output(&mut fabric(&daemon, &[&["policy"], arguments].concat())).await;
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        told.push_str(&format!("$ fabric policy {}\n{}", arguments.join(" "), text(&output.stdout)));
    }
    insta::assert_snapshot!(told);
    let output = output(&mut fabric(&daemon, &["policy", "rollback", "--dry-run", "1"])).await;
    assert_eq!(text(&output.stdout), "Policy db created\n");
    assert_eq!(text(&output.stderr), "warning: odd\n");
}

/// A world of a few endpoints, and one policy that is in force.
async fn world(request: Request<Incoming>) -> Answer {
    match request.uri().path() {
        "/v1/policy/world" => {
            let endpoint = |name: &str, address: &str, app: &str| json!({"name": name, "network": "shop", "labels": {"app": app}, "addresses": [address], "ports": {"http": "8080/tcp"}});
            let value = json!({
                "now": "2026-11-22T10:00:00Z",
                "networks": {"shop": {"labels": {}, "gateways": ["10.1.0.1"]}},
                "host": ["10.1.0.1"],
                "endpoints": [endpoint("web", "10.1.0.2", "web"), endpoint("db", "10.1.0.3", "db")],
                "in_force": [
                    {"name": "closed.yaml", "network": null, "documents": ["closed"], "text":
                        "{apiVersion: fabric/v1, kind: Stance, metadata: {name: closed}, networks: [shop], ingress: deny}\n"},
                    {"name": "p.yaml", "network": null, "text": OLD.replace("[http]", "[http], expires: 2026-01-01T00:00:00Z"),
                        "documents": ["db"]},
                ],
            });
            typed::<PolicyWorld>(value)
        }
        "/v1/containers" | "/v1/networks" => daemon::json(200, &Vec::<u8>::new()),
        "/v1/dns/query" => panic!("no name is asked about"),
        other => panic!("nobody asks for {other}"),
    }
}

#[tokio::test]
async fn what_is_in_force_is_asked_and_what_files_would_change_of_it() {
    let daemon = Daemon::start(world);
    let directory = tempfile::TempDir::new().expect("a directory for a test");
    let file = directory.path().join("new.yaml");
    std::fs::write(&file, OLD).expect("a directory of the test's own");
    let file = file.to_str().expect("text");
    let tests = directory.path().join("tests.yaml");
    std::fs::write(&tests, "expect: [{from: web, to: db, port: 8080, verdict: deny}]\n").expect("ours");
    let mut told = String::new();
    for (arguments, code) in [
        (&["explain", "web", "db:8080"][..], 0),
        (&["explain", "-f", file, "--live", "web", "db:8080"], 0),
        (&["matrix"], 0),
        (&["test", "--live", "-f", tests.to_str().expect("text")], 0),
        (&["explain", "wbe", "db"], 2),
        (&["explain", "--world", "x.yaml", "web", "db"], 2),
        (&["matrix", "-f", file], 2),
        (&["explain", "-f", file, "--live", "--world", "x.yaml", "web", "db"], 2),
    ] {
        let output = output(&mut fabric(&daemon, &[&["policy"], arguments].concat())).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        told.push_str(&format!(
            "$ fabric policy {}\n{}{}\n",
            arguments.join(" "),
            text(&output.stdout),
            text(&output.stderr)
        ));
    }
    let directory = directory.path().to_str().expect("text");
    insta::assert_snapshot!(told.replace(directory, "DIR"));
}
