//! The kernel judges as the evaluator does: random containers and policies, applied by the daemon, and real packets of
//! TCP, UDP and SCTP from everybody to everybody, at all ports, over IPv4 and IPv6.
//!
//! `FABRIC_TOPOLOGIES=200` tries as many as that instead of a few, from the same numbers on; `FABRIC_TOPOLOGY=17` tries
//! that one.

mod drawn;
mod probe;

use std::{collections::BTreeSet, fmt::Write, fs, net::IpAddr, num::NonZeroU16, thread};

use drawn::{Container, Draw, NETWORKS};
use policy::{Asked, Effect, Flow, Policies, Suite, Syntax, World, evaluate, parse};
use probe::{Party, Probe, Stations, probes};
use tests::{Host, Namespace};

/// So many are tried where nobody says otherwise.
const FEW: u64 = 8;
const CONTAINERS: usize = 8;

fn numbers() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("FABRIC_TOPOLOGY") {
        Some(only) => vec![only],
        None => (0..number("FABRIC_TOPOLOGIES").unwrap_or(FEW)).collect(),
    }
}

#[test]
fn what_passes_is_what_the_evaluator_says() {
    let host = Host::with_config("upstreams = []");
    for (number, (name, label)) in NETWORKS.iter().enumerate() {
        let subnets = [format!("10.201.{number}.0/24"), format!("fd00:201:{number}::/64")];
        host.ok(&["network", "create", name, "--label", label, "--subnet", &subnets[0], "--subnet", &subnets[1]]);
    }
    let (mut tried, mut passed) = (0, 0);
    for number in numbers() {
        let draw = &mut Draw(number);
        let containers: Vec<Container> =
            (0..CONTAINERS).map(|place| drawn::container(draw, format!("c{place}"))).collect();
        let parties = start(&host, &containers);
        let stations = Stations::open(&parties);
        let probes = probes(&parties);
        if tried == 0 {
            // Without policies all can, so what does not come later was dropped.
            let all: BTreeSet<usize> = (0..probes.len()).collect();
            let arrived = stations.try_all(&parties, &probes, &all);
            let lost: Vec<&Probe> = all.difference(&arrived).map(|number| &probes[*number]).collect();
            assert!(lost.is_empty(), "nobody forbids {lost:#?}\n{}", host.log_tail());
        }
        let text = drawn::policies(draw, &parties);
        let file = host.path("policies.yaml");
        fs::write(&file, &text).expect("the directory is ours");
        host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);

        let (policies, world) = (read(&text), world(&containers, &parties));
        let is_allowed = |probe: &Probe| is_allowed(&policies, &world, probe);
        let expected: BTreeSet<usize> =
            probes.iter().enumerate().filter(|(_, probe)| is_allowed(probe)).map(|(number, _)| number).collect();
        // New ones, that nobody has known a connection of.
        drop(stations);
        let arrived = Stations::open(&parties).try_all(&parties, &probes, &expected);
        let wrong: Vec<String> = expected
            .symmetric_difference(&arrived)
            .map(|number| {
                let what =
                    if arrived.contains(number) { "came, and is denied" } else { "did not come, and is allowed" };
                format!("{:?} {what}", probes[*number])
            })
            .collect();
        assert!(
            wrong.is_empty(),
            "topology {number}: {} of {}:\n{}\nwith\n{text}\nand {containers:#?}\n{}",
            wrong.len(),
            probes.len(),
            wrong[..wrong.len().min(20)].join("\n"),
            host.log_tail()
        );
        tried += probes.len();
        passed += arrived.len();
        stop(&host, &containers);
    }
    println!("{tried} connections were tried, {passed} came about");
    // One topology may be all open or all closed.
    let is_mixed = passed * 10 > tried && passed * 10 < tried * 9;
    assert!(is_mixed || numbers().len() == 1, "control: {passed} of {tried} came about");
    host.assert_healthy();
}

