//! The seccomp filter of every container, compiled once.

use std::{
    fs::File,
    io::{self, Read, Seek},
    rc::Rc,
};

use libc::sock_filter;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, error::SeccompError,
};
use rustix::{fs::MemfdFlags, io::Errno, thread::CapabilitySet};

use crate::system;

mod profile;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("libseccomp refuses the profile")]
    Build(#[from] SeccompError),
    #[error("cannot take the filter from libseccomp")]
    Export(#[from] io::Error),
}

/// A compiled filter, the same for the first process and for what `exec` adds.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    program: Rc<[sock_filter]>,
}

impl Filter {
    /// Docker's default profile.
    ///
    /// # Errors
    /// When libseccomp cannot build it; there is nothing to run a container with then.
    pub(crate) fn docker_default() -> Result<Self, FilterError> {
        Self::permitting(CapabilitySet::empty())
    }

    /// The same with what is of use only to a process with one of these capabilities, as Docker has it.
    ///
    /// # Errors
    /// As [`Filter::docker_default`].
    pub(crate) fn permitting(capabilities: CapabilitySet) -> Result<Self, FilterError> {
        let (native, others): (u32, &[ScmpArch]) = if cfg!(target_arch = "x86_64") {
            (AUDIT_ARCH_X86_64, &[ScmpArch::X86, ScmpArch::X32])
        } else {
            (AUDIT_ARCH_AARCH64, &[ScmpArch::Arm])
        };
        let denied = ScmpAction::Errno(libc::EPERM);
        let mut context = ScmpFilterContext::new(denied)?;
        for architecture in others {
            context.add_arch(*architecture)?;
        }
        // A binary tree instead of a list: some ten comparisons for a system call instead of hundreds. Known from
        // libseccomp 2.5 on; without it the filter is only slower.
        let _ = context.set_ctl_optimize(2);

        let mut newest = 0;
        let mut known = |name: &str| {
            let call = ScmpSyscall::from_name(name).ok()?;
            newest = newest.max(i32::from(call));
            Some(call)
        };
        for call in profile::PERMITTED.split_whitespace().filter_map(&mut known) {
            context.add_rule(ScmpAction::Allow, call)?;
        }
        let argument = |number, operator, value| ScmpArgCompare::new(number, operator, value);
        for (capability, calls) in profile::OF_CAPABILITIES {
            if capabilities.contains(*capability) {
                for call in calls.split_whitespace().filter_map(&mut known) {
                    context.add_rule(ScmpAction::Allow, call)?;
                }
            }
        }
        let privileged = capabilities.contains(CapabilitySet::SYS_ADMIN);
        if let Some(personality) = known("personality") {
            for value in profile::PERSONALITIES {
                let rule = argument(0, ScmpCompareOp::Equal, value);
                context.add_rule_conditional(ScmpAction::Allow, personality, &[rule])?;
            }
        }
        if let Some(clone) = known("clone").filter(|_| !privileged) {
            let rule = argument(0, ScmpCompareOp::MaskedEqual(profile::CLONE_NAMESPACES), 0);
            context.add_rule_conditional(ScmpAction::Allow, clone, &[rule])?;
        }
        if let Some(socket) = known("socket") {
            let below = argument(0, ScmpCompareOp::Less, profile::FAMILIES_BELOW);
            context.add_rule_conditional(ScmpAction::Allow, socket, &[below])?;
            for family in profile::FAMILIES {
                let rule = argument(0, ScmpCompareOp::Equal, family);
                context.add_rule_conditional(ScmpAction::Allow, socket, &[rule])?;
            }
        }
        if let Some(clone3) = known("clone3").filter(|_| !privileged) {
            // Its flags are behind a pointer, which a filter cannot follow; libc falls back to clone.
            context.add_rule(ScmpAction::Errno(libc::ENOSYS), clone3)?;
        }

        let mut program = unknown_to_the_profile(native, newest);
        program.extend(export(&context)?.chunks_exact(8).map(decode));
        Ok(Self { program: program.into() })
    }

    /// Puts this process under the filter, for good. Needs CAP_SYS_ADMIN, or no new privileges.
    pub(crate) fn load(&self) -> Result<(), Errno> {
        system::load_seccomp(&self.program)
    }
}

/// `include/uapi/linux/audit.h`
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
/// The bit that marks x32 calls on x86-64.
const X32: u32 = 0x4000_0000;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Answers ENOSYS to calls younger than all the profile knows, as runc does: a libc then falls back to older ones,
/// where EPERM makes it fail.
fn unknown_to_the_profile(architecture: u32, newest: i32) -> Vec<sock_filter> {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, ARCHITECTURE),
        step(IF_EQUAL, 0, 4, architecture),
        step(LOAD, 0, 0, NUMBER),
        step(IF_AT_LEAST, 2, 0, X32),
        step(IF_GREATER, 0, 1, newest.unsigned_abs()),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
    ]
}

