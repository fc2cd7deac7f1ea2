//! The addresses of names outside that rules are about, as containers were answered them. No clock: times are
//! arguments, since the machine was switched on.
//!
//! An address is a name's for as long as any answer lives that said so, and a little longer. Then it has lapsed: who
//! opens a connection is judged without it, and what is open goes on, for which it is remembered.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use policy::{DnsName, DnsPattern, Peer, Policies};

pub(crate) use self::file::{Entry, LearnedFile};

/// As long an address is a name's at least, whatever the TTL: a program connects some time after it has asked, and
/// tries one address after the other.
pub(crate) const LEAST: Duration = Duration::from_secs(60);
/// How much longer than an answer lives.
pub(crate) const GRACE: Duration = Duration::from_secs(30);
/// How much longer still, so that who asks for the same without end has it noted once in that time.
const SLACK: Duration = Duration::from_secs(10);
/// As long an address is a name's at most without another answer: of an hour, as the name server bounds TTLs.
const MOST: Duration = Duration::from_secs(3600 + GRACE.as_secs() + SLACK.as_secs());
/// Addresses of one name, of all names that one pattern of a rule is about, and of all names.
const OF_NAME: usize = 256;
const OF_PATTERN: usize = 2048;
const OF_HOST: usize = 16_384;
/// Lapsed ones that are remembered, of those that have connections.
const OF_LAPSED: usize = 4096;
/// How many may lapse before it is looked which have connections.
const FEW_LAPSED: usize = 256;

/// How long ago the machine had been switched on.
pub(crate) type Moment = Duration;

/// A name and one of its addresses.
pub(crate) type Place = (DnsName, IpAddr);

/// What is known of names, and of which it is to be.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    about: RwLock<Arc<About>>,
    table: Mutex<Table>,
}

/// The numbers of the policies that have rules about names, by the patterns of those.
#[derive(Debug, Default)]
pub(crate) struct About(BTreeMap<DnsPattern, BTreeSet<usize>>);

/// Why an address is not learned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoom {
    #[error("`{0}` has more than {OF_NAME} addresses at once")]
    Name(DnsName),
    #[error("the names that `{0}` is about have more than {OF_PATTERN} addresses at once")]
    Pattern(DnsPattern),
    #[error("the names that policies are about have more than {OF_HOST} addresses at once")]
    Host,
}

/// Names and their addresses.
#[derive(Debug, Default)]
pub(crate) struct Table {
    names: BTreeMap<DnsName, BTreeMap<IpAddr, Held>>,
    /// When each of them lapses.
    due: BTreeSet<(Moment, DnsName, IpAddr)>,
    /// How many addresses the names of a pattern have that a rule has.
    of_patterns: BTreeMap<DnsPattern, usize>,
    /// When they have.
    lapsed: BTreeMap<Place, Moment>,
    /// How many lapsed ones had connections when that was looked at last.
    in_use: usize,
    /// Names that have changed since they were asked for last, how often one has, and how often one had then.
    changed: BTreeSet<DnsName>,
    times: u64,
    asked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    until: Moment,
    /// Whether the kernel judges by it.
    is_in_force: bool,
}

impl About {
    fn new(policies: &Policies) -> Self {
        let mut about: BTreeMap<DnsPattern, BTreeSet<usize>> = BTreeMap::new();
        for (number, policy) in policies.policies().iter().enumerate() {
            let names = policy.rules.iter().flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
                Peer::Names(patterns) => Some(patterns),
                _ => None,
            });
            for pattern in names.flatten() {
                about.entry(pattern.clone()).or_default().insert(number);
            }
        }
        Self(about)
    }

    /// The numbers of the policies that have a rule about this name.
    pub(crate) fn policies(&self, name: &DnsName) -> BTreeSet<usize> {
        self.patterns(name).flat_map(|pattern| &self.0[&pattern]).copied().collect()
    }

    /// The patterns of rules that are about this name.
    fn patterns(&self, name: &DnsName) -> impl Iterator<Item = DnsPattern> {
        name.patterns().filter(|pattern| self.0.contains_key(pattern))
    }
}

impl Learned {
    /// These are the policies from now on.
    pub(crate) fn set_policies(&self, policies: &Policies) {
        let about = Arc::new(About::new(policies));
        self.table().count_anew(&about);
        *self.about.write().unwrap_or_else(PoisonError::into_inner) = about;
    }

