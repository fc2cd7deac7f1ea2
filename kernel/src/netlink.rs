//! Netlink sockets: many requests in one system call, and an answer to each.

use std::{collections::BTreeMap, fmt, io, thread, time::Duration};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::SocketAddr;

use crate::KernelError;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLMSGERR_ATTR_MSG`, `include/uapi/linux/netlink.h`: the kernel's explanation of an error.
const ERROR_TEXT: u16 = 1;
/// `include/uapi/linux/netlink.h`: the dump is inconsistent.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// How many requests are sent before their answers are read, so that the answers fit the receive buffer.
const WINDOW: usize = 64;
/// How often a dump that raced with a change is started again, and after how many of them it waits a little before: so
/// much longer each time, and half a second in all.
const DUMP_ATTEMPTS: u32 = 16;
const DUMP_ATTEMPTS_AT_ONCE: u32 = 6;
const DUMP_PAUSE: Duration = Duration::from_millis(10);
/// The same where somebody may change things for that purpose, and how many objects are then read at most.
const FEW_ATTEMPTS: u32 = 3;
const MANY_OBJECTS: usize = 1 << 16;

/// The kernel's refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: i32,
    detail: Option<String>,
}

/// A message that is ready to be sent but for its sequence number.
#[derive(Debug)]
pub(crate) struct Request(Vec<u8>);

/// A message that the kernel answered with.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) payload: Vec<u8>,
}

/// What a request led to.
pub(crate) type Answer = Result<Vec<Reply>, Refusal>;

/// A netlink socket in the namespace of the thread that opened it.
pub(crate) struct Socket {
    socket: netlink_sys::Socket,
    sequence: u32,
    port: u32,
    attempts: u32,
    objects: usize,
}

impl Refusal {
    /// Whether it is this error, a number of `errno(3)`.
    pub(crate) fn is(&self, errno: rustix::io::Errno) -> bool {
        self.code == errno.raw_os_error()
    }

    fn broken(error: &io::Error) -> Self {
        Self { code: error.raw_os_error().unwrap_or_default(), detail: Some(error.to_string()) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.code).fmt(f)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

impl Request {
    /// A request to do something, or to return one object.
    pub(crate) fn new<M: NetlinkSerializable>(message: M, flags: u16) -> Self {
        Self::raw(message, flags | NLM_F_REQUEST | NLM_F_ACK)
    }

    /// A request to return many objects.
    pub(crate) fn dump<M: NetlinkSerializable>(message: M) -> Self {
        Self::raw(message, NLM_F_REQUEST | NLM_F_DUMP)
    }

    /// A request that the kernel answers only if it fails, such as the borders of an nftables batch.
    pub(crate) fn unanswered<M: NetlinkSerializable>(message: M) -> Self {
        Self::raw(message, NLM_F_REQUEST)
    }

    fn raw<M: NetlinkSerializable>(message: M, flags: u16) -> Self {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Self(bytes)
    }

    fn wants_answer(&self) -> bool {
        let flags = u16::from_ne_bytes([self.0[6], self.0[7]]);
        flags & (NLM_F_ACK | NLM_F_DUMP) != 0
    }
}

impl Socket {
    /// Opens a socket of a netlink protocol, such as `NETLINK_ROUTE`.
    pub(crate) fn open(protocol: isize) -> Result<Self, KernelError> {
        let open = || {
            let mut socket = netlink_sys::Socket::new(protocol)?;
            let port = socket.bind_auto()?.port_number();
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            // Only with strict checking does the kernel filter address and route dumps.
            socket.set_netlink_get_strict_chk(true)?;
            // Large enough for the answers to one window of requests.
            socket.set_rx_buf_sz(1_u32 << 20)?;
            Ok((socket, port))
        };
        let (socket, port) =
            open().map_err(|source| KernelError::System { action: "open a netlink socket".into(), source })?;
        Ok(Self { socket, sequence: 0, port, attempts: DUMP_ATTEMPTS, objects: usize::MAX })
    }

    /// The same socket, where whoever makes the objects must not keep others waiting by their number, or by changing
    /// them.
    pub(crate) fn impatient(self) -> Self {
        Self { attempts: FEW_ATTEMPTS, objects: MANY_OBJECTS, ..self }
    }

    /// The socket, from which what the kernel tells by itself can be read without waiting.
    pub(crate) fn into_listener(self) -> io::Result<netlink_sys::Socket> {
        self.socket.set_non_blocking(true)?;
        Ok(self.socket)
    }

    /// The socket's address, by which the kernel tells whose request made a change.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends requests, as few system calls as possible, and returns an answer to each, in their order. A refused
    /// request does not keep the next from being tried.
    pub(crate) fn exchange(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let window: Vec<_> = requests.by_ref().take(WINDOW).collect();
            answers.extend(self.exchange_at_once(window));
        }
        answers
    }

    /// Sends all requests in one system call, as an nftables batch must be.
    pub(crate) fn exchange_at_once(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        self.exchange_some(requests, &|_| true)
    }

    fn exchange_some(&mut self, requests: Vec<Request>, keep: &dyn Fn(&Reply) -> bool) -> Vec<Answer> {
        let first = self.sequence.wrapping_add(1);
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(requests.len());
        let mut bytes = Vec::new();
        for mut request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            request.0[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
            answers.push(if request.wants_answer() { None } else { Some(Ok(Vec::new())) });
            bytes.extend_from_slice(&request.0);
        }
        let failure = self.socket.send(&bytes, 0).and_then(|_| self.receive(first, &mut answers, keep)).err();
        let failure = failure.map(|error| Refusal::broken(&error));
        let unanswered = || Err(failure.clone().unwrap_or(Refusal { code: 0, detail: Some("no answer".into()) }));
        answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }

    /// Sends one request.
    pub(crate) fn call(&mut self, request: Request) -> Answer {
        self.exchange_at_once(vec![request]).pop().expect("one request has one answer")
    }

    /// Dumps objects, again if they changed meanwhile. `request` makes the message anew for each attempt.
    pub(crate) fn dump<M: NetlinkSerializable>(&mut self, request: impl Fn() -> M) -> Answer {
        self.dump_some(request, &|_| true)
    }

    /// Dumps objects and keeps some of them; the others never take up memory together.
    pub(crate) fn dump_some<M: NetlinkSerializable>(
        &mut self,
        request: impl Fn() -> M,
        keep: &dyn Fn(&Reply) -> bool,
    ) -> Answer {
        let interrupted = rustix::io::Errno::INTR;
        for attempt in 0..self.attempts {
            thread::sleep(DUMP_PAUSE * attempt.saturating_sub(DUMP_ATTEMPTS_AT_ONCE));
            let answers = self.exchange_some(vec![Request::dump(request())], keep);
            match answers.into_iter().next().expect("one request has one answer") {
                Err(refusal) if refusal.is(interrupted) => {}
                answer => return answer,
            }
        }
        Err(Refusal {
            code: interrupted.raw_os_error(),
            detail: Some("the objects change faster than they can be read".into()),
        })
    }

    fn receive(&mut self, first: u32, answers: &mut [Option<Answer>], keep: &dyn Fn(&Reply) -> bool) -> io::Result<()> {
        let mut replies: BTreeMap<usize, Vec<Reply>> = BTreeMap::new();
        let mut interrupted = false;
        let mut buffer = Vec::with_capacity(1 << 16);
        while answers.iter().any(Option::is_none) {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            for message in messages(&buffer) {
                let index = message.sequence.wrapping_sub(first) as usize;
                let Some(answer) = answers.get_mut(index) else {
                    // Left over from a request that was given up.
                    continue;
                };
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let code = message.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        *answer = Some(if code != 0 {
                            Err(Refusal { code: -code, detail: error_text(message.payload) })
                        } else if interrupted {
                            Err(Refusal { code: rustix::io::Errno::INTR.raw_os_error(), detail: None })
                        } else {
                            Ok(replies.remove(&index).unwrap_or_default())
                        });
                    }
                    _ => {
                        let reply = Reply { payload: message.payload.to_vec() };
                        if keep(&reply) {
                            let replies = replies.entry(index).or_default();
                            if replies.len() == self.objects {
                                return Err(io::Error::other(format!("there are more than {} objects", self.objects)));
                            }
                            replies.push(reply);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// One message of those that the kernel sent together.
pub(crate) struct Message<'a> {
    /// What it is about: a number of the protocol's own.
    pub(crate) kind: u16,
    flags: u16,
    sequence: u32,
    /// The port of the socket whose request caused it; 0 is the kernel itself.
    pub(crate) cause: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages that one read returned.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (message, rest) = split_message(bytes)?;
        bytes = rest;
        Some(message)
    })
}

fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let number = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let length = number(0) as usize;
    let payload = bytes.get(HEADER..length)?;
    let message = Message {
        kind: u16::from_ne_bytes([header[4], header[5]]),
        flags: u16::from_ne_bytes([header[6], header[7]]),
        sequence: number(8),
        cause: number(12),
        payload,
    };
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The explanation behind an error code and the header of the refused request (`NETLINK_EXT_ACK`).
fn error_text(payload: &[u8]) -> Option<String> {
    let text = attribute(payload.get(4 + HEADER..)?, ERROR_TEXT)?;
    Some(string(text))
}

/// The attributes in a message's payload, behind its fixed header: type without flags, and value.
///
/// Replies are read attribute by attribute, not parsed into whole messages: a foreign interface with an attribute
/// that no library knows yet must not keep ours from being seen.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header: &[u8; 4] = bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A number in the host's byte order.
pub(crate) fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// A text that ends at its first NUL.
pub(crate) fn string(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_attributes_end_the_walk() {
        for (bytes, found) in [
            (&[][..], 0),
            (&[4, 0, 1, 0], 1),
            (&[3, 0, 1, 0], 0),
            (&[0, 0, 0, 0], 0),
            (&[8, 0, 1, 0, 1], 0),
            (&[5, 0, 1, 128, 9, 0, 0, 0, 4, 0, 2, 0], 2),
        ] {
            assert_eq!(attributes(bytes).count(), found, "{bytes:?}");
        }
    }

    #[test]
    fn truncated_messages_are_left_alone() {
        let mut bytes = vec![0; 24];
        bytes[0] = 20;
        assert_eq!(split_message(&bytes).map(|(message, rest)| (message.payload.len(), rest.len())), Some((4, 4)));
        bytes[0] = 25;
        assert!(split_message(&bytes).is_none());
        bytes[0] = 8;
        assert!(split_message(&bytes).is_none());
    }
}
