//! From the octets of a query to the octets of its reply, or to the word that an upstream must be asked.
//!
//! Queries are read and replies written by hickory; [`crate::decision`] says what is answered.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::{
    op::{Edns, MessageType, Metadata, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record,
        rdata::{A, AAAA, HINFO, PTR, SOA, opt::EdnsOption},
    },
    serialize::binary::BinEncoder,
};
use hickory_server::{net::xfer::Protocol, server::Request, zone_handler::MessageResponseBuilder};

use crate::{
    Snapshot,
    decision::{Asker, Decision, Question, View, decide},
    error::Transport,
    wire::{self, Message},
};

/// How long an answer, or its absence, may be kept, in seconds. Names move when containers do.
pub(crate) const TTL: u32 = 5;
/// The largest reply in a datagram, in octets: fits every path unfragmented (DNS flag day 2020).
const DATAGRAM: u16 = 1232;
/// The largest reply to clients without EDNS (RFC 1035 §4.2.1).
const PLAIN_DATAGRAM: u16 = 512;
/// Octets of an OPT record without options (RFC 6891 §6.1.2).
const OPT_RECORD: usize = 11;
/// Octets of an address record whose name is a compression pointer, besides the address.
const ADDRESS_RECORD: usize = 12;

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It gets no answer.
    Silence,
    /// It gets this one.
    Reply(Vec<u8>),
    /// It gets what an upstream answers, in a datagram of at most `limit` octets.
    Forward { limit: usize },
}

/// Why a query that should have been forwarded has no answer, as an extended error (RFC 8914 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    pub(crate) code: u16,
    pub(crate) text: &'static str,
}

/// Reads `octets` that `asker` sent and decides about them. `rotation` says which of several addresses comes first.
pub(crate) fn step(snapshot: &Snapshot, asker: Asker, transport: Transport, rotation: usize, octets: &[u8]) -> Step {
    let Some(message) = Message::new(octets) else { return Step::Silence };
    // To answer an answer is how two servers talk to each other for ever.
    if message.is_response() {
        return Step::Silence;
    }
    let view = View::of(snapshot, asker);
    if view == View::Stranger {
        return Step::Silence;
    }
    if message.opcode() != u8::from(OpCode::Query) {
        return Step::Reply(wire::bare_reply(message, ResponseCode::NotImp.low()));
    }
    let request = match read(octets, asker.source, transport) {
        Some(request) if message.question().is_some() => request,
        _ => return Step::Reply(wire::bare_reply(message, ResponseCode::FormErr.low())),
    };
    let [query] = request.queries.queries() else {
        return Step::Reply(wire::bare_reply(message, ResponseCode::FormErr.low()));
    };
    let draft = Draft { request: &request, transport };
    if request.version() > 0 {
        return Step::Reply(draft.refusal(ResponseCode::BADVERS, None));
    }
    if query.query_class() != DNSClass::IN {
        return Step::Reply(draft.refusal(ResponseCode::Refused, None));
    }
    let labels: Vec<_> = query.name().iter().collect();
    match decide(snapshot, &view, Question { labels: &labels, kind: query.query_type() }) {
        Decision::Forward => Step::Forward { limit: draft.limit() },
        Decision::Refuse => Step::Reply(draft.refusal(ResponseCode::Refused, None)),
        decision => Step::Reply(draft.answer(snapshot, decision, rotation)),
    }
}

/// The reply to a query that an upstream should have answered and none did.
pub(crate) fn failure(client: IpAddr, transport: Transport, octets: &[u8], error: ExtendedError) -> Option<Vec<u8>> {
    let request = read(octets, client, transport)?;
    Some(Draft { request: &request, transport }.refusal(ResponseCode::ServFail, Some(error)))
}

fn read(octets: &[u8], source: IpAddr, transport: Transport) -> Option<Request> {
    let protocol = match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
    };
    Request::from_bytes(octets.to_vec(), SocketAddr::new(source, 0), protocol).ok()
}

/// A reply in the making.
struct Draft<'a> {
    request: &'a Request,
    transport: Transport,
}

/// The sections of a reply.
#[derive(Default)]
struct Sections {
    answers: Vec<Record>,
    authority: Option<Record>,
}

