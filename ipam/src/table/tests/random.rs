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
    /// One of those that have an address gives it back.
    Release(prop::sample::Index),
    /// The process dies and reads its leases again.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (2_u32..6).prop_map(Step::Concurrent),
        2 => (0_u32..16).prop_map(Step::Fixed),
        5 => Just(Step::Any),
        4 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..30)
}

fn record(lease: &Lease) -> Transaction {
    let key: Key = format!("endpoints/{}", lease.endpoint).parse().expect("plain segments");
    Transaction::durable().create(key, lease.address.to_string())
}

async fn listed(store: &dyn Store, subnet: Subnet) -> LeaseTable {
    let listing = store.list(&Lease::prefix(&network())).await.expect("reads");
    LeaseTable::from_listing(network(), &[subnet], &[], &listing).expect("all records are leases")
}

struct World {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    subnet: Subnet,
    table: LeaseTable,
    /// Who was told to have which address.
    held: BTreeMap<IpAddr, EndpointId>,
    endpoints: u64,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Arc::new(Embedded::open(directory.path()).expect("opens"));
        let subnet = subnet("10.1.0.0/28");
        let table = LeaseTable::new(network(), &[subnet], &[]);
        Self { directory, store, subnet, table, held: BTreeMap::new(), endpoints: 0 }
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

    async fn claim(&mut self, request: Request) {
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
        let release = self.table.release(address).expect("the table knows every lease");
        self.store.commit(Transaction::durable().guarded(release)).await.expect("the lease is as it was claimed");
        self.table.remove(address);
        self.held.remove(&address);
    }

    async fn crash(self) -> Self {
        let Self { directory, store, subnet, held, endpoints, .. } = self;
        // What a crash leaves is what is on the disk while the store is still open.
        let next = tempfile::tempdir().expect("a temporary directory");
        std::fs::copy(directory.path().join("state.redb"), next.path().join("state.redb")).expect("copies");
        drop(store);
        let store: Arc<dyn Store> = Arc::new(Embedded::open(next.path()).expect("opens"));
        let table = listed(&*store, subnet).await;
        Self { directory: next, store, subnet, table, held, endpoints }
    }

    async fn check(&self) {
        for table in [&self.table, &listed(&*self.store, self.subnet).await] {
            let leases: BTreeMap<_, _> = table.leases().map(|(lease, _)| (lease.address, lease.endpoint)).collect();
            assert_eq!(leases, self.held, "no lease is lost and none is left over");
            assert_eq!(table.usage().used as usize, self.held.len());
        }
        assert_eq!(
            self.table.choose(Request::Any(Family::Ipv4)).ok(),
            self.table.clone().choose(Request::Any(Family::Ipv4)).ok()
        );
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
