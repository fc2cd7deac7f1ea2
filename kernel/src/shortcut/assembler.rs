//! A few instructions of eBPF, and jumps to named places (RFC 9669).

use std::{collections::BTreeMap, os::fd::RawFd};

/// One of the machine's registers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Register {
    /// What a call and the program return.
    R0,
    /// The first argument of a call, which overwrites it.
    R1,
    /// The second, and so on.
    R2,
    R3,
    R4,
    R5,
    /// Kept over calls, as are the next.
    R6,
    /// Kept over calls.
    R7,
    /// Kept over calls.
    R8,
    /// Kept over calls.
    R9,
    /// The end of the stack, which grows downwards.
    R10,
}

/// How much is read or written at once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Width {
    /// An octet.
    One,
    /// Two octets.
    Two,
    /// Four octets.
    Four,
    /// Eight octets.
    Eight,
}

/// When a jump is taken: what a register holds, unsigned, compared with the other side.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// They are the same.
    Equal,
    /// They are not.
    NotEqual,
    /// The register's is greater.
    Greater,
    /// The register's is less.
    Less,
    /// Some bit is set in both.
    AnyOf,
}

/// The other side of a comparison, or what is moved.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operand {
    Register(Register),
    Number(i32),
}

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(pub(super) &'static str);

/// What the kernel does for a program.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(super) enum Helper {
    /// `bpf_map_lookup_elem`
    Lookup = 1,
    /// `bpf_skb_store_bytes`
    StoreBytes = 9,
    /// `bpf_l3_csum_replace`
    ReplaceInIpChecksum = 10,
    /// `bpf_l4_csum_replace`
    ReplaceInChecksum = 11,
    /// `bpf_skb_load_bytes`
    LoadBytes = 26,
    /// `bpf_csum_diff`
    ChecksumDifference = 28,
    /// `bpf_redirect_peer`
    RedirectPeer = 155,
    /// `bpf_skb_change_type`
    ChangeType = 32,
    /// `bpf_skb_change_tail`
    ChangeTail = 38,
}

/// `struct bpf_insn`: operation, registers, offset, number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    operation: u8,
    registers: u8,
    offset: i16,
    number: i32,
}

/// A program that is being written.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    instructions: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    places: BTreeMap<Label, usize>,
}

impl From<Register> for Operand {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(number: i32) -> Self {
        Self::Number(number)
    }
}

impl Register {
    fn number(self) -> u8 {
        match self {
            Self::R0 => 0,
            Self::R1 => 1,
            Self::R2 => 2,
            Self::R3 => 3,
            Self::R4 => 4,
            Self::R5 => 5,
            Self::R6 => 6,
            Self::R7 => 7,
            Self::R8 => 8,
            Self::R9 => 9,
            Self::R10 => 10,
        }
    }
}

impl Width {
    fn bits(self) -> u8 {
        match self {
            Self::Four => 0x00,
            Self::Two => 0x08,
            Self::One => 0x10,
            Self::Eight => 0x18,
        }
    }
}

// Classes and modes of instructions, RFC 9669, sections 4 and 5.
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const STORE_NUMBER: u8 = 0x62;
const LOAD_DOUBLE: u8 = 0x18;
const BY_REGISTER: u8 = 0x08;
const MOVE: u8 = 0xb7;
const ADD: u8 = 0x07;
const OR: u8 = 0x47;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const XOR: u8 = 0xa7;
const SWAP: u8 = 0xd7;
const REORDER: u8 = 0xdc;
const GO: u8 = 0x05;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// What stands in place of its source when the number of a [`LOAD_DOUBLE`] is a map's descriptor.
const MAP: u8 = 1;

impl Assembler {
    /// Reads from memory.
    pub(super) fn load(&mut self, width: Width, into: Register, from: Register, offset: i16) {
        self.push(LOAD | width.bits(), into.number(), from.number(), offset, 0);
    }

    /// Writes to memory.
    pub(super) fn store(&mut self, width: Width, to: Register, offset: i16, from: Register) {
        self.push(STORE | width.bits(), to.number(), from.number(), offset, 0);
    }

    /// Sets a register.
    pub(super) fn set(&mut self, register: Register, to: impl Into<Operand>) {
        self.with(MOVE, register, to.into());
    }

    /// Writes zeros to memory.
    pub(super) fn clear(&mut self, width: Width, to: Register, offset: i16) {
        self.push(STORE_NUMBER | width.bits(), to.number(), 0, offset, 0);
    }

    /// Adds to a register.
    pub(super) fn add(&mut self, register: Register, other: impl Into<Operand>) {
        self.with(ADD, register, other.into());
    }

    /// Keeps the bits of a register that are set in the other side too.
    pub(super) fn and(&mut self, register: Register, other: impl Into<Operand>) {
        self.with(AND, register, other.into());
    }

    /// Sets the bits of a register that are set in the other side.
    pub(super) fn or(&mut self, register: Register, other: impl Into<Operand>) {
        self.with(OR, register, other.into());
    }

    /// Turns the bits of a register that are set in the other side.
    pub(super) fn xor(&mut self, register: Register, other: impl Into<Operand>) {
        self.with(XOR, register, other.into());
    }

    /// Moves the bits of a register to lower places.
    pub(super) fn shift_right(&mut self, register: Register, bits: i32) {
        self.push(SHIFT_RIGHT, register.number(), 0, 0, bits);
    }

    /// Has the two lowest octets of a register change places, and clears the others.
    pub(super) fn swap(&mut self, register: Register) {
        self.push(SWAP, register.number(), 0, 0, 16);
    }

    /// The same between the machine's order and the network's, if they differ.
    pub(super) fn reorder(&mut self, register: Register) {
        self.push(REORDER, register.number(), 0, 0, 16);
    }

