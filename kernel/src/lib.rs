//! The only code that touches the kernel's network: interfaces, addresses, routes, namespaces, nftables, conntrack,
//! sysctls.
//!
//! It looks at what is there, compares it with what is desired ([`model::diff`]) and applies the difference. It does
//! not decide what is desired, and it remembers nothing between two looks. Containers' processes are none of its
//! business.
//!
//! # What is ours
//!
//! * interfaces in group `0x66616272` ("fabr"), which is set in the message that makes them;
//! * addresses and routes of protocol 102 ("f");
//! * `table inet fabric` and `table bridge fabric`;
//! * the files in the directory of namespaces.
//!
//! Nothing else is ever changed, with one exception: `net.ipv4.ip_forward` and `net.ipv6.conf.all.forwarding` are turned
//! on when a network needs them, the latter after interfaces that heed routers (`accept_ra`) were told to go on. A note in
//! the run directory says so, and as long as it is there, what neither comes from nor goes to a network of Fabric is not
//! forwarded. Forwarding is never turned off again, because by then another program may rely on it; whoever wants the host
//! to forward for other purposes too removes the note.

mod announce;
mod conntrack;
mod element;
mod error;
mod facade;
mod fdb;
mod firewalls;
mod host;
mod link;
mod namespace;
mod netlink;
mod observe;
mod ports;
mod route;
mod structure;
mod sweep;
mod sysctl;
mod watch;
mod worker;

pub use error::{Failure, KernelError};
pub use facade::{Kernel, Removal, Report};
pub use firewalls::{Obstacle, Traffic};
pub use netlink::Refusal;
pub use ports::{HostPorts, Listener};
pub use watch::{Notice, Watch};
