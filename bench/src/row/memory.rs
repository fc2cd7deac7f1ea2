//! What daemons and containers take of the machine's memory, and how fast a full host is back after `kill -9`.

use std::fs;

use super::{Measured, Outcome, Row};
use crate::{
    competition::Competition,
    peer::{Absence, Peer},
    sample::{Sample, Unit},
};

/// How many containers make a host full.
const MANY: usize = 1000;
/// How many containers of a peer are looked at.
const FEW: usize = 10;

pub(crate) fn measure(competition: &mut Competition, rounds: usize) -> Vec<Row> {
    let idle = total(&[competition.fabric.daemon()]);
    let docker = competition.docker.as_ref().map_err(Clone::clone);
    let docker_idle = docker.and_then(|docker| total(&docker.daemons()));
    let mut daemons = row("memory of the idle daemons", Unit::Mebibytes, idle.clone(), docker_idle, 1024.0);
    daemons.at_most("fabric", 30.0);

    let full = fill(competition);
    let per_endpoint = full.as_ref().map_err(Clone::clone).and_then(|(daemon, _)| {
        let before = idle.as_ref().map_err(Clone::clone)?;
        Ok((daemon - before) / MANY as f64)
    });
    let absent = |_| Err("not measured".to_owned());
    let mut endpoints =
        row("netd's memory for each container with an endpoint", Unit::Kibibytes, per_endpoint, absent(()), 1.0);
    endpoints.at_most("fabric", 8.0);
    let shims = full.map(|(_, shim)| shim);
    let mut containers =
        row("unique memory beside each container", Unit::Mebibytes, shims, docker_shims(competition), 1024.0);
    containers.at_most("fabric", 1.0);

    let crowded = super::attach::crowded(competition, rounds);

    let mut repair = Vec::new();
    for _ in 0..3 {
        repair.push(competition.fabric.kill_and_restart());
    }
    let repair: Result<Vec<_>, _> = repair.into_iter().collect();
    let result = repair.map_or_else(Measured::NotRun, |times| Measured::Values(Sample::of_times(times)));
    let mut repair = Row {
        measure: format!("restart after kill -9 with {MANY} containers, until it answers"),
        unit: Unit::Milliseconds,
        targets: Vec::new(),
        results: vec![Outcome { who: "fabric".to_owned(), result }],
    };
    repair.at_most("fabric", 1000.0);
    vec![daemons, endpoints, containers, crowded, repair]
}

/// Kibibytes as they were measured, shown in units of `per` of them.
fn row(measure: &str, unit: Unit, fabric: Result<f64, Absence>, docker: Result<f64, Absence>, per: f64) -> Row {
    let outcome = |who: &str, value: Result<f64, Absence>| Outcome {
        who: who.to_owned(),
        result: value.map_or_else(Measured::NotRun, |value| Measured::Values(Sample::new(vec![value / per]))),
    };
    let results = vec![outcome("fabric", fabric), outcome("docker", docker)];
    Row { measure: measure.to_owned(), unit, targets: Vec::new(), results }
}

/// Starts many containers; the daemon's memory then, and the mean of what is each shim's own.
fn fill(competition: &Competition) -> Result<(f64, f64), Absence> {
    let mut shims = 0.0;
    for number in 0..MANY {
        let sleeper = competition.fabric.sleeper()?;
        if number < FEW {
            shims += unique(parent(sleeper.pid)?)?;
        }
    }
    Ok((total(&[competition.fabric.daemon()])?, shims / FEW as f64))
}

fn docker_shims(competition: &Competition) -> Result<f64, Absence> {
    let docker = competition.docker.as_ref().map_err(Clone::clone)?;
    let mut shims = 0.0;
    for _ in 0..FEW {
        shims += unique(parent(docker.sleeper()?.pid)?)?;
    }
    Ok(shims / FEW as f64)
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
