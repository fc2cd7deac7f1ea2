//! Policies that change: all or none, whoever refuses and whenever `netd` dies.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use tests::{Attached, Flow, Host, Scenario, crash_after_each, eventually, fetch, path_with_picky_nft};

const HTTP: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];
const CLOSED: &str = "{apiVersion: fabric/v1, kind: Stance, metadata: {name: closed}, networks: [web], ingress: deny}";

/// A server and a client on network `web`.
struct Stage {
    host: Host,
    server: Attached,
    client: Attached,
}

impl Stage {
    fn of(host: Host) -> Self {
        host.ok(&["network", "create", "web"]);
        let server = host.run("server", "web", &["-l", "app=server"], &HTTP);
        let client = host.run("client", "web", &["-l", "app=client"], &["sleep", "1000"]);
        eventually("it listens", || fetch(&server.namespace(), Ipv4Addr::LOCALHOST, 80, "hostname").ok());
        Self { host, server, client }
    }

    fn is_open(&self) -> bool {
        fetch(&self.client.namespace(), self.server.ipv4, 80, "hostname").is_ok()
    }

    fn names(&self) -> String {
        self.host.ok(&["policy", "ls", "-q"]).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn file(&self, text: &str) -> String {
        let file = self.host.path("policies.yaml");
        fs::write(&file, text).expect("the directory is ours");
        file.to_string_lossy().into_owned()
    }
}

fn policy(name: &str, rule: &str) -> String {
    format!(
        "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: {name}}}\nnetworks: [web]\ningress:\n- {{{rule}}}\n"
    )
}

#[test]
fn a_crash_in_the_middle_leaves_the_old_policies_or_the_new_ones() {
    let stage = Stage::of(Host::new());
    let file = stage.file(CLOSED);
    let requests = [vec!["policy", "apply", "-f", file.as_str()], vec!["policy", "rm", "closed"]];
    let learned = Scenario::of(&requests).play(&stage.host, None);
    stage.host.start();
    let wanted = |step: &str| ["polic", "filtered", "denied", "passage"].iter().any(|word| step.contains(word));
    let count = learned.steps.iter().filter(|step| wanted(step)).count();
    assert!(count >= 8, "{:#?}", learned.steps);
    crash_after_each(&learned.steps, wanted, |crash_at| {
        let course = Scenario::of(&requests).play(&stage.host, Some(crash_at));
        stage.host.start();
        let names = stage.names();
        assert_eq!(stage.is_open(), names.is_empty(), "{names} after {:?}", course.steps.last());
        if course.done == [true, true] {
            assert_eq!(names, "", "it was said to be removed");
        }
        stage.host.assert_healthy();
        if !names.is_empty() {
            stage.host.ok(&["policy", "rm", "closed"]);
        }
        assert!(stage.is_open());
        course.steps
    });
}

#[test]
fn what_is_not_enforced_is_refused_and_nothing_of_the_rest_applied() {
    let stage = Stage::of(Host::new());
    let _lan = stage.host.lan();
    let subnet = ["--subnet", "192.0.2.128/25"];
    let create = ["network", "create", "lan", "--driver", "macvlan", "--opt", "parent=lan0"];
    stage.host.ok(&[&create, &subnet[..]].concat());
    let good = policy("good", "action: deny");
    let file = stage.file(&good.replace("[web]", "[web, lan]"));
    let outcome = stage.host.fabric(&["policy", "apply", "-f", &file]);
    assert!(outcome.code == 1 && outcome.stderr.contains("network `lan`, whose packets do not come by"), "{outcome}");
    // What is about all networks is, with a warning.
    let file = stage.file(&good.replace("[web]", "['*']"));
    let outcome = stage.host.fabric(&["policy", "diff", "-f", &file]);
    assert!(outcome.code == 0 && outcome.stderr.contains("not enforced on network `lan`"), "{outcome}");
    assert!(outcome.stdout.starts_with("Policy good created\n@@ "), "{outcome}");
    assert!(outcome.stdout.contains("\n+kind: Policy\n") && !outcome.stdout.contains("\n-"), "{outcome}");
    assert!(stage.is_open(), "nothing was applied");
    let unknown = stage.host.fabric(&["policy", "rm", "god"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("there is no policy `god`"), "{unknown}");
    assert!(stage.host.fabric(&["policy", "inspect", "nobody"]).code == 1);
}

/// A policy that waits for its network is not to be met by one that it cannot be enforced on.
#[test]
fn a_network_that_a_policy_waits_for_is_not_made_where_no_policy_is_enforced() {
    let stage = Stage::of(Host::new());
    let _lan = stage.host.lan();
    stage.host.ok(&["policy", "apply", "-f", &stage.file(&CLOSED.replace("[web]", "[lan]"))]);
    let parent = ["--driver", "macvlan", "--opt", "parent=lan0", "--subnet", "192.0.2.128/25"];
    let create = || stage.host.fabric(&[&["network", "create", "lan"], &parent[..]].concat());
    let refused = create();
    assert_eq!(refused.code, 1, "{refused}");
    for told in ["network `lan` cannot be of driver macvlan", "policies.yaml:1:1", "policy rm closed"] {
        assert!(refused.stderr.contains(told), "{told}: {refused}");
    }
    let listed = stage.host.ok(&["policy", "ls"]);
    assert!(listed.contains("pending: lan"), "{listed}");

    // What is about all networks cannot be enforced on this one, and nobody says that it is.
    stage.host.ok(&["policy", "rm", "closed"]);
    let every = policy("every", "action: deny, icmp: [any]").replace("[web]", "['*']");
    stage.host.ok(&["policy", "apply", "-f", &stage.file(&every)]);
    let created = create();
    assert!(created.code == 0 && created.stderr.contains("`every` is not enforced on network `lan`"), "{created}");
    for command in ["ls", "inspect"] {
        let shown = stage.host.ok(&[&["policy", command], &["every"][..usize::from(command == "inspect")]].concat());
        assert!(shown.contains("in force, but not on lan"), "{shown}");
    }
    let network = stage.host.ok(&["network", "inspect", "lan"]);
    assert!(network.lines().any(|line| line.starts_with("not enforced") && line.ends_with("every")), "{network}");
    let doctor = stage.host.ok(&["doctor"]);
    assert!(doctor.contains("policy `every`") && doctor.contains("is not enforced on network `lan`"), "{doctor}");
    let explained = stage.host.fabric(&["policy", "explain", "web/app=client", "lan/app=server"]);
    assert!(explained.stderr.contains("policies are not enforced on network `lan`"), "{explained}");
}

#[test]
fn documents_are_kept_as_they_were_given() {
    let stage = Stage::of(Host::new());
    let text = format!("# who may\n{}---\n{}", policy("one", "action: allow"), policy("two", "action: deny"));
    let directory = stage.host.path("policies");
    fs::create_dir(&directory).expect("the directory is ours");
    fs::write(directory.join("a.yaml"), &text).expect("the directory is ours");
    fs::write(directory.join("b.yml"), CLOSED).expect("the directory is ours");
    stage.host.ok(&["policy", "apply", "-f", &directory.to_string_lossy()]);
    assert_eq!(stage.names(), "closed one two");
    stage.host.terminate();
    stage.host.start();
    let shown = stage.host.json(&["policy", "inspect", "two"]);
    assert_eq!(shown["source"], text.as_str());
    assert!(shown["place"].as_str().is_some_and(|place| place.ends_with("a.yaml:9:1")), "{shown:#}");
    assert_eq!((&shown["endpoints"], &shown["networks"][0]), (&2.into(), &"web".into()), "{shown:#}");
    assert!(stage.host.ok(&["policy", "inspect", "two"]).contains("# who may"));
    // One of a file goes, the other stays.
    stage.host.ok(&["policy", "rm", "two"]);
    assert_eq!(stage.names(), "closed one");
    let stdin = stage.host.fabric_with_input(&["policy", "apply", "-f", "-"], CLOSED.as_bytes());
    assert_eq!(String::from_utf8_lossy(&stdin.0), "Stance closed unchanged\n");
    // What else comes from there is told from it.
    let place = |name: &str| stage.host.json(&["policy", "inspect", name])["place"].as_str().map(str::to_owned);
    let other = CLOSED.replace("closed", "other").replace("[web]", "[nowhere]");
    stage.host.fabric_with_input(&["policy", "apply", "-f", "-"], other.as_bytes());
    let [closed, other] = ["closed", "other"].map(|name| place(name).expect("it has one"));
    assert!(closed.starts_with("stdin-") && other.starts_with("stdin-") && closed != other, "{closed} {other}");
    stage.host.ok(&["policy", "rm", "other"]);
    stage.host.terminate();
    stage.host.start();
    assert_eq!(stage.names(), "closed one");
    assert!(stage.is_open(), "`one` allows it");
    stage.host.ok(&["policy", "rm", "one"]);
    assert!(!stage.is_open(), "nobody does");
}

/// An `nft` that refuses what the file beside it says, by a value of PATH.
fn nft_that_refuses_a_word(host: &Host) -> String {
    let refused = host.path("refused");
    fs::write(&refused, "").expect("the directory is ours");
    let refusal = format!(
        "word=$(cat {})\nif [ \"$word\" ] && echo \"$* $input\" | grep -qe \"$word\"; then\necho 'Error: it is refused' >&2; exit 1; fi",
        refused.display()
    );
    path_with_picky_nft(host, &refusal)
}

#[test]
fn what_the_kernel_refuses_leaves_the_policies_before_it_in_force() {
    let host = Host::stopped("");
    let path = nft_that_refuses_a_word(&host);
    host.spawn(host.netd_command().env("PATH", &path));
    host.wait_until_ready();
    host.import_busybox();
    let stage = Stage::of(host);
    let file = stage.file(&policy("closed", "action: deny, ports: [80]"));
    stage.host.ok(&["policy", "apply", "-f", &file]);
    assert!(!stage.is_open());
    // Another port alone would be elements, which the kernel is told without `nft`.
    let opens = policy("closed", "action: deny, from: [{names: [nobody]}], ports: [7777]");
    let file = stage.file(&opens);
    // Once when it is asked before, and once when it had agreed then.
    for (refused, last) in [("check.*", "apply"), ("^-f -.*", "refused")] {
        fs::write(stage.host.path("refused"), refused).expect("the directory is ours");
        let outcome = stage.host.fabric(&["policy", "apply", "-f", &file]);
        assert!(outcome.code == 1 && outcome.stderr.contains("it is refused"), "{refused}: {outcome}");
        fs::write(stage.host.path("refused"), "").expect("the directory is ours");
        assert!(stage.host.ok(&["policy", "inspect", "closed"]).contains("[80]"), "{refused}");
        assert!(!stage.is_open(), "{refused}");
        assert_eq!(stage.host.json(&["policy", "history"])[0]["request"]["kind"], last);
        stage.host.assert_healthy();
    }
    stage.host.ok(&["policy", "apply", "-f", &file]);
    assert!(stage.is_open(), "control: it is not refused any more");
    stage.host.assert_healthy();
}

#[test]
fn what_others_change_in_the_middle_of_a_change_is_not_taken_for_its_own() {
    let host = Host::stopped("");
    let meddling = host.path("meddling");
    fs::write(&meddling, "").expect("the directory is ours");
    let file = meddling.display();
    let meddle = format!(
        "word=$(cat {file})\nif [ \"$word\" ] && [ \"$1\" != --check ]; then\n: > {file}; /usr/sbin/nft \"$word\"; fi"
    );
    let path = path_with_picky_nft(&host, &meddle);
    host.spawn(host.netd_command().env("PATH", &path));
    host.wait_until_ready();
    host.import_busybox();
    let stage = Stage::of(host);
    let first = stage.file(&policy("closed", "action: deny, ports: [80]"));
    stage.host.ok(&["policy", "apply", "-f", &first]);
    assert!(!stage.is_open());
    let other = stage.file(&policy("closed", "action: deny, from: [{labels: {app: client}}], ports: [80]"));
    // As soon as the rules are changed, and no longer only asked of the kernel.
    let whenever = |revision: &str| {
        fs::write(&meddling, "insert rule inet fabric-policy ingress_forward accept").expect("the directory is ours");
        let outcome = stage.host.fabric(&["policy", "apply", "-f", revision]);
        assert_eq!(fs::read_to_string(&meddling).expect("it is there"), "", "control: it was done meanwhile");
        outcome
    };
    let outcome = whenever(&other);
    assert!(outcome.code == 1 && outcome.stderr.contains("fabric-policy"), "{outcome}");
    assert!(!stage.is_open());
    let listed = stage.host.namespace().run(&["nft", "list", "chain", "inet", "fabric-policy", "ingress_forward"]);
    let is_theirs = |line: &str| line.trim() == "accept";
    assert!(!listed.lines().any(is_theirs), "{listed}");
    stage.host.ok(&["policy", "apply", "-f", &other]);
    assert!(!stage.is_open());
    stage.host.assert_healthy();
}

#[test]
fn who_is_like_others_is_elements_only_and_goes_with_its_address() {
    let stage = Stage::of(Host::new());
    let file = stage.file(&policy("closed", "action: deny, from: [{labels: {app: client}}], ports: [80]"));
    stage.host.ok(&["policy", "apply", "-f", &file]);
    let labels = ["-l", "app=client"];
    let run = |name| {
        [&["run", "-d", "--name", name, "--network", "web"], &labels[..], &["busybox", "sleep", "1000"]].concat()
    };
    let before = stage.host.namespace().run(&["nft", "list", "table", "inet", "fabric-policy"]);
    let course = Scenario::of(&[run("alike"), vec!["rm", "-f", "alike"]]).play(&stage.host, None);
    let changes: Vec<&String> = course.steps.iter().filter(|step| step.contains("fabric-policy")).collect();
    assert_eq!(changes.len(), 2, "one comes and goes: {:#?}", course.steps);
    assert!(changes.iter().all(|step| step.contains("elements") && !step.contains("chains")), "{changes:#?}");
    let at = |word: &str| course.steps.iter().position(|step| step.contains(word));
    assert!(at("fabric-policy") < at("kernel: configure"), "before it is up: {:#?}", course.steps);
    stage.host.start();
    let after = stage.host.namespace().run(&["nft", "list", "table", "inet", "fabric-policy"]);
    assert_eq!(before.lines().count(), after.lines().count(), "{before}\n{after}");
    stage.host.assert_healthy();
}

#[test]
fn what_is_open_between_two_subnets_of_a_network_outlives_changes_as_well() {
    let host = Host::new();
    host.ok(&["network", "create", "wide", "--subnet", "10.9.1.0/24", "--subnet", "10.9.2.0/24"]);
    let server = host.run("server", "wide:ip=10.9.2.9", &[], &["nc", "-ll", "-p", "7", "-e", "cat"]);
    let client = host.run("client", "wide:ip=10.9.1.9", &[], &["sleep", "1000"]);
    let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("it listens", || (!listening().is_empty()).then_some(()));
    let flow = Flow::start(&client.namespace(), &server.namespace(), server.ipv4, 7);
    let file = host.path("policies.yaml");
    for port in 9000..9005 {
        let text = policy("some", &format!("action: deny, ports: [{port}]")).replace("[web]", "[wide]");
        fs::write(&file, text).expect("the directory is ours");
        host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
        let count = flow.echoed();
        eventually("it goes on", || (flow.echoed() > count + 20).then_some(()));
    }
    flow.finish().assert_nothing_lost();
    host.assert_healthy();
}

#[test]
fn the_host_is_who_has_its_addresses_as_they_come_and_go() {
    let stage = Stage::of(Host::new());
    let file = stage.file(&policy("no-world", "action: deny, from: [{entity: world}]"));
    stage.host.ok(&["policy", "apply", "-f", &file]);
    let server = stage.server.namespace().enter(|| UdpSocket::bind((stage.server.ipv4, 9)).expect("free"));
    server.set_read_timeout(Some(Duration::from_millis(300))).expect("not zero");
    let host = stage.host.namespace();
    for number in 1..4 {
        let address = Ipv4Addr::new(192, 0, 2, number);
        host.run(&["ip", "addr", "add", &format!("{address}/32"), "dev", "lo"]);
        let socket = host.enter(|| UdpSocket::bind((address, 0)).expect("it has the address"));
        eventually("the new address is the host's", || {
            socket.send_to(b"?", (stage.server.ipv4, 9)).ok()?;
            server.recv(&mut [0; 8]).ok()
        });
        let listed = || host.run(&["nft", "list", "table", "inet", "fabric-policy"]).contains(&address.to_string());
        assert!(listed());
        host.run(&["ip", "addr", "del", &format!("{address}/32"), "dev", "lo"]);
        eventually("it is no more", || (!listed()).then_some(()));
    }
    stage.host.assert_healthy();
}

#[test]
fn what_is_allowed_goes_on_though_netd_dies_before_its_policy_is_in_force_or_the_rules_are_flushed() {
    let stage = Stage::of(Host::new());
    let echo = stage.host.run("echo", "web", &[], &["nc", "-ll", "-p", "7", "-e", "cat"]);
    let listening = || echo.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("it listens", || (!listening().is_empty()).then_some(()));
    let flow = Flow::start(&stage.client.namespace(), &echo.namespace(), echo.ipv4, 7);
    let file = stage.file(&format!("{CLOSED}\n---\n{}", policy("echo", "action: allow, ports: [7]")));
    let apply = [vec!["policy", "apply", "-f", file.as_str()]];
    let course = Scenario::of(&apply).play(&stage.host, Some("policies intended"));
    assert_eq!(course.done, [false], "it died of it");
    let goes_on = || {
        let count = flow.echoed();
        eventually("it goes on", || (flow.echoed() > count + 20).then_some(()));
    };
    goes_on();
    stage.host.start();
    goes_on();
    assert!(!stage.is_open(), "they are in force");
    for _ in 0..3 {
        stage.host.namespace().run(&["nft", "flush", "ruleset"]);
        eventually("they are put back", || (!stage.is_open()).then_some(()));
        goes_on();
    }
    assert!(flow.finish().broken.is_none());
    stage.host.assert_healthy();
}
