//! Endpoints that come and go at random, some at the same time, some across a crash.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use store::{Embedded, Key, Store, Transaction};
use tokio::task::JoinSet;

use super::*;
use crate::{ClaimError, claim};

#[derive(Debug, Clone)]
enum Step {
    /// So many endpoints want any address at once, each with a table of its own, as different hosts would.
    Concurrent(u32),
    /// One wants this host address of the subnet.
    Fixed(u32),
    /// One wants any.
    Any,
    /// One of a container of this name wants any, or what the name had before.
    Again(u8),
    /// One of those that have an address gives it back, and is remembered.
    Release(prop::sample::Index),
    /// The process dies and reads its leases again.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (2_u32..6).prop_map(Step::Concurrent),
        2 => (0_u32..16).prop_map(Step::Fixed),
        2 => Just(Step::Any),
        4 => (0_u8..4).prop_map(Step::Again),
        5 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..30)
}

fn record(lease: &Lease) -> Transaction {
    let key: Key = format!("endpoints/{}", lease.endpoint).parse().expect("plain segments");
    Transaction::durable().create(key, lease.address.to_string())
}

async fn listed(store: &dyn Store, subnet: Subnet) -> LeaseTable {
    let leases = store.list(&Lease::prefix(&network())).await.expect("reads");
    let formers = store.list(&Former::prefix(&network())).await.expect("reads");
    LeaseTable::from_listing(network(), &[subnet], &[], &leases, &formers).expect("all records are what they should be")
}

struct World {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    subnet: Subnet,
    table: LeaseTable,
    /// Who was told to have which address.
    held: BTreeMap<IpAddr, EndpointId>,
    past: Past,
    endpoints: u64,
}

/// What was given back, plainly kept.
#[derive(Default)]
struct Past {
    /// What the endpoint's container is called.
    names: BTreeMap<EndpointId, ContainerName>,
    /// Who gave back which address, all there ever was, youngest last.
    freed: Vec<(IpAddr, ContainerName)>,
}

impl Past {
    /// Which address a container of that name had last, if nobody had it after.
    fn own(&self, name: &ContainerName) -> Option<IpAddr> {
        let (last, _) = self.freed.iter().rfind(|(_, container)| container == name)?;
        let (_, owner) = self.freed.iter().rfind(|(address, _)| address == last)?;
        (owner == name).then_some(*last)
    }

