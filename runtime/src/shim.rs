//! The process beside each container: it makes the container, holds its streams, and sees it end.
//!
//! Single-threaded, for it forks; nothing in its loop blocks but the moment in which a program is executed.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Instant,
};

use jiff::Timestamp;
use libcontainer::container::Container;
use model::{Command, Frame};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::SocketFlags,
    process::{Pid, PidfdFlags, Signal},
};

use crate::{
    Created, ExecStreams, Exit, Failure, FailureKind, Observed, client,
    exec::{self, Job},
    executor::Launch,
    exit::Draft,
    farewell,
    protocol::{CreateRequest, Reply, Request},
    seccomp::{Filter, FilterError},
    streams::{Source, Streams},
    system::{self, Fork},
    wire,
};

mod birth;
mod helpers;

use helpers::{Helper, Helpers};

/// `comm` of a shim.
pub(crate) const PROCESS_NAME: &str = "fabric-shim";

/// Makes the container in this process, which was just forked, and stays with it until it has ended.
pub(crate) fn run(
    request: CreateRequest,
    filter: &Result<Filter, FilterError>,
    reply: OwnedFd,
    listener: OwnedFd,
) -> ! {
    let Ok([reply, listener]) = system::keep_only([reply, listener]) else {
        system::exit_now(1);
    };
    let _ = rustix::thread::set_name(c"fabric-shim");
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    // Listening anew makes this process the one that the socket's credentials name.
    let _ = rustix::net::listen(&listener, client::BACKLOG);
    let surplus = [reply.as_raw_fd(), listener.as_raw_fd()];
    let born = match filter {
        Ok(filter) => birth::make(&request, filter.clone(), &surplus),
        Err(error) => Err(Failure::new("compile the seccomp filter", error)),
    };
    match born {
        Ok(newborn) => {
            let pid = newborn.pid.as_raw_nonzero().get();
            let _ = wire::send(&reply, &Reply::Created(Created { pid }), &[]);
            drop(reply);
            // Nobody waits for this; without it, the end of a container cannot be kept once the disk is full.
            let reserved = Exit::reserve(&request.directories.exit_of(&request.spec.id));
            let draft = if reserved.is_ok() { Draft::Reserved } else { Draft::Absent };
            Shim::new(request, newborn, listener, draft).stay()
        }
        Err(failure) => {
            let _ = wire::send(&reply, &Reply::Failed(failure), &[]);
            system::exit_now(1)
        }
    }
}

/// A container that was just made.
struct Newborn {
    pid: Pid,
    process: OwnedFd,
    container: Container,
    launch: Launch,
    streams: Streams,
    filter: Filter,
}

enum Life {
    Created(Launch),
    Running { started_at: Timestamp },
    Exited(Exit),
}

struct Shim {
    request: CreateRequest,
    pid: Pid,
    process: OwnedFd,
    container: Container,
    filter: Filter,
    life: Life,
    /// Of how it ends.
    draft: Draft,
    streams: Streams,
    listener: OwnedFd,
    /// Connections whose request has not arrived.
    asking: Vec<OwnedFd>,
    /// Connections that are answered when the container has ended.
    waiting: Vec<OwnedFd>,
    /// Connections that are closed when this process has nothing of the container any more.
    deleting: Vec<OwnedFd>,
    helpers: Helpers,
}

/// What is polled.
#[derive(Clone, Copy)]
enum Token {
    Stream(Source),
    Listener,
    Asking(usize),
    Waiting(usize),
    Process,
    Helper(usize),
    HelperLetGo(usize),
}

impl Shim {
    fn new(request: CreateRequest, newborn: Newborn, listener: OwnedFd, draft: Draft) -> Self {
        Self {
            request,
            pid: newborn.pid,
            process: newborn.process,
            container: newborn.container,
            filter: newborn.filter,
            life: Life::Created(newborn.launch),
            draft,
            streams: newborn.streams,
            listener,
            asking: Vec::new(),
            waiting: Vec::new(),
            deleting: Vec::new(),
            helpers: Helpers::default(),
        }
    }

