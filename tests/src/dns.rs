//! The least DNS (RFC 1035) that shows what is answered: one question, and a server with one answer.

use std::{
    io::{Read, Result, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use crate::Namespace;

/// What a DNS server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The response code (RFC 1035 §4.1.1): 0 no error, 3 no such name.
    pub code: u8,
    /// The data of the answer section's records, addresses dotted, names with dots between labels.
    pub records: Vec<String>,
}

/// How a question travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// In a datagram, from a client that takes this many octets (RFC 6891).
    Edns(u16),
    /// By a connection of its own.
    Tcp,
}

/// All that a DNS server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The response code (RFC 1035 §4.1.1): 0 no error, 3 no such name.
    pub code: u8,
    /// Whether it says that it is not all there is (TC).
    pub is_truncated: bool,
    /// How many octets it has.
    pub length: usize,
    /// The records of the answer, authority and additional section.
    pub sections: [Vec<Record>; 3],
}

/// One record of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its type: 6 SOA, 41 OPT.
    pub kind: u16,
    /// For how many seconds it may be remembered.
    pub ttl: u32,
    /// Its data, as in [`Answer::records`].
    pub data: String,
}

/// The type of a record asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordType {
    /// An IPv4 address.
    A = 1,
    /// A name for an address.
    Ptr = 12,
    /// An IPv6 address.
    Aaaa = 28,
    /// A port and the name of who serves it.
    Srv = 33,
}

/// Longer than any machine stands still, so that only what is never answered is not answered in time.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks `server` from `namespace` for records of `name`.
///
/// # Errors
/// No answer within fifteen seconds, or one that is none.
pub fn ask(namespace: &Namespace, server: SocketAddr, name: &str, kind: RecordType) -> Result<Answer> {
    ask_within(PATIENCE, namespace, server, name, kind)
}

/// The same where it is no surprise that nobody answers.
///
/// # Errors
/// No answer within `limit`, or one that is none.
pub fn ask_within(
    limit: Duration,
    namespace: &Namespace,
    server: SocketAddr,
    name: &str,
    kind: RecordType,
) -> Result<Answer> {
    let Reply { code, sections: [answers, ..], .. } = exchange(limit, namespace, server, Transport::Udp, name, kind)?;
    Ok(Answer { code, records: answers.into_iter().map(|record| record.data).collect() })
}

/// Asks `server` from `namespace` for records of `name`, and returns all that it says.
///
/// # Errors
/// No answer within fifteen seconds, or one that is none.
pub fn ask_by(
    transport: Transport,
    namespace: &Namespace,
    server: SocketAddr,
    name: &str,
    kind: RecordType,
) -> Result<Reply> {
    exchange(PATIENCE, namespace, server, transport, name, kind)
}

fn exchange(
    limit: Duration,
    namespace: &Namespace,
    server: SocketAddr,
    transport: Transport,
    name: &str,
    kind: RecordType,
) -> Result<Reply> {
    // Identifier 0x4642, recursion desired, one question.
    let mut question = vec![0x46, 0x42, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        question.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
    let end = question.len();
    if let Transport::Edns(payload) = transport {
        question[11] = 1;
        let [high, low] = payload.to_be_bytes();
        question.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    }
    let message = match transport {
        Transport::Tcp => by_tcp(limit, namespace, server, &question)?,
        Transport::Udp | Transport::Edns(_) => by_udp(limit, namespace, server, &question)?,
    };
    assert!(message[..2] == question[..2] && message[2] & 0x80 != 0, "an answer to this question: {message:x?}");
    assert_eq!(message[12..end], question[12..end], "the question is repeated as it was asked");
    let mut at = end;
    let sections = [6, 8, 10].map(|count| {
        let count = u16::from_be_bytes([message[count], message[count + 1]]);
        (0..count).map(|_| record_at(&message, &mut at)).collect()
    });
    Ok(Reply { code: message[3] & 0xf, is_truncated: message[2] & 2 != 0, length: message.len(), sections })
}

fn by_udp(limit: Duration, namespace: &Namespace, server: SocketAddr, question: &[u8]) -> Result<Vec<u8>> {
    let socket = namespace.enter(|| match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    })?;
    socket.set_read_timeout(Some(limit))?;
    socket.send_to(question, server)?;
    let mut buffer = [0; 4096];
    let (length, from) = socket.recv_from(&mut buffer)?;
    assert_eq!(from, server, "the answer comes from where the question went");
    Ok(buffer[..length].to_vec())
}

