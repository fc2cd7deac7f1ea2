//! What can go wrong between Fabric and the kernel.

use std::{fmt, io, path::PathBuf};

use model::{Chain, Change, IfName, NamespaceName};

use crate::Refusal;

/// Why the kernel's network could not be looked at or worked on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A file or directory could not be used.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {action}")]
    System {
        /// What was tried, and on what.
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("the kernel refused to {action}")]
    Netlink {
        /// What was asked for, and on what.
        action: String,
        /// Why not.
        source: Refusal,
    },
    /// An interface, namespace or table that another program made has a name that Fabric needs.
    #[error("{object} exists and is not Fabric's; rename or remove it")]
    Foreign {
        /// The object.
        object: String,
    },
    /// Another process works on the network namespace.
    #[error("{} works on this network namespace already", holder(.pid))]
    Claimed {
        /// Which, if that can be said.
        pid: Option<u32>,
    },
    /// Something that must be there first is missing.
    #[error("{object} does not exist")]
    Missing {
        /// The object.
        object: String,
    },
    /// What was read back is not what was put there.
    #[error("{object} is not as it was made just before")]
    Unlike {
        /// The object.
        object: String,
    },
    /// A bridge has as many ports as Linux gives one: 2^10 (`BR_PORT_BITS` in `net/bridge/br_private.h`), the first of
    /// which is none.
    #[error("bridge {bridge} has 1,023 ports already, and Linux gives a bridge no more")]
    BridgeFull {
        /// The bridge.
        bridge: IfName,
    },
    /// Packets that pass from port to port of a bridge cannot be judged.
    #[error(
        "this kernel lets no rules judge what passes a bridge{}: it has no br_netfilter",
        .bridge.as_ref().map(|bridge| format!(" such as {bridge}")).unwrap_or_default()
    )]
    NoBridgeFilter {
        /// Which, if it is about one.
        bridge: Option<IfName>,
    },
    /// A namespace could not be looked into.
    #[error("namespace {name} cannot be looked into")]
    Namespace {
        /// Which.
        name: NamespaceName,
        /// Why not.
        source: Box<KernelError>,
    },
    /// The program `nft` is not installed.
    #[error("cannot find the program `nft`; install the package `nftables`")]
    NoNft,
    /// `nft` refused the rules.
    #[error("nft refused the rules of the tables called fabric: {message}")]
    Nft {
        /// What nft said.
        message: String,
    },
    /// The thread that works on the kernel has ended.
    #[error("the kernel thread has ended")]
    Stopped,
    /// Some changes failed; all others were applied.
    #[error("{}", Failures(.0))]
    Changes(Vec<Failure>),
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another netd".to_owned(), |pid| format!("another netd, process {pid},"))
}

impl KernelError {
    /// Whether the kernel lacks what policies between containers of one network need.
    pub fn is_without_bridge_filter(&self) -> bool {
        match self {
            Self::NoBridgeFilter { .. } => true,
            Self::Changes(failures) => failures.iter().any(|failure| failure.source.is_without_bridge_filter()),
            _ => false,
        }
    }

    /// Whether an endpoint could not be attached because its network has no port left on this host.
    pub fn is_full_bridge(&self) -> bool {
        match self {
            Self::BridgeFull { .. } => true,
            Self::Changes(failures) => failures.iter().any(|failure| failure.source.is_full_bridge()),
            _ => false,
        }
    }
}

/// A change that could not be applied.
#[derive(Debug, thiserror::Error)]
#[error("cannot {change}")]
pub struct Failure {
    /// The change.
    pub change: Change,
    /// Why not.
    pub source: Box<KernelError>,
}

/// Several failures as one text, each with its causes, because an error has one source only.
struct Failures<'a>(&'a [Failure]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}", Chain(failure))?;
        }
        Ok(())
    }
}
