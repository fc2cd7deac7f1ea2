//! The least DNS (RFC 1035) that shows what is answered: one question over UDP, and a server with one answer.

use std::{
    io::Result,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
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
    let socket = namespace.enter(|| match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    })?;
    socket.set_read_timeout(Some(limit))?;
    // Identifier 0x4642, recursion desired, one question.
    let mut question = vec![0x46, 0x42, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        question.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
    socket.send_to(&question, server)?;
    let mut buffer = [0; 1500];
    let (length, from) = socket.recv_from(&mut buffer)?;
    assert_eq!(from, server, "the answer comes from where the question went");
    let message = &buffer[..length];
    assert!(message[..2] == question[..2] && message[2] & 0x80 != 0, "an answer to this question: {message:x?}");
    assert_eq!(message[12..question.len()], question[12..], "the question is repeated as it was asked");
    Ok(Answer { code: message[3] & 0xf, records: records(message, question.len()) })
}

fn records(message: &[u8], start: usize) -> Vec<String> {
    let number = |at: usize| usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    let mut at = start;
    let read = |_| {
        (_, at) = name_at(message, at);
        let (kind, length) = (number(at), number(at + 8));
        at += 10;
        let data = &message[at..at + length];
        let text = match (kind, data) {
            (1, &[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
            (12, _) => name_at(message, at).0,
            (28, &[..]) if length == 16 => Ipv6Addr::from(<[u8; 16]>::try_from(data).expect("16 octets")).to_string(),
            (33, _) => format!("{} {} {} {}", number(at), number(at + 2), number(at + 4), name_at(message, at + 6).0),
            _ => format!("{kind}:{data:x?}"),
        };
        at += length;
        text
    };
    (0..number(6)).map(read).collect()
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
