//! Writes a reply record by record, within a limit (RFC 1035 §4.1).

use std::net::IpAddr;

use super::{Code, DATAGRAM, ExtendedError};
use crate::{
    RecordType, Snapshot,
    query::{IN, Query},
    wire::{HEADER, RESPONSE, TRUNCATED},
};

/// Where the question's name stands, for compression pointers.
pub(super) const QUESTION: u16 = HEADER as u16;

const AUTHORITATIVE: u8 = 0b0000_0100;
const RECURSION_DESIRED: u8 = 0b0000_0001;
const RECURSION_AVAILABLE: u8 = 0b1000_0000;
const CHECKING_DISABLED: u8 = 0b0001_0000;
/// Octets of an OPT record without options (RFC 6891 §6.1.2).
const OPT_RECORD: usize = 11;
/// The largest offset that a compression pointer can hold.
const POINTER: usize = 0x3fff;

/// The section a record goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Answer,
    Authority,
    Additional,
}

/// A reply in the making.
pub(super) struct Writer<'q, 'b> {
    query: &'q Query<'q>,
    octets: &'b mut Vec<u8>,
    /// How long it may become before the OPT record is added.
    limit: usize,
    counts: [u16; 3],
}

impl<'q, 'b> Writer<'q, 'b> {
    /// A reply to `query` of at most `limit` octets; `octets` is emptied. The question is repeated as the client wrote
    /// it: resolvers that vary the case check that it comes back (draft-vixie-dnsext-dns0x20).
    pub(super) fn new(query: &'q Query<'q>, limit: usize, octets: &'b mut Vec<u8>) -> Self {
        let asked = query.message.octets();
        octets.clear();
        octets.extend_from_slice(&asked[..query.question_end]);
        octets[2] = RESPONSE | asked[2] & RECURSION_DESIRED;
        octets[3] = RECURSION_AVAILABLE | asked[3] & CHECKING_DISABLED;
        octets[4..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        let reserved = if query.edns.is_some() { OPT_RECORD } else { 0 };
        Self { query, octets, limit: limit - reserved, counts: [0; 3] }
    }

    pub(super) fn set_authoritative(&mut self) {
        self.octets[2] |= AUTHORITATIVE;
    }

    /// An A or AAAA record of the name at `owner`; false if there is no room for it.
    pub(super) fn address(&mut self, owner: u16, ttl: u32, address: IpAddr, place: Place) -> bool {
        match address {
            IpAddr::V4(address) => {
                self.record(owner, RecordType::A, ttl, place, |data| data.extend_from_slice(&address.octets()))
            }
            IpAddr::V6(address) => {
                self.record(owner, RecordType::AAAA, ttl, place, |data| data.extend_from_slice(&address.octets()))
            }
        }
    }

    /// A PTR record of the question's name.
    pub(super) fn pointer<'l>(&mut self, ttl: u32, target: impl Iterator<Item = &'l str>) {
        self.record(QUESTION, RecordType::PTR, ttl, Place::Answer, |data| name(data, target));
    }

