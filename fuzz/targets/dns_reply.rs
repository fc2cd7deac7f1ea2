//! What upstreams send, and what becomes of it: it is passed on, kept, given to the next who asks, and shown to people.
//!
//! The first octet says how the query was asked that the rest is the response to.

#![no_main]

mod message;

use std::time::Duration;

use dns::{ReplyText, Transport, fuzzing};
use libfuzzer_sys::{Corpus, fuzz_target};
use message::{HEADER, question_end};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((how, response)) = input.split_first() else { return Corpus::Reject };
    let shown = ReplyText::read(response);
    if let Some(shown) = &shown {
        check_text(shown);
    }
    let transport = if how & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let payload = match how & 0b110 {
        0b000 => None,
        0b010 => Some(0),
        0b100 => Some(700),
        _ => Some(4096),
    };
    let age = Duration::from_secs([0, 1, 100, 4000][usize::from(how >> 3 & 0b11)]);
    let Some(query) = query_for(response, payload, how & 0x20 != 0) else { return Corpus::Keep };
    let limit = match (transport, payload) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, payload) => usize::from(payload.unwrap_or(0).clamp(512, 1232)),
    };
    let mut alien = query.clone();
    alien[0] ^= 1;
    assert_eq!(fuzzing::relay(&alien, transport, response, age), None, "it is the response to another query");
    let Some(relayed) = fuzzing::relay(&query, transport, response, age) else { return Corpus::Keep };
    let reply = read(&relayed.reply, &query, limit);
    let Some(again) = &relayed.again else { return Corpus::Keep };
    let again = read(again, &query, limit);
    let records = |text: &ReplyText| [&text.answers[..], &text.authorities, &text.additionals].concat();
    let (now, later) = (records(&reply), records(&again));
    assert_eq!(now.len(), later.len(), "what is kept is the whole answer");
    for (now, later) in now.iter().zip(&later) {
        assert_eq!((&now.name, now.kind, &now.data), (&later.name, later.kind, &later.data));
        assert_eq!(later.ttl, now.ttl.saturating_sub(age.as_secs() as u32), "{now:?}");
    }
    Corpus::Keep
});

/// The query that `response` could be the answer to, if it repeats a question.
fn query_for(response: &[u8], payload: Option<u16>, upper: bool) -> Option<Vec<u8>> {
    let end = question_end(response)?;
    let mut query = [&response[..2], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &response[HEADER..end]].concat();
    query[2] |= response[2] & 0x78;
    if upper {
        query[HEADER..end - 4].make_ascii_uppercase();
    }
    if let Some(payload) = payload {
        query[11] = 1;
        query.extend_from_slice(&[0, 0, 41]);
        query.extend_from_slice(&payload.to_be_bytes());
        query.extend_from_slice(&[0; 6]);
    }
    Some(query)
}

/// The reply in words, if it is one to `query`.
fn read(reply: &[u8], query: &[u8], limit: usize) -> ReplyText {
    let end = question_end(query).expect("it was made with one");
    assert!(reply.len() <= limit, "{} octets where {limit} fit", reply.len());
    assert!(reply[..2] == query[..2] && reply[2] & 0x80 != 0, "it is the reply to this query");
    assert_eq!(reply[HEADER..end], query[HEADER..end], "the question comes back as the client wrote it");
    let text = ReplyText::read(reply).expect("what does not hold together is not passed on");
    check_text(&text);
    text
}

/// Fails on text that would do something to a terminal.
fn check_text(reply: &ReplyText) {
    for record in reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals) {
        assert!(!record.name.chars().chain(record.data.chars()).any(char::is_control), "{record:?}");
    }
    assert!(!reply.reason.iter().flat_map(|reason| reason.chars()).any(char::is_control), "{:?}", reply.reason);
}
