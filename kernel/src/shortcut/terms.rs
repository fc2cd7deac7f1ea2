//! What all threads of a [`crate::Kernel`] know of the shortcut besides what they see.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use model::{Barrier, Switch};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::{
    NAME,
    filter::{self, Found},
    names::Names,
    standing::{Standing, failed},
};
use crate::{KernelError, netlink::Socket};

/// The first version of Linux that it was tried on with real packets. Older ones may hand over a frame that the other
/// container then throws away.
const TRIED: (u32, u32) = (6, 18);

/// What all threads of a [`crate::Kernel`] know of the shortcut besides what they see.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    wanted: Switch,
    /// What the kernel lacks, once that is known.
    lack: Arc<OnceLock<String>>,
    /// Told when what could not be looked at or made now may be another time.
    postponed: Arc<Notify>,
    /// The program that was reached last, for as long as a thread holds it: its descriptors are enough for all.
    known: Arc<Mutex<Weak<Standing>>>,
    /// What the program knows of names.
    pub(crate) names: Names,
}

impl Terms {
    pub(crate) fn new(wanted: Switch) -> Self {
        // What cannot be read is no version that it was tried on.
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let lack = Arc::new(untried(&release).map(OnceLock::from).unwrap_or_default());
        Self { wanted, lack, postponed: Arc::default(), known: Arc::default(), names: Names::default() }
    }

    /// Has nothing answered any more that only the process before knew, and takes its program over if that can be.
    /// Without, nothing takes the shortcut.
    pub(crate) fn begin(&self, route: &mut Socket) {
        if let Err(error) = self.try_begin(route) {
            self.give_up(&error);
        }
    }

    fn try_begin(&self, route: &mut Socket) -> Result<(), KernelError> {
        let is_wanted = self.barrier().is_none();
        let taken = match filter::find(route) {
            Ok(Found::Program { name, id }) if is_wanted && name == *NAME => self.names.take_over(id),
            _ => false,
        };
        if !taken {
            // Whatever it is, it may answer for names, and nobody could take them from it.
            filter::clear(route)?;
        }
        if is_wanted && !taken {
            self.names.open().map_err(failed("make a map for names"))?;
        }
        Ok(())
    }

    /// What is told when another look is due soon.
    pub(crate) fn postponed(&self) -> Arc<Notify> {
        self.postponed.clone()
    }

    /// Why nothing may take it, whoever looks.
    pub(super) fn barrier(&self) -> Option<Barrier> {
        if self.wanted == Switch::Off {
            return Some(Barrier::TurnedOff);
        }
        self.lack.get().cloned().map(Barrier::Unavailable)
    }

    /// The kernel lacks, or does not permit, something: nothing may take the shortcut from now on; or, if that may pass
    /// by, until the next look.
    pub(super) fn give_up(&self, error: &KernelError) -> Barrier {
        let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
        let reason = format!("{error}{cause}");
        if self.postpone(error) {
            return Barrier::Unavailable(reason);
        }
        // Whoever is the first to find out tells.
        if self.lack.set(reason).is_ok() {
            tracing::info!("frames between containers pass their bridges: {error}{cause}");
        }
        Barrier::Unavailable(self.lack.get().cloned().unwrap_or_default())
    }

    /// Asks for another look soon, if what failed may succeed then; says whether it may.
    pub(super) fn postpone(&self, error: &KernelError) -> bool {
        let passes_by = passes_by(error);
        if passes_by {
            self.postponed.notify_one();
        }
        passes_by
    }

    /// The program that the kernel calls so, unless it is another.
    pub(super) fn reach(&self, id: u32) -> Result<Option<Arc<Standing>>, KernelError> {
        let known = self.lock().upgrade().filter(|known| known.program.id == id);
        match known {
            Some(known) => Ok(Some(known)),
            None => Ok(Standing::with_id(id, &self.names)?.map(|found| self.remember(found))),
        }
    }

    /// Has all threads use the descriptors of this one.
    pub(super) fn remember(&self, standing: Standing) -> Arc<Standing> {
        let standing = Arc::new(standing);
        *self.lock() = Arc::downgrade(&standing);
        standing
    }

    fn lock(&self) -> MutexGuard<'_, Weak<Standing>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what failed may succeed another time: an interface went in the middle of it, or there is too little of
/// something.
fn passes_by(error: &KernelError) -> bool {
    let errnos = [
        Errno::NODEV,
        Errno::INTR,
        Errno::AGAIN,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::BUSY,
        Errno::EXIST,
        Errno::MFILE,
        Errno::NFILE,
    ];
    match error {
        KernelError::Netlink { source, .. } => errnos.iter().any(|errno| source.is(*errno)),
        KernelError::System { source, .. } | KernelError::File { source, .. } => {
            errnos.iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error()))
        }
        _ => true,
    }
}

/// Why it is not used with a kernel of this release, if it is not.
fn untried(release: &str) -> Option<String> {
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let (major, minor) = TRIED;
    (version < TRIED).then(|| format!("this is Linux {release}, and before {major}.{minor} it was not tried"))
}

#[test]
fn only_kernels_that_it_was_tried_on_are_trusted() {
    for (release, trusted) in [
        ("6.18.44-fc\n", true),
        ("6.18", true),
        ("7.0.1", true),
        ("6.1.0-56-cloud-amd64", false),
        ("6.17.9", false),
        ("", false),
    ] {
        assert_eq!(untried(release).is_none(), trusted, "{release}");
    }
}
