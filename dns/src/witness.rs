//! Who is told of the addresses that a container is about to be answered, before it is.

use std::{fmt, net::IpAddr, pin::Pin, time::Duration};

use model::ContainerName;

use crate::{
    RecordType,
    query::{IN, LowerName},
    wire::{self, HEADER, Message, Record, Section},
};

/// The longest TTL of an answer about a name that a witness is concerned with: as long as answers are kept here.
pub(crate) const LONGEST: u32 = 3600;
/// As many names lead from the one asked for to its addresses; no resolver goes further.
const CHAIN: usize = 16;

/// Is told of answers that upstreams gave, from the cache or not, before containers are.
pub trait Witness: fmt::Debug + Send + Sync {
    /// Whether it matters what addresses this name has; it is in lower case and has no last dot. Asked for each answer.
    fn is_concerned(&self, name: &str) -> bool;

    /// A container is about to be answered: at once where this is none, otherwise when this is done and if it says so.
    fn tell(&self, answer: Answered) -> Option<Noted>;
}

/// Done when an answer may leave, or may not.
pub type Noted = Pin<Box<dyn Future<Output = Result<(), Withheld>> + Send>>;

/// Why an answer is withheld, for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withheld(pub &'static str);

/// What a container is about to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Who asked.
    pub container: ContainerName,
    /// The name it asked for, in lower case and without a last dot.
    pub name: String,
    /// The addresses of that name, and for how long they may be remembered.
    pub addresses: Vec<(IpAddr, Duration)>,
}

/// Calls `act` with the name that a message asks for, in lower case and without a last dot; not for a name that is made
/// of anything but letters, digits, `-` and `_`, as no name of a host is.
pub(crate) fn with_name<T>(message: Message<'_>, act: impl FnOnce(&str) -> T) -> Option<T> {
    let question = message.question()?;
    let name = LowerName::new(&message.octets()[HEADER..question.end - 4]);
    let mut text = [0; 255];
    let mut length = 0;
    name.with_labels(|labels| {
        for label in labels {
            if !label.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')) {
                return None;
            }
            if length > 0 {
                text[length] = b'.';
                length += 1;
            }
            text[length..length + label.len()].copy_from_slice(label);
            length += label.len();
        }
        Some(())
    })?;
    std::str::from_utf8(&text[..length]).ok().map(act)
}

/// The addresses of the name that a message asks for, and of those that it is another name of, with their TTLs.
pub(crate) fn addresses(message: Message<'_>) -> Vec<(IpAddr, Duration)> {
    let octets = message.octets();
    let is_meant = |record: &Record<'_>| record.section == Section::Answer && record.class == IN;
    let answers = wire::records(message).flatten().filter(is_meant);
    let answers: Vec<_> =
        answers.filter_map(|record| Some((lowered(wire::labels(octets, record.start)?), record))).collect();
    let mut names: Vec<_> = wire::labels(octets, HEADER).map(lowered).into_iter().collect();
    let mut asked = 0;
    while let Some(name) = names.get(asked).cloned().filter(|_| asked < CHAIN) {
        let leads_on = |(owner, record): &&(_, Record<'_>)| record.kind == RecordType::CNAME && *owner == name;
        let targets = answers.iter().filter(leads_on).filter_map(|(_, it)| wire::labels(octets, it.data_at));
        let target = targets.map(lowered).find(|target| !names.contains(target));
        names.extend(target);
        asked += 1;
    }
    let address = |(owner, record): &(Vec<Vec<u8>>, Record<'_>)| {
        let address: IpAddr = match record.kind {
            RecordType::A => <[u8; 4]>::try_from(record.data).ok()?.into(),
            RecordType::AAAA => <[u8; 16]>::try_from(record.data).ok()?.into(),
            _ => return None,
        };
        names.contains(owner).then(|| (address, Duration::from_secs(bounded(record.ttl).into())))
    };
    answers.iter().filter_map(address).collect()
}

/// Has no record of the answer be remembered for longer than an hour. Returns whether that can be: there are messages
/// in which a TTL is part of a name.
pub(crate) fn bound_ttls(reply: &mut [u8]) -> bool {
    let Some(message) = Message::new(reply) else { return false };
    let is_long = |record: &Record<'_>| record.section == Section::Answer && bounded(record.ttl) != record.ttl;
    let long: Vec<(usize, u32)> =
        wire::records(message).flatten().filter(is_long).map(|record| (record.ttl_at, bounded(record.ttl))).collect();
    if !long.is_empty() && wire::has_name_in_ttl(message) {
        return false;
    }
    for (at, ttl) in long {
        reply[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
    }
    true
}

/// Beyond 31 bits it means 0 (RFC 2181 §8).
fn bounded(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl.min(LONGEST) }
}

fn lowered(labels: Vec<&[u8]>) -> Vec<Vec<u8>> {
    labels.into_iter().map(<[u8]>::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests;
