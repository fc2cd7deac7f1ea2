//! `fabric events`: what happened, in order, over crashes, and on without a gap.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tests::Host;

/// Every event the daemon remembers, as `kind action name`, once their sequence numbers have been held to be without
/// gap.
fn history(host: &Host) -> Vec<String> {
    let text = host.ok(&["events", "--format", "json"]);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for pair in events.windows(2) {
        assert_eq!(pair[0]["sequence"].as_u64().map(|number| number + 1), pair[1]["sequence"].as_u64(), "{text}");
        assert!(pair[0]["time"].as_str() <= pair[1]["time"].as_str(), "{text}");
    }
    let word = |event: &Value, key: &str| event[key].as_str().expect("a word").to_owned();
    events.iter().map(|event| ["kind", "action", "name"].map(|key| word(event, key)).join(" ")).collect()
}

#[test]
fn everything_that_happens_is_told_in_order_and_remembered_over_a_crash() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--label", "tier=front"]);
    host.run("api", "web", &["-l", "team=a"], &["sleep", "1000"]);
    host.fabric(&["run", "--name", "job", "busybox", "sh", "-c", "exit 3"]).expect_code(3);
    let before = [
        "image import busybox:latest",
        "network create web",
        "container create api",
        "container start api",
        "container create job",
        "container start job",
        "container exit job",
    ];
    assert_eq!(history(&host), before);
    host.restart();
    assert_eq!(history(&host), before, "nothing is lost or told twice");
    let text = host.ok(&["events", "--filter", "action=exit"]);
    assert!(text.contains("container exit job (") && text.contains("exit_code=3"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let lines = |filters: &[&str]| host.ok(&[&["events", "--format", "{{.action}} {{.name}}"], filters].concat());
    assert_eq!(lines(&["--filter", "network=web"]), "create web\ncreate api\nstart api");
    assert_eq!(lines(&["--filter", "label=team=a", "--filter", "action=start"]), "start api");
    host.ok(&["rm", "-f", "api"]);
    host.ok(&["rm", "job"]);
    host.ok(&["network", "rm", "web"]);
    let after = ["container exit api", "container remove api", "container remove job", "network remove web"];
    assert_eq!(history(&host), [&before[..], &after].concat());
}

#[test]
fn connections_and_changes_of_networks_are_told() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.ok(&["network", "create", "back"]);
    host.run("api", "web", &[], &["sleep", "1000"]);
    host.ok(&["network", "connect", "back", "api"]);
    host.ok(&["network", "update", "back", "--mtu", "1400"]);
    host.ok(&["network", "disconnect", "web", "api"]);
    host.fabric(&["network", "disconnect", "web", "api"]).expect_code(1);
    host.fabric(&["network", "connect", "nowhere", "api"]).expect_code(1);
    let events = |filter: &str| {
        let format = "{{.kind}} {{.action}} {{.name}} {{.networks}}";
        host.ok(&[
            "events",
            "--filter",
            "action=*nect",
            "--filter",
            "action=update",
            "--filter",
            filter,
            "--format",
            format,
        ])
    };
    let [connect, disconnect] = [r#"container connect api ["back"]"#, r#"container disconnect api ["web"]"#];
    assert_eq!(events("network=back"), format!("{connect}\nnetwork update back -"));
    assert_eq!(events("network=web"), disconnect);
    let line = host.ok(&["events", "--filter", "action=connect"]);
    assert!(line.contains(" container connect api (") && line.ends_with(", network=back)"), "{line}");
}

#[test]
fn between_the_past_and_what_follows_nothing_is_missing_or_told_twice() {
    const CYCLES: usize = 40;
    let host = Host::new();
    host.ok(&["network", "create", "first"]);
    let past = host.ok(&["events", "--filter", "name=first", "--format", "{{.time}}"]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CYCLES {
                host.ok(&["network", "create", "busy"]);
                host.ok(&["network", "rm", "busy"]);
            }
            host.ok(&["network", "create", "last"]);
        });
        // Several, begun while things happen, so that each meets another seam.
        for _ in 0..5 {
            scope.spawn(|| {
                let arguments = ["events", "--since", &past, "-f", "--format", "{{.sequence}} {{.name}}"];
                let mut follower = host.fabric_command(&arguments).stdout(Stdio::piped()).spawn().expect("fabric runs");
                let lines = BufReader::new(follower.stdout.take().expect("it is piped")).lines();
                let mut seen: Vec<(u64, String)> = Vec::new();
                for line in lines.map_while(Result::ok) {
                    let (number, name) = line.split_once(' ').expect("two words");
                    seen.push((number.parse().expect("a number"), name.to_owned()));
                    if name == "last" {
                        break;
                    }
                }
                follower.kill().expect("it is our child");
                follower.wait().expect("it is our child");
                assert_eq!(seen.len(), 2 * CYCLES + 2, "{seen:?}");
                assert_eq!(seen[0].1, "first");
                assert!(seen.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "{seen:?}");
            });
            std::thread::sleep(Duration::from_millis(150));
        }
    });
    assert_eq!(host.ok(&["events", "--since", "2100-01-01T00:00:00Z"]), "");
    assert_ne!(host.ok(&["events", "--since", "10m"]), "");
    host.fabric(&["events", "--since", "yesterday"]).expect_code(2);
}

#[test]
fn lists_are_filtered_and_shortened() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--label", "tier=front"]);
    host.ok(&["network", "create", "db"]);
    let api = host.run("api", "web", &["-l", "team=a"], &["sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "job", "busybox", "true"]);
    host.ok(&["wait", "job"]);
    for (arguments, expected) in [
        (&["ps", "-q"][..], api.id.as_str()),
        (&["ps", "-a", "--filter", "label=team", "-q"], &api.id),
        (&["ps", "--filter", "state=exited", "--format", "{{.name}} {{.exit_code}}"], "job 0"),
        (&["ps", "--filter", "network=w*", "--format", "{{.name}}\\t{{.state}}"], "api\trunning"),
        (&["ps", "-q", "--filter", "name=nobody"], ""),
        (&["network", "ls", "-q"], "db\nweb"),
        (&["network", "ls", "-q", "--filter", "label=tier=front"], "web"),
        (&["network", "ls", "--filter", "name=d*", "--format", "{{.name}}"], "db"),
        (&["image", "ls", "-q", "--filter", "name=busy*"], "busybox:latest"),
        (&["image", "ls", "-q", "--filter", "name=other"], ""),
        (&["inspect", "api", "job", "--format", "{{.name}}"], "api\njob"),
        (&["network", "inspect", "web", "db", "--format", "{{.name}} {{.labels.tier}}"], "web front\ndb -"),
        (&["wait", "job", "--format", "{{.container}} {{.exit_code}}"], "job 0"),
    ] {
        assert_eq!(host.ok(arguments), expected, "{arguments:?}");
    }
    let both = host.json(&["inspect", "api", "job"]);
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both}");
    let partly = host.fabric(&["inspect", "nobody", "api"]).expect_code(1);
    assert!(partly.stdout.contains("api") && partly.stderr.contains("nobody"), "{partly}");
}
