//! The only code that touches the kernel's network: interfaces, addresses, routes, namespaces, nftables, conntrack,
//! sysctls.
//!
//! It looks at what is there, compares it with what is desired ([`model::diff`]) and applies the difference. It does
//! not decide what is desired, and between two looks it remembers nothing but that the kernel told of no change to its
//! rules (`structure/vigil.rs`). Containers' processes are none of its business.
//!
//! # What is ours
//!
//! * interfaces in group `0x66616272` ("fabr"), which is set in the message that makes them;
//! * addresses and routes of protocol 102 ("f");
//! * `table inet fabric`, `table bridge fabric` and `table inet fabric-policy`;
//! * group `0xfab1` of nfnetlink_log, by which one daemon at a time works on a namespace;
//! * block `0xfab1` of traffic control's filters, and the `clsact` that leads to it at a port;
//! * the files in the directory of namespaces.
//!
//! Nothing else is ever changed, with one exception: `net.ipv4.ip_forward` and `net.ipv6.conf.all.forwarding` are
//! turned on when a network needs them, the latter after interfaces that heed routers (`accept_ra`) were told to go on.
//! A note in the run directory says so, and as long as it is there, what neither comes from nor goes to a network of
//! Fabric is not forwarded. Forwarding is never turned off again, because by then another program may rely on it;
//! whoever wants the host to forward for other purposes too removes the note.

mod announce;
mod claim;
mod conntrack;
mod element;
mod error;
mod facade;
mod fdb;
mod firewalls;
mod flow_log;
mod host;
mod ipv6;
mod judges;
mod link;
mod namespace;
mod neighbour;
mod netlink;
mod observe;
mod octets;
mod patience;
mod policing;
mod ports;
mod route;
mod shortcut;
mod structure;
mod sub_interface;
mod sweep;
mod sysctl;
mod vlan;
mod watch;
mod worker;

pub use claim::Claim;
pub use error::{Failure, KernelError};
pub use facade::{Kernel, Removal, Report};
pub use firewalls::{Obstacle, Traffic};
pub use flow_log::{FlowLog, Logged, Service, Tidings};
pub use host::HostInterface;
pub use netlink::Refusal;
pub use octets::Octets;
pub use policing::counters::Counted;
pub use ports::{HostPorts, Listener};
pub use shortcut::{Fact, Names, Withheld};
pub use structure::ConnectionLimit;
pub use watch::{Notice, Watch};
