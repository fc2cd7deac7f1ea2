//! Just enough of the message format (RFC 1035 §4.1) to pass messages on without understanding them.
//!
//! Whatever the fields mean, nothing here fails on arbitrary octets.

use std::ops::Range;

/// The length of the header, behind which the question begins.
pub(crate) const HEADER: usize = 12;

const RESPONSE: u8 = 0b1000_0000;
const TRUNCATED: u8 = 0b0000_0010;
const RECURSION_DESIRED: u8 = 0b0000_0001;
const OPCODE: u8 = 0b0111_1000;

/// A message with a whole header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// The message in `octets`, unless they are too few.
    pub(crate) fn new(octets: &'a [u8]) -> Option<Self> {
        (octets.len() >= HEADER).then_some(Self(octets))
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
    match (failed, response.is_truncated()) {
        (true, _) => Verdict::Failure,
        (false, true) => Verdict::Truncated,
        (false, false) => Verdict::Answer,
    }
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
pub(crate) fn fit(mut response: Vec<u8>, limit: usize) -> Vec<u8> {
    if response.len() > limit {
        let end = Message::new(&response).and_then(Message::question).map_or(HEADER, |question| question.end);
        response.truncate(end);
        response[2] |= TRUNCATED;
        response[4..HEADER].copy_from_slice(&[0, u8::from(end > HEADER), 0, 0, 0, 0, 0, 0]);
    }
    response
}

/// A response to `query` that consists of a header with `code`. For queries that cannot be read further.
pub(crate) fn bare_reply(query: Message<'_>, code: u8) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&query.id());
    reply[2] = RESPONSE | query.0[2] & (OPCODE | RECURSION_DESIRED);
    reply[3] = 0b1000_0000 | code;
    reply
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