    /// Sets all of a register.
    pub(super) fn set_whole(&mut self, register: Register, octets: [u8; 8]) {
        let [low, high] = if cfg!(target_endian = "little") { [0, 4] } else { [4, 0] };
        let half = |at: usize| i32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
        self.push(LOAD_DOUBLE, register.number(), 0, 0, half(low));
        self.push(0, 0, 0, 0, half(high));
    }

    /// Makes a register hold a map.
    pub(super) fn set_map(&mut self, register: Register, map: RawFd) {
        self.push(LOAD_DOUBLE, register.number(), MAP, 0, map);
        self.push(0, 0, 0, 0, 0);
    }

    /// Goes on at a place if a comparison holds.
    pub(super) fn jump(&mut self, when: When, register: Register, other: impl Into<Operand>, to: Label) {
        let operation = match when {
            When::Equal => 0x15,
            When::NotEqual => 0x55,
            When::Greater => 0x25,
            When::Less => 0xa5,
            When::AnyOf => 0x45,
        };
        self.jumps.push((self.instructions.len(), to));
        self.with(operation, register, other.into());
    }

    /// Goes on at a place.
    pub(super) fn go(&mut self, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.push(GO, 0, 0, 0, 0);
    }

    /// Has the kernel do something.
    pub(super) fn call(&mut self, helper: Helper) {
        self.push(CALL, 0, 0, 0, helper as i32);
    }

    /// Ends the program.
    pub(super) fn exit(&mut self) {
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// Names the place of the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        self.places.insert(label, self.instructions.len());
    }

    /// The program as the kernel takes it.
    ///
    /// # Panics
    /// When a jump leads nowhere, or further than a program of 32,767 instructions reaches.
    pub(super) fn finish(mut self) -> Vec<u8> {
        for (at, label) in self.jumps {
            let to = self.places[&label];
            let distance = to.checked_sub(at + 1).expect("loops are not made here");
            self.instructions[at].offset = i16::try_from(distance).expect("the program is short");
        }
        let octets = |Instruction { operation, registers, offset, number }: Instruction| {
            let [low, high] = offset.to_ne_bytes();
            let [a, b, c, d] = number.to_ne_bytes();
            [operation, registers, low, high, a, b, c, d]
        };
        self.instructions.into_iter().flat_map(octets).collect()
    }

    fn with(&mut self, operation: u8, register: Register, other: Operand) {
        match other {
            Operand::Register(other) => {
                self.push(operation | BY_REGISTER, register.number(), other.number(), 0, 0);
            }
            Operand::Number(number) => self.push(operation, register.number(), 0, 0, number),
        }
    }

    fn push(&mut self, operation: u8, destination: u8, source: u8, offset: i16, number: i32) {
        // On machines that begin with the higher octets the two change places.
        let registers =
            if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
        self.instructions.push(Instruction { operation, registers, offset, number });
    }
}

#[test]
fn instructions_are_those_of_the_standard() {
    use Register::{R0, R1, R6, R10};
    let end = Label("end");
    let mut program = Assembler::default();
    program.set(R6, R1);
    program.load(Width::Two, R0, R6, 12);
    program.jump(When::NotEqual, R0, 8, end);
    program.store(Width::Four, R10, -4, R0);
    program.jump(When::Greater, R0, R6, end);
    program.set_map(R1, 5);
    program.call(Helper::Lookup);
    program.clear(Width::Eight, R10, -16);
    program.and(R0, R1);
    program.xor(R0, -1);
    program.or(R0, R6);
    program.add(R0, R1);
    program.shift_right(R0, 2);
    program.swap(R0);
    program.reorder(R1);
    program.set_whole(R1, [1, 2, 3, 4, 5, 6, 7, 8]);
    program.jump(When::Less, R0, 2, end);
    program.place(end);
    program.set(R0, 0);
    program.exit();
    // As `llvm-objdump` writes them; the last of each is the number.
    let expected = [
        [0xbf, 0x16, 0, 0, 0, 0, 0, 0],
        [0x69, 0x60, 12, 0, 0, 0, 0, 0],
        [0x55, 0x00, 16, 0, 8, 0, 0, 0],
        [0x63, 0x0a, 0xfc, 0xff, 0, 0, 0, 0],
        [0x2d, 0x60, 14, 0, 0, 0, 0, 0],
        [0x18, 0x11, 0, 0, 5, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0x85, 0, 0, 0, 1, 0, 0, 0],
        [0x7a, 0x0a, 0xf0, 0xff, 0, 0, 0, 0],
        [0x5f, 0x10, 0, 0, 0, 0, 0, 0],
        [0xa7, 0x00, 0, 0, 0xff, 0xff, 0xff, 0xff],
        [0x4f, 0x60, 0, 0, 0, 0, 0, 0],
        [0x0f, 0x10, 0, 0, 0, 0, 0, 0],
        [0x77, 0x00, 0, 0, 2, 0, 0, 0],
        [0xd7, 0x00, 0, 0, 16, 0, 0, 0],
        [0xdc, 0x01, 0, 0, 16, 0, 0, 0],
        [0x18, 0x01, 0, 0, 1, 2, 3, 4],
        [0, 0, 0, 0, 5, 6, 7, 8],
        [0xa5, 0x00, 0, 0, 2, 0, 0, 0],
        [0xb7, 0, 0, 0, 0, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(program.finish(), expected.concat());
}

#[test]
#[should_panic(expected = "no entry found")]
fn a_jump_to_no_place_is_a_mistake() {
    let mut program = Assembler::default();
    program.jump(When::Equal, Register::R0, 0, Label("nowhere"));
    program.finish();
}
