//! What containers and networks can be called: a name, an id, or the beginning of one that no other has.

mod state;

use std::process::Command;

use store::{Key, Transaction};
use tests::{Host, Outcome};

/// Everything that can be done to a running container by its name, which takes none away.
const VERBS: &[&[&str]] = &[
    &["inspect", "@"],
    &["logs", "@"],
    &["top", "@"],
    &["port", "@"],
    &["exec", "@", "true"],
    &["kill", "-s", "CONT", "@"],
    &["dns", "query", "api", "--as", "@"],
    &["run", "--rm", "--network", "container:@", "busybox", "true"],
    &["network", "disconnect", "web", "@"],
    &["network", "connect", "web", "@"],
    &["restart", "-t", "0", "@"],
    &["stop", "-t", "0", "@"],
    &["wait", "@"],
    &["start", "@"],
    &["rename", "@", "other"],
    &["rename", "@", "api"],
];

/// The same for a network; `+` is a container that is not on it.
const NETWORK_VERBS: &[&[&str]] = &[
    &["network", "inspect", "@"],
    &["network", "connect", "@", "+"],
    &["network", "disconnect", "@", "+"],
    &["network", "update", "@", "--icc=false"],
    &["run", "--rm", "--network", "@", "busybox", "true"],
];

fn with<'a>(verb: &[&'a str], container: &'a str, other: &'a str) -> Vec<&'a str> {
    verb.iter()
        .map(|word| {
            if *word == "@" {
                container
            } else if *word == "+" {
                other
            } else {
                word
            }
        })
        .collect()
}

/// A verb whose argument has the reference inside it.
fn run(host: &Host, verb: &[&str], reference: &str) -> Outcome {
    let joined = format!("container:{reference}");
    let line = with(verb, reference, "apart");
    let line: Vec<&str> = line.into_iter().map(|word| if word == "container:@" { &joined } else { word }).collect();
    host.fabric(&line)
}

#[test]
fn every_verb_takes_a_name_an_id_and_its_beginning() {
    let host = Host::with_config("upstreams = []");
    let network = host.ok(&["network", "create", "web"]);
    let network = host.json(&["network", "inspect", network.as_str()])["id"].as_str().expect("an id").to_owned();
    let id = host.run("api", "web", &[], &["sleep", "1000"]).id;
    host.ok(&["run", "-d", "--name", "apart", "busybox", "sleep", "1000"]);
    for reference in ["api", &id, &id[..12], &id[..4]] {
        for verb in VERBS {
            // Who is called otherwise for a moment is so by its name as well.
            let is_renamed = verb[0] == "rename" && verb[2] == "api" && reference == "api";
            let outcome = run(&host, verb, if is_renamed { "other" } else { reference });
            assert_eq!(outcome.code, 0, "{outcome}");
        }
        let shown = host.json(&["inspect", reference]);
        assert_eq!((&shown["id"], &shown["name"]), (&id.as_str().into(), &"api".into()));
        // What ends as the container does, or with it.
        let attached = host.fabric_command(&["attach", reference]).spawn().expect("fabric runs");
        host.wait_until_asked_by(&attached);
        host.ok(&["kill", reference]);
        attached.wait_with_output().expect("it is our child");
        host.ok(&["start", reference]);
    }
    for reference in ["web", &network, &network[..12], &network[..4]] {
        for verb in NETWORK_VERBS {
            let outcome = run(&host, verb, reference);
            assert_eq!(outcome.code, 0, "{outcome}");
        }
    }
    for length in [4, 12, 32] {
        let id = host.ok(&["create", "--name", "short-lived", "busybox", "true"]);
        host.ok(&["start", "-a", &id[..length]]);
        host.ok(&["rm", &id[..length]]);
        let filter = format!("id={}", &id[..length]);
        let told = host.ok(&["events", "--filter", &filter, "--format", "{{.action}}"]);
        assert_eq!(told.lines().collect::<Vec<_>>(), ["create", "start", "exit", "remove"], "{filter}");
    }
    let too_short = host.fabric(&["inspect", &id[..3]]);
    assert_eq!(too_short.code, 1, "such a short one is a name: {too_short}");
    host.ok(&["rm", "-f", &id[..6]]);
    host.ok(&["network", "rm", &network[..6]]);
}

/// Makes, in the state file, a second object like the one that `key` names, whose identifier begins alike.
fn twin(host: &Host, kind: &str, [id, name]: [&str; 2], change: &[(&str, &str)]) -> String {
    let turned = |digit: char| char::from_digit(15 - digit.to_digit(16).expect("a digit"), 16).expect("a digit");
    let twin: String = id[..8].chars().chain(id[8..].chars().map(turned)).collect();
    let key: Key = format!("{kind}/{id}").parse().expect("a key");
    let (_, record) = state::keys(host, kind).into_iter().find(|(found, _)| *found == key).expect("it is there");
    let text = String::from_utf8(record).expect("JSON").replace(id, &twin);
    let text = change.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let of_name = format!("names/{kind}/{name}").parse().expect("a key");
    let of_id = format!("{kind}/{twin}").parse().expect("a key");
    state::commit(host, Transaction::durable().create(of_id, text).create(of_name, twin.clone()));
    twin
}

#[test]
fn a_beginning_that_two_share_is_refused_by_every_verb() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let web = host.json(&["network", "inspect", "web"])["id"].as_str().expect("an id").to_owned();
    let id = host.ok(&["run", "-d", "--name", "api", "--network", "host", "busybox", "true"]);
    host.ok(&["wait", "api"]);
    host.ok(&["run", "-d", "--name", "apart", "busybox", "sleep", "1000"]);
    host.terminate();
    let twin_of_web = twin(&host, "networks", [&web, "back"], &[("\"web\"", "\"back\""), ("10.9.8.", "10.9.9.")]);
    let twin_of_api = twin(&host, "containers", [&id, "twin"], &[("\"api\"", "\"twin\"")]);
    let containers = host.data_dir().join("containers");
    let copied = Command::new("cp").arg("-a").arg(containers.join(&id)).arg(containers.join(&twin_of_api)).status();
    assert!(copied.expect("cp runs").success(), "there is room");
    host.start();

    let before = (host.json(&["ps", "-a"]), host.json(&["network", "ls"]));
    let of_containers = [VERBS, &[&["attach", "@"], &["rm", "-f", "@"], &["start", "-a", "@"]]].concat();
    let of_networks = [NETWORK_VERBS, &[&["network", "rm", "@"]]].concat();
    let all = of_containers.iter().map(|verb| ("container", verb, &id[..8]));
    for (noun, verb, reference) in all.chain(of_networks.iter().map(|verb| ("network", verb, &web[..8]))) {
        let outcome = run(&host, verb, reference);
        assert!([1, 125].contains(&outcome.code), "{outcome}");
        let expected = format!("`{reference}` begins the id of more than one {noun}");
        assert!(outcome.stderr.contains(&expected), "{outcome}");
        assert!(outcome.stderr.contains("hint: give more of the id, or the name"), "{outcome}");
    }
    assert_eq!((host.json(&["ps", "-a"]), host.json(&["network", "ls"])), before, "nothing changed");
    for (id, name) in [(&id, "api"), (&twin_of_api, "twin")] {
        assert_eq!(host.json(&["inspect", &id[..9]])["name"], name);
        host.ok(&["rm", &id[..9]]);
    }
    for (id, name) in [(&web, "web"), (&twin_of_web, "back")] {
        assert_eq!(host.json(&["network", "inspect", &id[..9]])["name"], name);
        host.ok(&["network", "rm", &id[..9]]);
    }
}
