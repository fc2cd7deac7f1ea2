//! `kill -9` of the daemon at random moments, while several clients ask for whatever comes to their minds.
//!
//! What each client asks for follows from a seed, which is printed and can be given as `FABRIC_TEST_SEED`; how the
//! requests meet each other and the end of the daemon does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tests::{Answer, Flow, Host, Namespace, Outcome, PATIENCE, RecordType, ask, difference, eventually, within};

const CLIENTS: u64 = 4;
const NETWORKS: [&str; 3] = ["web", "back", "spare"];
/// Those that nobody asks anything of.
const BYSTANDERS: [&str; 2] = ["server", "client"];
/// Crashes between one removal of everything and the next.
const CRASHES: usize = 4;
const LIMIT: Duration = Duration::from_secs(50);

/// Numbers that look random and follow from the first: Knuth's linear congruential generator.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn moment(&mut self, end: usize) -> Duration {
        Duration::from_millis(self.below(end) as u64)
    }
}

/// Something to ask for. That it is refused is as good: the name may be taken or unknown, the network full or gone.
fn request(numbers: &mut Numbers) -> Vec<String> {
    let container = format!("c{}", numbers.below(8));
    let network = numbers.one_of(&NETWORKS);
    let line = match numbers.below(16) {
        0..=2 => format!("run -d --name {container} --network {network} busybox sleep 10000"),
        3 => format!("run -d --name {container} --network {network} -p 8081:80 busybox sleep 10000"),
        4 => format!("run --rm --name {container} --network {network} busybox true"),
        5 => format!("create --name {container} --network {network} -p 80 busybox sleep 10000"),
        6 => format!("start {container}"),
        7 => format!("stop -t 0 {container}"),
        8 | 9 => format!("network connect {network} {container}"),
        10 => format!("network disconnect {network} {container}"),
        11 | 12 => format!("rm -f {container}"),
        13 => numbers.one_of(&["network create spare --subnet 10.9.3.0/28 --ipv6", "network rm spare"]).to_owned(),
        14 => {
            const CHANGES: [&str; 5] =
                ["--internal", "--gateway-mode isolated", "--gateway-mode nat", "--mtu 1400", "--mtu auto"];
            format!("network update back {}", numbers.one_of(&CHANGES))
        }
        _ => format!("rename {container} c{}", numbers.below(8)),
    };
    line.split(' ').map(str::to_owned).collect()
}

/// Whatever becomes of the daemon, the client says what happened in its own words.
#[track_caller]
fn assert_ended_well(outcome: &Outcome) {
    let codes: &[i32] = if outcome.line.starts_with("fabric run") { &[0, 125] } else { &[0, 1] };
    // Programs that are removed while they run end as by a signal.
    let killed = outcome.line.starts_with("fabric run --rm") && outcome.code == 137;
    assert!(codes.contains(&outcome.code) || killed, "{outcome}");
    assert!(outcome.code == 0 || outcome.stderr.contains("error: ") || killed, "it says why: {outcome}");
}

/// Every container, by its name.
fn containers(host: &Host) -> BTreeMap<String, Value> {
    let list = host.json(&["ps", "-a"]);
    let list = list.as_array().expect("a list").clone();
    list.into_iter().map(|one| (one["name"].as_str().expect("it has a name").to_owned(), one)).collect()
}

fn networks(host: &Host) -> BTreeSet<String> {
    let list = host.json(&["network", "ls"]);
    let name = |one: &Value| one["name"].as_str().expect("it has a name").to_owned();
    list.as_array().expect("a list").iter().map(name).collect()
}

