//! What it costs to publish 200 single ports on a host that publishes thousands: how much longer a container's start
//! takes with them than without.

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::Row;
use crate::{
    competition::Competition,
    contest::{Contender, Rounds, contest},
    enter::enter,
    interrupt,
    peer::{Absence, Docker, Peer, finish},
    place::Place,
    sample::{Unit, milliseconds},
};

/// How many ports are published beforehand, where time allows.
const EXISTING: usize = 10_000;
/// How long a peer may take for those.
const BOUND: Duration = Duration::from_secs(40);
const PORTS: u16 = 200;
/// The first of the ports that are measured; every second one, so that no two are a range.
const FIRST: u16 = 50_000;
const ROUNDS: usize = 5;
/// Who takes longer for those is measured less often.
const PATIENCE: Duration = Duration::from_secs(30);

/// One that has published many ports, and two containers that wait to be started.
struct Publisher<'a> {
    place: &'a Place,
    peer: &'a dyn Peer,
    /// The container with ports, and that without.
    containers: [String; 2],
}

pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let fabric = &competition.fabric;
    let (mut held, mut other) = (Vec::new(), Vec::new());
    // One of its own: it takes seconds to remove what is published here.
    let docker = Docker::start(&competition.tar);
    let contenders = [
        contender("fabric", Ok((fabric, fabric.place())), &mut held),
        contender("docker", docker.as_ref().map(|docker| (docker, docker.place())), &mut other),
    ];
    let outcomes = contest(&contenders, Rounds { patience: PATIENCE, ..Rounds::warmed(rounds.min(ROUNDS)) }, once);
    let mut row = Row::new(format!("publish {PORTS} single ports"), Unit::Milliseconds, outcomes);
    row.at_most(&contenders[0].who, 20.0);
    let _ = fabric.remove(&held);
    vec![row]
}

/// One that has published what it could by now; what it holds for that is in `held`.
fn contender<'a, P: Peer>(
    who: &str,
    peer: Result<(&'a P, &'a Place), &Absence>,
    held: &mut Vec<String>,
) -> Contender<Publisher<'a>> {
    let prepare = |held: &mut Vec<String>| -> Result<_, Absence> {
        let (peer, place) = peer.map_err(Clone::clone)?;
        let existing = publish_many(peer, held)?;
        Ok((existing, Publisher { place, peer, containers: waiting(peer, held)? }))
    };
    match prepare(held) {
        Ok((existing, publisher)) => Contender::new(format!("{who}, {existing} exist"), Ok(publisher)),
        Err(why) => Contender::new(who, Err(why)),
    }
}

/// Publishes up to [`EXISTING`] ports that change their numbers on the way, 200 by each container, for at most
/// [`BOUND`].
fn publish_many(peer: &dyn Peer, held: &mut Vec<String>) -> Result<usize, Absence> {
    let begin = Instant::now();
    let mut existing = 0;
    while existing < EXISTING && begin.elapsed() < BOUND {
        interrupt::check()?;
        let first = 10_000 + existing;
        let ports = format!("{first}-{}:1000-1199", first + usize::from(PORTS) - 1);
        held.push(peer.sleeper_with(&["--network", "bench", "-p", &ports])?.id);
        existing += usize::from(PORTS);
    }
    Ok(existing)
}

fn waiting(peer: &dyn Peer, held: &mut Vec<String>) -> Result<[String; 2], Absence> {
    let ports = (0..PORTS).flat_map(|number| ["-p".to_owned(), format!("{}:{}", FIRST + 2 * number, 1000 + number)]);
    // It answers on the port that the last one leads to.
    let listener = format!("httpd -f -p {}", 1000 + PORTS - 1);
    let create = |ports: Vec<String>| {
        let mut command = peer.command(&["create", "--network", "bench"]);
        finish(command.args(ports).args(["busybox", "sh", "-c", &listener]))
    };
    let containers = [create(ports.collect())?, create(Vec::new())?];
    held.extend(containers.clone());
    Ok(containers)
}

fn once(publisher: &Publisher<'_>) -> Result<f64, Absence> {
    let [with, without] = &publisher.containers;
    let mut taken = [0.0; 2];
    for (id, taken) in [with, without].into_iter().zip(&mut taken) {
        let begin = Instant::now();
        publisher.peer.start(id)?;
        *taken = milliseconds(begin.elapsed());
        if id == with {
            reach(publisher.place)?;
        }
        finish(&mut publisher.peer.command(&["stop", "-t", "0", id]))?;
    }
    Ok(taken[0] - taken[1])
}

/// Connects to the last of the ports, as the host's own programs do.
fn reach(place: &Place) -> Result<(), Absence> {
    let port = FIRST + 2 * (PORTS - 1);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let begin = Instant::now();
    loop {
        let connected = enter(place.pid(), || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(|error| error.to_string())
        });
        match connected {
            Ok(_) => return Ok(()),
            // The program inside may not listen yet.
            Err(why) if begin.elapsed() > Duration::from_secs(5) => return Err(format!("port {port}: {why}")),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