    fn stay(mut self) -> ! {
        loop {
            self.helpers.end_overdue(Instant::now());
            if let Life::Exited(_) = self.life {
                if !self.deleting.is_empty() {
                    if !self.helpers.hold() {
                        farewell::stay(self.streams);
                    }
                } else if self.streams.is_flushed() && self.asking.is_empty() {
                    system::exit_now(0);
                }
            }
            self.turn();
        }
    }

    /// Waits for something to happen and acts on it.
    fn turn(&mut self) {
        let happened = self.poll(self.helpers.deadline().into_iter().chain(self.streams.deadline()).min());
        let (mut asking, mut waiting, mut helpers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut has_ended, mut knocks) = (false, false);
        for (token, flags) in happened {
            match token {
                Token::Stream(source) => self.streams.ready(source, flags),
                Token::Listener => knocks = true,
                Token::Asking(index) => asking.push(index),
                Token::Waiting(index) => waiting.push(index),
                Token::Process => has_ended = true,
                Token::Helper(index) => helpers.push(index),
                Token::HelperLetGo(index) => self.helpers.all[index].holds = None,
            }
        }
        for signal in self.streams.sweep(Instant::now()) {
            let _ = self.send_signal(i32::from(signal));
        }
        // From the back, so that removing one does not move the others.
        for index in helpers.into_iter().rev() {
            system::reap(self.helpers.all.swap_remove(index).pid);
        }
        for index in waiting.into_iter().rev() {
            // A connection that waits has nothing more to say: it was closed.
            self.waiting.swap_remove(index);
        }
        if has_ended {
            self.end();
        }
        for index in asking.into_iter().rev() {
            let connection = self.asking.swap_remove(index);
            self.listen_to(connection);
        }
        if knocks {
            self.accept();
        }
    }

    fn poll(&self, deadline: Option<Instant>) -> Vec<(Token, PollFlags)> {
        let mut sources = vec![(Token::Listener, self.listener.as_fd(), PollFlags::IN)];
        let streams = self.streams.interests();
        sources
            .extend(streams.into_iter().map(|(source, descriptor, flags)| (Token::Stream(source), descriptor, flags)));
        for (index, connection) in self.asking.iter().enumerate() {
            sources.push((Token::Asking(index), connection.as_fd(), PollFlags::IN));
        }
        for (index, connection) in self.waiting.iter().enumerate() {
            sources.push((Token::Waiting(index), connection.as_fd(), PollFlags::IN));
        }
        for (index, helper) in self.helpers.all.iter().enumerate() {
            sources.push((Token::Helper(index), helper.process.as_fd(), PollFlags::IN));
            if let Some(holds) = &helper.holds {
                sources.push((Token::HelperLetGo(index), holds.as_fd(), PollFlags::IN));
            }
        }
        if !matches!(self.life, Life::Exited(_)) {
            sources.push((Token::Process, self.process.as_fd(), PollFlags::IN));
        }
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().map(|(_, descriptor, flags)| PollFd::from_borrowed_fd(*descriptor, *flags)).collect();
        match rustix::event::poll(&mut polled, deadline.map(exec::timeout).as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Vec::new(),
            // Nothing can be noticed any more; the container ends with this process, and counts as lost.
            Err(error) => system::exit_now(error.raw_os_error()),
        }
        let happened = sources.iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
        happened.map(|((token, ..), polled)| (*token, polled.revents())).collect()
    }

    fn accept(&mut self) {
        while let Ok(connection) =
            rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
        {
            self.asking.push(connection);
        }
    }

    /// Answers a connection's request, if it has arrived.
    fn listen_to(&mut self, connection: OwnedFd) {
        let (request, descriptors) = match wire::receive::<Request>(&connection) {
            Ok(Some(message)) => message,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.asking.push(connection),
            Ok(None) | Err(_) => return,
        };
        let client = descriptors.into_iter().next();
        let reply = match (request, client) {
            (Request::Start, _) => done(self.start()),
            (Request::State, _) => Reply::State(self.observe()),
            (Request::Kill { signal }, _) => {
                let sent = self.send_signal(signal);
                if signal == i32::from(model::Signal::kill().number()) && sent.is_ok() {
                    self.helpers.take_leave();
                }
                done(sent)
            }
            (Request::Attach { already_read }, Some(client)) => done(self.attach(client, &already_read)),
            (Request::Exec { command, streams, already_read }, Some(client)) => {
                done(self.exec(command, streams, already_read, client))
            }
            (Request::Attach { .. } | Request::Exec { .. }, None) => {
                let cause = "no client came with the request";
                Reply::Failed(Failure::message(FailureKind::Other, "attach a client", cause))
            }
            (Request::Wait, _) => match &self.life {
                Life::Exited(exit) => Reply::Exited(*exit),
                _ => return self.waiting.push(connection),
            },
            (Request::Delete, _) => {
                let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
                self.helpers.take_leave();
                return self.deleting.push(connection);
            }
        };
        // A reply that cannot be sent is for nobody.
        let _ = wire::send(&connection, &reply, &[]);
    }

