//! How long it takes from the request for a container until its address answers: the attachment that a start makes,
//! with a namespace from the pool and without.

use std::{
    cell::Cell,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::Row;
use crate::{
    competition::Competition,
    contest::{Contender, Rounds, contest},
    peer::{Absence, Docker, Fabric, Peer, finish},
    ping::Ping,
    place::Place,
    sample::{Unit, milliseconds},
};

/// How long an answer is waited for before the question is asked again: how exactly it is measured.
const PAUSE: Duration = Duration::from_micros(100);
/// A pool of four is full again by then.
const REST: Duration = Duration::from_millis(200);

/// One that is asked for containers with known addresses.
struct Starter<'a> {
    place: &'a Place,
    peer: &'a dyn Peer,
    /// Asks for a container of this name and address on `bench` that runs.
    ask: Ask<'a>,
    /// The host's part of all addresses, and how many have been used.
    network: [u8; 2],
    turn: Cell<u8>,
}

type Ask<'a> = Box<dyn Fn(&str, Ipv4Addr) -> Result<(), Absence> + Sync + 'a>;

pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let poolless = Fabric::start(&competition.binaries, &competition.tar, "namespace_pool = 0\n");
    let contenders = [
        Contender::new("fabric, from the pool", Ok(fabric(&competition.fabric))),
        Contender::new("fabric, without a pool", poolless.as_ref().map(fabric).map_err(Clone::clone)),
        Contender::new("docker", competition.docker.as_ref().map(docker).map_err(Clone::clone)),
    ];
    let rounds = Rounds::warmed(rounds.min(200));
    let mut row = Row::new(
        "container by the socket, until its address answers",
        Unit::Milliseconds,
        contest(&contenders, rounds, once),
    );
    row.at_most("fabric, from the pool", 3.0);
    row.at_most("fabric, without a pool", 10.0);
    vec![row]
}

fn fabric(fabric: &Fabric) -> Starter<'_> {
    let ask = |name: &str, address: Ipv4Addr| {
        let endpoint = json!({ "network": "bench", "ipv4": address, "mac": mac(address) });
        let command = ["sleep", "100000"];
        let body =
            json!({ "name": name, "image": "busybox", "networks": [endpoint], "command": command, "start": true });
        fabric.post("/v1/containers", &body.to_string())
    };
    Starter { place: fabric.place(), peer: fabric, ask: Box::new(ask), network: [10, 99], turn: Cell::new(0) }
}

fn docker(docker: &Docker) -> Starter<'_> {
    let ask = |name: &str, address: Ipv4Addr| {
        let endpoint = json!({ "IPAMConfig": { "IPv4Address": address } });
        let body = json!({
            "Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": { "NetworkMode": "bench" },
            "NetworkingConfig": { "EndpointsConfig": { "bench": endpoint } },
        });
        docker.post(&format!("/containers/create?name={name}"), &body.to_string())?;
        docker.start(name)
    };
    Starter { place: docker.place(), peer: docker, ask: Box::new(ask), network: [10, 92], turn: Cell::new(0) }
}

/// What Docker makes of an address.
fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn once(starter: &Starter<'_>) -> Result<f64, Absence> {
    // Another address each time, so that no removal is waited for.
    let turn = starter.turn.get();
    starter.turn.set(turn + 1);
    let [one, two] = starter.network;
    let (name, address) = (format!("asked-{turn}"), Ipv4Addr::new(one, two, 200, turn));
    // Known to the host beforehand: while it asks by ARP, it asks again after a second only.
    starter.place.sh(&format!(
        "bridge=$(ip -o route get {address} | sed 's/.* dev \\([^ ]*\\).*/\\1/')
        ip neigh replace {address} lladdr {} nud permanent dev $bridge",
        mac(address)
    ))?;
    thread::sleep(REST);
    let ping = Ping::from(starter.place.pid())?;
    let ask = &starter.ask;
    let taken = thread::scope(|scope| {
        let begin = Instant::now();
        let started = scope.spawn(|| ask(&name, address));
        let answered = ping.until_answered(address, PAUSE);
        let taken = milliseconds(begin.elapsed());
        started.join().unwrap_or_else(|_| Err("the thread ended".to_owned()))?;
        answered.map(|()| taken)
    });
    finish(&mut starter.peer.command(&["rm", "-f", &name]))?;
    taken
}