/// Starts containers, all at once, and says who there is then, the host on each network included.
fn start(host: &Host, containers: &[Container]) -> Vec<Party> {
    let run = |container: &Container| {
        let mut line = vec!["run".to_owned(), "-d".to_owned(), "--name".to_owned(), container.name.clone()];
        for network in &container.networks {
            line.extend(["--network".to_owned(), (*network).to_owned()]);
        }
        for (key, value) in &container.labels {
            line.extend(["-l".to_owned(), format!("{key}={value}")]);
        }
        line.extend(["busybox", "sleep", "100000"].map(str::to_owned));
        host.ok(&line.iter().map(String::as_str).collect::<Vec<_>>());
        let shown = host.json(&["inspect", &container.name]);
        let namespace = Namespace::of_process(shown["pid"].as_i64().expect("it runs"));
        let endpoints = shown["endpoints"].as_array().expect("a list").iter();
        let party = |endpoint: &serde_json::Value| {
            let network = endpoint["network"].as_str().expect("a name");
            let addresses = ["ipv4", "ipv6"].map(|field| endpoint[field].as_str().expect("both families").parse());
            Party {
                name: Some(container.name.clone()),
                network: NETWORKS.iter().find(|(name, _)| *name == network).expect("one of ours").0,
                addresses: addresses.map(|address| address.expect("an address")).to_vec(),
                namespace: namespace.clone(),
            }
        };
        endpoints.map(party).collect::<Vec<_>>()
    };
    let mut parties = thread::scope(|scope| {
        let started: Vec<_> = containers.iter().map(|container| scope.spawn(move || run(container))).collect();
        started.into_iter().flat_map(|thread| thread.join().expect("it starts")).collect::<Vec<_>>()
    });
    parties.extend(NETWORKS.iter().enumerate().map(|(number, (network, _))| {
        Party {
            name: None,
            network,
            addresses: [format!("10.201.{number}.1"), format!("fd00:201:{number}::1")]
                .map(|text| text.parse().expect("an address"))
                .to_vec(),
            namespace: host.namespace().clone(),
        }
    }));
    parties
}

fn stop(host: &Host, containers: &[Container]) {
    let names = containers.iter().map(|container| container.name.as_str());
    host.ok(&["rm", "-f"].into_iter().chain(names).collect::<Vec<_>>());
}

fn read(text: &str) -> Policies {
    let told = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let documents = parse("p.yaml", Syntax::Yaml, text, None).map_err(told).unwrap_or_else(|told| panic!("{told}"));
    Policies::new(documents).expect("names of their own")
}

/// What the evaluator is told of who there is.
fn world(containers: &[Container], parties: &[Party]) -> World {
    let listed =
        |party: &Party| party.addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
    let mut text = "networks:\n".to_owned();
    for (network, label) in NETWORKS {
        let host = parties.iter().find(|party| party.name.is_none() && party.network == network).expect("it is there");
        let label = label.replace('=', ": ");
        writeln!(text, "  {network}: {{labels: {{{label}}}, gateways: [{}]}}", listed(host)).expect("memory takes all");
    }
    text.push_str("endpoints:\n");
    for party in parties {
        let Some(container) = containers.iter().find(|it| Some(&it.name) == party.name.as_ref()) else { continue };
        let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        writeln!(
            text,
            "- {{name: {}, network: {}, labels: {{{}}}, addresses: [{}]}}",
            container.name,
            party.network,
            labels.join(", "),
            listed(party)
        )
        .expect("memory takes all");
    }
    Suite::parse("w.yaml", Syntax::Yaml, &text).unwrap_or_else(|error| panic!("{error}\n{text}")).world
}

fn is_allowed(policies: &Policies, world: &World, probe: &Probe) -> bool {
    let party = |address: IpAddr| world.party_with(address);
    let asks = Asked::Port(probe.protocol, NonZeroU16::new(probe.port).expect("none of them is 0"));
    let flow = Flow { from: party(probe.from), to: party(probe.to), asks };
    evaluate(policies, world, &flow, jiff::Timestamp::UNIX_EPOCH).effect() == Effect::Allow
}
