//! Which devices a container may use: Docker's default list.
//!
//! In the legacy layout the `devices` controller takes the rules as text. The unified layout has no such controller;
//! a BPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE` on the cgroup decides (kernel `kernel/bpf/cgroup.c`).

use std::{fmt, io, os::fd::AsRawFd, path::Path};

use crate::system;

/// One permission; everything else is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    kind: Kind,
    /// None is any.
    major: Option<u32>,
    minor: Option<u32>,
    access: &'static [Access],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `BPF_DEVCG_DEV_BLOCK`
    Block = 1,
    /// `BPF_DEVCG_DEV_CHAR`
    Character = 2,
}

/// `BPF_DEVCG_ACC_*`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Make = 1,
    Read = 2,
    Write = 4,
}

const ALL: &[Access] = &[Access::Read, Access::Write, Access::Make];

const fn character(major: u32, minor: u32) -> Rule {
    Rule { kind: Kind::Character, major: Some(major), minor: Some(minor), access: ALL }
}

/// Making any node is harmless without being able to open it, and package managers do it.
pub(crate) const RULES: &[Rule] = &[
    Rule { kind: Kind::Character, major: None, minor: None, access: &[Access::Make] },
    Rule { kind: Kind::Block, major: None, minor: None, access: &[Access::Make] },
    character(1, 3),                                                            // null
    character(1, 5),                                                            // zero
    character(1, 7),                                                            // full
    character(1, 8),                                                            // random
    character(1, 9),                                                            // urandom
    character(5, 0),                                                            // tty
    character(5, 2),                                                            // ptmx
    Rule { kind: Kind::Character, major: Some(136), minor: None, access: ALL }, // pts
];

impl fmt::Display for Rule {
    /// As `devices.allow` takes it (kernel `Documentation/admin-guide/cgroup-v1/devices.rst`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        self.access.iter().try_for_each(|access| {
            f.write_str(match access {
                Access::Make => "m",
                Access::Read => "r",
                Access::Write => "w",
            })
        })
    }
}

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    // The low four bits are the destination on little-endian machines, the high four on big-endian ones.
    let registers = if cfg!(target_endian = "little") { destination | source << 4 } else { destination << 4 | source };
    Instruction { code, registers, offset, immediate }
}

/// `BPF_LDX | BPF_MEM | BPF_W`: destination = *(u32 *)(source + offset)
const LOAD: u8 = 0x61;
/// `BPF_ALU | BPF_MOV`, from a register and from a constant
const MOVE: u8 = 0xbc;
const SET: u8 = 0xb4;
/// `BPF_ALU | BPF_AND` and `BPF_RSH` with a constant
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
/// `BPF_JMP | BPF_JNE` with a constant: skip `offset` instructions
const SKIP_UNLESS: u8 = 0x55;
const EXIT: u8 = 0x95;

/// Reads `struct bpf_cgroup_dev_ctx { access_type = access << 16 | type, major, minor }` from register 1 and returns 1
/// if a rule permits the access.
fn program() -> Vec<Instruction> {
    const KIND: u8 = 2;
    const ACCESS: u8 = 3;
    const MAJOR: u8 = 4;
    const MINOR: u8 = 5;
    let mut program = vec![
        instruction(LOAD, KIND, 1, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(LOAD, ACCESS, 1, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD, MAJOR, 1, 4, 0),
        instruction(LOAD, MINOR, 1, 8, 0),
    ];
    for rule in RULES {
        let forbidden = 7 & !rule.access.iter().fold(0, |mask, access| mask | *access as i32);
        let mut block = vec![instruction(SKIP_UNLESS, KIND, 0, 0, rule.kind as i32)];
        let numbers = [(MAJOR, rule.major), (MINOR, rule.minor)];
        for (register, number) in numbers.into_iter().filter_map(|(register, number)| Some((register, number?))) {
            let number = i32::try_from(number).expect("device numbers are small");
            block.push(instruction(SKIP_UNLESS, register, 0, 0, number));
        }
        block.push(instruction(MOVE, 0, ACCESS, 0, 0));
        block.push(instruction(AND, 0, 0, 0, forbidden));
        block.push(instruction(SKIP_UNLESS, 0, 0, 0, 0));
        block.push(instruction(SET, 0, 0, 0, 1));
        block.push(instruction(EXIT, 0, 0, 0, 0));
        let length = block.len();
        for (index, step) in block.iter_mut().enumerate().filter(|(_, step)| step.code == SKIP_UNLESS) {
            step.offset = i16::try_from(length - index - 1).expect("a block is short");
        }
        program.append(&mut block);
    }
    program.push(instruction(SET, 0, 0, 0, 0));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    program
}

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_ATTACH: u32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Confines a cgroup of the unified hierarchy. The program lives as long as the cgroup.
pub(crate) fn attach(cgroup: &Path) -> io::Result<()> {
    let program = program();
    let load = Load {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).expect("a short program"),
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let program = system::adopt(system::bpf(BPF_PROG_LOAD, &load)?);
    let cgroup = std::fs::File::open(cgroup)?;
    let number = |descriptor: i32| u32::try_from(descriptor).expect("an open descriptor is positive");
    let attach = Attach {
        target: number(cgroup.as_raw_fd()),
        program: number(program.as_raw_fd()),
        attach_type: BPF_CGROUP_DEVICE,
        flags: 0,
    };
    system::bpf(BPF_PROG_ATTACH, &attach)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would, for the few instructions it has.
    fn permits(kind: Kind, access: Access, major: i32, minor: i32) -> bool {
        let program = program();
        let context = [(access as i32) << 16 | kind as i32, major, minor];
        let mut registers = [0_i32; 11];
        let mut next = 0;
        loop {
            let step = program[next];
            next += 1;
            let (destination, source) = (usize::from(step.registers & 15), usize::from(step.registers >> 4));
            match step.code {
                LOAD => registers[destination] = context[usize::try_from(step.offset / 4).expect("positive")],
                MOVE => registers[destination] = registers[source],
                SET => registers[destination] = step.immediate,
                AND => registers[destination] &= step.immediate,
                SHIFT_RIGHT => registers[destination] >>= step.immediate,
                SKIP_UNLESS if registers[destination] != step.immediate => {
                    next += usize::try_from(step.offset).expect("forward");
                }
                SKIP_UNLESS => {}
                EXIT => return registers[0] == 1,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn the_program_permits_the_default_devices_only() {
        use Access::{Make, Read, Write};
        use Kind::{Block, Character};
        for (kind, access, major, minor, expected) in [
            (Character, Read, 1, 3, true),
            (Character, Write, 1, 3, true),
            (Character, Write, 136, 7, true),
            (Character, Read, 1, 1, false),    // /dev/mem
            (Character, Read, 10, 200, false), // /dev/net/tun
            (Character, Write, 5, 1, false),   // /dev/console, the host's
            (Character, Make, 1, 1, true),
            (Block, Make, 8, 0, true),
            (Block, Read, 8, 0, false),
            (Block, Write, 1, 3, false),
        ] {
            assert_eq!(permits(kind, access, major, minor), expected, "{kind:?} {access:?} {major}:{minor}");
        }
    }

    #[test]
    fn rules_read_as_the_legacy_controller_takes_them() {
        let text: Vec<String> = RULES.iter().map(ToString::to_string).collect();
        assert_eq!(text[0], "c *:* m");
        assert_eq!(text[2], "c 1:3 rwm");
        assert_eq!(text.last().map(String::as_str), Some("c 136:* rwm"));
    }
}
