//! What the daemon put back by itself, where another program changed the host's network: told in one line each time,
//! and seldom where it happens all the time.

use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use kernel::Removal;
use model::{Change, Scope};

use crate::{
    daemon::Daemon,
    doctor::{Owners, differences},
    failure::Failure,
};

/// How long nothing more is told after a line. What is put back meanwhile is told after it.
const QUIET: Duration = Duration::from_secs(10);
/// How many differences a line names.
const NAMED: usize = 5;

/// What was put back and is not told yet.
#[derive(Debug, Default)]
pub(crate) struct Mended(Mutex<Untold>);

#[derive(Debug, Default)]
struct Untold {
    told: Option<Instant>,
    /// The first of them, each once.
    named: Vec<String>,
    /// The rest.
    others: BTreeSet<String>,
}

impl Untold {
    fn add(&mut self, difference: String) {
        if self.named.contains(&difference) {
            return;
        }
        if self.named.len() < NAMED {
            self.named.push(difference);
        } else {
            self.others.insert(difference);
        }
    }

    /// What is to be told now, if anything is.
    fn line(&mut self, now: Instant) -> Option<String> {
        if self.named.is_empty() || self.told.is_some_and(|told| now.duration_since(told) < QUIET) {
            return None;
        }
        self.told = Some(now);
        let more = match std::mem::take(&mut self.others).len() {
            0 => String::new(),
            count => format!("; and {count} more"),
        };
        Some(format!("{}{more}", std::mem::take(&mut self.named).join("; ")))
    }
}

impl Mended {
    /// Remembers what was put back, and tells it as soon as it is time.
    fn add(&self, differences: impl Iterator<Item = String>) {
        let mut untold = self.0.lock().expect("nobody panics with it");
        differences.for_each(|difference| untold.add(difference));
        if let Some(line) = untold.line(Instant::now()) {
            tracing::info!("put back on this host's network: {line}");
        }
    }

    /// Tells what there was no time for yet.
    pub(crate) fn tell_the_rest(&self) {
        self.add(std::iter::empty());
    }
}

impl Daemon {
    /// Makes the kernel what the world says, where another program changed it, and tells of what is `damage` of that.
    pub(crate) async fn put_back(&self, scope: Scope, damage: impl Fn(&Change) -> bool) -> Result<(), Failure> {
        let mut making = self.world().namespaces.unfinished();
        let changes = self.bring_about("restore networks", scope, Removal::Awaited).await?;
        if changes.is_empty() {
            return Ok(());
        }
        let world = self.world();
        making.extend(world.namespaces.unfinished());
        let owners = Owners::of(&world);
        drop(world);
        // What is being made for the pool, or is on its way out with its container, nobody else changed.
        let is_own = |change: &Change| match change {
            Change::RemoveLink(name) => owners.knows(name.as_str()),
            change => change.relies_on().any(|object| making.contains(&object)),
        };
        let told = changes.iter().filter(|change| damage(change) && !is_own(change));
        let told = told.flat_map(|change| differences(change, &owners));
        self.mended.add(told.map(|(_, difference)| format!("{}: {}", difference.object, difference.difference)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_all_the_time_is_told_now_and_then() {
        let (mut untold, begin) = (Untold::default(), Instant::now());
        assert_eq!(untold.line(begin), None);
        ["a", "b", "a"].iter().for_each(|name| untold.add((*name).to_owned()));
        assert_eq!(untold.line(begin).as_deref(), Some("a; b"), "at once, and each once");
        (0..8).for_each(|number| untold.add(number.to_string()));
        ["3", "6", "6"].iter().for_each(|name| untold.add((*name).to_owned()));
        assert_eq!(untold.line(begin + QUIET / 2), None);
        assert_eq!(untold.line(begin + QUIET).as_deref(), Some("0; 1; 2; 3; 4; and 3 more"));
        assert_eq!(untold.line(begin + 2 * QUIET), None, "nothing more");
    }
}
