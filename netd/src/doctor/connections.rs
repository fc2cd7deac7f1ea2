//! Containers that can fill the host's table of connections.

use api::{Check, CheckResult, Difference};

use super::check;
use crate::daemon::Daemon;

impl Daemon {
    /// Names that connections of containers are not limited, though they are to be; none if they are. Everything else
    /// holds without, and a host on which containers are trusted needs no more, so it is no problem, but it should be
    /// known.
    pub(super) fn examine_connections(&self) -> Option<Check> {
        let difference = Difference {
            object: "the limit of connections that a container has open".to_owned(),
            difference: format!("is not in force: {}", self.kernel.unlimited()?),
            remedy:
                "`modprobe nft_connlimit`, if the kernel was built with CONFIG_NFT_CONNLIMIT, then restart netd, which \
                     stops no container; `connection_limit = 0` in the configuration says that nobody needs it"
                    .to_owned(),
        };
        let found = check("connections", "", vec![difference]);
        Some(Check { result: CheckResult::Warning, ..found })
    }
}
