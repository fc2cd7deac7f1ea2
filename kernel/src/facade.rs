//! The kernel's network as the daemon sees it.

use std::path::Path;

use ipnet::Ipv4Net;
use model::{Change, NamespaceName, Scope, State};

use crate::KernelError;

/// A handle to the network namespace that [`Kernel::open`] was called in.
///
/// All work is done, one piece after the other, on a thread of its own: it enters containers' namespaces, which no
/// thread of an async runtime may.
#[derive(Debug, Clone)]
pub struct Kernel {}

/// What a reconcile did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The changes that were applied, in order; empty if all was as it should be.
    pub changes: Vec<Change>,
}

impl Kernel {
    /// Starts work in the calling thread's network namespace.
    ///
    /// `run_dir` must be on a file system that does not outlive the boot; namespaces are pinned in its directory
    /// `netns`, which is made if it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made or no netlink socket can be opened.
    pub fn open(run_dir: &Path) -> Result<Self, KernelError> {
        let _ = run_dir;
        Err(KernelError::Stopped)
    }

    /// Brings the part of the host within `scope` to the state that `desired` returns.
    ///
    /// `desired` is called on the kernel thread, when every reconcile before this one has ended, so that its answer
    /// is not older than what it is compared with; it must not block. Of its answer only what lies within `scope`
    /// counts. `after` is called on the same thread after each applied change.
    ///
    /// A report of a narrow scope that holds a [`Change::InstallFirewall`] means that someone destroyed the rules;
    /// elements beyond the scope may be missing until [`Scope::Everything`] has been reconciled.
    ///
    /// # Errors
    /// [`KernelError::Changes`] lists each change that failed; the others have been applied. Any other error means
    /// that the state could not be observed and nothing was changed.
    pub async fn reconcile(
        &self,
        scope: Scope,
        desired: impl FnOnce() -> State + Send + 'static,
        after: impl Fn(&Change) + Send + 'static,
    ) -> Result<Report, KernelError> {
        let _ = (scope, desired, after);
        Err(KernelError::Stopped)
    }

    /// Makes, prepares and pins a namespace, without waiting for a running reconcile. It is "already there" if it is.
    ///
    /// # Errors
    /// When it cannot be made, prepared or pinned.
    pub async fn make_namespace(&self, name: NamespaceName) -> Result<(), KernelError> {
        let _ = name;
        Err(KernelError::Stopped)
    }

    /// What the host's addresses and routes occupy, those of Fabric's own interfaces and default routes left out:
    /// a new subnet had better not overlap any of it.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn host_routes(&self) -> Result<Vec<Ipv4Net>, KernelError> {
        Err(KernelError::Stopped)
    }

    /// The maximum transmission unit, in octets, of the interface with the default route; 1500 if there is none.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn uplink_mtu(&self) -> Result<u32, KernelError> {
        Err(KernelError::Stopped)
    }
}
