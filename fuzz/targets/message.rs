//! As much of the message format (RFC 1035 §4.1) as the targets need to make messages and to judge them, written anew
//! so that it shares no mistake with what is fuzzed.

/// The length of the header.
pub const HEADER: usize = 12;

/// Where the name of the first question ends, behind its last octet, if it is whole and not compressed.
pub fn name_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// Where the first question ends: behind its type and class.
pub fn question_end(message: &[u8]) -> Option<usize> {
    name_end(message).map(|end| end + 4).filter(|end| *end <= message.len())
}
