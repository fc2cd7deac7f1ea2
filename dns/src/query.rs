//! Reads what a client asks: the header, the one question and EDNS (RFC 1035 §4.1, RFC 6891). Without allocation.

use crate::{
    RecordType,
    wire::{self, Message},
};

/// Class IN (RFC 1035 §3.2.4).
pub(crate) const IN: u16 = 1;
/// Labels of the longest name: 255 octets hold 127 labels of one octet and the root.
const LABELS: usize = 127;

/// A query that could be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    /// The whole message.
    pub(crate) message: Message<'a>,
    /// Where the question ends, which begins behind the header.
    pub(crate) question_end: usize,
    pub(crate) kind: RecordType,
    pub(crate) class: u16,
    pub(crate) edns: Option<Edns>,
}

/// What a client says in its OPT record (RFC 6891 §6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns {
    /// The longest datagram that it takes, in octets.
    pub(crate) payload: u16,
    pub(crate) version: u8,
    /// Whether it wants DNSSEC's records (RFC 3225).
    pub(crate) dnssec_ok: bool,
    /// Whether it says more, which an answer may depend on.
    pub(crate) has_options: bool,
}

impl<'a> Query<'a> {
    /// The query in `message`; none if it is malformed, or asks not exactly one question.
    pub(crate) fn read(message: Message<'a>) -> Option<Self> {
        let question = message.question()?;
        let octets = message.octets();
        let tail = &octets[question.end - 4..question.end];
        let mut edns = None;
        for record in wire::records(message) {
            let record = record?;
            if record.kind != RecordType::OPT {
                continue;
            }
            // There is one at most, it belongs to the root, and stands in the additional section (RFC 6891 §6.1.1).
            let is_root = octets[record.start] == 0;
            let is_misplaced = !is_root || record.section != wire::Section::Additional;
            if edns.is_some() || is_misplaced || !are_options(record.data) {
                return None;
            }
            edns = Some(Edns {
                payload: record.class,
                version: (record.ttl >> 16) as u8,
                dnssec_ok: record.ttl & 0x8000 != 0,
                has_options: !record.data.is_empty(),
            });
        }
        Some(Self {
            message,
            question_end: question.end,
            kind: RecordType(u16::from_be_bytes([tail[0], tail[1]])),
            class: u16::from_be_bytes([tail[2], tail[3]]),
            edns,
        })
    }

    /// The name asked for, as the client wrote it, in wire form with the root's octet.
    pub(crate) fn name(&self) -> &'a [u8] {
        &self.message.octets()[wire::HEADER..self.question_end - 4]
    }
}

/// Whether the lengths of an OPT record's options fit (RFC 6891 §6.1.2).
fn are_options(mut data: &[u8]) -> bool {
    while let [_, _, high, low, rest @ ..] = data {
        let Some(rest) = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) else { return false };
        data = rest;
    }
    data.is_empty()
}

/// A name in lower case.
#[derive(Debug, Clone)]
pub(crate) struct LowerName {
    octets: [u8; 255],
    length: usize,
}

impl LowerName {
    /// The name in lower case; `name` is in wire form, uncompressed and of at most 255 octets.
    pub(crate) fn new(name: &[u8]) -> Self {
        let mut octets = [0; 255];
        octets[..name.len()].copy_from_slice(name);
        // Octets of length are below 64, so no letters.
        octets[..name.len()].make_ascii_lowercase();
        Self { octets, length: name.len() }
    }

    /// The name in wire form.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    /// Calls `act` with the labels, leftmost first, without the root.
    pub(crate) fn with_labels<T>(&self, act: impl FnOnce(&[&[u8]]) -> T) -> T {
        let mut labels: [&[u8]; LABELS] = [&[]; LABELS];
        let mut count = 0;
        let mut rest = self.as_slice();
        while let Some((length, behind)) = rest.split_first()
            && *length > 0
        {
            let (label, behind) = behind.split_at(usize::from(*length));
            labels[count] = label;
            count += 1;
            rest = behind;
        }
        act(&labels[..count])
    }
}
