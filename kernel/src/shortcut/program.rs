//! What each port does with a frame before the bridge sees it: one that is TCP or UDP, from the port's own MAC and IP
//! address, for the MAC and IP address of another port of the same network, goes straight into the container there.
//! What asks the gateway for a name that is known is answered: [`super::answer`]. Everything else is left to the bridge
//! and its rules.
//!
//! It never drops: what it is not sure of, it does not touch.

use std::{io, os::fd::RawFd};

use super::{
    answer::answer,
    assembler::{
        Assembler, Helper, Label,
        Register::{self, R0, R1, R2, R6, R7, R8, R10},
        When,
        Width::{self, Four, One, Two},
    },
    bpf::{Map, Program},
    entry::{
        ADDRESS4, ADDRESS6, FACT_KEY_LENGTH, FACT_LENGTH, HOLDER_KEY_LENGTH, HOLDER_LENGTH, HOLDER_PORT, LONGEST, MAC,
        NETWORK, PORT_KEY_LENGTH, SENDER_LENGTH,
    },
};

/// What the program returns for what it leaves to the bridge, and to whoever else is asked (`TC_ACT_UNSPEC`).
const TO_THE_BRIDGE: i32 = -1;
/// What it returns for what takes the shortcut (`TC_ACT_REDIRECT`).
pub(super) const SHORTCUT: u32 = 7;

// Offsets into `struct __sk_buff`, `include/uapi/linux/bpf.h`.
pub(super) const LENGTH: i16 = 0;
const TAGGED: i16 = 20;
pub(super) const INTERFACE: i16 = 40;
const DATA: i16 = 76;
const DATA_END: i16 = 80;
pub(super) const SEGMENT: i16 = 176;

// Offsets into a frame: Ethernet, and behind it IPv4 (RFC 791) or IPv6 (RFC 8200) without options.
pub(super) const TARGET: i16 = 0;
pub(super) const SOURCE: i16 = 6;
pub(super) const TYPE: i16 = 12;
pub(super) const IP: i16 = 14;
pub(super) const IPV4_PORTS: i16 = IP + 20;
const IPV6_PORTS: i16 = IP + 40;

/// `include/uapi/linux/if_packet.h`
pub(super) const PACKET_HOST: i32 = 0;
const TCP: i32 = 6;
const UDP: i32 = 17;

// Where on the stack the keys are made.
pub(super) const PORT_KEY: i16 = -4;
const HOLDER_KEY: i16 = -32;
// Where the parts of a holder's key are: the network's number, and the address.
const HOLDER_NETWORK: i16 = HOLDER_KEY;
const HOLDER_ADDRESS: i16 = HOLDER_KEY + 8;

/// Something of each of the program's maps, in the order in which it names them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Maps<T> {
    /// Who may send what by which port.
    pub(super) ports: T,
    /// What is known of names.
    pub(super) names: T,
    /// How many questions for names were answered.
    pub(super) counts: T,
    /// Who has which address.
    pub(super) holders: T,
}

impl Maps<Map> {
    /// Those of a program; none if it is another's, whose maps are others.
    pub(super) fn of(program: &Program) -> io::Result<Option<Self>> {
        let Some([ports, names, counts, holders]) = program.maps()? else { return Ok(None) };
        let is_so = ports.shape() == (PORT_KEY_LENGTH, SENDER_LENGTH)
            && names.shape() == (FACT_KEY_LENGTH, FACT_LENGTH)
            && counts.shape() == Map::COUNTER_SHAPE
            && holders.shape() == (HOLDER_KEY_LENGTH, HOLDER_LENGTH);
        Ok(is_so.then_some(Self { ports, names, counts, holders }))
    }
}

