//! Kernel parameters of a container's own namespaces.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kernel parameter that every network or IPC namespace has for itself, written `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sysctl {
    name: String,
    value: String,
}

/// Why a text is no kernel parameter that a container can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSysctlError {
    /// It has not the form.
    #[error("`{}` is not a kernel parameter: expected NAME=VALUE, such as net.core.somaxconn=1024", .0.escape_debug())]
    Form(String),
    /// It is the host's.
    #[error("kernel parameter `{0}` is not the container's own: it would change the host")]
    Host(String),
    /// Fabric decides it.
    #[error("kernel parameter `{0}` is set by what networks the container is on")]
    Fabric(String),
}

/// Those of an IPC namespace (`ipc/ipc_sysctl.c`); the ones in `fs.mqueue` and `net` are all of a namespace.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

impl Sysctl {
    /// Its name, with dots.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is set to.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether it belongs to the network namespace.
    pub fn is_of_network(&self) -> bool {
        self.name.starts_with("net.")
    }
}

impl FromStr for Sysctl {
    type Err = ParseSysctlError;

    fn from_str(text: &str) -> Result<Self, ParseSysctlError> {
        let form = || ParseSysctlError::Form(text.chars().take(120).collect());
        let (name, value) = text.split_once('=').ok_or_else(form)?;
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"_-".contains(&octet))
        };
        // Every part is a file name, so none may lead elsewhere.
        if !name.split('.').all(plain) || value.is_empty() || value.chars().any(char::is_control) {
            return Err(form());
        }
        // Addresses and routers are the network's to decide; see `kernel` and `drivers`.
        if name.ends_with(".disable_ipv6") || name.ends_with(".accept_ra") {
            return Err(ParseSysctlError::Fabric(name.to_owned()));
        }
        if !name.starts_with("net.") && !name.starts_with("fs.mqueue.") && !IPC.contains(&name) {
            return Err(ParseSysctlError::Host(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

crate::text::through_text!(Sysctl, ParseSysctlError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_containers_own_is_taken() {
        for text in ["net.core.somaxconn=1024", "kernel.sem=250 32000 100 128", "fs.mqueue.msg_max=20"] {
            assert_eq!(text.parse::<Sysctl>().expect("valid").to_string(), text);
        }
        for text in ["kernel.panic=1", "vm.swappiness=0", "fs.file-max=1", "kernel.core_pattern=|/x", "network.x=1"] {
            assert!(matches!(text.parse::<Sysctl>(), Err(ParseSysctlError::Host(_))), "{text}");
        }
        assert!(matches!("net.ipv6.conf.all.disable_ipv6=0".parse::<Sysctl>(), Err(ParseSysctlError::Fabric(_))));
        for text in ["", "net", "net.x", "net.x=", "net..x=1", "net/../kernel.x=1", "net.x=1\n2", ".=1"] {
            assert!(matches!(text.parse::<Sysctl>(), Err(ParseSysctlError::Form(_))), "{text}");
        }
    }
}
