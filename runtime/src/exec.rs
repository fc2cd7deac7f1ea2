//! The process that runs one more program in a container, and carries its streams to one client.
//!
//! libcontainer builds at most one process in a process, so the shim forks this one for each.

use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Instant,
};

use libcontainer::{container::builder::ContainerBuilder, syscall::syscall::SyscallType};
use model::{Command, Confinement, Frame};
use pathrs::{Root, flags::OpenFlags};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::MemfdFlags,
    io::Errno,
    process::{Pid, PidfdFlags},
};

use crate::{
    ExecStreams, Failure, FailureKind, capabilities,
    diagnosis::Diagnosis,
    executor::{Launcher, Parentage, path_of},
    farewell, oci,
    seccomp::Filter,
    streams::Streams,
    system, user,
};

/// A program to be run in a running container.
pub(crate) struct Job {
    pub(crate) command: Command,
    /// The container's.
    pub(crate) confinement: Confinement,
    pub(crate) streams: ExecStreams,
    pub(crate) already_read: Vec<u8>,
    pub(crate) container: String,
    /// libcontainer's directory, which holds the container's state.
    pub(crate) state: PathBuf,
    /// The container's first process.
    pub(crate) init: Pid,
    pub(crate) filter: Filter,
}

/// Runs the program in this process, which was just forked, and ends with it. `held` is closed as soon as this process
/// has nothing of the container any more.
pub(crate) fn run(job: &Job, client: OwnedFd, held: OwnedFd) -> ! {
    let Ok([client, held]) = system::keep_only([client, held]) else {
        system::exit_now(1);
    };
    let _ = rustix::thread::set_name(c"fabric-exec");
    let (started, mut streams) = match start(job) {
        Ok((process, streams)) => (Ok(process), streams),
        Err(failure) => (Err(failure), Streams::default()),
    };
    if streams.attach(client, &job.already_read).is_err() {
        system::exit_now(1);
    }
    let last = match started {
        Ok(process) => {
            let code = relay(&mut streams, process);
            Frame::Exit(u8::try_from(code).unwrap_or(u8::MAX))
        }
        Err(failure) => Frame::Failed { code: failure.kind.exit_code(), message: failure.to_string() },
    };
    streams.drain();
    streams.conclude(&last);
    // A client that is slow must not keep what the container is made of, nor lose anything when that is removed.
    if !streams.is_flushed() && system::unshare_mounts().is_ok() {
        // Closed by it, once everything else is left.
        std::mem::forget(held);
        farewell::stay(streams)
    }
    flush(&mut streams);
    system::exit_now(0)
}

/// Waits until every client has taken everything, or was dropped.
pub(crate) fn flush(streams: &mut Streams) {
    while !streams.is_flushed() {
        wait(streams, None);
    }
}

