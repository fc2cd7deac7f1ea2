//! Bounds how much is under way at once, for all clients and for each.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts what is under way. One client can use up its own share only.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// How many at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) all: usize,
    pub(crate) per_client: usize,
}

/// One place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    limiter: Arc<Limiter>,
    client: IpAddr,
}

impl Limiter {
    /// A place for `client`, if there is one left.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr, bounds: Bounds) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.by_client.get(&client).copied().unwrap_or(0);
        if counts.all >= bounds.all || own >= bounds.per_client {
            return None;
        }
        counts.all += 1;
        counts.by_client.insert(client, own + 1);
        Some(Place { limiter: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        match counts.by_client.get_mut(&self.client) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_places_to_the_others() {
        let limiter = Arc::new(Limiter::default());
        let bounds = Bounds { all: 3, per_client: 2 };
        let [a, b] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let first = limiter.enter(a, bounds).expect("free");
        let _second = limiter.enter(a, bounds).expect("free");
        assert!(limiter.enter(a, bounds).is_none());
        let third = limiter.enter(b, bounds).expect("free for the other");
        assert!(limiter.enter(b, bounds).is_none(), "all are taken");
        drop(first);
        assert!(limiter.enter(a, bounds).is_some());
        drop(third);
        assert_eq!(limiter.counts.lock().expect("not poisoned").by_client.len(), 1);
    }
}