/// With the length before each message (RFC 1035 §4.2.2).
fn by_tcp(limit: Duration, namespace: &Namespace, server: SocketAddr, question: &[u8]) -> Result<Vec<u8>> {
    let mut stream = namespace.enter(|| TcpStream::connect_timeout(&server, limit))?;
    stream.set_read_timeout(Some(limit))?;
    let length = u16::try_from(question.len()).expect("a question is short").to_be_bytes();
    stream.write_all(&[&length[..], question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// The record that begins at `at`, which is led behind it (§4.1.3).
fn record_at(message: &[u8], at: &mut usize) -> Record {
    let number = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let long = |at: usize| u32::from(number(at)) << 16 | u32::from(number(at + 2));
    let (_, fields) = name_at(message, *at);
    let (kind, ttl, start) = (number(fields), long(fields + 4), fields + 10);
    let end = start + usize::from(number(fields + 8));
    let data = match (kind, &message[start..end]) {
        (1, &[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
        (6, _) => {
            let (server, behind) = name_at(message, start);
            let (person, behind) = name_at(message, behind);
            let [serial, refresh, retry, expire, minimum] = [0, 4, 8, 12, 16].map(|offset| long(behind + offset));
            format!("{server} {person} {serial} {refresh} {retry} {expire} {minimum}")
        }
        (12, _) => name_at(message, start).0,
        (28, data) if data.len() == 16 => Ipv6Addr::from(<[u8; 16]>::try_from(data).expect("16 octets")).to_string(),
        (33, _) => {
            let target = name_at(message, start + 6).0;
            format!("{} {} {} {target}", number(start), number(start + 2), number(start + 4))
        }
        (_, data) => format!("{kind}:{data:x?}"),
    };
    *at = end;
    Record { kind, ttl, data }
}

/// The name that begins at `at`, and where the field behind it begins (§4.1.4).
fn name_at(message: &[u8], mut at: usize) -> (String, usize) {
    let (mut labels, mut behind) = (Vec::new(), None);
    loop {
        match message[at] {
            0 => return (labels.join("."), behind.unwrap_or(at + 1)),
            high if high & 0xc0 == 0xc0 => {
                behind.get_or_insert(at + 2);
                at = usize::from(u16::from_be_bytes([high & 0x3f, message[at + 1]]));
            }
            length => {
                let label = &message[at + 1..at + 1 + usize::from(length)];
                labels.push(String::from_utf8_lossy(label).into_owned());
                at += 1 + usize::from(length);
            }
        }
    }
}

/// A server on `address` in `namespace` that gives `answer` as the address of every name, for as long as the test
/// process lives.
pub fn answer_everything(namespace: &Namespace, address: SocketAddr, answer: Ipv4Addr) {
    let socket = namespace.enter(|| UdpSocket::bind(address).expect("free"));
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let mut name_end = 12;
            while buffer[name_end] != 0 {
                name_end += 1 + usize::from(buffer[name_end]);
            }
            let question_end = (name_end + 5).min(length);
            let is_a = buffer[name_end + 2] == RecordType::A as u8;
            let mut message = buffer[..question_end].to_vec();
            // An answer, recursion available, no error, no additional records.
            (message[2], message[3]) = (0x81, 0x80);
            message[6..12].copy_from_slice(&[0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                message.extend_from_slice(&answer.octets());
            }
            // The client may be gone.
            let _ = socket.send_to(&message, client);
        }
    });
}
