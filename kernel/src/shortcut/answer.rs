//! What each port does with a question for a name: one that asks the gateway of the port's network for the IPv4 address
//! of a name that has one is turned round and given back, with the answer behind it.
//!
//! The question is taken in one form only: IPv4, UDP with nothing behind one question of class IN,
//! without EDNS. What is answered is what the DNS server would answer, flags and case of letters included. All else
//! goes to the server.

use std::os::fd::RawFd;

use super::{
    assembler::{
        Assembler, Helper, Label,
        Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10},
        When,
        Width::{Eight, Four, One, Two},
    },
    entry::{ADDRESS4, GATEWAY, LONGEST_NAME, MAC, NETWORK, RECORD_LENGTH},
    program::{
        INTERFACE, IP, IPV4_PORTS, LENGTH, Maps, PACKET_HOST, PORT_KEY, SEGMENT, SOURCE, TARGET, TYPE, find,
        network_order, readable, same,
    },
};

// Offsets into the frame, behind those of the whole program.
const UDP: i16 = IPV4_PORTS;
const DNS: i16 = UDP + 8;
/// Where the question begins, with its name (RFC 1035, 4.1.2).
const QUESTION: i16 = DNS + 12;
/// Type and class, behind the name.
const KIND: i32 = 4;
/// What is written anew: all before the numbers of records that stay.
const REWRITTEN: i16 = DNS + 8;

// Where on the stack things are, below those of the whole program.
const KEY: i16 = -96;
const NAME: i16 = KEY + 8;
const NAME_LENGTH: i16 = KEY + 63;
const RECORD: i16 = -112;
/// What the checksum covers of what is changed: length, two octets of nothing, flags, and the number of answers; as it
/// was.
const BEFORE: i16 = -120;
/// The same as it is to be.
const AFTER: i16 = -128;
/// The new beginning of the frame, of which all behind Ethernet's header is aligned.
const FRAME: i16 = -186;

// `include/uapi/linux/bpf.h`: `BPF_F_PSEUDO_HDR`, `BPF_F_MARK_MANGLED_0`
const PSEUDO_HEADER: i32 = 0x10;
const NONE_STAYS_NONE: i32 = 0x20;

// Flags of a message (RFC 1035, 4.1.1; RFC 4035, 3.2), in its third and its fourth octet.
const RECURSION_DESIRED: i32 = 0x01;
const AUTHORITATIVE_RESPONSE: i32 = 0x84;
const CHECKING_DISABLED: i32 = 0x10;
const AUTHENTIC_DATA: i32 = 0x20;
const RECURSION_AVAILABLE: i32 = 0x80;

/// Answers a datagram for port 53 if it can: R0 is who sends by the port, R6 the packet, R7 its first octet, R8 the
/// octet behind those that can be read. One that is not for the gateway goes on at `elsewhere`, with the same registers
/// but R8; one that cannot be answered at `server`.
pub(super) fn answer(it: &mut Assembler, maps: Maps<RawFd>, server: Label, elsewhere: Label) {
    let other = Label("not for the gateway");
    readable(it, QUESTION, elsewhere);
    same(it, (Four, IP + 12), (R0, ADDRESS4), server);
    it.set(R9, R0);

    // Whether whoever sends may be answered, and by which gateway.
    for part in [0, 4] {
        it.load(Four, R1, R0, NETWORK + part);
        it.store(Four, R10, KEY + part, R1);
    }
    (0..7).for_each(|word| it.clear(Eight, R10, NAME + 8 * word));
    it.load(Four, R1, R7, IP + 12);
    it.store(Four, R10, NAME, R1);
    find(it, maps.names, KEY, other);
    same(it, (Four, IP + 16), (R0, GATEWAY), other);
    same(it, (Four, TARGET), (R0, MAC), other);
    same(it, (Two, TARGET + 4), (R0, MAC + 4), other);

    ask(it, maps, server);
    turn_round(it, server);
    checksums(it);

    // The key is zero. Nothing else on this processor counts at the same time.
    it.clear(Four, R10, PORT_KEY);
    find(it, maps.counts, PORT_KEY, server);
    it.load(Eight, R1, R0, 0);
    it.add(R1, 1);
    it.store(Eight, R0, 0, R1);
    it.set(R1, R6);
    it.set(R2, PACKET_HOST);
    it.call(Helper::ChangeType);
    it.load(Four, R1, R6, INTERFACE);
    it.set(R2, 0);
    it.call(Helper::RedirectPeer);
    it.exit();

    it.place(other);
    it.set(R0, R9);
}