    /// Which names it is to be known of.
    pub(crate) fn about(&self) -> Arc<About> {
        self.about.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether any rule is about a name.
    pub(crate) fn is_concerned(&self, name: &str) -> bool {
        let about = self.about();
        !about.0.is_empty() && name.parse::<DnsName>().is_ok_and(|name| about.patterns(&name).next().is_some())
    }

    /// What is known, for as long as the guard lives: nobody waits for anything with it.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Whether the kernel judges by these addresses of a name for as long as the answer lives.
    pub(crate) fn knows(&self, name: &DnsName, addresses: &[(IpAddr, Duration)], now: Moment) -> bool {
        let known = self.names.get(name);
        addresses.iter().all(|(address, ttl)| {
            let held = known.and_then(|known| known.get(address));
            held.is_some_and(|held| held.is_in_force && held.until >= end(*ttl, now))
        })
    }

    /// A name has these addresses, for as long as these TTLs say. Returns what has changed by that.
    pub(crate) fn learn(
        &mut self,
        about: &About,
        name: &DnsName,
        addresses: &[(IpAddr, Duration)],
        now: Moment,
    ) -> Result<Vec<Entry>, NoRoom> {
        let known = self.names.get(name);
        let is_new = |(address, _): &&(IpAddr, Duration)| known.is_none_or(|known| !known.contains_key(address));
        let new: BTreeSet<IpAddr> = addresses.iter().filter(is_new).map(|(address, _)| *address).collect();
        self.require_room(about, name, new.len())?;
        for pattern in about.patterns(name).filter(|_| !new.is_empty()) {
            *self.of_patterns.entry(pattern).or_default() += new.len();
        }
        let mut entries = Vec::new();
        for (address, ttl) in addresses {
            let (is_known, before) = match self.names.get(name).and_then(|known| known.get(address)) {
                Some(held) if held.is_in_force && held.until >= end(*ttl, now) => continue,
                Some(held) => (held.is_in_force, held.until),
                None => (false, Moment::ZERO),
            };
            let until = before.max(end(*ttl, now) + SLACK);
            self.due.remove(&(before, name.clone(), *address));
            self.due.insert((until, name.clone(), *address));
            self.lapsed.remove(&(name.clone(), *address));
            let held = Held { until, is_in_force: is_known };
            self.names.entry(name.clone()).or_default().insert(*address, held);
            entries.push(Entry { until, name: name.clone(), address: *address });
        }
        if !new.is_empty() {
            self.note(name.clone());
        }
        Ok(entries)
    }

    fn require_room(&self, about: &About, name: &DnsName, more: usize) -> Result<(), NoRoom> {
        if more == 0 {
            return Ok(());
        }
        if self.names.get(name).map_or(0, BTreeMap::len) + more > OF_NAME {
            return Err(NoRoom::Name(name.clone()));
        }
        let is_full = |pattern: &DnsPattern| self.of_patterns.get(pattern).copied().unwrap_or(0) + more > OF_PATTERN;
        if let Some(pattern) = about.patterns(name).find(is_full) {
            return Err(NoRoom::Pattern(pattern));
        }
        if self.due.len() + more > OF_HOST { Err(NoRoom::Host) } else { Ok(()) }
    }

    /// Whether the kernel does not judge by all of these yet.
    pub(crate) fn awaits_kernel(&self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| self.held(entry).is_some_and(|held| !held.is_in_force))
    }