    /// An SRV record of the question's name, and where its target stands if a pointer can lead there; none if there is
    /// no room for the record. All have one priority and one weight. The target is not compressed (RFC 2782).
    pub(super) fn service<'l>(
        &mut self,
        ttl: u32,
        port: u16,
        target: impl Iterator<Item = &'l str>,
    ) -> Option<Option<u16>> {
        let mut target_at = 0;
        let written = self.record(QUESTION, RecordType::SRV, ttl, Place::Answer, |data| {
            data.extend_from_slice(&[0, 0, 0, 1]);
            data.extend_from_slice(&port.to_be_bytes());
            target_at = data.len();
            name(data, target);
        });
        written.then_some((target_at <= POINTER).then_some(target_at as u16))
    }

    /// The record that stands for all others of a name (RFC 8482 §4.2).
    pub(super) fn minimal(&mut self, ttl: u32) {
        self.record(QUESTION, RecordType::HINFO, ttl, Place::Answer, |data| data.extend_from_slice(b"\x07RFC8482\0"));
    }

    /// The SOA record of the zone that has the last `labels` of the question's name. In the authority section it says
    /// how long the absence of something may be remembered (RFC 2308 §3).
    pub(super) fn start_of_authority(&mut self, snapshot: &Snapshot, labels: usize, place: Place) {
        let owner = self.suffix(labels);
        let domain = snapshot.domain();
        self.record(owner, RecordType::SOA, snapshot.ttl(), place, |data| {
            name(data, domain.labels());
            name(data, std::iter::once("hostmaster").chain(domain.labels()));
            // Nobody transfers the zone, so the intervals mean nothing.
            for number in [snapshot.serial(), 3600, 600, 86400, snapshot.ttl()] {
                data.extend_from_slice(&number.to_be_bytes());
            }
        });
    }

    /// Where the last `labels` of the question's name begin.
    fn suffix(&self, labels: usize) -> u16 {
        let asked = self.query.name();
        let starts = || {
            std::iter::successors(Some(0), |at| {
                let length = usize::from(asked[*at]);
                (length > 0).then_some(at + 1 + length)
            })
        };
        let skipped = (starts().count() - 1).saturating_sub(labels);
        let at = starts().nth(skipped).expect("no more labels are skipped than there are");
        (HEADER + at) as u16
    }

    fn record(
        &mut self,
        owner: u16,
        kind: RecordType,
        ttl: u32,
        place: Place,
        data: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let before = self.octets.len();
        self.octets.extend_from_slice(&(0xc000 | owner).to_be_bytes());
        self.octets.extend_from_slice(&kind.0.to_be_bytes());
        self.octets.extend_from_slice(&IN.to_be_bytes());
        self.octets.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.octets.len();
        self.octets.extend_from_slice(&[0, 0]);
        data(self.octets);
        if self.octets.len() > self.limit {
            self.octets.truncate(before);
            // What is left out of the additional section is no loss (RFC 2181 §9).
            if place != Place::Additional {
                self.octets[2] |= TRUNCATED;
            }
            return false;
        }
        let length = (self.octets.len() - length_at - 2) as u16;
        self.octets[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        self.counts[place as usize] += 1;
        true
    }

    /// The reply with `code` and no claim to know the name.
    pub(super) fn finish_unauthoritative(self, code: Code) {
        self.octets[2] &= !AUTHORITATIVE;
        self.finish(code, None);
    }

    /// Ends the reply with `code`, and with an OPT record if the client sent one, in which `error` is told.
    pub(super) fn finish(mut self, code: Code, error: Option<ExtendedError>) {
        self.octets[3] |= code as u8 & 0xf;
        if let Some(asked) = self.query.edns {
            self.counts[Place::Additional as usize] += 1;
            let [size0, size1] = DATAGRAM.to_be_bytes();
            let dnssec_ok = u8::from(asked.dnssec_ok) << 7;
            let opt = RecordType::OPT.0 as u8;
            self.octets.extend_from_slice(&[0, 0, opt, size0, size1, code as u8 >> 4, 0, dnssec_ok, 0]);
            match error {
                None => self.octets.extend_from_slice(&[0, 0]),
                Some(ExtendedError { code, text }) => {
                    let length = text.len() as u16 + 2;
                    for number in [length + 4, 15, length, code] {
                        self.octets.extend_from_slice(&number.to_be_bytes());
                    }
                    self.octets.extend_from_slice(text.as_bytes());
                }
            }
        }
        for (index, count) in self.counts.into_iter().enumerate() {
            self.octets[6 + 2 * index..8 + 2 * index].copy_from_slice(&count.to_be_bytes());
        }
    }
}

fn name<'l>(octets: &mut Vec<u8>, labels: impl Iterator<Item = &'l str>) {
    for label in labels {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
}
