//! Where a peer lives: a process that holds a network and a mount namespace of its own, and two directories.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::peer::{Absence, finish, program};

/// What peers write besides their own directories goes to layers of the place, above the machine's files.
const APART: &str = "for tree in etc opt run var; do
    mkdir -p $DATA/apart/$tree/upper $DATA/apart/$tree/work
    mount -t overlay -o lowerdir=/$tree,upperdir=$DATA/apart/$tree/upper,workdir=$DATA/apart/$tree/work overlay /$tree
done";

/// Namespaces and directories. All goes when it is dropped, with the processes that are in them.
pub(crate) struct Place {
    holder: Child,
    /// On the disk.
    data: TempDir,
    /// In memory, as `/run` is.
    run: TempDir,
}

impl Place {
    /// A new place; `setup` is shell script that is run in it first, with its directories as `$DATA` and `$RUN`.
    pub(crate) fn new(setup: &str) -> Result<Self, Absence> {
        let directory = |path: &str| {
            TempDir::with_prefix_in("fabric-bench-", path).map_err(|error| format!("a directory in {path}: {error}"))
        };
        let (data, run) = (directory("/tmp")?, directory("/dev/shm")?);
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--mount", "--", "sleep", "infinity"]).process_group(0);
        let holder = holder.stdin(Stdio::null()).spawn().map_err(|error| format!("unshare: {error}"))?;
        let place = Self { holder, data, run };
        // It has entered its namespaces once it is another program.
        let program = PathBuf::from(format!("/proc/{}/comm", place.pid()));
        while fs::read_to_string(&program).is_ok_and(|name| name.trim() != "sleep") {
            thread::sleep(Duration::from_millis(1));
        }
        place.sh(&format!("ip link set lo up; {setup}"))?;
        Ok(place)
    }

    /// A place for a program that writes where it likes: what it writes to the machine's directories stays in the
    /// place.
    pub(crate) fn apart(setup: &str) -> Result<Self, Absence> {
        Self::new(&format!("{APART}\n{setup}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run there.
    pub(crate) fn command(&self, name: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = program("nsenter");
        command.arg(format!("--target={}", self.pid())).args(["--net", "--mount", "--"]).arg(name);
        command
    }

    /// Runs shell script there.
    pub(crate) fn sh(&self, script: &str) -> Result<String, Absence> {
        let mut command = self.command("sh");
        finish(command.args(["-ec", script]).env("DATA", self.data()).env("RUN", self.run()))
    }

    /// Starts a daemon there that writes to the file `NAME.log` of the data directory, and stays in the foreground.
    pub(crate) fn spawn(&self, command: &mut Command, name: &str) -> Result<Child, Absence> {
        let log = fs::File::options().append(true).create(true).open(self.log(name));
        let log = log.map_err(|error| error.to_string())?;
        let log_too = log.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(log_too).spawn().map_err(|error| format!("{name}: {error}"))
    }

    /// The file that a daemon writes to.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.data().join(format!("{name}.log"))
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn run(&self) -> &Path {
        self.run.path()
    }

    /// Another place that is to this one what a container is to its host: a veth pair leads to a bridge of this one's,
    /// which has the address `gateway`.
    pub(crate) fn neighbour(&self, gateway: Ipv4Addr, address: Ipv4Addr) -> Result<Self, Absence> {
        let neighbour = Self::new("")?;
        let pid = neighbour.pid();
        self.sh(&format!(
            "ip link show bridge0 >/dev/null 2>&1 || \
             {{ ip link add bridge0 type bridge; ip addr add {gateway}/16 dev bridge0; ip link set bridge0 up; }}; \
             ip link add p{pid} master bridge0 type veth peer name eth0 netns {pid}; ip link set p{pid} up"
        ))?;
        neighbour.sh(&format!("ip addr add {address}/16 dev eth0; ip link set eth0 up"))?;
        Ok(neighbour)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Never the machine's own, should the holder not have got any.
        let machine = namespaces(std::process::id());
        let own = namespaces(self.pid());
        let own = own.iter().zip(&machine).map(|(own, machine)| own.as_ref().filter(|_| own != machine));
        let own: Vec<_> = own.collect();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        // Daemons and helpers that did not end with who started them. None is waited for: none is a child.
        for process in processes() {
            let there = namespaces(process);
            if there.iter().zip(&own).any(|(there, own)| own.is_some() && there.as_ref() == *own) {
                kill(process, Signal::KILL);
            }
        }
        // What has just been killed may still write.
        for _ in 0..50 {
            if fs::remove_dir_all(self.data()).is_ok() || !self.data().exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().map_while(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The network and the mount namespace of a process.
fn namespaces(process: u32) -> [Option<PathBuf>; 2] {
    ["net", "mnt"].map(|kind| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok())
}

pub(crate) fn kill(process: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends a child in good order, by force after five seconds.
pub(crate) fn end(child: &mut Child) {
    kill(child.id(), Signal::TERM);
    for _ in 0..500 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}