    /// The kernel judges by these.
    pub(crate) fn confirm(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Some(held) = self.names.get_mut(&entry.name).and_then(|known| known.get_mut(&entry.address)) {
                held.is_in_force = true;
            }
        }
    }

    /// The kernel has not taken these. Those by which it judged before stay.
    pub(crate) fn withdraw(&mut self, about: &About, entries: &[Entry]) {
        for entry in entries {
            if let Some(held) = self.held(entry).filter(|held| !held.is_in_force).copied() {
                self.due.remove(&(held.until, entry.name.clone(), entry.address));
                self.remove(about, &entry.name, &entry.address);
            }
        }
    }

    /// Lets those lapse whose time is over. Returns whether any has.
    pub(crate) fn expire(&mut self, about: &About, now: Moment) -> bool {
        let mut any = false;
        while self.due.first().is_some_and(|(until, ..)| *until <= now) {
            let Some((until, name, address)) = self.due.pop_first() else { break };
            self.remove(about, &name, &address);
            self.lapsed.insert((name, address), until);
            any = true;
        }
        any
    }

    fn remove(&mut self, about: &About, name: &DnsName, address: &IpAddr) {
        let Some(known) = self.names.get_mut(name) else { return };
        known.remove(address);
        if known.is_empty() {
            self.names.remove(name);
        }
        for pattern in about.patterns(name) {
            let count = self.of_patterns.entry(pattern).or_default();
            *count = count.saturating_sub(1);
        }
        self.note(name.clone());
    }

    fn held(&self, entry: &Entry) -> Option<&Held> {
        self.names.get(&entry.name)?.get(&entry.address)
    }

    fn count_anew(&mut self, about: &About) {
        self.of_patterns.clear();
        for (name, addresses) in &self.names {
            for pattern in about.patterns(name) {
                *self.of_patterns.entry(pattern).or_default() += addresses.len();
            }
        }
    }

    fn note(&mut self, name: DnsName) {
        self.changed.insert(name);
        self.times += 1;
    }

    /// Whether nothing is known, so that nothing can lapse.
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// The names, with their addresses.
    pub(crate) fn names(&self) -> BTreeMap<DnsName, BTreeSet<IpAddr>> {
        self.names.iter().map(|(name, addresses)| (name.clone(), addresses.keys().copied().collect())).collect()
    }

    /// How often a name has changed.
    pub(crate) fn times_changed(&self) -> u64 {
        self.times
    }

    /// The names that have changed since that was so often, as they are now; none if that is not known.
    pub(crate) fn changed_since(&mut self, times: u64) -> Option<BTreeMap<DnsName, BTreeSet<IpAddr>>> {
        let changed = std::mem::take(&mut self.changed);
        let is_known = times >= self.asked;
        self.asked = self.times;
        let addresses = |name: &DnsName| self.names.get(name).into_iter().flat_map(BTreeMap::keys).copied().collect();
        is_known.then(|| changed.into_iter().map(|name| (name.clone(), addresses(&name))).collect())
    }

    /// Whether some name had this address until lately.
    pub(crate) fn has_lapsed(&self, address: IpAddr) -> bool {
        self.lapsed.keys().any(|(_, lapsed)| *lapsed == address)
    }

    /// Names with addresses that they have no more, of which connections may be open.
    pub(crate) fn lapsed(&self) -> BTreeMap<DnsName, BTreeSet<IpAddr>> {
        let mut lapsed: BTreeMap<DnsName, BTreeSet<IpAddr>> = BTreeMap::new();
        for (name, address) in self.lapsed.keys() {
            lapsed.entry(name.clone()).or_default().insert(*address);
        }
        lapsed
    }

    /// Whether so many have lapsed that it is worth a look which of them have connections.
    pub(crate) fn has_many_lapsed(&self) -> bool {
        self.lapsed.len() >= (2 * self.in_use).max(FEW_LAPSED)
    }

    /// Forgets lapsed ones that have no connections or that no rule is about, and of too many those that lapsed first.
    pub(crate) fn forget_lapsed(&mut self, about: &About, has_connections: impl Fn(&IpAddr) -> bool) {
        self.lapsed.retain(|(name, address), _| has_connections(address) && about.patterns(name).next().is_some());
        if self.lapsed.len() > OF_LAPSED {
            let mut moments: Vec<Moment> = self.lapsed.values().copied().collect();
            moments.sort_unstable();
            let first = moments[moments.len() - OF_LAPSED];
            self.lapsed.retain(|_, lapsed| *lapsed >= first);
        }
        self.in_use = self.lapsed.len();
    }

    /// All that is remembered, lapsed ones too.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let entry = |until: &Moment, name: &DnsName, address: &IpAddr| Entry {
            until: *until,
            name: name.clone(),
            address: *address,
        };
        let due = self.due.iter().map(move |(until, name, address)| entry(until, name, address));
        due.chain(self.lapsed.iter().map(move |((name, address), until)| entry(until, name, address)))
    }

    /// What the last daemon remembered. Nothing is remembered for longer than a while, unless the machine was switched
    /// off meanwhile.
    pub(crate) fn restore(&mut self, about: &About, entries: impl IntoIterator<Item = Entry>, now: Moment) {
        for Entry { until, name, address } in entries.into_iter().filter(|entry| entry.until <= now + MOST) {
            let held = self.names.entry(name.clone()).or_default();
            let before = held.insert(address, Held { until, is_in_force: false });
            if let Some(Held { until, .. }) = before {
                self.due.remove(&(until, name.clone(), address));
            }
            self.due.insert((until, name.clone(), address));
            self.note(name);
        }
        self.count_anew(about);
    }
}

/// Until when an address is needed that an answer of this TTL is about.
fn end(ttl: Duration, now: Moment) -> Moment {
    now + ttl.max(LEAST) + GRACE
}

#[cfg(test)]
mod tests;
