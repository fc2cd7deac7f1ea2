//! A queue in which clients take turns, so that one that asks without end keeps nobody else waiting.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

/// Items in the order of arrival for each client, and clients by turns.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    clients: HashMap<IpAddr, VecDeque<T>>,
    /// Clients that have an item, each once, the next first.
    turns: VecDeque<IpAddr>,
    length: usize,
    capacity: usize,
}

impl<T> FairQueue<T> {
    /// A queue of at most `capacity` items, at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { clients: HashMap::new(), turns: VecDeque::new(), length: 0, capacity: capacity.max(1) }
    }

    /// Puts an item behind the client's others. If the queue is full, returns what there is no room for: the oldest
    /// item of the client that has most.
    pub(super) fn push(&mut self, client: IpAddr, item: T) -> Option<T> {
        let own = self.clients.entry(client).or_default();
        if own.is_empty() {
            self.turns.push_back(client);
        }
        own.push_back(item);
        self.length += 1;
        if self.length <= self.capacity {
            return None;
        }
        // Looked for only when the queue is full, and among no more clients than it has items.
        let longest = self.clients.iter().max_by_key(|(_, items)| items.len()).map(|(client, _)| *client)?;
        let items = self.clients.get_mut(&longest)?;
        let dropped = items.pop_front();
        self.length -= 1;
        if items.is_empty() {
            self.clients.remove(&longest);
            self.turns.retain(|client| *client != longest);
        }
        dropped
    }

    /// The next client's oldest item.
    pub(super) fn pop(&mut self) -> Option<T> {
        let client = self.turns.pop_front()?;
        let items = self.clients.get_mut(&client)?;
        let item = items.pop_front();
        self.length -= 1;
        if items.is_empty() {
            // Its room is kept while there are few: most clients ask again.
            if self.clients.len() > 64 {
                self.clients.remove(&client);
            }
        } else {
            self.turns.push_back(client);
        }
        item
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[test]
    fn clients_take_turns() {
        let mut queue = FairQueue::new(100);
        for item in 0..5 {
            assert_eq!(queue.push(client(1), (1, item)), None);
        }
        queue.push(client(2), (2, 0));
        queue.push(client(3), (3, 0));
        queue.push(client(3), (3, 1));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(1, 0), (2, 0), (3, 0), (1, 1), (3, 1), (1, 2), (1, 3), (1, 4)]);
    }

    #[test]
    fn who_asks_most_loses_first() {
        let mut queue = FairQueue::new(10);
        for item in 0..1000 {
            queue.push(client(1), (1, item));
        }
        assert_eq!(queue.push(client(2), (2, 0)), Some((1, 990)));
        assert_eq!(queue.pop(), Some((1, 991)));
        assert_eq!(queue.pop(), Some((2, 0)));
    }

    proptest! {
        /// Nothing is lost, doubled or reordered within a client, and a client that has less than its share of the room
        /// loses nothing.
        #[test]
        fn nobody_within_their_share_loses_anything(
            steps in prop::collection::vec((0..6_u8, any::<bool>()), 0..400),
            capacity in 1..20_usize,
        ) {
            let mut queue = FairQueue::new(capacity);
            let (mut pushed, mut gone, mut waiting) = ([0_usize; 6], [0_usize; 6], [0_usize; 6]);
            for (number, push) in steps {
                let left = if push {
                    let index = usize::from(number);
                    let item = (index, pushed[index]);
                    pushed[index] += 1;
                    waiting[index] += 1;
                    let most = waiting.iter().copied().max().unwrap_or(0);
                    let dropped = queue.push(client(number), item);
                    if let Some((loser, _)) = dropped {
                        prop_assert_eq!(waiting[loser], most, "only who has most loses");
                    }
                    dropped
                } else {
                    queue.pop()
                };
                if let Some((owner, item)) = left {
                    prop_assert_eq!(item, gone[owner], "in order");
                    gone[owner] += 1;
                    waiting[owner] -= 1;
                }
                prop_assert!(waiting.iter().sum::<usize>() <= capacity);
                prop_assert_eq!(queue.is_empty(), waiting.iter().all(|count| *count == 0));
            }
            while let Some((owner, item)) = queue.pop() {
                prop_assert_eq!(item, gone[owner]);
                gone[owner] += 1;
            }
            prop_assert_eq!(pushed, gone);
        }
    }
}