/// Reads the question, and copies its answer to the stack. R8 is the length of the name from here on.
fn ask(it: &mut Assembler, maps: Maps<RawFd>, server: Label) {
    it.load(One, R1, R7, DNS + 2);
    it.jump(When::AnyOf, R1, 0xff ^ RECURSION_DESIRED, server);
    it.load(One, R1, R7, DNS + 3);
    it.jump(When::AnyOf, R1, 0xff ^ (CHECKING_DISABLED | AUTHENTIC_DATA), server);
    it.load(Four, R1, R7, DNS + 4);
    it.jump(When::NotEqual, R1, i32::from_ne_bytes([0, 1, 0, 0]), server);
    it.load(Four, R1, R7, DNS + 8);
    it.jump(When::NotEqual, R1, 0, server);
    it.load(Four, R1, R6, SEGMENT);
    it.jump(When::NotEqual, R1, 0, server);
    // Nothing can be sent to port 0.
    it.load(Two, R1, R7, UDP);
    it.jump(When::Equal, R1, 0, server);
    it.load(Four, R8, R6, LENGTH);
    for (at, before) in [(IP + 2, IP), (UDP + 4, UDP)] {
        it.load(Two, R1, R7, at);
        it.reorder(R1);
        it.add(R1, i32::from(before));
        it.jump(When::NotEqual, R1, R8, server);
    }
    it.add(R8, -(i32::from(QUESTION) + KIND));
    it.jump(When::Greater, R8, i32::from(LONGEST_NAME), server);
    it.jump(When::Less, R8, 2, server);
    it.clear(Eight, R10, NAME);
    load(it, NAME, server, |it| {
        it.set(R2, i32::from(QUESTION));
        it.set(R4, R8);
    });
    load(it, BEFORE, server, |it| {
        it.set(R2, R8);
        it.add(R2, i32::from(QUESTION));
        it.set(R4, KIND);
    });
    it.load(Four, R1, R10, BEFORE);
    // An address of IPv4, of class IN.
    it.jump(When::NotEqual, R1, i32::from_ne_bytes([0, 1, 0, 1]), server);
    to_lower_case(it);
    it.store(One, R10, NAME_LENGTH, R8);
    find(it, maps.names, KEY, server);
    it.set(R9, R0);
    for part in [0, 8] {
        it.load(Eight, R1, R0, part);
        it.store(Eight, R10, RECORD + part, R1);
    }
    // The kernel gives the memory of what is removed to what is made next, without waiting for those who still read it.
    // Still in its place, it was what is written above.
    find(it, maps.names, KEY, server);
    it.jump(When::NotEqual, R0, R9, server);
}

/// Copies octets of the packet to the stack; `set` says from where, and how many.
fn load(it: &mut Assembler, to: i16, otherwise: Label, set: impl FnOnce(&mut Assembler)) {
    it.set(R1, R6);
    set(it);
    it.set(R3, R10);
    it.add(R3, i32::from(to));
    it.call(Helper::LoadBytes);
    it.jump(When::NotEqual, R0, 0, otherwise);
}

/// Brings the name into lower case, eight octets at once: where the lower seven bits of an octet are those of a
/// capital, adding two numbers differs in whether the eighth is set. Lengths of labels are below 64, so no letters.
fn to_lower_case(it: &mut Assembler) {
    let end = Label("lower case");
    it.set_whole(R3, [0x7f; 8]);
    it.set_whole(R4, [0x80 - b'A'; 8]);
    it.set_whole(R5, [0x80 - (b'Z' + 1); 8]);
    for word in 0..7 {
        it.jump(When::Less, R8, 8 * i32::from(word) + 1, end);
        let at = NAME + 8 * word;
        it.load(Eight, R1, R10, at);
        it.set(R2, R1);
        it.and(R2, R3);
        it.set(R0, R2);
        it.add(R0, R4);
        it.add(R2, R5);
        it.xor(R0, R2);
        // Of octets that are ASCII.
        it.set(R2, R1);
        it.or(R2, R3);
        it.xor(R2, -1);
        it.and(R0, R2);
        // 0x80 becomes what a capital and a small letter differ by.
        it.shift_right(R0, 2);
        it.or(R1, R0);
        it.store(Eight, R10, at, R1);
    }
    it.place(end);
}

