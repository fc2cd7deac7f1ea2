//! What can go wrong between Fabric and the kernel.

use std::{fmt, io, path::PathBuf};

use model::Change;

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
    /// Something that must be there first is missing.
    #[error("{object} does not exist")]
    Missing {
        /// The object.
        object: String,
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
            write!(f, "{failure}")?;
            let mut cause: Option<&dyn std::error::Error> = Some(&*failure.source);
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}
