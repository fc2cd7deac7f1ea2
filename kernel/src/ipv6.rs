//! Whether interfaces speak IPv6.

use model::{IfName, Ipv6};

use crate::{KernelError, sysctl::Directory};

/// The interfaces of one network namespace.
pub(crate) struct Interfaces(Directory);

impl Interfaces {
    /// Those of the namespace that the thread is in.
    pub(crate) fn open() -> Result<Self, KernelError> {
        Directory::open("/proc/sys/net/ipv6/conf").map(Self)
    }

    /// Turns IPv6 on an interface on or off. Where it is turned on, nobody but Fabric says what its addresses and
    /// routes are, and they can be used at once.
    pub(crate) fn set(&self, name: &IfName, to: Ipv6) -> Result<(), KernelError> {
        match to {
            // A kernel that speaks no IPv6 has no such setting, nor has an interface for packets of less than 1280
            // octets (RFC 8200 §5).
            Ipv6::Off => self.0.write(&format!("{name}/disable_ipv6"), "1").map(drop),
            Ipv6::Credulous => self.turn_on(name, &["disable_ipv6"]),
            Ipv6::On => self.turn_on(name, &["accept_ra", "accept_dad", "disable_ipv6"]),
        }
    }

    /// Sets these to 0.
    fn turn_on(&self, name: &IfName, settings: &[&str]) -> Result<(), KernelError> {
        for setting in settings {
            if !self.0.write(&format!("{name}/{setting}"), "0")? {
                return Err(KernelError::Missing {
                    object: format!("the setting {setting} of IPv6 on interface {name}"),
                });
            }
        }
        Ok(())
    }
}