    /// The addresses that are free and were not always, longest free first.
    fn resting(&self, held: &BTreeMap<IpAddr, EndpointId>) -> Vec<IpAddr> {
        let mut youngest_first = Vec::new();
        for (address, _) in self.freed.iter().rev() {
            if !held.contains_key(address) && !youngest_first.contains(address) {
                youngest_first.push(*address);
            }
        }
        youngest_first.into_iter().rev().collect()
    }
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Arc::new(Embedded::open(directory.path()).expect("opens"));
        let subnet = subnet("10.1.0.0/28");
        let table = LeaseTable::new(network(), &[subnet], &[]);
        Self { directory, store, subnet, table, held: BTreeMap::new(), past: Past::default(), endpoints: 0 }
    }

    fn endpoint(&mut self) -> EndpointId {
        self.endpoints += 1;
        endpoint(self.endpoints)
    }

    fn full(&self) -> bool {
        self.held.len() == self.subnet.capacity() as usize
    }

    fn hold(&mut self, address: IpAddr, endpoint: EndpointId) {
        assert!(self.subnet.is_endpoint_address(address));
        assert_eq!(self.held.insert(address, endpoint), None, "{address} has two endpoints");
    }

    /// What a request for any address is to be answered.
    fn expect(&self, own: Option<IpAddr>, chosen: IpAddr) {
        let resting = self.past.resting(&self.held);
        let fresh = self.subnet.capacity() as usize - self.held.len() - resting.len();
        match own.filter(|address| !self.held.contains_key(address)) {
            Some(own) => assert_eq!(chosen, own, "a name keeps its address while that is free"),
            None if fresh > 0 => assert!(!resting.contains(&chosen), "{chosen} was not left to rest: {resting:?}"),
            None => assert_eq!(chosen, resting[0], "the longest free of {resting:?}"),
        }
    }

    async fn again(&mut self, name: u8) {
        let name: ContainerName = format!("c{name}").parse().expect("a name");
        let own = self.past.own(&name);
        if let Ok(chosen) = self.table.choose(Request::Again { family: Family::Ipv4, container: &name, mac: None }) {
            self.expect(own, chosen);
        }
        let next = endpoint(self.endpoints + 1);
        self.past.names.insert(next, name.clone());
        self.claim(Request::Again { family: Family::Ipv4, container: &name, mac: None }).await;
    }

    async fn claim(&mut self, request: Request<'_>) {
        let endpoint = self.endpoint();
        match claim(&*self.store, &mut self.table, request, &endpoint, record).await {
            Ok((lease, _)) => self.hold(lease.address, endpoint),
            Err(ClaimError::Ipam(IpamError::Exhausted { .. })) => assert!(self.full(), "an address was free"),
            Err(ClaimError::Ipam(IpamError::InUse { address, endpoint })) => {
                assert_eq!(self.held.get(&address), Some(&endpoint));
            }
            Err(ClaimError::Ipam(IpamError::Reserved { address, .. })) => {
                assert!(!self.subnet.is_endpoint_address(address));
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn concurrent(&mut self, count: u32) {
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (store, mut table, endpoint) = (Arc::clone(&self.store), self.table.clone(), self.endpoint());
            tasks.spawn(async move { claim(&*store, &mut table, Request::Any(Family::Ipv4), &endpoint, record).await });
        }
        let mut refused = false;
        for claimed in tasks.join_all().await {
            match claimed {
                Ok((lease, _)) => self.hold(lease.address, lease.endpoint),
                Err(ClaimError::Ipam(IpamError::Exhausted { .. })) => refused = true,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!refused || self.full(), "an address was free");
        self.table.refresh(&*self.store).await.expect("reads");
    }

    async fn release(&mut self, index: prop::sample::Index) {
        if self.held.is_empty() {
            return;
        }
        let address = *index.get(&self.held.keys().copied().collect::<Vec<_>>());
        let nameless = || "nameless".parse().expect("a name");
        let name = self.past.names.get(&self.held[&address]).cloned().unwrap_or_else(nameless);
        let release = self.table.release(Transaction::durable(), [address], parting(&name));
        let freed = self.store.commit(release).await.expect("the lease is as it was claimed");
        self.table.rest(address, parting(&name), freed);
        self.past.freed.push((address, name));
        self.held.remove(&address);
    }

    async fn crash(self) -> Self {
        let Self { directory, store, subnet, held, past, endpoints, .. } = self;
        // What a crash leaves is what is on the disk while the store is still open.
        let next = tempfile::tempdir().expect("a temporary directory");
        std::fs::copy(directory.path().join("state.redb"), next.path().join("state.redb")).expect("copies");
        drop(store);
        let store: Arc<dyn Store> = Arc::new(Embedded::open(next.path()).expect("opens"));
        let table = listed(&*store, subnet).await;
        Self { directory: next, store, subnet, table, held, past, endpoints }
    }

    async fn check(&self) {
        for table in [&self.table, &listed(&*self.store, self.subnet).await] {
            let leases: BTreeMap<_, _> = table.leases().map(|(lease, _)| (lease.address, lease.endpoint)).collect();
            assert_eq!(leases, self.held, "no lease is lost and none is left over");
            assert_eq!(table.usage().used as usize, self.held.len());
            assert_eq!(table.usage().resting as usize, self.past.resting(&self.held).len());
        }
        if let Ok(chosen) = self.table.choose(Request::Any(Family::Ipv4)) {
            self.expect(None, chosen);
        }
    }
}

async fn live(steps: Vec<Step>) {
    let mut world = World::new();
    for step in steps {
        match step {
            Step::Concurrent(count) => world.concurrent(count).await,
            Step::Fixed(host) => {
                let address = world.subnet.range().hosts().next().and_then(|first| {
                    crate::number::address(Family::Ipv4, crate::number::number(first) + u128::from(host) - 1)
                });
                let address = address.expect("a /28 is not at the end of all addresses");
                world.claim(Request::Fixed(address)).await;
            }
            Step::Again(name) => world.again(name).await,
            Step::Any => world.claim(Request::Any(Family::Ipv4)).await,
            Step::Release(index) => world.release(index).await,
            Step::Crash => world = world.crash().await,
        }
        world.check().await;
    }
    // Whatever happened, every address is still to be had.
    while !world.full() {
        world.claim(Request::Any(Family::Ipv4)).await;
    }
    world.claim(Request::Any(Family::Ipv4)).await;
    world.check().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_address_has_two_endpoints_and_none_is_lost(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(live(steps));
    }

    #[test]
    fn choices_depend_on_nothing_but_what_was_done(steps in prop::collection::vec(any::<Option<u8>>(), 0..60)) {
        let run = || {
            let mut table = LeaseTable::new(network(), &[subnet("10.1.0.0/27")], &[]);
            let mut choices = Vec::new();
            for (number, step) in (0..).zip(&steps) {
                match step {
                    Some(host) => table.remove([10, 1, 0, host % 32].into()),
                    None => {
                        let choice = table.choose(Request::Any(Family::Ipv4)).ok();
                        if let Some(address) = choice {
                            table.insert(&lease(address, number), Revision::ZERO);
                        }
                        choices.push(choice);
                    }
                }
            }
            choices
        };
        prop_assert_eq!(run(), run());
    }
}