impl Draft<'_> {
    /// How long the reply may be.
    fn limit(&self) -> usize {
        match (self.transport, &self.request.edns) {
            (Transport::Tcp, _) => u16::MAX.into(),
            (Transport::Udp, None) => PLAIN_DATAGRAM.into(),
            (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_DATAGRAM, DATAGRAM).into(),
        }
    }

    fn metadata(&self, code: ResponseCode) -> Metadata {
        let mut metadata = Metadata::response_from_request(&self.request.metadata);
        metadata.message_type = MessageType::Response;
        metadata.recursion_available = true;
        metadata.response_code = code;
        metadata
    }

    fn refusal(&self, code: ResponseCode, error: Option<ExtendedError>) -> Vec<u8> {
        self.write(self.metadata(code), Sections::default(), error)
    }

    fn answer(&self, snapshot: &Snapshot, decision: Decision, rotation: usize) -> Vec<u8> {
        // As the client wrote it: resolvers that vary the case check that it comes back (draft-vixie-dnsext-dns0x20).
        let name = self.request.queries.queries()[0].original().name();
        let record = |data| Record::from_rdata(name.clone(), TTL, data);
        let authority = |zone| start_of_authority(snapshot, name.trim_to(zone));
        let mut metadata = self.metadata(ResponseCode::NoError);
        metadata.authoritative = true;
        let mut sections = Sections::default();
        match decision {
            Decision::Addresses(mut addresses) => {
                let first = rotation % addresses.len().max(1);
                addresses.rotate_left(first);
                let room = self.room(addresses[0]);
                if addresses.len() > room {
                    addresses.truncate(room);
                    metadata.truncation = true;
                }
                let data = addresses.into_iter().map(|address| match address {
                    IpAddr::V4(address) => RData::A(A(address)),
                    IpAddr::V6(address) => RData::AAAA(AAAA(address)),
                });
                sections.answers = data.map(record).collect();
            }
            Decision::Pointer(target) => sections.answers.push(record(RData::PTR(PTR(target)))),
            Decision::Minimal => {
                sections.answers.push(record(RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()))));
            }
            Decision::StartOfAuthority { zone } => sections.answers.push(authority(zone)),
            Decision::NoData { zone } => sections.authority = Some(authority(zone)),
            Decision::NoSuchName { zone } => {
                metadata.response_code = ResponseCode::NXDomain;
                sections.authority = Some(authority(zone));
            }
            Decision::Refuse | Decision::Forward => metadata.response_code = ResponseCode::Refused,
        }
        self.write(metadata, sections, None)
    }

    /// How many records of addresses like this one fit.
    fn room(&self, like: IpAddr) -> usize {
        let record = ADDRESS_RECORD + if like.is_ipv4() { 4 } else { 16 };
        let taken = wire::HEADER + self.request.queries.as_bytes().len() + OPT_RECORD;
        self.limit().saturating_sub(taken) / record
    }

    fn write(&self, metadata: Metadata, sections: Sections, error: Option<ExtendedError>) -> Vec<u8> {
        let edns = self.request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM).set_dnssec_ok(asked.flags().dnssec_ok);
            if let Some(error) = error {
                let data = [&error.code.to_be_bytes(), error.text.as_bytes()].concat();
                edns.options_mut().insert(EdnsOption::Unknown(15, data));
            }
            edns
        });
        let response = MessageResponseBuilder::new(&self.request.queries, edns.as_ref()).build(
            metadata,
            &sections.answers,
            [],
            sections.authority.as_ref(),
            [],
        );
        let mut octets = Vec::with_capacity(PLAIN_DATAGRAM.into());
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_max_size(self.limit().try_into().unwrap_or(u16::MAX));
        match response.destructive_emit(&mut encoder) {
            Ok(_) => octets,
            Err(error) => {
                tracing::error!(%error, "cannot encode a DNS reply");
                let message = Message::new(self.request.as_slice()).expect("a request that was read has a header");
                wire::bare_reply(message, ResponseCode::ServFail.low())
            }
        }
    }
}

/// The record that says how long the absence of something may be remembered (RFC 2308 §3).
fn start_of_authority(snapshot: &Snapshot, zone: Name) -> Record {
    let domain = snapshot.domain().name().clone();
    let mailbox = domain.prepend_label("hostmaster").unwrap_or_else(|_| domain.clone());
    // Nobody transfers the zone, so the intervals mean nothing.
    let data = SOA::new(domain, mailbox, snapshot.serial(), 3600, 600, 86400, TTL);
    Record::from_rdata(zone, TTL, RData::SOA(data))
}

#[cfg(test)]
mod tests;
