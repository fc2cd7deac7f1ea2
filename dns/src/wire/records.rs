//! The records of a message, walked over without understanding what they hold.

use std::ops::Range;

use super::{HEADER, Message};
use crate::RecordType;

/// A part of a message that holds records (RFC 1035 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) section: Section,
    /// Where its owner's name begins.
    pub(crate) start: usize,
    pub(crate) kind: RecordType,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// Where its TTL stands.
    pub(crate) ttl_at: usize,
    /// Where its data begins.
    pub(crate) data_at: usize,
    pub(crate) data: &'a [u8],
}

/// The records of `message` in order. A message whose counts or lengths do not fit its octets, or in which an owner's
/// name does not end (RFC 9267 §2), yields `None` where that shows, and nothing further.
pub(crate) fn records(message: Message<'_>) -> Records<'_> {
    let octets = message.octets();
    let count = |at: usize| usize::from(u16::from_be_bytes([octets[at], octets[at + 1]]));
    let (answers, authorities, additionals) = (count(6), count(8), count(10));
    let at = message.question().map_or(HEADER, |question| question.end);
    Records { octets, at, left: [answers, authorities, additionals] }
}

/// See [`records`].
#[derive(Debug, Clone)]
pub(crate) struct Records<'a> {
    octets: &'a [u8],
    at: usize,
    left: [usize; 3],
}

impl<'a> Records<'a> {
    fn read(&mut self, section: Section) -> Option<Record<'a>> {
        let start = self.at;
        let fixed = name_end(self.octets, start)?;
        let head: &[u8; 10] = self.octets.get(fixed..fixed + 10)?.try_into().expect("ten octets");
        let [k0, k1, c0, c1, t0, t1, t2, t3, l0, l1] = *head;
        let data_at = fixed + 10;
        let data = self.octets.get(data_at..data_at + usize::from(u16::from_be_bytes([l0, l1])))?;
        self.at = data_at + data.len();
        Some(Record {
            section,
            start,
            kind: RecordType(u16::from_be_bytes([k0, k1])),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([t0, t1, t2, t3]),
            ttl_at: fixed + 4,
            data_at,
            data,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.left.iter().position(|left| *left > 0)?;
        self.left[index] -= 1;
        let record = self.read([Section::Answer, Section::Authority, Section::Additional][index]);
        if record.is_none() {
            self.left = [0; 3];
        }
        Some(record)
    }
}

/// Where the name that begins at `start` ends, behind its last octet. It must end within 255 octets, and pointers must
/// lead backwards, each before the piece that it ends, so that following them always ends (RFC 1035 §4.1.4).
pub(crate) fn name_end(octets: &[u8], start: usize) -> Option<usize> {
    let mut end = None;
    let (mut at, mut piece, mut length) = (start, start, 1);
    loop {
        match *octets.get(at)? {
            0 => return Some(end.unwrap_or(at + 1)),
            label @ 1..=63 => {
                at += 1 + usize::from(label);
                length += 1 + usize::from(label);
                if length > 255 {
                    return None;
                }
            }
            high @ 0xc0.. => {
                let target = usize::from(u16::from_be_bytes([high & 0x3f, *octets.get(at + 1)?]));
                if target >= piece || target < HEADER {
                    return None;
                }
                end.get_or_insert(at + 2);
                (at, piece) = (target, target);
            }
            _ => return None,
        }
    }
}

/// Whether some name is made of octets of a record's TTL, to which a pointer leads: as the answer grows old, it would
/// be another name, or none. No honest server writes such.
pub(crate) fn has_name_in_ttl(message: Message<'_>) -> bool {
    let octets = message.octets();
    let ttls: Vec<usize> = records(message).flatten().map(|record| record.ttl_at).collect();
    let meets_ttl = |piece: Range<usize>| {
        let next = ttls.partition_point(|at| at + 4 <= piece.start);
        ttls.get(next).is_some_and(|at| *at < piece.end)
    };
    let is_touched = |start: usize| pieces(octets, start).into_iter().flatten().any(meets_ttl);
    records(message).flatten().any(|record| {
        let in_data = match record.kind {
            RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::SOA => Some(0),
            RecordType::MX => Some(2),
            RecordType::SRV => Some(6),
            _ => None,
        };
        let first = in_data.map(|offset| record.data_at + offset);
        let second = first.filter(|_| record.kind == RecordType::SOA).and_then(|first| name_end(octets, first));
        [Some(record.start), first, second].into_iter().flatten().any(is_touched)
    })
}

/// The stretches of octets that the name beginning at `start` is made of: up to each pointer, and to the root.
fn pieces(octets: &[u8], start: usize) -> Option<Vec<Range<usize>>> {
    name_end(octets, start)?;
    let (mut pieces, mut piece, mut at) = (Vec::new(), start, start);
    loop {
        match *octets.get(at)? {
            0 => {
                pieces.push(piece..at + 1);
                return Some(pieces);
            }
            high @ 0xc0.. => {
                pieces.push(piece..at + 2);
                at = usize::from(u16::from_be_bytes([high & 0x3f, *octets.get(at + 1)?]));
                piece = at;
            }
            length => at += 1 + usize::from(length),
        }
    }
}

/// The labels of the name that begins at `start`, where [`name_end`] finds an end.
pub(crate) fn labels(octets: &[u8], start: usize) -> Option<Vec<&[u8]>> {
    name_end(octets, start)?;
    let (mut labels, mut at) = (Vec::new(), start);
    loop {
        match *octets.get(at)? {
            0 => return Some(labels),
            high @ 0xc0.. => at = usize::from(u16::from_be_bytes([high & 0x3f, *octets.get(at + 1)?])),
            length => {
                labels.push(octets.get(at + 1..at + 1 + usize::from(length))?);
                at += 1 + usize::from(length);
            }
        }
    }
}
