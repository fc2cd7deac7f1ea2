//! One socket that asks, and what it has under way.

use std::{
    collections::VecDeque,
    io::{IoSlice, IoSliceMut},
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    time::Instant,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg},
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use super::{Asking, PATIENCE};
use crate::peer::Absence;

/// Datagrams in one call.
const BATCH: usize = 32;
const LENGTH: usize = 512;

pub(super) struct Flow<'a> {
    asking: Asking<'a>,
    /// How many may be under way.
    window: usize,
    socket: UdpSocket,
    /// The query that is asked next.
    next: usize,
    /// By message ID: the query that waits for an answer.
    waiting: Vec<Option<usize>>,
    /// IDs that were given away and when, oldest first; one that is answered stays until it is the oldest.
    given: VecDeque<(u16, Instant)>,
    id: u16,
    under_way: usize,
    answered: u64,
    lost: u64,
    buffer: Vec<u8>,
}

impl<'a> Flow<'a> {
    pub(super) fn open(asking: &Asking<'a>, window: usize) -> Result<Self, Absence> {
        let open = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(asking.server)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        Ok(Self {
            asking: *asking,
            window,
            socket: open().map_err(|error: std::io::Error| format!("cannot ask {}: {error}", asking.server))?,
            next: 0,
            waiting: vec![None; 1 << 16],
            given: VecDeque::new(),
            id: 0,
            under_way: 0,
            answered: 0,
            lost: 0,
            buffer: vec![0; BATCH * LENGTH],
        })
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Takes replies that have come in, and says how many.
    pub(super) fn receive(&mut self) -> Result<usize, Absence> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut slots: Vec<[IoSliceMut<'_>; 1]> =
            buffer.chunks_exact_mut(LENGTH).map(|piece| [IoSliceMut::new(piece)]).collect();
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let received =
            match recvmmsg(self.socket.as_raw_fd(), &mut headers, slots.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                Ok(received) => received.map(|message| message.bytes).collect::<Vec<_>>(),
                Err(Errno::EAGAIN) => Vec::new(),
                Err(error) => return Err(format!("recvmmsg: {error}")),
            };
        for (length, slot) in received.iter().zip(buffer.chunks_exact(LENGTH)) {
            self.take(&slot[..(*length).min(LENGTH)])?;
        }
        self.buffer = buffer;
        Ok(received.len())
    }

    fn take(&mut self, reply: &[u8]) -> Result<(), Absence> {
        let [id0, id1, ..] = *reply else { return Err("it sends something else than DNS".to_owned()) };
        // None: it was given up, or is a double.
        let Some(index) = self.waiting[usize::from(u16::from_be_bytes([id0, id1]))].take() else { return Ok(()) };
        self.under_way -= 1;
        self.answered += 1;
        let question = &self.asking.queries[index][12..];
        if reply.get(12..12 + question.len()) != Some(question) || reply[2] & 0x80 == 0 {
            return Err("it answers another question".to_owned());
        }
        match reply[3] & 0xf {
            0 if self.asking.answers && reply[6..8] == [0, 0] => Err("it has no record of a name".to_owned()),
            code if self.asking.answers && code != 0 => Err(format!("it answers with response code {code}")),
            _ => Ok(()),
        }
    }

    /// Gives up what has waited for too long.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some((id, since)) = self.given.front() {
            let waits = &mut self.waiting[usize::from(*id)];
            if waits.is_some() && now.saturating_duration_since(*since) < PATIENCE {
                break;
            }
            if waits.take().is_some() {
                self.under_way -= 1;
                self.lost += 1;
            }
            self.given.pop_front();
        }
    }

    /// Sends as many queries as may be under way.
    pub(super) fn send(&mut self, now: Instant) -> Result<(), Absence> {
        // No ID is given away again before it is out of `given`.
        let free = self.waiting.len() - self.given.len();
        let mut room = self.window.saturating_sub(self.under_way).min(free);
        while room > 0 {
            let count = room.min(BATCH);
            let sent = self.transmit(count)?;
            for offset in 0..sent {
                let id = self.id.wrapping_add(offset as u16);
                self.waiting[usize::from(id)] = Some((self.next + offset) % self.asking.queries.len());
                self.given.push_back((id, now));
            }
            self.id = self.id.wrapping_add(sent as u16);
            self.next = (self.next + sent) % self.asking.queries.len();
            self.under_way += sent;
            room -= sent;
            if sent < count {
                // The socket is full; there is a next time.
                break;
            }
        }
        Ok(())
    }

    fn transmit(&self, count: usize) -> Result<usize, Absence> {
        let ids: Vec<[u8; 2]> = (0..count).map(|offset| self.id.wrapping_add(offset as u16).to_be_bytes()).collect();
        let queries = self.asking.queries;
        let slices: Vec<[IoSlice<'_>; 2]> = ids
            .iter()
            .enumerate()
            .map(|(offset, id)| {
                let query = &queries[(self.next + offset) % queries.len()];
                [IoSlice::new(id), IoSlice::new(&query[2..])]
            })
            .collect();
        let mut ancillary: Vec<SendAncillaryBuffer<'_, '_, '_>> = ids.iter().map(|_| Default::default()).collect();
        let mut messages: Vec<MMsgHdr<'_>> =
            slices.iter().zip(&mut ancillary).map(|(slice, ancillary)| MMsgHdr::new(slice, ancillary)).collect();
        match sendmmsg(&self.socket, &mut messages, SendFlags::DONTWAIT) {
            Ok(sent) => Ok(sent),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(error) => Err(format!("sendmmsg: {error}")),
        }
    }
}
