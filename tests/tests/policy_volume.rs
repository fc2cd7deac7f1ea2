//! Files of thousands of policies: ten times as many take about ten times as long, and not a hundred times.

use std::{
    fmt::Write,
    fs,
    time::{Duration, Instant},
};

use tests::Host;

const SLEEP: [&str; 2] = ["sleep", "1000"];
const FEW: usize = 1_000;
const MANY: usize = 10 * FEW;
/// How much longer what is asked of many may take than the same of few. It is 10 or less where the time is in
/// proportion, and 100 where each is held against each other.
const FACTOR: u32 = 30;
/// A machine that stands still for a while does not do so each time.
const ATTEMPTS: usize = 3;

/// So many documents; every hundredth audits, and every tenth selects nobody.
fn documents(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let subject = if number % 10 == 5 { "nobody" } else { "server" };
        let (action, port) = (if number % 100 == 0 { "audit" } else { "deny" }, 10_000 + number);
        writeln!(
            text,
            "---\napiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p-{number}}}\nnetworks: [web]\n\
             subject: {{labels: {{app: {subject}}}}}\ningress:\n- {{action: {action}, ports: [{port}]}}"
        )
        .expect("a text takes what is written");
    }
    text
}

/// How long each request takes at least, with so many policies.
fn measured(host: &Host, count: usize) -> Vec<(&'static str, Duration)> {
    let file = host.path(&format!("{count}.yaml"));
    fs::write(&file, documents(count)).expect("the directory is ours");
    let file = file.to_string_lossy();
    let mut took: Vec<(&'static str, Duration)> = Vec::new();
    let mut time = |what: &'static str, arguments: &[&str], lines: usize| {
        let begun = Instant::now();
        let told = host.ok(arguments);
        assert!(told.lines().count() >= lines, "{what} of {count}: {} lines", told.lines().count());
        match took.iter_mut().find(|(other, _)| *other == what) {
            Some((_, least)) => *least = begun.elapsed().min(*least),
            None => took.push((what, begun.elapsed())),
        }
    };
    for _ in 0..ATTEMPTS {
        time("apply", &["policy", "apply", "-f", &file], count);
        time("ls", &["policy", "ls"], count + 1);
        time("ls -q", &["policy", "ls", "-q"], count);
        time("inspect", &["policy", "inspect", "p-777"], count);
        time("audit", &["policy", "audit"], count / 100 + 1);
        time("rm", &["policy", "rm", "p-5"], 1);
        time("rollback", &["policy", "rollback"], 1);
    }
    host.ok(&["policy", "rollback", "0"]);
    took
}

#[test]
fn ten_times_as_many_documents_take_about_ten_times_as_long() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let _server = host.run("server", "web", &["-l", "app=server"], &SLEEP);
    let _client = host.run("client", "web", &["-l", "app=client"], &SLEEP);
    let few = measured(&host, FEW);
    let many = measured(&host, MANY);
    println!("{FEW}: {few:?}\n{MANY}: {many:?}");
    for ((what, few), (_, many)) in few.into_iter().zip(many) {
        assert!(many < few * FACTOR, "{what}: {many:?} with {MANY} documents, {few:?} with {FEW}");
    }
}
