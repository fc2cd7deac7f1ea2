//! Just enough of the message format (RFC 1035 §4.1) to pass messages on without understanding them.
//!
//! Whatever the fields mean, nothing here fails on arbitrary octets.

mod records;

use std::ops::Range;

use crate::RecordType;

pub(crate) use self::records::{Record, Section, has_name_in_ttl, labels, name_end, records};

/// The length of the header, behind which the question begins.
pub(crate) const HEADER: usize = 12;

pub(crate) const RESPONSE: u8 = 0b1000_0000;
pub(crate) const TRUNCATED: u8 = 0b0000_0010;
const RECURSION_DESIRED: u8 = 0b0000_0001;
const RECURSION_AVAILABLE: u8 = 0b1000_0000;
const OPCODE: u8 = 0b0111_1000;

/// A message with a whole header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// The message in `octets`, unless they are too few.
    pub(crate) fn new(octets: &'a [u8]) -> Option<Self> {
        (octets.len() >= HEADER).then_some(Self(octets))
    }

    pub(crate) fn octets(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn id(self) -> [u8; 2] {
        [self.0[0], self.0[1]]
    }

    pub(crate) fn is_response(self) -> bool {
        self.0[2] & RESPONSE != 0
    }

    pub(crate) fn is_truncated(self) -> bool {
        self.0[2] & TRUNCATED != 0
    }

    pub(crate) fn opcode(self) -> u8 {
        (self.0[2] & OPCODE) >> 3
    }

    /// The lower four bits of the response code.
    pub(crate) fn response_code(self) -> u8 {
        self.0[3] & 0xf
    }

    pub(crate) fn question_count(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// Where the only question lies: an uncompressed name (nothing precedes it that it could point to), a type and a
    /// class.
    pub(crate) fn question(self) -> Option<Range<usize>> {
        if self.question_count() != 1 {
            return None;
        }
        let mut at = HEADER;
        loop {
            match *self.0.get(at)? {
                0 => break,
                length @ 1..=63 => at += 1 + usize::from(length),
                _ => return None,
            }
        }
        let end = at + 1 + 4;
        (end <= self.0.len() && at + 1 - HEADER <= 255).then_some(HEADER..end)
    }

    fn name_and_kind(self) -> Option<(&'a [u8], &'a [u8])> {
        let octets = &self.0[self.question()?];
        Some(octets.split_at(octets.len() - 4))
    }
}

/// What a message from an upstream is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does not belong to the query: forged, or late.
    Alien,
    /// The upstream could not or would not answer; another may.
    Failure,
    /// The answer, as far as it fitted a datagram.
    Truncated,
    /// The answer.
    Answer,
}

/// Judges `response` to `query` as it was sent. That it came from the address that was asked is the socket's business.
pub(crate) fn judge(query: &[u8], response: &[u8]) -> Verdict {
    let (Some(query), Some(response)) = (Message::new(query), Message::new(response)) else { return Verdict::Alien };
    if response.id() != query.id() || !response.is_response() || response.opcode() != query.opcode() {
        return Verdict::Alien;
    }
    // FORMERR, SERVFAIL, NOTIMP, REFUSED. Some servers leave the question out of these.
    let failed = matches!(response.response_code(), 1 | 2 | 4 | 5);
    match (query.name_and_kind(), response.name_and_kind()) {
        // Some servers answer in lower case whatever the query's case.
        (Some((name, kind)), Some((answered, answered_kind)))
            if name.eq_ignore_ascii_case(answered) && kind == answered_kind => {}
        (_, None) if failed && response.question_count() == 0 => return Verdict::Failure,
        _ => return Verdict::Alien,
    }
    match (failed || !is_sound(response), response.is_truncated()) {
        (true, _) => Verdict::Failure,
        (false, true) => Verdict::Truncated,
        (false, false) => Verdict::Answer,
    }
}

/// Whether a message holds together. One that does not is not passed on: many a client's parser would trip over it
/// (RFC 9267).
pub(crate) fn is_sound(message: Message<'_>) -> bool {
    records(message).all(|record| record.is_some())
}

/// A query for `name`, with or without a final dot, that asks for recursion and takes EDNS; none if that is no name.
pub(crate) fn query(name: &str, kind: RecordType) -> Option<Vec<u8>> {
    let mut octets = vec![0, 0, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let name = name.strip_suffix('.').unwrap_or(name);
    for label in name.split('.').filter(|_| !name.is_empty()) {
        if !(1..=63).contains(&label.len()) {
            return None;
        }
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    if octets.len() - HEADER > 255 {
        return None;
    }
    octets.extend_from_slice(&kind.0.to_be_bytes());
    octets.extend_from_slice(&[0, 1]);
    // An OPT record: datagrams of up to 1232 octets, version 0.
    octets.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    Some(octets)
}

/// Gives `message` another id.
pub(crate) fn set_id(message: &mut [u8], id: [u8; 2]) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id);
    }
}

/// Makes a response to the query as it was sent one to the query as the client wrote it: its id, and its question with
/// upper and lower case as there. The lengths agree, so compression pointers stay right.
pub(crate) fn address_to(client_query: &[u8], response: &mut [u8]) {
    let question = |octets: &[u8]| Message::new(octets).and_then(Message::question);
    set_id(response, [client_query[0], client_query[1]]);
    if let (Some(asked), Some(answered)) = (question(client_query), question(response))
        && asked == answered
    {
        response[answered].copy_from_slice(&client_query[asked]);
    }
}

/// Cuts a response down to its header and question, and says so, if it is longer than `limit` octets.
pub(crate) fn fit(response: &mut Vec<u8>, limit: usize) {
    if response.len() > limit {
        cut(response);
    }
}

/// Cuts a response down to its header and question, and says so.
pub(crate) fn cut(response: &mut Vec<u8>) {
    let Some(message) = Message::new(response) else { return };
    let end = message.question().map_or(HEADER, |question| question.end);
    response.truncate(end);
    response[2] |= TRUNCATED;
    response[4..HEADER].copy_from_slice(&[0, u8::from(end > HEADER), 0, 0, 0, 0, 0, 0]);
}

/// A response to `query` that consists of a header with `code`. For queries that cannot be read further.
pub(crate) fn bare_reply(query: Message<'_>, code: u8, reply: &mut Vec<u8>) {
    let [id0, id1] = query.id();
    let flags = RESPONSE | query.0[2] & (OPCODE | RECURSION_DESIRED);
    reply.clear();
    reply.extend_from_slice(&[id0, id1, flags, RECURSION_AVAILABLE | code, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// `message` with its length in front, as it goes over a stream (RFC 1035 §4.2.2). One buffer, so that it leaves in one
/// segment (RFC 7766 §8).
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length =
        u16::try_from(message.len()).expect("messages are read from 16-bit frames or written below 65,536 octets");
    [&length.to_be_bytes(), message].concat()
}

#[cfg(test)]
mod tests;