    fn observe(&self) -> Observed {
        let pid = self.pid.as_raw_nonzero().get();
        match &self.life {
            Life::Created(_) => Observed::Created { pid },
            Life::Running { started_at } => Observed::Running { pid, started_at: *started_at },
            Life::Exited(exit) => Observed::Exited(*exit),
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        let started = Life::Running { started_at: Timestamp::now() };
        let launch = match std::mem::replace(&mut self.life, started) {
            Life::Created(launch) => launch,
            other => {
                self.life = other;
                return Err(Failure::message(FailureKind::Other, "start it", "it was started before"));
            }
        };
        self.container.start().map_err(|error| Failure::new("start it", &error))?;
        launch.outcome(&self.request.spec.command)
    }

    fn send_signal(&self, signal: i32) -> Result<(), Failure> {
        if matches!(self.life, Life::Exited(_)) {
            return Err(not_running());
        }
        match system::send_signal(self.process.as_fd(), signal) {
            // Ended, and not noticed yet.
            Err(Errno::SRCH) => Err(not_running()),
            result => result.map_err(Failure::at(format!("send it signal {signal}"))),
        }
    }

    fn attach(&mut self, client: OwnedFd, already_read: &[u8]) -> Result<(), Failure> {
        if matches!(self.life, Life::Exited(_)) {
            return Err(not_running());
        }
        self.streams.attach(client, already_read).map_err(Failure::at("attach a client"))
    }

    fn exec(
        &mut self,
        command: Command,
        streams: ExecStreams,
        already_read: Vec<u8>,
        client: OwnedFd,
    ) -> Result<(), Failure> {
        if !matches!(self.life, Life::Running { .. }) || self.helpers.are_leaving() {
            return Err(not_running());
        }
        let step = "run a program in it";
        let (holds, held) = io::pipe().map_err(Failure::at(step))?;
        match system::fork().map_err(Failure::at(step))? {
            Fork::Child => {
                let job = Job {
                    command,
                    confinement: self.request.spec.confinement.clone(),
                    streams,
                    already_read,
                    container: self.request.spec.id.to_string(),
                    state: birth::state_directory(&self.request),
                    init: self.pid,
                    filter: self.filter.clone(),
                };
                exec::run(&job, client, held.into())
            }
            Fork::Parent(pid) => {
                let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(Failure::at(step))?;
                self.helpers.all.push(Helper { pid, process, holds: Some(holds.into()) });
                Ok(())
            }
        }
    }

    /// The container's first process has ended, and with it every other in its PID namespace.
    fn end(&mut self) {
        let started_at = match self.life {
            Life::Running { started_at } => Some(started_at),
            Life::Created(_) | Life::Exited(_) => None,
        };
        let exit = Exit { exit_code: system::reap(self.pid), started_at, finished_at: Timestamp::now() };
        self.streams.drain();
        // If this cannot be written, the container will count as lost, which is the truth.
        let _ = exit.write(&self.request.directories.exit_of(&self.request.spec.id), self.draft);
        for connection in self.waiting.drain(..) {
            let _ = wire::send(&connection, &Reply::Exited(exit), &[]);
        }
        self.streams.conclude(&Frame::Exit(u8::try_from(exit.exit_code).unwrap_or(u8::MAX)));
        self.life = Life::Exited(exit);
    }
}

fn done(result: Result<(), Failure>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(failure) => Reply::Failed(failure),
    }
}

fn not_running() -> Failure {
    Failure::message(FailureKind::NotRunning, "reach its first process", "it has ended or was not started")
}
