//! Service discovery by DNS: zones, the server that answers from them, and the forwarder for all other names.
//!
//! A [`Snapshot`] says what is known; [`Zones`] puts one in force; a [`Server`] answers on the gateways' addresses.
//! Each client sees the names of the networks that its container is attached to:
//!
//! ```text
//! NAME   NAME.NETWORK   NAME.NETWORK.fabric.internal   d.c.b.a.in-addr.arpa
//! ```
//!
//! Not here: which containers and networks there are, the gateways' addresses, the `resolv.conf` of containers, and
//! what the firewall lets through to the server's port.

mod answer;
mod decision;
mod domain;
mod error;
mod forward;
mod limit;
mod reply;
mod serve;
mod server;
mod snapshot;
mod socket;
mod upstream;
mod wire;
mod zones;

pub use domain::{Domain, ParseDomainError};
pub use error::{DnsError, Transport};
pub use server::Server;
pub use snapshot::{Attachment, Snapshot};
pub use upstream::{DNS_PORT, ForwarderConfig, Upstreams, upstreams};
pub use zones::Zones;
