//! Connections that the kernel keeps track of.

use std::net::IpAddr;

use crate::Family;

/// A connection as conntrack knows it, and as policies judge it: by who opened it, whatever address it was sent on
/// with, and by whom it led to, behind any translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// Who opened it; of one that was picked up, who sent first then.
    pub source: IpAddr,
    /// Who answers.
    pub destination: IpAddr,
    /// The number of its protocol in the IP header.
    pub protocol: u8,
    /// Of a protocol that has ports, the one it was opened from and the one it leads to.
    pub ports: Option<(u16, u16)>,
    /// Of ICMP, the type and the code of what was asked.
    pub message: Option<(Family, u8, u8)>,
    /// Whether the kernel met with it in its middle, so that nobody knows who opened it.
    pub picked_up: bool,
}

impl Tracked {
    /// The same as if the other end had opened it.
    pub fn reversed(&self) -> Self {
        let ports = self.ports.map(|(from, to)| (to, from));
        Self { source: self.destination, destination: self.source, ports, ..*self }
    }
}
