//! `fabric policy` as a person meets it, on files of its own and without a daemon.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// What people are told, with real output.
const PAGE: &str = include_str!("../../docs/policy.md");

const DB: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: api}}}]
    ports: [{port: 5432}]
";

const TESTS: &str = "\
policies: [policies]
networks: {shop: }
endpoints:
- {name: web, network: shop, labels: {app: web}}
- {name: api, network: shop, labels: {app: api}}
- {name: db, network: shop, labels: {app: db}}
expect:
- {from: api, to: db, port: 5432, verdict: allow}
- {from: web, to: db, port: 5432, verdict: allow}
- {from: web, to: db, verdict: deny}
";

/// A directory with a policy and tests of it, one of which is wrong.
fn shop() -> TempDir {
    let directory = TempDir::new().expect("a directory for a test");
    fs::create_dir(directory.path().join("policies")).expect("an empty directory");
    write(&directory, "policies/db.yaml", DB);
    write(&directory, "tests.yaml", TESTS);
    directory
}

fn write(directory: &TempDir, name: &str, text: &str) {
    fs::write(directory.path().join(name), text).expect("a directory of the test's own");
}

fn fabric(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fabric"));
    command.arg("policy").args(arguments).current_dir(directory).env_clear();
    command.output().expect("the program was built with this test")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes text")
}

/// Holds what was printed, and the files it was made of, against the page.
fn assert_documented(command: &str, output: &Output) {
    let shown = format!("```console\n$ fabric policy {command}\n{}```\n", text(&output.stdout));
    for text in [DB, TESTS, &shown] {
        assert!(PAGE.contains(text), "docs/policy.md does not show this:\n{text}");
    }
}

