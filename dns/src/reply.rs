//! From the octets of a query to the octets of its reply, or to the word that an upstream must be asked.
//!
//! [`crate::query`] reads, [`crate::decision`] says what is answered, [`writer`] writes. Nothing is allocated for a
//! query that a zone answers, apart from what a reply that is longer than any before makes its buffer grow by.

mod writer;

use self::writer::Writer;
use crate::{
    Attachment, Service, Snapshot,
    decision::{Asker, Decision, Question, Route, View, decide},
    error::Transport,
    query::{IN, LowerName, Query},
    wire::{self, Message},
};

/// The largest reply in a datagram, in octets: fits every path unfragmented (DNS flag day 2020).
pub(crate) const DATAGRAM: u16 = 1232;
/// The largest reply to clients without EDNS (RFC 1035 §4.2.1).
const PLAIN_DATAGRAM: u16 = 512;

/// A response code (RFC 1035 §4.1.1, RFC 6891 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NoSuchName = 3,
    NotImp = 4,
    Refused = 5,
    BadVersion = 16,
}

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// It gets no answer.
    Silence,
    /// It gets the one that was written.
    Reply,
    /// It gets what an upstream answers, in at most `limit` octets.
    Forward { limit: usize, route: Route<'a> },
}

/// Why a query was not answered, as an extended error (RFC 8914 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    pub(crate) code: u16,
    pub(crate) text: &'static str,
}

const INTERNAL: ExtendedError =
    ExtendedError { code: 18, text: "the network is internal: names that are not its own are not asked for" };

/// Reads `octets` that `asker` sent, decides about them, and writes the reply, if there is one, to `reply`. `chance` is
/// a random number, by which several addresses are shuffled.
pub(crate) fn step<'a>(
    snapshot: &'a Snapshot,
    asker: Asker,
    transport: Transport,
    chance: u64,
    octets: &[u8],
    reply: &mut Vec<u8>,
) -> Step<'a> {
    let Some(message) = Message::new(octets) else { return Step::Silence };
    // To answer an answer is how two servers talk to each other for ever.
    if message.is_response() {
        return Step::Silence;
    }
    let view = View::of(snapshot, asker);
    if view == View::Stranger {
        return Step::Silence;
    }
    if message.opcode() != 0 {
        wire::bare_reply(message, Code::NotImp as u8, reply);
        return Step::Reply;
    }
    let Some(query) = Query::read(message) else {
        wire::bare_reply(message, Code::FormErr as u8, reply);
        return Step::Reply;
    };
    let limit = limit(&query, transport);
    let writer = Writer::new(&query, limit, reply);
    if query.edns.is_some_and(|edns| edns.version > 0) {
        writer.finish(Code::BadVersion, None);
        return Step::Reply;
    }
    if query.class != IN {
        writer.finish(Code::Refused, None);
        return Step::Reply;
    }
    let name = LowerName::new(query.name());
    let decision = name.with_labels(|labels| decide(snapshot, &view, Question { labels, kind: query.kind }));
    if decision == Decision::Forward {
        let route = view.route(snapshot, asker);
        if route != Route::Never {
            return Step::Forward { limit, route };
        }
        writer.finish(Code::Refused, Some(INTERNAL));
    } else {
        answer(writer, snapshot, decision, chance);
    }
    Step::Reply
}

/// Writes the reply to a query that an upstream should have answered and none did.
pub(crate) fn failure(transport: Transport, octets: &[u8], error: ExtendedError, reply: &mut Vec<u8>) {
    let query = Message::new(octets).and_then(Query::read);
    let query = query.expect("only a query that was read is passed on");
    Writer::new(&query, limit(&query, transport), reply).finish(Code::ServFail, Some(error));
}

/// How long the reply may be.
pub(crate) fn limit(query: &Query<'_>, transport: Transport) -> usize {
    match (transport, query.edns) {
        (Transport::Tcp, _) => u16::MAX.into(),
        (Transport::Udp, None) => PLAIN_DATAGRAM.into(),
        (Transport::Udp, Some(edns)) => edns.payload.clamp(PLAIN_DATAGRAM, DATAGRAM).into(),
    }
}

fn answer(mut writer: Writer<'_, '_>, snapshot: &Snapshot, decision: Decision<'_>, chance: u64) {
    writer.set_authoritative();
    let ttl = snapshot.ttl();
    let code = match decision {
        Decision::Addresses(mut addresses) => {
            shuffle(&mut addresses, chance);
            for address in addresses {
                if !writer.address(writer::QUESTION, ttl, address, writer::Place::Answer) {
                    break;
                }
            }
            Code::NoError
        }
        Decision::Pointer(attachment) => {
            writer.pointer(ttl, full_name(snapshot, attachment));
            Code::NoError
        }
        Decision::Services(mut services) => {
            shuffle(&mut services, chance);
            services_of(&mut writer, snapshot, &services);
            Code::NoError
        }
        Decision::Minimal => {
            writer.minimal(ttl);
            Code::NoError
        }
        Decision::StartOfAuthority { zone } => {
            writer.start_of_authority(snapshot, zone, writer::Place::Answer);
            Code::NoError
        }
        Decision::NoData { zone } => {
            writer.start_of_authority(snapshot, zone, writer::Place::Authority);
            Code::NoError
        }
        Decision::NoSuchName { zone } => {
            writer.start_of_authority(snapshot, zone, writer::Place::Authority);
            Code::NoSuchName
        }
        Decision::Refuse | Decision::Forward => return writer.finish_unauthoritative(Code::Refused),
    };
    writer.finish(code, None);
}

/// A record for each service, and the addresses of those that run them as far as there is room (RFC 2782).
fn services_of(writer: &mut Writer<'_, '_>, snapshot: &Snapshot, services: &[(&Attachment, Service)]) {
    let ttl = snapshot.ttl();
    let mut targets: Vec<(&Attachment, u16)> = Vec::with_capacity(services.len());
    for (attachment, service) in services {
        let Some(target) = writer.service(ttl, service.port.get(), full_name(snapshot, attachment)) else { return };
        if let Some(target) = target
            && targets.iter().all(|(known, _)| !std::ptr::eq(*known, *attachment))
        {
            targets.push((attachment, target));
        }
    }
    for (attachment, target) in targets {
        for address in &attachment.addresses {
            writer.address(target, ttl, *address, writer::Place::Additional);
        }
    }
}

fn full_name<'a>(snapshot: &'a Snapshot, attachment: &'a Attachment) -> impl Iterator<Item = &'a str> {
    [attachment.container.as_str(), attachment.network.as_str()].into_iter().chain(snapshot.domain().labels())
}

/// Brings `items` into one of all orders, each as likely as any other (Fisher and Yates).
fn shuffle<T>(items: &mut [T], mut chance: u64) {
    for last in (1..items.len()).rev() {
        // SplitMix64 (Steele, Lea and Flood, 2014): what one number gives, without a generator to keep.
        chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = chance;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let place = (u128::from(mixed) * (last as u128 + 1)) >> 64;
        items.swap(last, place as usize);
    }
}

#[cfg(test)]
mod tests;
