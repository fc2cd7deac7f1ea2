//! How long `run --rm IMAGE true` takes, as a whole process.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Measured, Outcome, Row};
use crate::{
    competition::Competition,
    peer::{Absence, Oci, Peer},
    sample::{Sample, Unit},
};

type Contender<'a> = (String, Result<Box<dyn Fn() -> Command + 'a>, Absence>);

/// `rounds` times each, one after the other: A B C A B C.
pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let runc = Oci::start("runc", &competition.tar);
    let crun = Oci::start("crun", &competition.tar);
    let fabric = &competition.fabric;
    let mut with_network = row(
        "run --rm on a network, whole process",
        rounds,
        vec![
            ("fabric".into(), Ok(Box::new(|| fabric.run_true()))),
            contender("docker", &competition.docker, |docker| docker.run_true()),
            contender("podman", &competition.podman, |podman| podman.run_true()),
            contender("runc bare", &runc, Oci::run_true),
            contender("crun bare", &crun, Oci::run_true),
        ],
    );
    with_network.at_most("fabric", 30.0);
    with_network.at_most_times("fabric", 1.0 / 12.0, "docker");
    with_network.at_most_times("fabric", 1.0 / 12.0, "podman");
    with_network.at_most_times("fabric", 2.0, "crun bare");
    let alone = row(
        "run --rm without a network, whole process",
        rounds,
        vec![
            ("fabric".into(), Ok(Box::new(|| fabric.command(&["run", "--rm", "busybox", "true"])))),
            contender("docker", &competition.docker, |docker| docker.run_true_alone()),
            contender("podman", &competition.podman, |podman| podman.run_true_alone()),
        ],
    );
    vec![with_network, alone]
}

fn contender<'a, T>(
    name: &str,
    peer: &'a Result<T, Absence>,
    command: impl Fn(&'a T) -> Command + 'a,
) -> Contender<'a> {
    let make = peer.as_ref().map(|peer| Box::new(move || command(peer)) as Box<dyn Fn() -> Command + 'a>);
    (name.to_owned(), make.map_err(Clone::clone))
}

fn row(measure: &str, rounds: usize, contenders: Vec<Contender<'_>>) -> Row {
    let mut times: Vec<Result<Vec<Duration>, Absence>> =
        contenders.iter().map(|(_, make)| make.as_ref().map(|_| Vec::new()).map_err(Clone::clone)).collect();
    // The first of each is not counted: it warms caches and pools.
    for round in 0..=rounds {
        for ((_, make), times) in contenders.iter().zip(&mut times) {
            let (Ok(make), Ok(taken)) = (make, times.as_mut()) else { continue };
            match time(&mut make()) {
                Ok(duration) if round > 0 => taken.push(duration),
                Ok(_) => {}
                Err(why) => *times = Err(why),
            }
        }
    }
    let results = contenders.iter().zip(times).map(|((who, _), times)| Outcome {
        who: who.clone(),
        result: times.map_or_else(Measured::NotRun, |times| Measured::Values(Sample::of_times(times))),
    });
    Row { measure: measure.to_owned(), unit: Unit::Milliseconds, targets: Vec::new(), results: results.collect() }
}

fn time(command: &mut Command) -> Result<Duration, Absence> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(start.elapsed()) } else { Err(format!("{:?} failed: {status}", command.get_program())) }
}
