//! What daemons and containers take of the machine's memory.

use std::{fs, thread, time::Duration};

use super::{Outcome, Row, full::MANY};
use crate::{
    competition::Competition,
    interrupt,
    peer::{Absence, Docker, Peer, Sleeper},
    sample::Unit,
};

/// What requests took for themselves has been given back by then.
const SETTLING: Duration = Duration::from_secs(1);
/// How many containers of a peer are looked at.
const FEW: usize = 10;
/// The networks that all containers are attached to besides.
const FURTHER: [(&str, &str); 3] =
    [("bench-second", "10.102.0.0/16"), ("bench-third", "10.103.0.0/16"), ("bench-fourth", "10.104.0.0/16")];

/// Kibibytes of the daemons.
pub(crate) struct Idle {
    fabric: Result<f64, Absence>,
    docker: Result<f64, Absence>,
}

pub(crate) fn idle(competition: &Competition) -> Idle {
    let docker = competition.docker.as_ref().map_err(Clone::clone);
    Idle { fabric: total(&competition.fabric.daemons()), docker: docker.and_then(|docker| total(&docker.daemons())) }
}

pub(crate) fn daemons(idle: &Idle) -> Row {
    let mebibytes = |value: &Result<f64, Absence>| value.clone().map(|value| value / 1024.0);
    let results =
        vec![Outcome::once("fabric", mebibytes(&idle.fabric)), Outcome::once("docker", mebibytes(&idle.docker))];
    let mut row = Row::new("memory of the daemons before", Unit::Mebibytes, results);
    row.at_most("fabric", 30.0);
    row
}

/// What each container makes the daemons grow by, and what the processes beside it have for themselves.
pub(crate) fn containers(competition: &Competition, idle: &Idle, sleepers: &Result<Vec<Sleeper>, Absence>) -> [Row; 2] {
    let own = sleepers.as_ref().map_err(Clone::clone);
    let growth = own.clone().and_then(|_| grown(&idle.fabric, &competition.fabric.daemons(), MANY));
    let beside = own.and_then(|sleepers| shims(&sleepers[..FEW]));
    let docker = competition.docker.as_ref().map_err(Clone::clone).and_then(of_docker);
    let (others, others_beside) = match docker {
        Ok((growth, beside)) => (Ok(growth), Ok(beside)),
        Err(why) => (Err(why.clone()), Err(why)),
    };
    let mut growth = Row::new(
        "the daemons' memory for each container with its endpoint",
        Unit::Kibibytes,
        vec![Outcome::once("fabric", growth), Outcome::once(format!("docker, of {FEW}"), others)],
    );
    growth.at_most("fabric", 8.0);
    let mebibytes = |value: Result<f64, Absence>| value.map(|value| value / 1024.0);
    let mut beside = Row::new(
        "unique memory beside each container",
        Unit::Mebibytes,
        vec![Outcome::once("fabric", mebibytes(beside)), Outcome::once("docker", mebibytes(others_beside))],
    );
    beside.at_most("fabric", 1.0);
    [growth, beside]
}

/// What one endpoint more makes the daemon grow by. They are taken away again.
///
/// The second of each container fills what the daemon had free after a thousand starts, and is not counted.
pub(crate) fn endpoints(competition: &Competition, sleepers: &[Sleeper]) -> Row {
    let fabric = &competition.fabric;
    let connect = |(network, subnet): (&str, &str)| -> Result<(), Absence> {
        fabric.make_network(network, subnet)?;
        for sleeper in sleepers {
            interrupt::check()?;
            fabric.connect(network, &sleeper.id)?;
        }
        Ok(())
    };
    let measure = || -> Result<f64, Absence> {
        let [second, further @ ..] = FURTHER;
        connect(second)?;
        thread::sleep(SETTLING);
        let before = total(&fabric.daemons());
        further.into_iter().try_for_each(connect)?;
        grown(&before, &fabric.daemons(), further.len() * sleepers.len())
    };
    let results = vec![Outcome::once("fabric", measure())];
    for (network, _) in FURTHER {
        for sleeper in sleepers {
            let _ = fabric.disconnect(network, &sleeper.id);
        }
    }
    let mut row = Row::new("netd's memory for each endpoint", Unit::Kibibytes, results);
    row.at_most("fabric", 8.0);
    row
}

/// Containers of Docker's, which are removed again: what the daemons grow by, and what each shim has for itself.
fn of_docker(docker: &Docker) -> Result<(f64, f64), Absence> {
    let before = total(&docker.daemons());
    let sleepers = (0..FEW).map(|_| docker.sleeper()).collect::<Result<Vec<_>, _>>()?;
    let measured = grown(&before, &docker.daemons(), FEW).and_then(|growth| Ok((growth, shims(&sleepers)?)));
    for sleeper in &sleepers {
        let _ = crate::peer::finish(&mut docker.command(&["rm", "-f", &sleeper.id]));
    }
    measured
}

fn grown(before: &Result<f64, Absence>, daemons: &[u32], count: usize) -> Result<f64, Absence> {
    thread::sleep(SETTLING);
    Ok((total(daemons)? - before.clone()?) / count as f64)
}

/// The mean of what each container's parent process has for itself.
fn shims(sleepers: &[Sleeper]) -> Result<f64, Absence> {
    let all: Result<f64, Absence> = sleepers.iter().map(|sleeper| unique(parent(sleeper.pid)?)).sum();
    Ok(all? / sleepers.len() as f64)
}

/// Resident memory of processes, in KiB, what they share counted in parts (`Pss` of `proc_pid_smaps_rollup(5)`).
fn total(processes: &[u32]) -> Result<f64, Absence> {
    processes.iter().map(|pid| field(*pid, &["Pss:"])).sum()
}

/// Memory that would be free if the process ended, in KiB.
fn unique(process: u32) -> Result<f64, Absence> {
    field(process, &["Private_Clean:", "Private_Dirty:"])
}

fn field(process: u32, names: &[&str]) -> Result<f64, Absence> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    Ok(lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum())
}

fn parent(process: u32) -> Result<u32, Absence> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    parent.ok_or_else(|| format!("{path} names no parent"))
}