fn start(job: &Job) -> Result<(Pid, Streams), Failure> {
    // Through the process, because the container may have mounted something over what it began with.
    let root = system::open_directory(format!("/proc/{}/root", job.init.as_raw_nonzero()).as_ref())
        .map(Root::from_fd)
        .map_err(Failure::at("open the container's root file system"))?;
    let identity = user::resolve(&root, job.command.user.as_deref()).map_err(|error| Failure {
        kind: FailureKind::UnknownUser,
        ..Failure::new("find the user to run as", &error)
    })?;
    let is_directory = root
        .resolve(&job.command.working_directory)
        .ok()
        .and_then(|directory| directory.reopen(OpenFlags::O_PATH | OpenFlags::O_CLOEXEC).ok())
        .is_some_and(|directory| directory.metadata().is_ok_and(|kind| kind.is_dir()));
    if !is_directory {
        let step = format!("enter the working directory {}", job.command.working_directory.display());
        return Err(Failure::message(FailureKind::ProgramNotExecutable, step, "no such directory in the container"));
    }
    let mut process: File =
        rustix::fs::memfd_create(c"process", MemfdFlags::CLOEXEC).map_err(Failure::at("describe the program"))?.into();
    let text =
        serde_json::to_vec(&oci::process(&job.command, &identity, &job.confinement)).expect("a process serialises");
    process.write_all(&text).map_err(Failure::at("describe the program"))?;
    let diagnosis = Diagnosis::begin().map_err(Failure::at("prepare its program"))?;
    let terminal = match job.streams {
        ExecStreams::Pipes { .. } => None,
        ExecStreams::Terminal(size) => Some(Some(size)),
    };
    let prepare = "prepare the program";
    let stdin = matches!(job.streams, ExecStreams::Pipes { stdin: true });
    let (mut streams, ends) = Streams::pipes(stdin, None).map_err(Failure::at(prepare))?;
    let (launcher, launch) =
        Launcher::new(job.filter.clone(), capabilities::of(&job.confinement), &[], terminal, Parentage::Direct)
            .map_err(Failure::at(prepare))?;
    let step = "enter the container";
    let pid = ContainerBuilder::new(job.container.clone(), SyscallType::default())
        .with_root_path(&job.state)
        .map_err(|error| diagnosis.failure(step, &error))?
        .with_executor(launcher.clone())
        .with_stdin(ends.stdin)
        .with_stdout(ends.stdout)
        .with_stderr(ends.stderr)
        .as_tenant()
        .with_process(Some(path_of(&process)))
        .with_detach(true)
        .build()
        .map_err(|error| diagnosis.failure(step, &error))?;
    launcher.close();
    if let Some(terminal) = launch.terminal().map_err(Failure::at("open its terminal"))? {
        streams.use_terminal(terminal).map_err(Failure::at("open its terminal"))?;
    }
    launch.outcome(&job.command)?;
    Ok((Pid::from_raw(pid.as_raw()).expect("a process has a positive identifier"), streams))
}

/// Carries the streams until the process has ended, and returns its exit code.
fn relay(streams: &mut Streams, process: Pid) -> i32 {
    let Ok(ended) = rustix::process::pidfd_open(process, PidfdFlags::empty()) else {
        return system::reap(process);
    };
    loop {
        let (has_ended, signals) = wait(streams, Some(&ended));
        for signal in signals {
            let _ = system::send_signal(ended.as_fd(), i32::from(signal));
        }
        if has_ended {
            return system::reap(process);
        }
        if !streams.has_clients() {
            // Nobody will ever read what it writes: let it learn that, as a program at the end of a pipe does.
            streams.hang_up();
        }
    }
}

/// Waits for something to happen to the streams or the process, and lets the streams act on it.
fn wait(streams: &mut Streams, process: Option<&OwnedFd>) -> (bool, Vec<u8>) {
    let interests = streams.interests();
    let mut polled: Vec<PollFd<'_>> =
        interests.iter().map(|(_, descriptor, flags)| PollFd::from_borrowed_fd(*descriptor, *flags)).collect();
    polled.extend(process.map(|process| PollFd::new(process, PollFlags::IN)));
    let deadline = streams.deadline().map(timeout);
    match rustix::event::poll(&mut polled, deadline.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => system::exit_now(error.raw_os_error()),
    }
    let has_ended = process.is_some() && polled.last().is_some_and(|last| !last.revents().is_empty());
    let happened: Vec<_> = interests
        .iter()
        .zip(&polled)
        .filter(|(_, polled)| !polled.revents().is_empty())
        .map(|((source, ..), polled)| (*source, polled.revents()))
        .collect();
    for (source, flags) in happened {
        streams.ready(source, flags);
    }
    (has_ended, streams.sweep(Instant::now()))
}

/// How long it is until then.
pub(crate) fn timeout(deadline: Instant) -> Timespec {
    let rest = deadline.saturating_duration_since(Instant::now());
    Timespec { tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX), tv_nsec: rest.subsec_nanos().into() }
}
