//! How soon a full host is as it should be after `kill -9`.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use super::{Measured, Outcome, Row};
use crate::{
    competition::Competition,
    interrupt,
    peer::{Absence, Fabric, Sleeper},
    ping::Ping,
    sample::{Sample, Unit, milliseconds},
};

const ROUNDS: usize = 3;
/// What somebody does to the host while nobody looks after it: all rules gone, and ten containers cut off.
const DAMAGE: &str = "nft flush ruleset
ip -o link show type veth | sed 's/^[0-9]*: \\([^@:]*\\).*/link set \\1 down/' | head -n 10 | ip -batch -";
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn measure(competition: &mut Competition, sleepers: &[Sleeper]) -> [Row; 2] {
    let endpoints = sleepers.len();
    let row = |measure: String, times: Result<Vec<f64>, Absence>| {
        let result = times.map_or_else(Measured::NotRun, |times| Measured::Values(Sample::new(times)));
        let mut row = Row::new(measure, Unit::Milliseconds, vec![Outcome { who: "fabric".to_owned(), result }]);
        row.at_most("fabric", 1000.0);
        row
    };
    let mut repeat = |damage: &str| -> Result<Vec<f64>, Absence> {
        (0..ROUNDS).map(|_| once(&mut competition.fabric, damage, sleepers)).collect()
    };
    [
        row(format!("netd back after kill -9 with {endpoints} endpoints"), repeat("")),
        row(format!("the same, its rules and 10 of {endpoints} links repaired"), repeat(DAMAGE)),
    ]
}

/// Until the daemon answers and the host is as it was before.
fn once(fabric: &mut Fabric, damage: &str, sleepers: &[Sleeper]) -> Result<f64, Absence> {
    interrupt::check()?;
    let before = holdings(fabric)?;
    let answered = fabric.kill_and_restart(damage)?;
    let begin = Instant::now();
    // It answers once it has looked at everything, so as a rule nothing is waited for here.
    let mut now = holdings(fabric)?;
    let mut repaired = Duration::ZERO;
    while now != before {
        if begin.elapsed() > PATIENCE {
            return Err(format!("not repaired: {now:?}, not {before:?}"));
        }
        thread::sleep(Duration::from_millis(1));
        now = holdings(fabric)?;
        repaired = begin.elapsed();
    }
    for sleeper in [sleepers.first(), sleepers.last()].into_iter().flatten() {
        let address: Ipv4Addr = sleeper.address.parse().map_err(|_| "a container has no address")?;
        Ping::from(fabric.place().pid())?.until_answered(address, Duration::from_millis(20))?;
    }
    Ok(milliseconds(answered + repaired))
}

/// How many links are up, and how many lines all rules have.
fn holdings(fabric: &Fabric) -> Result<(usize, usize), Absence> {
    let links = fabric.place().sh("ip -o link show type veth up")?.lines().count();
    let rules = fabric.place().sh("nft list ruleset")?.lines().filter(|line| !line.contains("elements")).count();
    Ok((links, rules))
}
