//! Ethernet frames with what an attacker would put into them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A MAC address, as its six octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

impl Mac {
    /// Everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// As `ip link` writes it.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let octets: Vec<u8> = text.split(':').map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect();
        Self(octets.try_into().expect("six octets"))
    }
}

impl Frame {
    /// A frame of any type.
    pub fn new(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Self {
        Self([&to.0[..], &from.0, &kind.to_be_bytes(), payload].concat())
    }

    /// An ARP message (RFC 826): 1 asks, 2 answers.
    pub fn arp(to: Mac, from: Mac, operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        let mut message = vec![0, 1, 8, 0, 6, 4, 0, operation];
        for (mac, address) in [sender, target] {
            message.extend_from_slice(&mac.0);
            message.extend_from_slice(&address.octets());
        }
        Self::new(to, from, 0x0806, &message)
    }

    /// A datagram between two addresses of one family.
    pub fn udp(to: Mac, from: Mac, [source, target]: [IpAddr; 2], [sport, dport]: [u16; 2]) -> Self {
        let mut datagram = [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &[0, 12, 0, 0], b"data"].concat();
        match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => Self::ipv4(to, from, [source, target], 17, &datagram),
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let sum = checksum_v6([source, target], 17, &datagram);
                datagram[6..8].copy_from_slice(&sum);
                Self::ipv6(to, from, [source, target], 17, &datagram)
            }
            _ => panic!("{source} and {target} are of two families"),
        }
    }

    /// The first segment of a TCP connection (RFC 9293), by which one asks whether a port is open.
    pub fn tcp_syn(to: Mac, from: Mac, addresses: [IpAddr; 2], [sport, dport]: [u16; 2]) -> Self {
        // Sequence number 1, a header of five words, SYN, a window of 1024.
        let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0];
        let mut segment = [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &rest].concat();
        match addresses {
            [IpAddr::V4(source), IpAddr::V4(target)] => {
                let pseudo = [&source.octets()[..], &target.octets(), &[0, 6, 0, 20]].concat();
                let sum = checksum(&[pseudo, segment.clone()].concat());
                segment[16..18].copy_from_slice(&sum);
                Self::ipv4(to, from, [source, target], 6, &segment)
            }
            [IpAddr::V6(source), IpAddr::V6(target)] => {
                let sum = checksum_v6([source, target], 6, &segment);
                segment[16..18].copy_from_slice(&sum);
                Self::ipv6(to, from, [source, target], 6, &segment)
            }
            [source, target] => panic!("{source} and {target} are of two families"),
        }
    }

    /// An IPv4 packet (RFC 791).
    pub fn ipv4(to: Mac, from: Mac, [source, target]: [Ipv4Addr; 2], protocol: u8, payload: &[u8]) -> Self {
        let length = u16::try_from(20 + payload.len()).expect("a small packet").to_be_bytes();
        let mut header = vec![0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0];
        header.extend_from_slice(&source.octets());
        header.extend_from_slice(&target.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
        Self::new(to, from, 0x0800, &[&header, payload].concat())
    }

    /// A packet with an ICMP message (RFC 792): type and code, and all behind the checksum.
    pub fn icmp(to: Mac, from: Mac, addresses: [Ipv4Addr; 2], [kind, code]: [u8; 2], body: &[u8]) -> Self {
        let mut message = [&[kind, code, 0, 0], body].concat();
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
        Self::ipv4(to, from, addresses, 1, &message)
    }

    /// The same IPv4 packet as a fragment (RFC 791 §3.2): where its part begins, in units of eight octets, and whether
    /// more follow.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        let header = &mut self.0[14..34];
        header[6..8].copy_from_slice(&(u16::from(more) << 13 | offset).to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum);
        self
    }

    /// The same IPv4 packet under another number, by which a receiver knows which fragments belong together.
    pub fn numbered(mut self, number: u16) -> Self {
        let header = &mut self.0[14..34];
        header[4..6].copy_from_slice(&number.to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum);
        self
    }

    /// An IPv6 packet (RFC 8200).
    pub fn ipv6(to: Mac, from: Mac, [source, target]: [Ipv6Addr; 2], next: u8, payload: &[u8]) -> Self {
        let length = u16::try_from(payload.len()).expect("a small packet").to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 255];
        packet.extend_from_slice(&source.octets());
        packet.extend_from_slice(&target.octets());
        packet.extend_from_slice(payload);
        Self::new(to, from, 0x86dd, &packet)
    }

    /// A packet with an ICMPv6 message: type, and all behind the checksum.
    pub fn icmpv6(to: Mac, from: Mac, addresses: [Ipv6Addr; 2], kind: u8, body: &[u8]) -> Self {
        Self::ipv6(to, from, addresses, 58, &Self::icmpv6_message(addresses, kind, body))
    }

    /// The same with a code beside the type.
    pub fn icmpv6_error(to: Mac, from: Mac, addresses: [Ipv6Addr; 2], kind: [u8; 2], body: &[u8]) -> Self {
        Self::ipv6(to, from, addresses, 58, &icmpv6(addresses, kind, body))
    }

    /// An ICMPv6 message (RFC 4443) by itself, with its checksum.
    pub fn icmpv6_message(addresses: [Ipv6Addr; 2], kind: u8, body: &[u8]) -> Vec<u8> {
        icmpv6(addresses, [kind, 0], body)
    }

    /// The body of a neighbour advertisement that overrides (RFC 4861 §4.4), or with other flags of a solicitation.
    pub fn neighbour(flags: u8, target: Ipv6Addr, option: u8, mac: Mac) -> Vec<u8> {
        [&[flags, 0, 0, 0], &target.octets()[..], &[option, 1], &mac.0].concat()
    }

    /// The same frame with a VLAN tag (IEEE 802.1Q).
    pub fn tagged(&self, vlan: u16) -> Self {
        self.tagged_as(0x8100, vlan)
    }

    /// The same frame with a tag of this type: 0x88a8 is that of a provider's (IEEE 802.1ad).
    pub fn tagged_as(&self, kind: u16, vlan: u16) -> Self {
        Self([&self.0[..12], &kind.to_be_bytes(), &vlan.to_be_bytes(), &self.0[12..]].concat())
    }

    /// The same frame as one with a length instead of a type, and a SNAP header (RFC 1042) that has the type.
    pub fn in_snap(&self) -> Self {
        let length = u16::try_from(self.0.len() - 12 + 6).expect("a small frame").to_be_bytes();
        Self([&self.0[..12], &length, &[0xaa, 0xaa, 3, 0, 0, 0], &self.0[12..]].concat())
    }

    /// The beginning of the frame: so many octets behind its type.
    pub fn cut(&self, length: usize) -> Self {
        Self(self.0[..14 + length].to_vec())
    }

    /// The same frame with a mark at its end, where no protocol looks, by which it can be found again.
    pub fn marked(self, mark: &str) -> Self {
        self.followed_by(mark.as_bytes())
    }

    /// The same frame with octets behind the packet in it.
    pub fn followed_by(mut self, trailer: &[u8]) -> Self {
        self.0.extend_from_slice(trailer);
        self
    }

    /// The packet in the frame.
    pub fn packet(&self) -> &[u8] {
        &self.0[14..]
    }

    /// The frame as it is sent.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

fn icmpv6(addresses: [Ipv6Addr; 2], [kind, code]: [u8; 2], body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], body].concat();
    let sum = checksum_v6(addresses, 58, &message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// The internet checksum (RFC 1071).
fn checksum(octets: &[u8]) -> [u8; 2] {
    let pairs = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// That of what IPv6 carries, with its pseudo-header (RFC 8200 §8.1).
fn checksum_v6([source, target]: [Ipv6Addr; 2], next: u8, payload: &[u8]) -> [u8; 2] {
    let length = u32::try_from(payload.len()).expect("a small packet").to_be_bytes();
    checksum(&[&source.octets(), &target.octets(), &length[..], &[0, 0, 0, next], payload].concat())
}