#[test]
fn expectations_that_are_not_met_are_told_with_the_rule_that_decided() {
    let directory = shop();
    let output = fabric(directory.path(), &["test", "-f", "tests.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    assert_documented("test -f tests.yaml", &output);

    let json = fabric(directory.path(), &["--format", "json", "test", "-f", "tests.yaml"]);
    assert_eq!(json.status.code(), Some(1));
    let outcomes: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(outcomes[0]["holds"], true);
    assert_eq!(outcomes[1]["explanations"][0]["ingress"]["policy"], "shop/db");

    write(
        &directory,
        "tests.yaml",
        &TESTS.replace(
            "{from: web, to: db, port: 5432, verdict: allow}",
            "{from: web, to: db, port: 5432, verdict: deny}",
        ),
    );
    let output = fabric(directory.path(), &["test", "-f", "tests.yaml"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "3 expectations met\n"));
}

#[test]
fn a_connection_is_explained_from_files_or_from_standard_input() {
    let directory = shop();
    let output = fabric(directory.path(), &["explain", "-f", "policies", "shop/app=api", "shop/app=db:5432"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert_documented("explain -f policies shop/app=api shop/app=db:5432", &output);

    let output = fabric(directory.path(), &["explain", "-f", "policies", "--world", "tests.yaml", "web", "db:5432"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert!(text(&output.stdout).starts_with("shop/web -> shop/db: 5432/tcp: deny\n"), "{}", text(&output.stdout));

    let mut command = Command::new(env!("CARGO_BIN_EXE_fabric"));
    command.args([
        "--format",
        "{{.verdict}} {{.ingress.place}}",
        "policy",
        "explain",
        "-f",
        "-",
        "shop/app=api",
        "shop/app=db:5432",
    ]);
    let mut child = command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was built");
    child.stdin.take().expect("piped").write_all(DB.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "allow -:7:5\n"));
}

#[test]
fn who_reaches_whom_is_a_table_a_graph_or_for_programs() {
    let directory = shop();
    let matrix = ["matrix", "-f", "policies", "--world", "tests.yaml"];
    let output = fabric(directory.path(), &matrix);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert_documented("matrix -f policies --world tests.yaml", &output);

    let as_asked = |format| fabric(directory.path(), &[&["--format", format][..], &matrix].concat());
    let json: serde_json::Value = serde_json::from_slice(&as_asked("json").stdout).expect("JSON");
    let pairs = json.as_array().expect("a list");
    assert_eq!(pairs.len(), 6, "nobody is asked about himself: {json:#}");
    let of = |from: &str, to: &str| pairs.iter().find(|pair| pair["from"] == from && pair["to"] == to).expect("a pair");
    assert_eq!(of("shop/api", "shop/db")["passes"]["ipv4"], serde_json::json!(["5432/tcp"]));
    assert_eq!(of("shop/web", "shop/db")["passes"]["ipv4"], serde_json::json!([]));
    assert_eq!(text(&as_asked("{{.from}} {{.to}}").stdout).lines().count(), 6);
    let dot = as_asked("dot");
    assert!(
        text(&dot.stdout).contains("  \"shop/api\" -> \"shop/db\" [label=\"5432/tcp\"];\n"),
        "{}",
        text(&dot.stdout)
    );
    assert!(!text(&dot.stdout).contains("\"shop/web\" -> \"shop/db\""));

    let refused = fabric(directory.path(), &["--format", "dot", "test", "-f", "tests.yaml"]);
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(2), ""));
    assert!(text(&refused.stderr).contains("only `fabric policy matrix`"), "{}", text(&refused.stderr));
}

#[test]
fn of_many_those_that_no_policy_tells_apart_are_one_and_named_all_the_same() {
    let directory = shop();
    let endpoint =
        |number| format!("- {{name: web-{number}, network: shop, labels: {{app: web, number: '{number}'}}}}\n");
    let many: String = (0..40).map(endpoint).collect();
    write(&directory, "world.yaml", &TESTS.replace("endpoints:\n", &format!("endpoints:\n{many}")));
    let matrix = ["matrix", "-f", "policies", "--world", "world.yaml"];
    let shown = fabric(directory.path(), &matrix);
    let expected = "\
FROM \\ TO                    1  2  3
1 shop/web-0 and 40 like it  +  +  -
2 shop/api                   +     a
3 shop/db                    +  +

+ everything
- nothing
a 5432/tcp
";
    assert_eq!((text(&shown.stdout), text(&shown.stderr)), (expected, ""));
    let json = fabric(directory.path(), &[&["--format", "json"][..], &matrix].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json[0]["from_alike"].as_array().map(Vec::len), Some(40));
    assert_eq!(json[1]["to"], "shop/api");
    assert!(json[1].get("to_alike").is_none(), "it is alone: {json:#}");
}

#[test]
fn what_cannot_be_understood_ends_with_2_and_a_place() {
    let directory = shop();
    write(&directory, "bad.yaml", &DB.replace("podSelector: {matchLabels: {app: db}}", "podSelecter: {}"));
    write(&directory, "several.yaml", "kind: A\n---\nkind: B\n");
    write(&directory, "nothing.yaml", "policies: [policies]\n");
    write(&directory, "nobody.yaml", &TESTS.replace("from: web, to: db, verdict", "from: wbe, to: db, verdict"));
    fs::write(directory.path().join("octets.yaml"), b"kind: \xff\n").expect("a directory of the test's own");
    write(&directory, "label.yaml", &DB.replace("app: db", "\"app;reboot\": db"));
    fs::create_dir(directory.path().join("empty")).expect("an empty directory");
    let mut told = String::new();
    for arguments in [
        &["explain", "-f", "bad.yaml", "host", "10.0.0.1"][..],
        &["explain", "-f", "several.yaml", "host", "10.0.0.1"],
        &["explain", "-f", "octets.yaml", "host", "10.0.0.1"],
        &["explain", "-f", "label.yaml", "host", "10.0.0.1"],
        &["explain", "-f", "empty", "host", "10.0.0.1"],
        &["explain", "-f", "missing", "host", "10.0.0.1"],
        &["explain", "-f", "policies", "web", "10.0.0.1"],
        &["explain", "-f", "policies", "--world", "tests.yaml", "wbe", "10.0.0.1"],
        &["explain", "-f", "policies", "a b", "10.0.0.1"],
        &["explain", "-f", "policies", "shop/app=api", "shop/app=db:foo"],
        &["explain", "-f", "policies", "shop/app=api", "fd00::x"],
        &["explain", "-f", "policies", "-f", "policies", "host", "10.0.0.1"],
        &["test", "-f", "nothing.yaml"],
        &["test", "-f", "nobody.yaml"],
        &["test", "-f", "policies/db.yaml"],
    ] {
        let output = fabric(directory.path(), arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{arguments:?}");
        told.push_str(text(&output.stderr));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let directory = shop();
    write(&directory, "policies/other.yaml", &DB.replace("namespace: shop", "namespace: later"));
    let output = fabric(directory.path(), &["explain", "-f", "policies", "--world", "tests.yaml", "api", "db:5432"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stderr),
        "warning: policies/other.yaml:1:1: policy `later/db` is pending: there is no network `later`\n"
    );
}

#[test]
fn what_allows_everything_because_nothing_is_in_it_is_a_warning() {
    let directory = shop();
    write(&directory, "empty.yaml", "# nothing yet\n");
    fs::create_dir(directory.path().join("only-empty")).expect("an empty directory");
    write(&directory, "only-empty/list.yaml", "apiVersion: v1\nkind: List\nitems: []\n");
    write(&directory, "tests.yaml", &TESTS.replace("policies: [policies]", "policies: [policies, empty.yaml]"));
    for (arguments, empty) in [
        (&["explain", "-f", "empty.yaml", "host", "10.0.0.1"][..], "empty.yaml"),
        (&["explain", "-f", "policies", "-f", "only-empty", "host", "10.0.0.1"], "only-empty"),
        (&["matrix", "-f", "empty.yaml", "--world", "tests.yaml"], "empty.yaml"),
        (&["test", "-f", "tests.yaml"], "empty.yaml"),
    ] {
        let output = fabric(directory.path(), arguments);
        assert_eq!(text(&output.stderr), format!("warning: there is no policy in `{empty}`\n"), "{arguments:?}");
    }
}

#[test]
fn what_can_be_told_without_a_world_is_told() {
    let directory = shop();
    let rule = "- {action: allow, expires: 2020-01-01T00:00:00Z}\n";
    let old =
        format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: old}}\nnetworks: [shop]\ningress:\n{rule}");
    write(&directory, "old.yaml", &old);
    let explain = |from: &str, to: &str| {
        let output = fabric(directory.path(), &["explain", "-f", "policies", "-f", "old.yaml", from, to]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr).replace("warning: old.yaml:6:3: ingress rule 1 of policy `old` has expired\n", "expired\n")
    };
    assert_eq!(explain("shop/app=web", "shop/app=db:5432"), "expired\n");
    assert_eq!(
        explain("shop/ap=api", "shop/app=db:5432"),
        "expired\nwarning: no policy asks for a label `ap`; did you mean `app`?\n"
    );
    assert_eq!(
        explain("shop/app=api", "shop/app=dbb:5432"),
        "expired\nwarning: no policy asks for label `app=dbb`; did you mean `app=db`?\n"
    );
}
