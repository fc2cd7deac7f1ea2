//! Messages as a person reads them (RFC 1035 §5.1, RFC 3597 §5).

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::{
    RecordType,
    wire::{self, Message, Record, Section},
};

/// One record in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordText {
    /// Whose it is, without the final dot; `.` for the root.
    pub name: String,
    /// For how many seconds it may be kept.
    pub ttl: u32,
    /// Its type.
    pub kind: RecordType,
    /// Its data as a zone file would have it.
    pub data: String,
}

/// What a reply says, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyText {
    /// The response code's name.
    pub code: &'static str,
    /// Whether it is the word of who owns the zone.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<RecordText>,
    /// The authority section.
    pub authorities: Vec<RecordText>,
    /// The additional section, without what EDNS puts there.
    pub additionals: Vec<RecordText>,
    /// Why there is no answer, if the reply says so (RFC 8914).
    pub reason: Option<String>,
}

impl ReplyText {
    /// The reply in `octets`; none if it is malformed.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let message = Message::new(octets)?;
        let mut reply = Self {
            code: code(message.response_code()),
            authoritative: octets[2] & 0b100 != 0,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            reason: None,
        };
        for record in wire::records(message) {
            let record = record?;
            if record.kind == RecordType::OPT {
                reply.reason = reason(record.data);
                continue;
            }
            let text = RecordText {
                name: name(octets, record.start)?,
                ttl: record.ttl,
                kind: record.kind,
                data: data(octets, &record),
            };
            match record.section {
                Section::Answer => reply.answers.push(text),
                Section::Authority => reply.authorities.push(text),
                Section::Additional => reply.additionals.push(text),
            }
        }
        Some(reply)
    }
}

/// The name of a response code (RFC 6895 §2.3).
pub(crate) fn code(code: u8) -> &'static str {
    match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        _ => "RESERVED",
    }
}

/// The name that begins at `start`, with everything escaped that is not graphic or has a meaning.
pub(crate) fn name(octets: &[u8], start: usize) -> Option<String> {
    let labels = wire::labels(octets, start)?;
    let mut text = String::new();
    for label in &labels {
        if !text.is_empty() {
            text.push('.');
        }
        escape(&mut text, label, b".\\\"();@$");
    }
    Some(if labels.is_empty() { ".".to_owned() } else { text })
}

fn escape(text: &mut String, octets: &[u8], special: &[u8]) {
    for octet in octets {
        match octet {
            octet if special.contains(octet) => text.extend(['\\', char::from(*octet)]),
            b'!'..=b'~' => text.push(char::from(*octet)),
            octet => write!(text, "\\{octet:03}").expect("writing to a String never fails"),
        }
    }
}

/// The data of types that people read; that of others, and what does not fit its type, as numbers.
fn data(octets: &[u8], record: &Record<'_>) -> String {
    known(octets, record).unwrap_or_else(|| {
        let mut text = format!("\\# {}", record.data.len());
        for (index, octet) in record.data.iter().enumerate() {
            let space = if index == 0 { " " } else { "" };
            write!(text, "{space}{octet:02x}").expect("writing to a String never fails");
        }
        text
    })
}

fn known(octets: &[u8], record: &Record<'_>) -> Option<String> {
    let (data, at) = (record.data, record.data_at);
    // What follows belongs to other records.
    let octets = &octets[..at + data.len()];
    let number = |at: usize| Some(u16::from_be_bytes(*data.get(at..)?.first_chunk()?));
    let last_name = |at: usize| name(octets, at).filter(|_| wire::name_end(octets, at) == Some(octets.len()));
    Some(match record.kind {
        RecordType::A => Ipv4Addr::from(*data.first_chunk().filter(|_| data.len() == 4)?).to_string(),
        RecordType::AAAA => Ipv6Addr::from(*data.first_chunk().filter(|_| data.len() == 16)?).to_string(),
        RecordType::NS | RecordType::CNAME | RecordType::PTR => last_name(at)?,
        RecordType::MX => format!("{} {}", number(0)?, last_name(at + 2)?),
        RecordType::SRV => format!("{} {} {} {}", number(0)?, number(2)?, number(4)?, last_name(at + 6)?),
        RecordType::TXT | RecordType::HINFO => strings(data)?,
        RecordType::SOA => {
            let mailbox = wire::name_end(octets, at)?;
            let numbers = wire::name_end(octets, mailbox)?;
            let mut text = format!("{} {}", name(octets, at)?, name(octets, mailbox)?);
            for octets in octets.get(numbers..).filter(|octets| octets.len() == 20)?.chunks_exact(4) {
                let number = u32::from_be_bytes(octets.try_into().expect("pieces of four"));
                write!(text, " {number}").expect("writing to a String never fails");
            }
            text
        }
        _ => return None,
    })
}

/// Texts with their lengths before them, in quotes.
fn strings(mut data: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        let mut quoted = String::from('"');
        for piece in text.split_inclusive(|octet| *octet == b' ') {
            let (word, space) = piece.strip_suffix(b" ").map_or((piece, ""), |word| (word, " "));
            escape(&mut quoted, word, b"\"\\");
            quoted.push_str(space);
        }
        quoted.push('"');
        texts.push(quoted);
        data = rest;
    }
    Some(texts.join(" "))
}

/// The text of the first extended error among the options (RFC 8914 §2).
fn reason(mut options: &[u8]) -> Option<String> {
    while let [k0, k1, l0, l1, rest @ ..] = options {
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])))?;
        if [*k0, *k1] == [0, 15] && data.len() > 2 {
            return Some(String::from_utf8_lossy(&data[2..]).chars().filter(|char| !char.is_control()).collect());
        }
        options = rest;
    }
    None
}

#[cfg(test)]
mod tests;