/// No two endpoints have one address, and each network counts just those that its endpoints have: at once, or as soon
/// as a container that ends meanwhile is gone, as the list is of one moment and the count of another.
fn assert_no_address_is_shared_or_lost(host: &Host, when: &str) {
    let held_on = |network: &str| {
        let containers = containers(host);
        let endpoints = containers.values().flat_map(|one| one["endpoints"].as_array().expect("a list"));
        let on = endpoints.filter(|endpoint| endpoint["network"] == network);
        let held: Vec<String> =
            on.flat_map(|endpoint| ["ipv4", "ipv6"].map(|family| endpoint[family].to_string())).collect();
        assert_eq!(held.iter().collect::<BTreeSet<_>>().len(), held.len(), "{when}: {network}: {held:?}");
        held
    };
    for network in networks(host) {
        let mut seen = Default::default();
        let agree = within(PATIENCE, || {
            let held = held_on(&network);
            let usage = host.json(&["network", "inspect", &network])["usage"].clone();
            let agree = usage["used"] == held.len() && usage["leaked"] == serde_json::json!([]);
            seen = (held, usage);
            agree.then_some(())
        });
        assert!(agree.is_some(), "{when}: {network}: {seen:?}");
    }
}

/// Whoever runs asks the gateways of the networks it is on, reaches each, and is found there by its name.
fn assert_who_runs_answers(host: &Host, when: &str) {
    for name in containers(host).into_keys() {
        let container = host.json(&["inspect", &name]);
        if container["state"] != "running" {
            continue;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let inside = Namespace::of_process(container["pid"].as_i64().expect("who runs has a process"));
        let mut gateways = BTreeSet::new();
        for endpoint in container["endpoints"].as_array().expect("a list") {
            let network = host.json(&["network", "inspect", endpoint["network"].as_str().expect("a name")]);
            if network["gateway_mode"] == "isolated" {
                continue;
            }
            for (number, kind, family) in [(0, RecordType::A, "ipv4"), (1, RecordType::Aaaa, "ipv6")] {
                let address = text(&endpoint[family]).expect("an address");
                let gateway = text(&network["subnets"][number]["gateway"]).expect("an address");
                let ping = inside.try_run(&["ping", "-c", "1", "-W", "30", &gateway]);
                assert_eq!(ping.code, 0, "{when}: `{name}` on {}: {ping}\n{container:#}", network["name"]);
                let server = (gateway.parse::<IpAddr>().expect("an address"), 53).into();
                let mut answer = None;
                let found = within(PATIENCE, || {
                    answer = Some(ask(&inside, server, &name, kind));
                    let right = |answer: &Answer| answer.records.contains(&address);
                    answer.as_ref().is_some_and(|answer| answer.as_ref().is_ok_and(right)).then_some(())
                });
                assert!(found.is_some(), "{when}: `{name}` is not at {address}: {answer:?}\n{container:#}");
                gateways.insert(gateway);
            }
        }
        let id = text(&container["id"]).expect("an identifier");
        let file = host.data_dir().join("containers").join(id).join("resolv.conf");
        let file = fs::read_to_string(file).expect("netd wrote it");
        let asked = file.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::to_owned);
        let asked: BTreeSet<String> = asked.collect();
        // A resolver asks three.
        let enough = asked.len() == gateways.len().min(3);
        assert!(asked.is_subset(&gateways) && enough, "{when}: `{name}`: {asked:?} of {gateways:?}: {container:#}");
    }
}

/// What a host holds when only the bystanders are there.
#[derive(PartialEq)]
struct Picture {
    kernel: String,
    holdings: Vec<String>,
    directories: usize,
}

impl Picture {
    fn of(host: &Host) -> Self {
        let directories = fs::read_dir(host.data_dir().join("containers")).expect("netd made it").count();
        let kernel = host.kernel_state() + &host.kernel_state_inside();
        Self { kernel, holdings: host.holdings(), directories }
    }

    #[track_caller]
    fn assert_reached(&self, host: &Host, when: &str) {
        let mut seen = Self::of(host);
        let reached = within(PATIENCE, || {
            seen = Self::of(host);
            (seen == *self).then_some(())
        });
        if reached.is_none() {
            let kernel = difference(&self.kernel, &seen.kernel);
            let directories = [self.directories, seen.directories];
            panic!("{when}: directories {directories:?}: {:?}, then {:?}\n{kernel}", self.holdings, seen.holdings);
        }
    }
}

/// Takes away what the clients may have made, and makes the networks what they were.
fn clear(host: &Host) {
    for name in containers(host).into_keys().filter(|name| !BYSTANDERS.contains(&name.as_str())) {
        host.ok(&["rm", "-f", &name]);
    }
    if networks(host).contains("spare") {
        host.ok(&["network", "rm", "spare"]);
    }
    host.ok(&["network", "update", "back", "--internal=false", "--gateway-mode", "nat", "--mtu", "auto"]);
}

