//! One attached client: what it sends, and what waits for it to take.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use model::FrameDecoder;

/// How long a client may take nothing of what waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever sits at the other end of `socket`.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) socket: UnixStream,
    pub(super) decoder: FrameDecoder,
    outgoing: VecDeque<u8>,
    /// Since when it has taken nothing of what waits.
    stalled_since: Option<Instant>,
    /// Whether it may still send.
    pub(super) talks: bool,
    pub(super) gone: bool,
}

/// What waits for a client, and since when it has taken nothing of that.
#[derive(Debug)]
pub(super) struct Rest {
    outgoing: VecDeque<u8>,
    stalled_since: Option<Instant>,
}

impl Client {
    /// One at this socket, which must not block.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            decoder: FrameDecoder::default(),
            outgoing: VecDeque::new(),
            stalled_since: None,
            talks: true,
            gone: false,
        }
    }

    /// Its socket, and what is to be sent there yet.
    pub(super) fn into_parts(self) -> (OwnedFd, Rest) {
        (self.socket.into(), Rest { outgoing: self.outgoing, stalled_since: self.stalled_since })
    }

    /// One that only takes what waits for it.
    pub(super) fn from_parts(socket: OwnedFd, Rest { outgoing, stalled_since }: Rest) -> Self {
        Self { outgoing, stalled_since, talks: false, ..Self::new(socket.into()) }
    }

    /// How many octets wait for it.
    pub(super) fn waiting(&self) -> usize {
        self.outgoing.len()
    }

    /// When it has taken nothing for too long; none while it takes what there is.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stalled_since.map(|since| since + PATIENCE)
    }

    /// Sends what it takes at once, and keeps the rest.
    pub(super) fn send(&mut self, octets: &[u8]) {
        self.outgoing.extend(octets);
        self.write();
    }

    /// Sends as much of what waits as it takes.
    pub(super) fn write(&mut self) {
        loop {
            let (octets, _) = self.outgoing.as_slices();
            if octets.is_empty() {
                self.stalled_since = None;
                return;
            }
            match self.socket.write(octets) {
                Ok(written) => {
                    self.outgoing.drain(..written);
                    self.stalled_since = None;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    self.outgoing.clear();
                    self.stalled_since = None;
                    return;
                }
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