/// The program as libseccomp writes it, through a file in memory.
fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, FilterError> {
    let mut file = File::from(rustix::fs::memfd_create(c"seccomp", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    context.export_bpf(&file)?;
    file.rewind()?;
    let mut octets = Vec::new();
    file.read_to_end(&mut octets)?;
    Ok(octets)
}

/// `struct sock_filter` as it lies in memory.
fn decode(bytes: &[u8]) -> sock_filter {
    sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;
    const I386: u32 = 0x4000_0003;

    /// What the filter says, by the few instructions of classic BPF that filters are made of.
    fn verdict(filter: &Filter, architecture: u32, number: i64, arguments: &[u64]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => u32::try_from(number).expect("a system call number"),
            ARCHITECTURE => architecture,
            offset => {
                let argument = arguments.get((offset as usize - 16) / 8).copied().unwrap_or(0);
                if offset % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 }
            }
        };
        let (mut accumulator, mut next) = (0_u32, 0);
        loop {
            let step = filter.program[next];
            next += 1;
            let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            match u32::from(step.code) {
                code if code == u32::from(LOAD) => accumulator = word(step.k),
                code if code == u32::from(IF_EQUAL) => next += jump(accumulator == step.k),
                code if code == u32::from(IF_AT_LEAST) => next += jump(accumulator >= step.k),
                code if code == u32::from(IF_GREATER) => next += jump(accumulator > step.k),
                code if code == u32::from(RETURN) => return step.k,
                0x05 => next += step.k as usize,
                0x54 => accumulator &= step.k,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_come_with_the_capabilities_that_they_need() {
        for (capability, call, expected) in [
            (CapabilitySet::SYS_ADMIN, libc::SYS_mount, ALLOW),
            (CapabilitySet::SYS_ADMIN, libc::SYS_clone3, ALLOW),
            (CapabilitySet::SYS_ADMIN, libc::SYS_kexec_load, EPERM),
            (CapabilitySet::SYS_TIME, libc::SYS_settimeofday, ALLOW),
            (CapabilitySet::NET_ADMIN, libc::SYS_mount, EPERM),
            (CapabilitySet::NET_ADMIN, libc::SYS_clone3, ENOSYS),
        ] {
            let filter = Filter::permitting(capability).expect("libseccomp builds it");
            assert_eq!(verdict(&filter, AUDIT_ARCH_X86_64, call, &[0x1000_0000]), expected, "{capability:?} {call}");
        }
        let filter = Filter::permitting(CapabilitySet::SYS_ADMIN).expect("libseccomp builds it");
        assert_eq!(verdict(&filter, AUDIT_ARCH_X86_64, libc::SYS_clone, &[0x1000_0000]), ALLOW);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_profile_is_docker_s() {
        let filter = Filter::docker_default().expect("libseccomp builds it");
        for (call, arguments, expected) in [
            (libc::SYS_read, &[][..], ALLOW),
            (libc::SYS_execve, &[], ALLOW),
            (libc::SYS_chroot, &[], ALLOW),
            (libc::SYS_openat2, &[], ALLOW),
            (libc::SYS_mount, &[], EPERM),
            (libc::SYS_setns, &[], EPERM),
            (libc::SYS_unshare, &[], EPERM),
            (libc::SYS_bpf, &[], EPERM),
            (libc::SYS_io_uring_setup, &[], EPERM),
            (libc::SYS_keyctl, &[], EPERM),
            (libc::SYS_kexec_load, &[], EPERM),
            (libc::SYS_userfaultfd, &[], EPERM),
            (libc::SYS_clone3, &[], ENOSYS),
            (libc::SYS_clone, &[0x11], ALLOW),
            (libc::SYS_clone, &[0x1000_0000], EPERM),
            (libc::SYS_clone, &[0x4000_0000], EPERM),
            (libc::SYS_personality, &[0x8], ALLOW),
            (libc::SYS_personality, &[0x4_0000], EPERM),
            (libc::SYS_socket, &[2], ALLOW),
            (libc::SYS_socket, &[16], ALLOW),
            (libc::SYS_socket, &[10], ALLOW),
            (libc::SYS_socket, &[38], EPERM),
            (libc::SYS_socket, &[40], EPERM),
            (libc::SYS_socket, &[0x1_0000_0002], EPERM),
            (5000, &[], ENOSYS),
        ] {
            let verdict = verdict(&filter, AUDIT_ARCH_X86_64, call, arguments);
            assert_eq!(verdict, expected, "call {call} {arguments:x?}");
        }
        assert_eq!(verdict(&filter, I386, 11, &[]), ALLOW, "execve of a 32-bit program");
        assert_eq!(verdict(&filter, I386, 21, &[]), EPERM, "mount by a 32-bit program");
        assert_ne!(verdict(&filter, AUDIT_ARCH_AARCH64, 0, &[]), ALLOW, "a foreign architecture");
    }
}
