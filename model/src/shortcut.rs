//! The way from port to port: frames between containers of one network that need not pass their bridge.
//!
//! A program in front of the ports knows who may send what by which port, and at which port each address is. What it is
//! not sure of it leaves to the bridge, so whoever is missing here is reached by the bridge; and whoever is in here
//! though he should not be is reached though he should not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{Endpoint, IfName, MacAddress, Network, NetworkId, state::list};

/// What takes frames from port to port, as it should be or as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shortcut {
    /// Why nothing may take it now, whoever desires it; as a wish: none.
    pub barrier: Option<Barrier>,
    /// Who looks at questions for names, and whether that is heeded; as a wish: nobody.
    pub questions: Questions,
    /// Whether the program is in front of the ports that are open to it.
    pub program: Program,
    /// Who takes it, by the host's end of the endpoint's veth pair.
    pub passages: BTreeMap<IfName, Passage>,
    /// What it holds of nobody who is there.
    pub strays: BTreeSet<Stray>,
}

/// Questions for names, which the program answers unless rules of others are to see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Questions {
    /// Whether rules of others look at them, or at their answers.
    pub judged: bool,
    /// Whether they are left to the server for that.
    pub left: bool,
}

/// Whether the program is in front of the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Program {
    /// It is this version's.
    Current,
    /// There is none.
    #[default]
    Missing,
    /// There is another one, or another one beside it.
    Altered,
}

/// What one port has to do with the shortcut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Whether the program sees what comes in by the port.
    pub gate: Gate,
    /// As whom its container may send; without, it sends by the bridge.
    pub sender: Option<Sender>,
    /// The addresses that lead to it.
    pub found_at: BTreeSet<IpAddr>,
}

/// Whether the program sees what comes in by a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It does.
    Open,
    /// It does not.
    Closed,
    /// Another program has put something in front of the port, or behind it, that frames are not to go around.
    Taken,
}

/// As whom a container may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// To whom: those on the same network.
    pub network: NetworkId,
    /// With this MAC address.
    pub mac: MacAddress,
    /// With this address.
    pub ipv4: Option<Ipv4Addr>,
    /// Or with this.
    pub ipv6: Option<Ipv6Addr>,
    /// Packets of at most so many octets.
    pub mtu: u32,
}

/// What the program's maps hold of nobody who is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    /// What an interface with this index may send.
    Port(u32),
    /// Where an address of a network is.
    Holder {
        /// The network.
        network: NetworkId,
        /// The address.
        address: IpAddr,
    },
}

/// Why no frame may take the shortcut on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Barrier {
    /// Whoever runs the host wants it so.
    TurnedOff,
    /// The kernel lacks, or does not permit, what it needs.
    Unavailable(String),
    /// Another program's rules look at what passes a bridge; they would not see it any more.
    Judged {
        /// Which.
        by: String,
    },
}

impl Passage {
    /// What an endpoint of a network should have; none if its frames are not to take the shortcut.
    ///
    /// This is the one place that decides it for a network: whatever is to judge what its containers say to each other
    /// must have its say here. Policies have theirs by `judged`: whether one is about the network.
    pub fn of(network: &Network, endpoint: &Endpoint, judged: bool) -> Option<Self> {
        let sender = Sender {
            network: network.id.clone(),
            mac: endpoint.mac.filter(|_| !judged && !network.driver.sits_on_parent() && network.icc.is_on())?,
            ipv4: endpoint.ipv4,
            ipv6: endpoint.ipv6,
            mtu: network.mtu,
        };
        Some(Self { gate: Gate::Open, found_at: sender.addresses().collect(), sender: Some(sender) })
    }

    /// A port that has nothing to do with it.
    pub fn none(gate: Gate) -> Self {
        Self { gate, sender: None, found_at: BTreeSet::new() }
    }

    /// Whether frames may pass by it.
    pub fn holds_anything(&self) -> bool {
        self.sender.is_some() || !self.found_at.is_empty()
    }
}

impl Sender {
    /// The addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::from).into_iter().chain(self.ipv6.map(IpAddr::from))
    }
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.gate {
            Gate::Open => "open",
            Gate::Closed => "closed",
            Gate::Taken => "taken",
        })?;
        if let Some(Sender { network, mac, mtu, .. }) = &self.sender {
            write!(f, " sends as {mac}")?;
            for address in self.sender.iter().flat_map(Sender::addresses) {
                write!(f, " {address}")?;
            }
            write!(f, " up to {mtu} on network {network}")?;
        }
        if !self.found_at.is_empty() {
            write!(f, " found at {}", list(&self.found_at))?;
        }
        Ok(())
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(index) => write!(f, "interface number {index}"),
            Self::Holder { network, address } => write!(f, "{address} on network {network}"),
        }
    }
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TurnedOff => f.write_str("`shortcut = false` in the configuration"),
            Self::Unavailable(reason) => f.write_str(reason),
            Self::Judged { by } => write!(f, "{by} looks at what passes a bridge"),
        }
    }
}
