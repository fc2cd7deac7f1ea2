//! Processor time that others have used.

use std::{fs, time::Duration};

use crate::peer::Absence;

/// What proc(5) counts processor time in (USER_HZ), on every architecture that `netd` runs on.
const TICKS: u32 = 100;

/// What processes have used so far, in user mode and in the kernel, with all their threads; or one thread alone, if it
/// is one of this process.
pub(crate) fn time(numbers: &[u32]) -> Result<Duration, Absence> {
    numbers.iter().map(|number| of(*number)).sum()
}

fn of(number: u32) -> Result<Duration, Absence> {
    let own = format!("/proc/self/task/{number}/stat");
    let text = fs::read_to_string(own).or_else(|_| fs::read_to_string(format!("/proc/{number}/stat")));
    let text = text.map_err(|error| format!("process {number}: {error}"))?;
    let ticks = ticks(&text).ok_or_else(|| format!("process {number} shows no processor time"))?;
    Ok(Duration::from_secs(1) * ticks / TICKS)
}

/// `utime` and `stime`, fields 14 and 15; the second is a name in parentheses, which may hold anything.
fn ticks(stat: &str) -> Option<u32> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11).map(str::parse::<u32>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn both_modes_are_counted_whatever_the_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn a_thread_that_works_is_seen() {
        let own = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let before = time(&[own]).expect("it runs");
        let begin = Instant::now();
        while time(&[own]).expect("it runs") < before + Duration::from_millis(30) {
            assert!(begin.elapsed() < Duration::from_secs(60), "no time passes");
        }
    }
}
