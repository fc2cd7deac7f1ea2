//! Which processes a container has.

use std::{fs, path::Path, time::Duration};

use model::ContainerId;

use crate::{Runtime, RuntimeError, cgroup};

/// One process of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its identifier inside the container.
    pub pid: i32,
    /// Its identifier in the host's PID namespace.
    pub host_pid: i32,
    /// The user it acts as, by number.
    pub uid: u32,
    /// How long it has occupied a processor.
    pub processor_time: Duration,
    /// Program and arguments; the program's name in brackets where it has overwritten them.
    pub command: String,
}

/// Clock ticks per second in `/proc`, the same on every architecture (`USER_HZ`, `include/asm-generic/param.h`).
const TICKS: u64 = 100;
/// The most that is told of a command line, in characters.
const MAX_COMMAND: usize = 4096;

impl Runtime {
    /// The container's processes by identifier, those that `exec` added included; none if it has none. Blocks on
    /// `/proc` only.
    ///
    /// # Errors
    /// When control groups cannot be read.
    pub fn processes(&self, id: &ContainerId) -> Result<Vec<ProcessInfo>, RuntimeError> {
        let pids = cgroup::processes(&self.directories.cgroup_of(id))?;
        // One that ends meanwhile is none.
        let mut processes: Vec<ProcessInfo> = pids.into_iter().filter_map(describe).collect();
        processes.sort_by_key(|process| process.pid);
        Ok(processes)
    }
}

fn describe(host_pid: i32) -> Option<ProcessInfo> {
    let directory = Path::new("/proc").join(host_pid.to_string());
    let read = |name| fs::read(directory.join(name)).map(|octets| String::from_utf8_lossy(&octets).into_owned()).ok();
    parse(host_pid, &read("status")?, &read("stat")?, &read("cmdline")?)
}

/// `proc_pid_status(5)`, `proc_pid_stat(5)`, `proc_pid_cmdline(5)`.
fn parse(host_pid: i32, status: &str, stat: &str, command_line: &str) -> Option<ProcessInfo> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::split_whitespace);
    let pid = field("NSpid:")?.next_back()?.parse().ok()?;
    let uid = field("Uid:")?.nth(1)?.parse().ok()?;
    // The name may hold spaces and parentheses.
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let mut times = after.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    let mut command = command_line.trim_end_matches('\0').replace('\0', " ");
    if command.is_empty() {
        command = format!("[{name}]");
    }
    let command = command.chars().take(MAX_COMMAND).collect();
    Some(ProcessInfo { pid, host_pid, uid, processor_time: Duration::from_millis(ticks * (1000 / TICKS)), command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_holds() {
        let status = "Name:\tsh (x) y\nUid:\t0\t33\t0\t0\nNSpid:\t4711\t7\n";
        let stat = "4711 (sh (x) y) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let process = parse(4711, status, stat, "sh\0-c\0sleep 1\0").expect("whole");
        assert_eq!((process.pid, process.uid, process.command.as_str()), (7, 33, "sh -c sleep 1"));
        assert_eq!(process.processor_time, Duration::from_secs(2));
        assert_eq!(parse(4711, status, stat, "").expect("whole").command, "[sh (x) y]");
        assert_eq!(parse(4711, "", stat, ""), None);
    }
}
