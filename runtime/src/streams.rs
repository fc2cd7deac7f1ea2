//! Carries a process's standard streams to a log and to attached clients, without ever blocking.
//!
//! Octets are read from the process only while every client has room, so that one slow client slows the process down
//! as a terminal would. A client that hangs is dropped, and the process goes on.

mod client;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Instant,
};

use jiff::Timestamp;
use model::{Frame, Stream};
use rustix::event::PollFlags;

use self::client::Client;
use crate::{log::LogWriter, system, terminal};

/// How many pieces are read at most of what a process that ended left in a pipe: more than a pipe ever holds.
const DRAINED: usize = 64;

/// How many octets may wait, for a client or for standard input, before nothing more is read for it.
const MAX_WAITING: usize = 256 << 10;
const CHUNK: usize = 32 << 10;

/// What is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdin,
    Output(Stream),
    Client(usize),
}

/// The streams of one process.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    stdin: Option<File>,
    to_stdin: VecDeque<u8>,
    stdin_ended: bool,
    stdout: Option<File>,
    stderr: Option<File>,
    /// The side of the process's terminal that clients sit at, if it has one; then it is both `stdin` and `stdout`.
    terminal: Option<File>,
    log: Option<LogWriter>,
    clients: Vec<Client>,
    signals: Vec<u8>,
}

/// What a process is given as its standard streams.
pub(crate) struct Ends {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

impl Streams {
    /// Pipes for a process; unless it is `open_stdin`, its standard input has ended already. That is a pipe as well,
    /// not `/dev/null`: opened out here it would be the host's own device node, for the process to change its mode.
    pub(crate) fn pipes(open_stdin: bool, log: Option<LogWriter>) -> io::Result<(Self, Ends)> {
        let (ours_out, stdout) = io::pipe()?;
        let (ours_err, stderr) = io::pipe()?;
        let (stdin, ours_in) = if open_stdin {
            let (stdin, ours) = io::pipe()?;
            (OwnedFd::from(stdin), Some(non_blocking(ours)?))
        } else {
            (io::pipe()?.0.into(), None)
        };
        let streams = Self {
            stdin: ours_in,
            stdout: Some(non_blocking(ours_out)?),
            stderr: Some(non_blocking(ours_err)?),
            log,
            ..Self::default()
        };
        Ok((streams, Ends { stdin, stdout: stdout.into(), stderr: stderr.into() }))
    }

    /// In place of the pipes, whose other ends the process has closed, its streams are this terminal.
    pub(crate) fn use_terminal(&mut self, seat: OwnedFd) -> io::Result<()> {
        let seat = non_blocking(seat)?;
        self.stdin = Some(seat.try_clone()?);
        self.stdout = Some(seat.try_clone()?);
        self.stderr = None;
        self.terminal = Some(seat);
        Ok(())
    }

    /// Adds a client, from which `already_read` has been received.
    pub(crate) fn attach(&mut self, socket: OwnedFd, already_read: &[u8]) -> io::Result<()> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let mut client = Client::new(socket);
        client.decoder.push(already_read);
        self.clients.push(client);
        self.take_frames(self.clients.len() - 1);
        Ok(())
    }

