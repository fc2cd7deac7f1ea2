//! What other firewalls of the host do to Fabric's traffic.

use api::{Check, CheckResult, Difference};

use super::{check, failed};
use crate::daemon::Daemon;

impl Daemon {
    /// Names each chain of another program that lets nothing of Fabric's pass, and what would open it. That is the
    /// owner's will as a rule, so it is no problem, but it should be known.
    pub(super) async fn examine_firewalls(&self) -> Check {
        const NAME: &str = "firewalls";
        let used = self.world().networks().next().is_some();
        let obstacles = if used { self.kernel.obstacles().await } else { Ok(Vec::new()) };
        let differences = match obstacles {
            Err(error) => return failed(NAME, &error),
            Ok(obstacles) => obstacles.into_iter().map(|one| Difference {
                object: format!("table {}, chain {}", one.table, one.chain),
                difference: format!("drops {}", one.keeps_out),
                remedy: format!("if that is not meant: {}", one.remedy),
            }),
        };
        let found = check(NAME, "no other firewall keeps out what is published", differences.collect());
        Check { result: found.result.min(CheckResult::Warning), ..found }
    }
}
