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
use policy::{DnsName, DnsPattern, Document, Networks, Peer, Place, Warning, World, warnings};

use crate::{daemon::Daemon, failure::Failure, images::blocking, rulebook::Rulebook};

impl Daemon {
    /// All policies and stances, by their names.
    pub(crate) async fn list_policies(&self) -> Result<Vec<api::Policy>, Failure> {
        let (rulebook, world, now) = self.judged();
        let beyond = self.beyond();
        let counted = self.counted("list policies").await?;
        let list = move || {
            let warnings = warnings(rulebook.policies(), Some(&world), now);
            let places = places(&rulebook);
            let shown = |(_, document)| api::Policy {
                warnings: own(&places, &warnings, document),
                counters: counters(document, &counted),
                ..shown(&world, &beyond, now, document)
            };
            rulebook.documents().map(shown).collect()
        };
        Ok(blocking(list).await)
    }

    /// The policy or the stance of this name, with the file it stands in.
    pub(crate) async fn show_policy(&self, name: &str) -> Result<api::Policy, Failure> {
        let (rulebook, world, now) = self.judged();
        let beyond = self.beyond();
        let name = name.to_owned();
        let counted = self.counted(&format!("show policy `{}`", name.escape_debug())).await?;
        let show = move || -> Result<api::Policy, Failure> {
            let (file, document) = rulebook.document(&name)?;
            let warnings = warnings(rulebook.policies(), Some(&world), now);
            Ok(api::Policy {
                source: Some(file.text.clone()),
                warnings: own(&places(&rulebook), &warnings, document),
                counters: counters(document, &counted),
                names: names(document, &world),
                ..shown(&world, &beyond, now, document)
            })
        };
        blocking(show).await
    }

    async fn counted(&self, doing: &str) -> Result<BTreeMap<CounterName, Counted>, Failure> {
        let fail = |source: kernel::KernelError| Failure::Kernel { doing: doing.to_owned(), source: source.into() };
        self.kernel.policy_counters().await.map_err(fail)
    }

    /// The networks whose packets do not come by this host.
    fn beyond(&self) -> BTreeSet<NetworkName> {
        let world = self.world();
        let beyond = world.networks().filter(|network| network.driver.sits_on_parent());
        beyond.map(|network| network.name.clone()).collect()
    }

    fn judged(&self) -> (Arc<Rulebook>, World, Timestamp) {
        let now = self.clock.now();
        let world = self.world();
        (world.rulebook().clone(), world.as_judged(), now)
    }
}

/// All but what its file says, its warnings and its counters.
fn shown(world: &World, beyond: &BTreeSet<NetworkName>, now: Timestamp, document: &Document) -> api::Policy {
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
    let networks: Vec<NetworkName> = world.networks().filter(is_for).cloned().collect();
    api::Policy {
        name: document.title(),
        kind: document.kind().to_owned(),
        unenforced: networks.iter().filter(|network| beyond.contains(*network)).cloned().collect(),
        networks,
        pending: named.into_iter().filter(|name| !world.has_network(name)).collect(),
        endpoints: endpoints as u64,
        expires: rules.iter().filter_map(|rule| rule.expires).filter(|expires| *expires > now).min(),
        expired: rules.iter().filter(|rule| rule.has_expired(now)).count() as u64,
        place: document.place().to_string(),
        source: None,
        warnings: Vec::new(),
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
    let of_rest = |policy::Rest { title, effect, counter, .. }| {
        let Counted { packets, octets } = counted.get(&counter).copied().unwrap_or_default();
        RuleCounter { rule: title, action: effect.to_string(), packets, octets }
    };
    let rests = policy::rests(document).into_iter().map(of_rest);
    let Document::Policy(policy) = document else { return rests.collect() };
    let counter = |(place, counter): (usize, CounterName)| {
        let rule = &policy.rules[place];
        let Counted { packets, octets } = counted.get(&counter).copied().unwrap_or_default();
        let (which, action) = (format!("{} rule {}", rule.direction, rule.number), rule.action.to_string());
        RuleCounter { rule: which, action, packets, octets }
    };
    policy::counters(policy).into_iter().map(counter).chain(rests).collect()
}

/// Where documents begin, in the order of the places.
fn places(rulebook: &Rulebook) -> Vec<&Place> {
    let mut places: Vec<&Place> = rulebook.documents().map(|(_, document)| document.place()).collect();
    places.sort();
    places
}

/// The warnings that stand between where the document begins and where the next one of its file does. All of them are
/// in the order of their places.
fn own(places: &[&Place], warnings: &[Warning], document: &Document) -> Vec<String> {
    let place = document.place();
    let next = places.get(places.partition_point(|other| *other <= place)).filter(|next| next.file == place.file);
    let is_own =
        |warning: &&Warning| warning.place.file == place.file && next.is_none_or(|next| warning.place < **next);
    let first = warnings.partition_point(|warning| warning.place < *place);
    warnings[first..].iter().take_while(is_own).map(ToString::to_string).collect()
}
