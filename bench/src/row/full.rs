//! A host with a thousand containers.

use super::{Row, crowd, memory, repair};
use crate::{
    competition::Competition,
    interrupt,
    peer::{Absence, Peer, Sleeper},
};

/// How many containers make a host full.
pub(crate) const MANY: usize = 1000;

pub(crate) fn measure(competition: &mut Competition, rounds: usize) -> Vec<Row> {
    let idle = memory::idle(competition);
    let mut rows = vec![memory::daemons(&idle)];
    let sleepers = fill(competition);
    rows.extend(memory::containers(competition, &idle, &sleepers));
    let Ok(sleepers) = sleepers else { return rows };
    rows.push(crowd::measure(competition, &sleepers, rounds));
    rows.push(memory::endpoints(competition, &sleepers));
    if interrupt::check().is_ok() {
        rows.extend(repair::measure(competition, &sleepers));
    }
    rows
}

fn fill(competition: &Competition) -> Result<Vec<Sleeper>, Absence> {
    let start = || -> Result<Sleeper, Absence> {
        interrupt::check()?;
        competition.fabric.sleeper()
    };
    (0..MANY).map(|_| start()).collect()
}