/// The clients ask until the daemon dies under them, and have what they are owed once `revive` has brought it back;
/// returns how many requests they made.
fn ask_until_it_dies(host: &Host, clients: &mut [Numbers], life: Duration, revive: impl FnOnce()) -> usize {
    let (dead, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (dead, asked) = (&dead, &asked);
        for numbers in clients {
            scope.spawn(move || {
                while !dead.load(Ordering::Relaxed) {
                    let request = request(numbers);
                    let words: Vec<&str> = request.iter().map(String::as_str).collect();
                    assert_ended_well(&host.fabric(&words));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(life);
        dead.store(true, Ordering::Relaxed);
        host.kill();
        // Who is attached to a container that was not started waits for a daemon to say what becomes of it.
        revive();
    });
    asked.into_inner()
}

#[test]
fn whenever_the_daemon_dies_nothing_is_shared_lost_or_left() {
    let seed = match std::env::var("FABRIC_TEST_SEED") {
        Ok(text) => text.parse().expect("FABRIC_TEST_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64,
    };
    println!("FABRIC_TEST_SEED={seed}");
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    let [_, host6] = lan.speak_ipv6(host.namespace());
    for (name, subnet) in [("web", "10.9.1.0/28"), ("back", "10.9.2.0/29")] {
        host.ok(&["network", "create", name, "--subnet", subnet, "--ipv6"]);
    }
    let server = host.run("server", "web", &["-p", "7000:7"], &["nc", "-ll", "-p", "7", "-e", "cat"]);
    host.run("client", "web", &[], &["sleep", "10000"]);
    let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("the server listens", || (!listening().is_empty()).then_some(()));
    let on_lan = [IpAddr::from(lan.host_address), host6.into()];
    let flows = on_lan.map(|to| Flow::start(&lan.namespace, &server.namespace(), to, 7000));
    host.assert_healthy();
    let before = Picture::of(&host);

    let mut numbers = Numbers(seed);
    let mut clients: Vec<Numbers> = (1..=CLIENTS).map(|client| Numbers(seed.wrapping_add(client << 32))).collect();
    let (started, mut asked, mut crashes) = (Instant::now(), 0, 0);
    while started.elapsed() < LIMIT {
        for _ in 0..CRASHES {
            let life = Duration::from_millis(30) + numbers.moment(700);
            // What puts things right may be killed itself.
            let recovery = (numbers.below(3) == 0).then(|| numbers.moment(150));
            asked += ask_until_it_dies(&host, &mut clients, life, || {
                if let Some(recovery) = recovery {
                    host.spawn(&mut host.netd_command());
                    thread::sleep(recovery);
                    host.kill();
                }
                host.start();
            });
            crashes += 1;
            let when = format!("seed {seed}, crash {crashes} after {life:?}, recovery killed after {recovery:?}");
            let doctor = host.fabric(&["doctor"]);
            assert_eq!(doctor.code, 0, "{when}: {doctor}\n{}", host.log_tail());
            assert_no_address_is_shared_or_lost(&host, &when);
            assert_who_runs_answers(&host, &when);
        }
        let when = format!("seed {seed}, everything removed after crash {crashes}");
        clear(&host);
        assert_eq!(host.json(&["network", "inspect", "web"])["usage"]["used"], 2 * BYSTANDERS.len(), "{when}");
        assert_eq!(host.json(&["network", "inspect", "back"])["usage"]["used"], 0, "{when}");
        before.assert_reached(&host, &when);
        host.assert_healthy();
    }
    println!("{asked} requests and {crashes} crashes in {:?}", started.elapsed());
    assert!(asked > 3 * crashes, "too few to mean anything: {asked} requests, {crashes} crashes");
    let log = fs::read_to_string(host.path("netd.log")).expect("netd wrote it");
    let panic = log.lines().find(|line| line.contains("panicked"));
    assert_eq!(panic, None, "seed {seed}");
    flows.into_iter().for_each(|flow| flow.finish().assert_nothing_lost());
}
