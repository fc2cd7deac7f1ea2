//! Answers of upstreams, kept for as long as they allow (RFC 1035 §7.4, RFC 2308). No clock: times are arguments.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    RecordType,
    wire::{self, Message, Section},
};

/// The longest time that an answer is kept, whatever its TTL says.
const LONGEST: Duration = Duration::from_secs(3600);
/// The longest time that the absence of something is kept: names come into being.
const LONGEST_ABSENCE: Duration = Duration::from_secs(300);
/// The longest answer that is kept, in octets.
const ANSWER: usize = 8192;
/// What an entry takes besides its key and its answer, in octets.
const ENTRY: usize = 160;

/// Answers by question, as many as fit.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// Every key once, in the order in which they are looked at when room is needed.
    order: VecDeque<Arc<[u8]>>,
    /// What all entries take.
    octets: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Entry {
    response: Box<[u8]>,
    stored_at: Duration,
    expires_at: Duration,
    /// Whether it was asked for since room was last needed.
    used: bool,
}

impl Cache {
    /// A cache of at most `capacity` octets.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), octets: 0, capacity }
    }

    /// Writes the response that `key` has to `reply`, with TTLs that are shorter by its age; false if it has none
    /// `now`.
    pub(crate) fn recall(&mut self, key: &[u8], now: Duration, reply: &mut Vec<u8>) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| now < entry.expires_at) else { return false };
        entry.used = true;
        reply.clear();
        reply.extend_from_slice(&entry.response);
        let age = now.saturating_sub(entry.stored_at).as_secs().try_into().unwrap_or(u32::MAX);
        let message = Message::new(&entry.response).expect("only whole messages are kept");
        for record in wire::records(message).flatten().filter(|record| record.kind != RecordType::OPT) {
            let ttl = record.ttl.saturating_sub(age);
            reply[record.ttl_at..record.ttl_at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
        true
    }

    /// Keeps `response` for `key` for as long as it may be kept from `now` on.
    pub(crate) fn keep(&mut self, key: &[u8], response: &[u8], now: Duration) {
        let Some(lifetime) = lifetime(response).filter(|_| response.len() <= ANSWER) else { return };
        let size = key.len() + response.len() + ENTRY;
        if size > self.capacity {
            return;
        }
        self.forget(key);
        // Expired ones first, and who was asked for gets a second chance (the CLOCK algorithm).
        while self.octets + size > self.capacity {
            let Some(oldest) = self.order.pop_front() else { break };
            match self.entries.get_mut(&oldest) {
                Some(entry) if entry.used && now < entry.expires_at => {
                    entry.used = false;
                    self.order.push_back(oldest);
                }
                Some(entry) => {
                    self.octets -= oldest.len() + entry.response.len() + ENTRY;
                    self.entries.remove(&oldest);
                }
                None => {}
            }
        }
        let key: Arc<[u8]> = key.into();
        let entry = Entry { response: response.into(), stored_at: now, expires_at: now + lifetime, used: false };
        self.entries.insert(key.clone(), entry);
        self.order.push_back(key);
        self.octets += size;
    }

    fn forget(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            self.octets -= key.len() + entry.response.len() + ENTRY;
            // Rare: an answer is asked for anew when it has expired.
            self.order.retain(|known| **known != *key);
        }
    }
}

/// For how long a response may be kept: the shortest TTL of its records; if it says that something is absent, no longer
/// than its SOA record allows (RFC 2308 §5). None if it may not be kept, or is malformed.
fn lifetime(response: &[u8]) -> Option<Duration> {
    let message = Message::new(response)?;
    let is_absence = match message.response_code() {
        0 => false,
        3 => true,
        _ => return None,
    };
    if message.is_truncated() || message.question().is_none() || wire::has_name_in_ttl(message) {
        return None;
    }
    let (mut shortest, mut has_answer, mut absence) = (u32::MAX, false, None);
    for record in wire::records(message) {
        let record = record?;
        if record.kind == RecordType::OPT {
            continue;
        }
        // Beyond 31 bits it means 0 (RFC 2181 §8).
        let ttl = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
        shortest = shortest.min(ttl);
        has_answer |= record.section == Section::Answer;
        if record.section == Section::Authority && record.kind == RecordType::SOA {
            let minimum = record.data.last_chunk().map(|octets| u32::from_be_bytes(*octets))?;
            absence = Some(ttl.min(minimum));
        }
    }
    let (shortest, longest) = match (has_answer && !is_absence, absence) {
        (true, _) => (shortest, LONGEST),
        (false, Some(absence)) => (shortest.min(absence), LONGEST_ABSENCE),
        (false, None) => return None,
    };
    (shortest > 0).then(|| Duration::from_secs(shortest.into()).min(longest))
}

#[cfg(test)]
mod tests;
