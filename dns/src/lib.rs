//! Service discovery by DNS: zones, the server that answers from them, and the forwarder for all other names.
//!
//! A [`Snapshot`] says what is known; [`Fact`]s are what needs no server to be answered; [`Zones`] puts one in force; a
//! [`Server`] answers on the gateways' addresses. Each client sees the names of the networks that its container is
//! attached to. `NAME` is a container's name, its short identifier, or an alias:
//!
//! ```text
//! NAME   NAME.NETWORK   NAME.NETWORK.fabric.internal   _PORT._PROTOCOL.NAME   d.c.b.a.in-addr.arpa   ….ip6.arpa
//! ```
//!
//! Not here: which containers and networks there are, the gateways' addresses, the `resolv.conf` of containers, and
//! what the firewall lets through to the server's port.

mod answer;
mod cache;
mod count;
mod decision;
mod domain;
mod error;
mod fact;
mod forward;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod limit;
mod log;
mod probe;
mod query;
mod record;
mod reply;
mod resolv_conf;
mod serve;
mod server;
mod snapshot;
mod socket;
mod text;
mod threads;
mod upstream;
mod wire;
mod witness;
mod zones;

pub use count::{Answers, Counts};
pub use domain::{Domain, ParseDomainError};
pub use error::{DnsError, Transport};
pub use fact::Fact;
pub use log::{LogEntry, LogReader, Origin};
pub use record::{ParseRecordTypeError, RecordType};
pub use resolv_conf::{HostResolver, ResolvConf};
pub use server::{Listeners, Server, Viewer};
pub use snapshot::{Attachment, DEFAULT_TTL, Forwarding, Service, Snapshot, ZoneConfig};
pub use text::{RecordText, ReplyText};
pub use upstream::{DNS_PORT, ForwarderConfig, HostUpstreams};
pub use witness::{Answered, Noted, Withheld, Witness};
pub use zones::Zones;