    /// What to wait for at the moment.
    pub(crate) fn interests(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut interests = Vec::new();
        if let Some(stdin) = &self.stdin {
            // Without octets to write only to notice that nobody reads any more.
            let flags = if self.to_stdin.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            interests.push((Source::Stdin, stdin.as_fd(), flags));
        }
        if self.clients.iter().all(|client| client.waiting() < MAX_WAITING) {
            let outputs = [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)];
            interests.extend(
                outputs
                    .into_iter()
                    .filter_map(|(stream, file)| Some((Source::Output(stream), file.as_ref()?.as_fd(), PollFlags::IN))),
            );
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.talks && self.to_stdin.len() < MAX_WAITING);
            flags.set(PollFlags::OUT, client.waiting() > 0);
            interests.push((Source::Client(index), client.as_fd(), flags));
        }
        interests
    }

    /// Until when to wait at most.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(Client::deadline).min()
    }

    /// Acts on what happened to a source; to be followed by [`Streams::sweep`] after all of them.
    pub(crate) fn ready(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Stdin if flags.intersects(PollFlags::ERR | PollFlags::HUP) => self.close_stdin(),
            Source::Stdin => self.write_stdin(),
            Source::Output(stream) => {
                self.read_output(stream);
            }
            Source::Client(index) => {
                if flags.contains(PollFlags::IN) {
                    self.read_client(index);
                } else if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
                    self.clients[index].gone = true;
                }
                if flags.contains(PollFlags::OUT) {
                    self.clients[index].write();
                }
            }
        }
    }

    /// Drops the clients that are gone or hang, and returns the signals that clients have sent.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<u8> {
        for client in &mut self.clients {
            client.gone |= client.deadline().is_some_and(|deadline| now >= deadline);
        }
        let before = self.clients.len();
        let talked = self.clients.iter().any(|client| client.talks);
        self.clients.retain(|client| !client.gone);
        if before > self.clients.len() && talked {
            self.end_stdin_unless_talked_to();
        }
        std::mem::take(&mut self.signals)
    }

    /// Whether every client has taken everything.
    pub(crate) fn is_flushed(&self) -> bool {
        self.clients.iter().all(|client| client.waiting() == 0)
    }

    /// Whether anybody is attached.
    pub(crate) fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Lets go of the process's streams: what it writes from now on fails.
    pub(crate) fn hang_up(&mut self) {
        self.stdout = None;
        self.stderr = None;
        self.terminal = None;
        self.close_stdin();
    }

    /// Takes what the process left in its pipes and closes them; for a process that has ended.
    pub(crate) fn drain(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            // Others may still write to the same pipe, and faster than this reads.
            for _ in 0..DRAINED {
                if !self.read_output(stream) {
                    break;
                }
            }
        }
        self.hang_up();
        if let Some(log) = &mut self.log {
            log.finish();
        }
    }

    /// Sends a last frame to all clients.
    pub(crate) fn conclude(&mut self, frame: &Frame) {
        let octets = frame.encode();
        for client in &mut self.clients {
            client.send(&octets);
            client.talks = false;
        }
    }

    /// What is left to do after [`Streams::conclude`]: the clients for which something waits. Every other descriptor of
    /// this process is closed, so it must never return into a frame that owns one.
    pub(crate) fn only_clients(mut self) -> io::Result<Self> {
        let clients = std::mem::take(&mut self.clients);
        drop(self);
        let waiting = clients.into_iter().filter(|client| client.waiting() > 0);
        let (sockets, rests): (Vec<_>, Vec<_>) = waiting.map(Client::into_parts).unzip();
        let sockets = system::keep_only_these(sockets)?.into_iter();
        let clients = sockets.zip(rests).map(|(socket, rest)| Client::from_parts(socket, rest));
        Ok(Self { clients: clients.collect(), ..Self::default() })
    }

    fn write_stdin(&mut self) {
        while let Some(stdin) = &mut self.stdin {
            let (octets, _) = self.to_stdin.as_slices();
            if octets.is_empty() {
                break;
            }
            match stdin.write(octets) {
                Ok(written) => drop(self.to_stdin.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.close_stdin(),
            }
        }
        if self.stdin_ended {
            self.close_stdin();
        }
    }

    fn close_stdin(&mut self) {
        self.stdin = None;
        self.to_stdin.clear();
    }

    fn end_stdin(&mut self) {
        if self.terminal.is_some() {
            // It ends when its process does; clients come and go.
            return;
        }
        self.stdin_ended = true;
        self.write_stdin();
    }

    fn end_stdin_unless_talked_to(&mut self) {
        if !self.clients.iter().any(|client| client.talks && !client.gone) {
            self.end_stdin();
        }
    }

    /// Reads once; false when there is nothing to read at the moment, or ever again.
    fn read_output(&mut self, stream: Stream) -> bool {
        let file = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(open) = file else {
            return false;
        };
        let mut buffer = vec![0; CHUNK];
        match open.read(&mut buffer) {
            Ok(0) => {
                *file = None;
                false
            }
            Ok(read) => {
                buffer.truncate(read);
                if let Some(log) = &mut self.log {
                    log.write(stream, &buffer, Timestamp::now());
                }
                if !self.clients.is_empty() {
                    let octets = Frame::Output(stream, buffer).encode();
                    self.clients.iter_mut().for_each(|client| client.send(&octets));
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                *file = None;
                false
            }
        }
    }

    fn read_client(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let mut buffer = vec![0; CHUNK];
        match client.socket.read(&mut buffer) {
            Ok(0) => {
                // It sends no more, but may still listen; that it does not is noticed when it is written to.
                client.talks = false;
                self.end_stdin_unless_talked_to();
            }
            Ok(read) => {
                client.decoder.push(&buffer[..read]);
                self.take_frames(index);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => client.gone = true,
        }
    }

    fn take_frames(&mut self, index: usize) {
        loop {
            let client = &mut self.clients[index];
            match client.decoder.next_frame() {
                Ok(Some(Frame::Stdin(octets))) => {
                    if self.stdin.is_some() && !self.stdin_ended {
                        self.to_stdin.extend(octets);
                        self.write_stdin();
                    }
                }
                Ok(Some(Frame::StdinEnd)) => self.end_stdin(),
                Ok(Some(Frame::Resize(size))) => {
                    if let Some(terminal) = &self.terminal {
                        // A size that the kernel refuses is the client's own affair.
                        let _ = terminal::resize(terminal, size);
                    }
                }
                Ok(Some(Frame::Signal(number))) => self.signals.push(number),
                Ok(None) => return,
                // Not for this direction, or no frame: it does not speak the protocol.
                Ok(Some(_)) | Err(_) => {
                    client.gone = true;
                    return;
                }
            }
        }
    }
}

fn non_blocking(pipe: impl Into<OwnedFd>) -> io::Result<File> {
    let pipe: OwnedFd = pipe.into();
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(pipe.into())
}

#[cfg(test)]
mod tests;
