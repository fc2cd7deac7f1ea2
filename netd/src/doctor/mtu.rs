//! Networks whose packets the uplink cannot carry whole.

use api::{Check, CheckResult, Difference};
use model::MtuSource;

use super::{check, failed};
use crate::daemon::Daemon;

impl Daemon {
    /// Names each network that was given a larger MTU than the uplink has and sends packets there; none if there is no
    /// such network. It can be meant, where the outside is of no concern, so it is no problem, but it should be known.
    pub(super) async fn examine_mtu(&self) -> Option<Check> {
        const NAME: &str = "mtu";
        let uplink = match self.kernel.uplink_mtu().await {
            Err(error) => return Some(failed(NAME, &error)),
            Ok(mtu) => mtu,
        };
        let world = self.world();
        let larger = world.networks().filter(|network| {
            network.mtu_source == MtuSource::Fixed && network.reach.is_forwarded() && network.mtu > uplink
        });
        let difference = |network: &model::Network| Difference {
            object: format!("network `{}`", network.name),
            difference: format!(
                "has an MTU of {}, and the uplink of {uplink}: larger packets to the outside are cut, or lost where nobody \
                 tells the sender",
                network.mtu
            ),
            remedy: format!("if that is not meant: `fabric network update {} --mtu auto`", network.name),
        };
        let differences: Vec<_> = larger.map(difference).collect();
        if differences.is_empty() {
            return None;
        }
        let found = check(NAME, "", differences);
        Some(Check { result: CheckResult::Warning, ..found })
    }
}