/// Makes the question its own answer, apart from checksums. R9 is the former length of the IP packet afterwards.
///
/// Everything is written by calls: a program that writes to packets itself has every packet copied that somebody else
/// has as well, such as all of TCP's.
fn turn_round(it: &mut Assembler, server: Label) {
    let copies = [
        (Two, SOURCE, TARGET),
        (Four, SOURCE + 2, TARGET + 2),
        (Four, TARGET, SOURCE),
        (Two, TARGET + 4, SOURCE + 4),
        (Two, TYPE, TYPE),
        (Two, IP, IP),
        (Four, IP + 4, IP + 4),
        (Four, IP + 8, IP + 8),
        (Four, IP + 16, IP + 12),
        (Four, IP + 12, IP + 16),
        (Two, UDP + 2, UDP),
        (Two, UDP, UDP + 2),
        (Two, UDP + 6, UDP + 6),
        (Two, DNS, DNS),
        (Two, DNS + 4, DNS + 4),
    ];
    for (width, from, to) in copies {
        it.load(width, R1, R7, from);
        it.store(width, R10, FRAME + to, R1);
    }
    it.clear(Eight, R10, BEFORE);
    it.clear(Eight, R10, AFTER);
    it.load(Two, R9, R7, IP + 2);
    it.load(Two, R1, R7, UDP + 4);
    it.store(Two, R10, BEFORE, R1);
    longer(it);
    it.store(Two, R10, FRAME + UDP + 4, R1);
    it.store(Two, R10, AFTER, R1);
    it.set(R1, R9);
    longer(it);
    it.store(Two, R10, FRAME + IP + 2, R1);
    for (at, keep, set) in [(2, RECURSION_DESIRED, AUTHORITATIVE_RESPONSE), (3, CHECKING_DISABLED, RECURSION_AVAILABLE)]
    {
        it.load(One, R1, R7, DNS + at);
        it.store(One, R10, BEFORE + 2 + at, R1);
        it.and(R1, keep);
        it.or(R1, set);
        it.store(One, R10, FRAME + DNS + at, R1);
        it.store(One, R10, AFTER + 2 + at, R1);
    }
    it.set(R1, network_order(1));
    it.store(Two, R10, FRAME + DNS + 6, R1);
    it.store(Two, R10, AFTER + 6, R1);

    // Until the frame's beginning is written it is the question still, with nothing that counts behind it.
    let end = i32::from(QUESTION) + KIND;
    it.set(R1, R6);
    it.set(R2, R8);
    it.add(R2, end + i32::from(RECORD_LENGTH));
    it.set(R3, 0);
    it.call(Helper::ChangeTail);
    it.jump(When::NotEqual, R0, 0, server);
    store(it, (RECORD, RECORD_LENGTH), server, |it| {
        it.set(R2, R8);
        it.add(R2, end);
    });
    store(it, (FRAME, REWRITTEN), server, |it| it.set(R2, 0));
}

/// Adds the answer's length to a number of two octets in R1.
fn longer(it: &mut Assembler) {
    it.reorder(R1);
    it.add(R1, i32::from(RECORD_LENGTH));
    it.reorder(R1);
}

/// Copies octets of the stack to the packet; `set` says to where.
fn store(it: &mut Assembler, from: (i16, i16), otherwise: Label, set: impl FnOnce(&mut Assembler)) {
    it.set(R1, R6);
    set(it);
    on_stack(it, from.0);
    it.set(R4, i32::from(from.1));
    it.set(R5, 0);
    it.call(Helper::StoreBytes);
    it.jump(When::NotEqual, R0, 0, otherwise);
}

/// Makes R3 an address on the stack.
fn on_stack(it: &mut Assembler, at: i16) {
    it.set(R3, R10);
    it.add(R3, i32::from(at));
}

/// Makes the checksums those of the answer. UDP's is of the whole datagram, of its pseudo header alone where an
/// interface is to do the rest (`CHECKSUM_PARTIAL`), or none; the calls know which. What fails here makes the container
/// throw the answer away.
fn checksums(it: &mut Assembler) {
    it.set(R1, R6);
    it.set(R2, i32::from(IP + 10));
    it.set(R3, R9);
    it.load(Two, R4, R10, FRAME + IP + 2);
    it.set(R5, 2);
    it.call(Helper::ReplaceInIpChecksum);
    // The pseudo header has the datagram's length. That addresses and ports changed places changes no sum.
    it.set(R1, R6);
    it.set(R2, i32::from(UDP + 6));
    it.load(Two, R3, R10, BEFORE);
    it.load(Two, R4, R10, AFTER);
    it.set(R5, PSEUDO_HEADER | NONE_STAYS_NONE | 2);
    it.call(Helper::ReplaceInChecksum);
    it.set(R1, 0);
    it.set(R2, 0);
    on_stack(it, RECORD);
    it.set(R4, i32::from(RECORD_LENGTH));
    it.set(R5, 0);
    it.call(Helper::ChecksumDifference);
    // Behind a name of odd length high and low octets are the other way round.
    let even = Label("even");
    it.set(R1, R8);
    it.and(R1, 1);
    it.jump(When::Equal, R1, 0, even);
    it.swap(R0);
    it.place(even);
    it.set(R5, R0);
    it.set(R1, R10);
    it.add(R1, i32::from(BEFORE));
    it.set(R2, 8);
    on_stack(it, AFTER);
    it.set(R4, 8);
    it.call(Helper::ChecksumDifference);
    it.set(R4, R0);
    it.set(R1, R6);
    it.set(R2, i32::from(UDP + 6));
    it.set(R3, 0);
    it.set(R5, NONE_STAYS_NONE);
    it.call(Helper::ReplaceInChecksum);
}
