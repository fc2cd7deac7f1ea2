//! What the program at the ports knows of names, and who changes that.
//!
//! It is one map for as long as this process lives, whichever program stands: what is known is never older than the
//! last change. A program with another map was made by another process, and is replaced. The map of the process before
//! is taken over empty, so that nothing is answered that only that one knew.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use model::{MacAddress, NetworkId};

use super::{
    bpf::{Map, Program},
    entry::{self, FACT_KEY_LENGTH, FACT_LENGTH},
    program::Maps,
};

/// Something that the program at the ports may know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// On a network a name has one address.
    Address {
        /// The network.
        network: NetworkId,
        /// The name in wire form and lower case, with the root's octet. Who asks for one of more than 55 octets is
        /// answered by the server.
        name: Box<[u8]>,
        /// Its address.
        address: Ipv4Addr,
        /// For how many seconds the answer may be kept.
        ttl: u32,
    },
    /// On a network whoever has an address sees the names of this network and no others.
    Asker {
        /// The network.
        network: NetworkId,
        /// The address.
        address: Ipv4Addr,
        /// Whom he asks.
        gateway: Ipv4Addr,
        /// The gateway's address on the link.
        mac: MacAddress,
    },
}

/// A handle on what the program at the ports knows of names; clones share it. Without a program nothing is kept.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Shared>);

/// As long as this lives, all questions go to the server.
#[derive(Debug)]
pub struct Withheld(Names);

#[derive(Debug, Default)]
struct Shared {
    maps: OnceLock<Known>,
    state: Mutex<State>,
}

/// The maps that are about names.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) names: Map,
    pub(super) counts: Map,
    /// What had been counted before.
    base: u64,
}

#[derive(Debug, Default)]
struct State {
    /// Those who may be answered, unless all questions go to the server.
    askers: BTreeMap<[u8; FACT_KEY_LENGTH], [u8; FACT_LENGTH]>,
    /// What did not fit into the map: it is answered by the server until there is room.
    waiting: BTreeMap<[u8; FACT_KEY_LENGTH], [u8; FACT_LENGTH]>,
    /// How many want all questions to go to the server.
    withheld: usize,
    /// Whether rules of others judge questions.
    judged: bool,
}

impl State {
    fn are_answered(&self) -> bool {
        self.withheld == 0 && !self.judged
    }

    fn insert(&mut self, maps: &Known, key: [u8; FACT_KEY_LENGTH], value: [u8; FACT_LENGTH]) {
        if let Err(error) = maps.names.insert(&key, &value) {
            if self.waiting.is_empty() {
                tracing::warn!(%error, "netd answers for names that the kernel has no room for");
            }
            self.waiting.insert(key, value);
        }
    }

    fn remove(&mut self, maps: &Known, key: &[u8; FACT_KEY_LENGTH]) {
        self.waiting.remove(key);
        if let Err(error) = maps.names.remove(key) {
            tracing::error!(%error, "the kernel goes on answering for a name");
        }
    }

    /// Lets in what waits, as far as there is room.
    fn fill(&mut self, maps: &Known) {
        while let Some((key, value)) = self.waiting.pop_first() {
            if maps.names.insert(&key, &value).is_err() {
                self.waiting.insert(key, value);
                return;
            }
        }
    }
}

impl Names {
    /// Has the map of the program that the kernel calls so, with nothing in it; says whether that can be.
    pub(super) fn take_over(&self, id: u32) -> bool {
        match Known::take_over(id) {
            Ok(Some(maps)) => self.0.maps.set(maps).is_ok(),
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(%error, "the program that stands is not taken over");
                false
            }
        }
    }

    /// Has a map of its own.
    pub(super) fn open(&self) -> io::Result<()> {
        let _ = self.0.maps.set(Known::new()?);
        Ok(())
    }

    pub(super) fn maps(&self) -> Option<&Known> {
        self.0.maps.get()
    }

    /// Whether anything that is told is kept.
    pub fn are_kept(&self) -> bool {
        self.0.maps.get().is_some()
    }

    /// Changes what is known: what is `gone` goes, then `publish` is called, then what has `come` comes. So at no
    /// moment more is known than what holds before and after.
    pub fn change(&self, gone: &[Fact], come: &[Fact], publish: impl FnOnce()) {
        let mut state = self.lock();
        let Some(maps) = self.0.maps.get() else { return publish() };
        for key in gone.iter().filter_map(entry::fact_key) {
            state.askers.remove(&key);
            state.remove(maps, &key);
        }
        publish();
        for (key, value) in come.iter().filter_map(|fact| Some((entry::fact_key(fact)?, entry::fact(fact)))) {
            let is_askers = entry::is_askers(&key);
            if is_askers {
                state.askers.insert(key, value);
            }
            if !is_askers || state.are_answered() {
                state.insert(maps, key, value);
            }
        }
        state.fill(maps);
    }

    /// Has all questions go to the server until the returned value is dropped.
    pub fn withhold(&self) -> Withheld {
        self.with(|state| state.withheld += 1);
        Withheld(self.clone())
    }

    /// Says whether rules of others judge questions, which then go to the server.
    pub(super) fn set_judged(&self, judged: bool) {
        self.with(|state| state.judged = judged);
    }

    /// Whether all questions go to the server because rules of others judge them.
    pub(super) fn are_judged(&self) -> bool {
        self.lock().judged
    }

    /// How many questions the program has answered since this process began.
    pub fn answered(&self) -> u64 {
        let counted = self.0.maps.get().and_then(|maps| Some(maps.counts.sum().ok()?.wrapping_sub(maps.base)));
        counted.unwrap_or_default()
    }

    /// How many facts wait until there is room for them.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        let before = state.are_answered();
        change(&mut state);
        let (after, Some(maps)) = (state.are_answered(), self.0.maps.get()) else { return };
        if before == after {
            return;
        }
        for (key, value) in state.askers.clone() {
            match after {
                true => state.insert(maps, key, value),
                false => state.remove(maps, &key),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        self.0.with(|state| state.withheld -= 1);
    }
}

impl Known {
    fn new() -> io::Result<Self> {
        Ok(Self { names: Map::new(FACT_KEY_LENGTH, FACT_LENGTH)?, counts: Map::counter()?, base: 0 })
    }

    /// Those of the program that the kernel calls so, with nothing in them; none if it has other maps.
    fn take_over(id: u32) -> io::Result<Option<Self>> {
        let Some(Maps { names, counts, .. }) = Maps::of(&Program::with_id(id)?)? else { return Ok(None) };
        for (key, _) in names.entries()? {
            names.remove(&key)?;
        }
        Ok(Some(Self { base: counts.sum()?, names, counts }))
    }
}
