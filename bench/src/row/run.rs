//! How long `run --rm IMAGE true` takes, as a whole process.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use super::Row;
use crate::{
    competition::Competition,
    contest::{Contender, Rounds, contest},
    peer::{Absence, Oci, Peer},
    sample::{Unit, milliseconds},
};

/// What makes the command for one turn.
type Make<'a> = Box<dyn Fn() -> Command + 'a>;

pub(crate) fn measure(competition: &Competition, rounds: usize) -> Vec<Row> {
    let runc = Oci::start("runc", &competition.tar);
    let crun = Oci::start("crun", &competition.tar);
    let fabric = &competition.fabric;
    let mut with_network = row(
        "run --rm on a network, whole process",
        rounds,
        &[
            Contender::new("fabric", Ok(Box::new(|| fabric.run_true()) as Make<'_>)),
            contender("docker", &competition.docker, Peer::run_true),
            contender("podman", &competition.podman, Peer::run_true),
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
        &[
            Contender::new("fabric", Ok(Box::new(|| fabric.run_true_alone()) as Make<'_>)),
            contender("docker", &competition.docker, Peer::run_true_alone),
            contender("podman", &competition.podman, Peer::run_true_alone),
        ],
    );
    vec![with_network, alone]
}

fn contender<'a, T>(
    who: &str,
    peer: &'a Result<T, Absence>,
    command: impl Fn(&'a T) -> Command + 'a,
) -> Contender<Make<'a>> {
    let make = peer.as_ref().map(|peer| Box::new(move || command(peer)) as Make<'a>);
    Contender::new(who, make.map_err(Clone::clone))
}

fn row(measure: &str, rounds: usize, contenders: &[Contender<Make<'_>>]) -> Row {
    Row::new(measure, Unit::Milliseconds, contest(contenders, Rounds::warmed(rounds), |make| time(&mut make())))
}

fn time(command: &mut Command) -> Result<f64, Absence> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().map_err(|error| error.to_string())?;
    let taken = milliseconds(start.elapsed());
    if status.success() { Ok(taken) } else { Err(format!("{:?} failed: {status}", command.get_program())) }
}
