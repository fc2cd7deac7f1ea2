//! The rig of the black-box tests: hosts that are network namespaces, each with a `netd` of its own.
//!
//! It owns what the tests make on the machine and takes all of it away again; a test that leaves something behind
//! fails. It does not know how Fabric works inside: it drives the two binaries, and looks at the kernel.

mod bash;
mod binaries;
mod dns;
mod flow;
mod guest;
mod halted;
mod host;
mod http;
mod lan;
mod leftovers;
mod metrics;
mod name_server;
mod namespace;
mod outcome;
mod packet;
mod picky;
mod ping;
mod processes;
mod router;
pub mod sctp;
mod snapshot;
mod steps;
mod stream;
mod terminal;
mod wait;

pub use bash::completed_by_bash;
pub use binaries::busybox_tar;
pub use dns::{Answer, Record, RecordType, Reply, Transport, answer_everything, ask, ask_by, ask_within};
pub use flow::{Flow, FlowReport};
pub use guest::Guest;
pub use halted::{Halted, shim_of};
pub use host::{Attached, Host};
pub use http::{fetch, serve};
pub use lan::Lan;
pub use name_server::{NameServer, Said};
pub use namespace::Namespace;
pub use outcome::Outcome;
pub use packet::{ALL, Frame, Mac, Wire};
pub use picky::path_with_picky_nft;
pub use ping::{Ping, PingReport, pings};
pub use router::advertise_router;
pub use snapshot::{difference, without_carrier};
pub use steps::{Course, Scenario, crash_after_each, kind};
pub use stream::Stream;
pub use terminal::Terminal;
pub use wait::{PATIENCE, eventually, within};
