//! Policies as clients see them: whom they are about as things are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use api::RuleCounter;
use jiff::Timestamp;
use kernel::Counted;
use model::{NetworkName, data_path::CounterName};
use policy::{DnsName, DnsPattern, Document, Networks, Peer, Warning, World, warnings};

use crate::{daemon::Daemon, failure::Failure, images::blocking, rulebook::Rulebook};

impl Daemon {
    /// All policies and stances, by their names.
    pub(crate) async fn list_policies(&self) -> Vec<api::Policy> {
        let (rulebook, world, now) = self.judged();
        let list = move || {
            let warnings = warnings(rulebook.policies(), Some(&world), now);
            let shown = |(_, document)| shown(&rulebook, &world, now, &warnings, document);
            rulebook.documents().map(shown).collect()
        };
        blocking(list).await
    }

    /// The policy or the stance of this name, with the file it stands in.
    pub(crate) async fn show_policy(&self, name: &str) -> Result<api::Policy, Failure> {
        let (rulebook, world, now) = self.judged();
        let name = name.to_owned();
        let counted = self.kernel.policy_counters().await.map_err(|source| Failure::Kernel {
            doing: format!("show policy `{}`", name.escape_debug()),
            source: source.into(),
        })?;
        let show = move || -> Result<api::Policy, Failure> {
            let (file, document) = rulebook.document(&name)?;
            let warnings = warnings(rulebook.policies(), Some(&world), now);
            Ok(api::Policy {
                source: Some(file.text.clone()),
                counters: counters(document, &counted),
                names: names(document, &world),
                ..shown(&rulebook, &world, now, &warnings, document)
            })
        };
        blocking(show).await
    }

    fn judged(&self) -> (Arc<Rulebook>, World, Timestamp) {
        let now = self.clock.now();
        let world = self.world();
        (world.rulebook().clone(), world.as_judged(), now)
    }
}

fn shown(rulebook: &Rulebook, world: &World, now: Timestamp, warnings: &[Warning], document: &Document) -> api::Policy {
    let (named, endpoints) = match document {
        Document::Policy(policy) => {
            let named = if let Networks::Named(names) = &policy.networks { names.clone() } else { BTreeSet::new() };
            let is_selected = |endpoint: &&policy::Endpoint| {
                policy.networks.include(&endpoint.network, world) && policy.subject.selects(endpoint)
            };
            (named, world.endpoints().iter().filter(is_selected).count())
        }
        Document::Stance(stance) => {
            let is_meant = |endpoint: &&policy::Endpoint| stance.networks.contains(&endpoint.network);
            (stance.networks.clone(), world.endpoints().iter().filter(is_meant).count())
        }
    };
    let is_for = |network: &&NetworkName| match document {
        Document::Policy(policy) => policy.networks.include(network, world),
        Document::Stance(stance) => stance.networks.contains(*network),
    };
    let rules = match document {
        Document::Policy(policy) => &policy.rules[..],
        Document::Stance(_) => &[],
    };
    api::Policy {
        name: document.title(),
        kind: document.kind().to_owned(),
        networks: world.networks().filter(is_for).cloned().collect(),
        pending: named.into_iter().filter(|name| !world.has_network(name)).collect(),
        endpoints: endpoints as u64,
        expires: rules.iter().filter_map(|rule| rule.expires).filter(|expires| *expires > now).min(),
        expired: rules.iter().filter(|rule| rule.has_expired(now)).count() as u64,
        place: document.place().to_string(),
        source: None,
        warnings: own(rulebook, warnings, document),
        counters: Vec::new(),
        names: BTreeMap::new(),
    }
}

/// The names outside that rules of a policy are about, as far as they are known.
fn names(document: &Document, world: &World) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let Document::Policy(policy) = document else { return BTreeMap::new() };
    let patterns = policy.rules.iter().flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
        Peer::Names(patterns) => Some(patterns),
        _ => None,
    });
    let patterns: BTreeSet<&DnsPattern> = patterns.flatten().collect();
    let is_meant = |name: &DnsName| name.patterns().any(|pattern| patterns.contains(&pattern));
    let meant = world.names().iter().filter(|(name, _)| is_meant(name));
    meant.map(|(name, addresses)| (name.to_string(), addresses.clone())).collect()
}

/// What each rule that counts has counted. One whose policy is about nobody who is there has no counter, and has counted
/// nothing.
fn counters(document: &Document, counted: &BTreeMap<CounterName, Counted>) -> Vec<RuleCounter> {
    let Document::Policy(policy) = document else { return Vec::new() };
    let counter = |(place, counter): (usize, CounterName)| {
        let rule = &policy.rules[place];
        let Counted { packets, octets } = counted.get(&counter).copied().unwrap_or_default();
        let (which, action) = (format!("{} rule {}", rule.direction, rule.number), rule.action.to_string());
        RuleCounter { rule: which, action, packets, octets }
    };
    policy::counters(policy).into_iter().map(counter).collect()
}

/// The warnings that stand between where the document begins and where the next one of its file does.
fn own(rulebook: &Rulebook, warnings: &[Warning], document: &Document) -> Vec<String> {
    let place = document.place();
    let places = rulebook.documents().map(|(_, document)| document.place());
    let next = places.filter(|other| other.file == place.file && *other > place).min();
    let is_own = |warning: &&Warning| {
        warning.place.file == place.file
            && warning.place >= *place
            && next.is_none_or(|next: &policy::Place| warning.place < *next)
    };
    warnings.iter().filter(is_own).map(ToString::to_string).collect()
}
