//! Packets of SCTP, made octet by octet: not every kernel has sockets of it.

/// Chunks of RFC 9260 §3.2: what is carried.
pub const DATA: u8 = 0;
/// Asks for an association.
pub const INIT: u8 = 1;
/// Answers that.
pub const INIT_ACK: u8 = 2;
/// Confirms what was carried.
pub const SACK: u8 = 3;
/// Gives back the state that the answer held.
pub const COOKIE_ECHO: u8 = 10;
/// Answers that: the association is there.
pub const COOKIE_ACK: u8 = 11;

/// CRC32c (RFC 9260, appendix A) of a packet whose checksum field is zero.
pub fn checksum(packet: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !packet.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

/// A packet with one chunk of this kind.
pub fn packet([source, target]: [u16; 2], tag: u32, kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("small");
    let mut packet = [&source.to_be_bytes()[..], &target.to_be_bytes(), &tag.to_be_bytes(), &[0; 4]].concat();
    packet.extend([kind, if kind == DATA { 3 } else { 0 }]);
    packet.extend(length.to_be_bytes());
    packet.extend(value);
    packet.resize(packet.len().next_multiple_of(4), 0);
    let sum = checksum(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// What a side says first: its own tag, window, streams out and in, first number.
pub fn opening(tag: u32) -> Vec<u8> {
    [&tag.to_be_bytes()[..], &[0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]].concat()
}
