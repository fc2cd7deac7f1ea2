//! Networks whose packets the uplink, or the parent, cannot carry whole.

use api::{Check, CheckResult, Difference};
use model::{MtuSource, Network};

use super::{check, failed};
use crate::daemon::Daemon;

impl Daemon {
    /// Names each network that was given a larger MTU than the uplink has and sends packets there, or than its parent
    /// has by now; none if there is no such network. The first can be meant, where the outside is of no concern, so it
    /// is no problem, but it should be known.
    pub(super) async fn examine_mtu(&self) -> Option<Check> {
        const NAME: &str = "mtu";
        let with_parents = self.world().networks().any(|network| network.parent.is_some());
        let uplinks = match self.uplinks(with_parents).await {
            Err(failure) => return Some(failed(NAME, &failure)),
            Ok(uplinks) => uplinks,
        };
        let world = self.world();
        let fixed = world.networks().filter(|network| network.mtu_source == MtuSource::Fixed);
        let larger = fixed.filter_map(|network| {
            let largest = uplinks.mtu_for(network).filter(|largest| network.mtu > *largest)?;
            Some(difference(network, consequence(network, largest)?))
        });
        let differences: Vec<_> = larger.collect();
        if differences.is_empty() {
            return None;
        }
        let found = check(NAME, "", differences);
        Some(Check { result: CheckResult::Warning, ..found })
    }
}

/// What it means that a network has a larger MTU than its uplink, which has `largest`; nothing if it sends nothing
/// there.
fn consequence(network: &Network, largest: u32) -> Option<String> {
    match &network.parent {
        Some(parent) => Some(format!(
            "its parent `{}` of {largest}: no container's interface on it can be made anew",
            parent.interface
        )),
        None if network.reach.is_forwarded() => Some(format!(
            "the uplink of {largest}: larger packets to the outside are cut, or lost where nobody tells the sender"
        )),
        None => None,
    }
}

fn difference(network: &Network, consequence: String) -> Difference {
    Difference {
        object: format!("network `{}`", network.name),
        difference: format!("has an MTU of {}, and {consequence}", network.mtu),
        remedy: format!("if that is not meant: `fabric network update {} --mtu auto`", network.name),
    }
}
