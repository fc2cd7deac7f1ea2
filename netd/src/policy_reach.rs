//! Policies about networks whose packets do not come by this host: refused where they name one, whichever comes first, and
//! told of where they are about all networks.

use std::collections::BTreeSet;

use api::{Check, CheckResult, Difference, PolicyChange};
use model::{Driver, Network, NetworkName};
use policy::{Document, Networks};

use crate::{
    daemon::Daemon,
    failure::Failure,
    rulebook::{PolicyFile, Rulebook, told},
    world::{World, as_alone},
};

impl Daemon {
    /// Refuses policies that name networks whose packets do not come by this host.
    pub(crate) fn check_reach(&self, rulebook: &Rulebook, changes: &[PolicyChange]) -> Result<(), Failure> {
        let beyond = self.networks_beyond_reach();
        let of = |(_, document): (_, &Document)| {
            let named = beyond.iter().find(|network| names(document, &network.name))?;
            let problem = format!(
                "`{}` is about network `{}`, whose packets do not come by this host (driver {}), so it would not be enforced",
                document.title(),
                named.name,
                named.driver
            );
            Some(told(document.place(), problem))
        };
        let errors: Vec<_> = given(rulebook, changes).filter_map(of).collect();
        if errors.is_empty() { Ok(()) } else { Err(Failure::PolicyDocuments { errors }) }
    }

    /// What is to be said of policies that are about all networks, where one of them is such.
    pub(crate) fn beyond_reach(&self, rulebook: &Rulebook, changes: &[PolicyChange]) -> Vec<String> {
        let beyond = self.networks_beyond_reach();
        let told = |document: &Document| -> Vec<String> {
            let meant = beyond.iter().filter(|network| includes(document, network));
            let text = |network: &Network| {
                let (place, what) = (document.place(), not_enforced(network));
                format!("{place}: `{}` {what}", document.title())
            };
            meant.map(text).collect()
        };
        given(rulebook, changes).flat_map(|(_, document)| told(document)).collect()
    }

    /// Refuses a network whose packets would not come by this host if a policy in force names it.
    pub(crate) fn check_unnamed(&self, network: &NetworkName, driver: Driver) -> Result<(), Failure> {
        if !driver.sits_on_parent() {
            return Ok(());
        }
        let rulebook = self.world().rulebook().clone();
        let naming = rulebook.documents().filter(|(_, document)| names(document, network));
        let policies: Vec<(String, String)> =
            naming.map(|(_, document)| (document.title(), document.place().to_string())).collect();
        if policies.is_empty() {
            return Ok(());
        }
        Err(Failure::NetworkBeyondReach { network: network.clone(), driver, policies })
    }

    /// Names each policy in force that is not enforced on a network that it is about; none if there is no such policy.
    pub(crate) fn examine_reach(&self) -> Option<Check> {
        let world = self.world();
        let of = |network: &Network| -> Vec<Difference> {
            let difference = |policy| Difference {
                object: format!("policy `{policy}`"),
                difference: not_enforced(network),
                remedy: "name the networks that it is to be about, or rely on what judges there".to_owned(),
            };
            unenforced(&world, network).into_iter().map(difference).collect()
        };
        let differences: Vec<Difference> = world.networks().flat_map(of).collect();
        (!differences.is_empty()).then(|| Check {
            name: "reach".to_owned(),
            result: CheckResult::Warning,
            message: "policies are not enforced on each network that they are about".to_owned(),
            hint: None,
            differences,
        })
    }

    fn networks_beyond_reach(&self) -> Vec<Network> {
        self.world().networks().filter(|network| network.driver.sits_on_parent()).cloned().collect()
    }
}

/// The policies in force which are about this network and not enforced on it, by their names.
pub(crate) fn unenforced(world: &World, network: &Network) -> Vec<String> {
    if !network.driver.sits_on_parent() {
        return Vec::new();
    }
    let about = world.rulebook().documents().filter(|(_, document)| includes(document, network));
    about.map(|(_, document)| document.title()).collect()
}

fn not_enforced(Network { name, driver, .. }: &Network) -> String {
    format!("is not enforced on network `{name}`: its packets do not come by this host (driver {driver})")
}

/// The documents that a request gives.
fn given<'r>(rulebook: &'r Rulebook, changes: &[PolicyChange]) -> impl Iterator<Item = (&'r PolicyFile, &'r Document)> {
    let names: BTreeSet<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    rulebook.documents().filter(move |(_, document)| names.contains(document.title().as_str()))
}

/// Whether a document names a network as one that it is for.
fn names(document: &Document, network: &NetworkName) -> bool {
    match document {
        Document::Policy(policy) => matches!(&policy.networks, Networks::Named(names) if names.contains(network)),
        Document::Stance(stance) => stance.networks.contains(network),
    }
}

/// Whether a document is about a network, however it says so.
fn includes(document: &Document, network: &Network) -> bool {
    match document {
        Document::Policy(policy) => policy.networks.include(&network.name, &as_alone(network)),
        Document::Stance(stance) => stance.networks.contains(&network.name),
    }
}
