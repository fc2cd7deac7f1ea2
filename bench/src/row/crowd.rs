//! Whether attaching takes longer the more neighbours there are.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::{
    Row,
    attach::{self, Attacher, Way},
};
use crate::{
    competition::Competition,
    contest::{Contender, Rounds, contest},
    interrupt,
    peer::{Absence, Docker, Fabric, Peer, Sleeper, finish},
    sample::Unit,
};

/// How many neighbours a network has that is not full.
const FEW: usize = 10;
/// How long a peer may take to fill a network.
const BOUND: Duration = Duration::from_secs(60);
/// How long anybody is measured.
const PATIENCE: Duration = Duration::from_secs(60);
/// Turns for each round of other measures, and at least: of fewer the 99th percentile would be the worst.
const TURNS: usize = 5;
const LEAST: usize = 200;

/// `sleepers` are all on the network `bench`.
pub(crate) fn measure(competition: &Competition, sleepers: &[Sleeper], rounds: usize) -> Row {
    // One of its own, which ends with all its containers at once.
    let docker = Docker::start(&competition.tar);
    let fabric = &competition.fabric;
    let many = attach::fabric(fabric, "bench", Fabric::GATEWAY, Way::Socket);
    let few = fabric.make_network("bench-few", "10.101.0.0/16").and_then(|()| {
        sleepers[..FEW].iter().try_for_each(|sleeper| fabric.connect("bench-few", &sleeper.id))?;
        attach::fabric(fabric, "bench-few", Ipv4Addr::new(10, 101, 0, 1), Way::Socket)
    });
    let crowded = format!("fabric, {} endpoints", sleepers.len());
    let empty = format!("fabric, {FEW} endpoints");
    let mut contenders = vec![Contender::new(&crowded, many), Contender::new(&empty, few)];
    match docker.as_ref().map_err(Clone::clone).and_then(of_docker) {
        Ok((endpoints, many, few)) => {
            contenders.push(Contender::new(format!("docker, {endpoints} endpoints"), Ok(many)));
            contenders.push(Contender::new(format!("docker, {FEW} endpoints"), Ok(few)));
        }
        Err(why) => contenders.push(Contender::new("docker", Err(why))),
    }
    let turns = Rounds::warmed((rounds * TURNS).max(LEAST));
    let outcomes = contest(&contenders, Rounds { patience: PATIENCE, ..turns }, attach::once);
    let mut row = Row::new("attach by the socket, on a full host", Unit::Milliseconds, outcomes);
    row.p99_at_most_times(&crowded, 1.5, &empty);
    for sleeper in &sleepers[..FEW] {
        let _ = fabric.disconnect("bench-few", &sleeper.id);
    }
    row
}

/// As many containers on `bench` as can be started in time, ten of them on another network as well.
fn of_docker(docker: &Docker) -> Result<(usize, Attacher<'_>, Attacher<'_>), Absence> {
    let begin = Instant::now();
    let mut held = Vec::new();
    while held.len() < super::full::MANY && begin.elapsed() < BOUND {
        interrupt::check()?;
        held.push(docker.sleeper()?.id);
    }
    attach::make_docker_network(docker, "bench-few", "10.93.0.0/16")?;
    for id in held.iter().take(FEW) {
        finish(&mut docker.command(&["network", "connect", "bench-few", id]))?;
    }
    let attacher = |network, gateway| attach::docker(docker, network, gateway, Way::Socket);
    let many = attacher("bench", Ipv4Addr::new(10, 92, 0, 1))?;
    Ok((held.len(), many, attacher("bench-few", Ipv4Addr::new(10, 93, 0, 1))?))
}