/// The program, for maps with these descriptors.
pub(super) fn program(maps: Maps<RawFd>) -> Vec<u8> {
    let [bridge, ipv6, own, target] = ["bridge", "IPv6", "the port's own", "target"].map(Label);
    let mut it = Assembler::default();
    // R6 is the packet, R7 its first octet, R8 the octet behind those that can be read here.
    it.set(R6, R1);
    it.load(Four, R0, R6, TAGGED);
    it.jump(When::NotEqual, R0, 0, bridge);
    it.load(Four, R7, R6, DATA);
    it.load(Four, R8, R6, DATA_END);
    readable(&mut it, IPV4_PORTS + 4, bridge);

    // Whose port it is, and whether the frame is from its MAC address.
    it.load(Four, R0, R6, INTERFACE);
    it.store(Four, R10, PORT_KEY, R0);
    find(&mut it, maps.ports, PORT_KEY, bridge);
    same(&mut it, (Four, SOURCE), (R0, MAC), bridge);
    same(&mut it, (Two, SOURCE + 4), (R0, MAC + 4), bridge);
    // Longer than the network carries, and not to be cut into segments by the last interface.
    it.load(Four, R1, R6, SEGMENT);
    it.jump(When::NotEqual, R1, 0, own);
    it.load(Four, R1, R6, LENGTH);
    it.load(Four, R2, R0, LONGEST);
    it.jump(When::Greater, R1, R2, bridge);
    it.place(own);
    for part in [0, 4] {
        it.load(Four, R1, R0, NETWORK + part);
        it.store(Four, R10, HOLDER_NETWORK + part, R1);
    }

    it.load(Two, R1, R7, TYPE);
    it.jump(When::Equal, R1, network_order(0x86dd), ipv6);
    it.jump(When::NotEqual, R1, network_order(0x0800), bridge);
    it.load(One, R1, R7, IP);
    it.jump(When::NotEqual, R1, 0x45, bridge);
    // No fragment: neither an offset nor more to come.
    it.load(Two, R1, R7, IP + 6);
    it.jump(When::AnyOf, R1, network_order(0x3fff), bridge);
    it.load(One, R1, R7, IP + 9);
    let addresses = Label("IPv4 addresses");
    it.jump(When::Equal, R1, TCP, addresses);
    it.jump(When::NotEqual, R1, UDP, bridge);
    it.load(Two, R1, R7, IPV4_PORTS);
    // The rules let no DHCP server answer.
    it.jump(When::Equal, R1, network_order(67), bridge);
    it.load(Two, R1, R7, IPV4_PORTS + 2);
    it.jump(When::NotEqual, R1, network_order(53), addresses);
    answer(&mut it, maps, bridge, addresses);
    it.place(addresses);
    it.load(Four, R1, R7, IP + 12);
    it.jump(When::Equal, R1, 0, bridge);
    same(&mut it, (Four, IP + 12), (R0, ADDRESS4), bridge);
    it.set(R1, 0);
    it.store(Four, R10, HOLDER_ADDRESS, R1);
    it.store(Four, R10, HOLDER_ADDRESS + 4, R1);
    // `::ffff:0:0/96`; the sign is cut off.
    it.set(R1, i32::from_ne_bytes([0, 0, 0xff, 0xff]));
    it.store(Four, R10, HOLDER_ADDRESS + 8, R1);
    it.load(Four, R1, R7, IP + 16);
    it.store(Four, R10, HOLDER_ADDRESS + 12, R1);
    it.go(target);

    it.place(ipv6);
    readable(&mut it, IPV6_PORTS + 4, bridge);
    it.load(One, R1, R7, IP + 6);
    let addresses = Label("IPv6 addresses");
    it.jump(When::Equal, R1, TCP, addresses);
    it.jump(When::NotEqual, R1, UDP, bridge);
    it.load(Two, R1, R7, IPV6_PORTS);
    it.jump(When::Equal, R1, network_order(547), bridge);
    it.place(addresses);
    // The first four octets of an address that a port has are never zero.
    it.load(Four, R1, R7, IP + 8);
    it.jump(When::Equal, R1, 0, bridge);
    for part in [0, 4, 8, 12] {
        same(&mut it, (Four, IP + 8 + part), (R0, ADDRESS6 + part), bridge);
        it.load(Four, R1, R7, IP + 24 + part);
        it.store(Four, R10, HOLDER_ADDRESS + part, R1);
    }

    it.place(target);
    find(&mut it, maps.holders, HOLDER_KEY, bridge);
    same(&mut it, (Four, TARGET), (R0, MAC), bridge);
    same(&mut it, (Two, TARGET + 4), (R0, MAC + 4), bridge);
    // R8 is where it goes from here on.
    it.load(Four, R8, R0, HOLDER_PORT);
    // A bridge sends nothing back.
    it.load(Four, R2, R6, INTERFACE);
    it.jump(When::Equal, R8, R2, bridge);
    // It is not for the port, which the kernel remembers. Before Linux 6.16 nothing made the container forget it, and
    // it would not take it.
    it.set(R1, R6);
    it.set(R2, PACKET_HOST);
    it.call(Helper::ChangeType);
    it.set(R1, R8);
    it.set(R2, 0);
    it.call(Helper::RedirectPeer);
    it.exit();

    it.place(bridge);
    it.set(R0, TO_THE_BRIDGE);
    it.exit();
    it.finish()
}

/// Leaves a frame to the bridge of which not so many octets can be read.
pub(super) fn readable(it: &mut Assembler, octets: i16, otherwise: Label) {
    it.set(R1, R7);
    it.add(R1, i32::from(octets));
    it.jump(When::Greater, R1, R8, otherwise);
}

/// Makes R0 the value of a key on the stack.
pub(super) fn find(it: &mut Assembler, map: RawFd, key: i16, otherwise: Label) {
    it.set_map(R1, map);
    it.set(R2, R10);
    it.add(R2, i32::from(key));
    it.call(Helper::Lookup);
    it.jump(When::Equal, R0, 0, otherwise);
}

/// Leaves a frame to the bridge whose field differs from the same field behind another register.
pub(super) fn same(it: &mut Assembler, field: (Width, i16), other: (Register, i16), otherwise: Label) {
    it.load(field.0, R1, R7, field.1);
    it.load(field.0, R2, other.0, other.1);
    it.jump(When::NotEqual, R1, R2, otherwise);
}

/// A number of two octets as it is read from a frame.
pub(super) fn network_order(number: u16) -> i32 {
    number.to_be().into()
}
