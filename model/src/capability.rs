//! Privileges of a process, one by one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A Linux capability (`capabilities(7)`); read from `NET_ADMIN` or `CAP_NET_ADMIN` in any case, written `NET_ADMIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(u8);

/// Capabilities to take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DroppedCapability {
    /// Every one that is not added by name.
    All,
    /// This one.
    One(Capability),
}

/// Why a text is not a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCapabilityError {
    /// The kernel has none of that name.
    #[error("`{}` is not a capability: expected a name such as NET_ADMIN", .0.escape_debug())]
    Unknown(String),
    /// All at once can only be dropped.
    #[error("all capabilities cannot be added at once: name those that are needed")]
    AddAll,
}

impl Capability {
    /// Looking into other processes.
    pub fn sys_ptrace() -> Self {
        Self(19)
    }
}

/// Names in the order of their numbers, from zero on (`include/uapi/linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capability {
    /// The one of that number; none where the kernel has none.
    pub fn from_number(number: u8) -> Option<Self> {
        (usize::from(number) < NAMES.len()).then_some(Self(number))
    }

    /// Its number, which is that of its bit in a set.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name, without the prefix.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

impl FromStr for Capability {
    type Err = ParseCapabilityError;

    fn from_str(text: &str) -> Result<Self, ParseCapabilityError> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" {
            return Err(ParseCapabilityError::AddAll);
        }
        let number = NAMES.iter().position(|known| *known == name);
        let number = number.ok_or_else(|| ParseCapabilityError::Unknown(text.chars().take(80).collect()))?;
        Ok(Self(number as u8))
    }
}

impl FromStr for DroppedCapability {
    type Err = ParseCapabilityError;

    fn from_str(text: &str) -> Result<Self, ParseCapabilityError> {
        match text.parse() {
            Ok(capability) => Ok(Self::One(capability)),
            Err(ParseCapabilityError::AddAll) => Ok(Self::All),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for DroppedCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("ALL"),
            Self::One(capability) => capability.fmt(f),
        }
    }
}

crate::text::through_text!(Capability, ParseCapabilityError);
crate::text::through_text!(DroppedCapability, ParseCapabilityError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_with_or_without_the_prefix() {
        for (text, number) in [("CHOWN", 0), ("cap_net_admin", 12), ("CAP_BPF", 39), ("checkpoint_restore", 40)] {
            assert_eq!(text.parse::<Capability>().expect("known").number(), number, "{text}");
        }
        for text in ["", "ALL", "CAP_", "NETADMIN", "0"] {
            assert!(text.parse::<Capability>().is_err(), "{text}");
        }
        assert_eq!("all".parse(), Ok(DroppedCapability::All));
    }
}
