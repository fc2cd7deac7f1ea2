//! An ordered map whose copies share what they have in common.
//!
//! A copy costs nothing, a change as much as the way to what changes, and what two maps differ in is found at the cost
//! of what they differ in, if one was made of the other. So a state that holds a hundred thousand things can be a value
//! all the same: remembered, handed on, and held against the next one.
//!
//! It is a treap whose priorities follow from the keys (Seidel and Aragon, "Randomized search trees", 1996, §3): equal
//! maps have equal shapes, whatever order they were made in, so two are walked through side by side, and what is one in
//! memory is passed over.

use std::{
    cmp::Ordering,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// From keys to values, in the order of the keys.
pub struct SharedMap<K, V> {
    root: Tree<K, V>,
    length: usize,
}

type Tree<K, V> = Option<Arc<Node<K, V>>>;

#[derive(Clone)]
struct Node<K, V> {
    /// What it has of the key, no node below it has more.
    rank: u64,
    key: K,
    value: V,
    before: Tree<K, V>,
    after: Tree<K, V>,
}

/// Entries in the order of their keys.
pub struct Iter<'m, K, V> {
    /// Those whose own entry is next, the nearest last.
    ahead: Vec<&'m Node<K, V>>,
}

impl<K: Ord + Hash, V> SharedMap<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let mut tree = self.root.as_deref();
        while let Some(node) = tree {
            tree = match key.cmp(&node.key) {
                Ordering::Equal => return Some(&node.value),
                Ordering::Less => node.before.as_deref(),
                Ordering::Greater => node.after.as_deref(),
            };
        }
        None
    }

    /// The last entry whose key is not after this one.
    pub fn last_at_most(&self, key: &K) -> Option<(&K, &V)> {
        let (mut tree, mut found) = (self.root.as_deref(), None);
        while let Some(node) = tree {
            tree = match key.cmp(&node.key) {
                Ordering::Equal => return Some((&node.key, &node.value)),
                Ordering::Less => node.before.as_deref(),
                Ordering::Greater => {
                    found = Some((&node.key, &node.value));
                    node.after.as_deref()
                }
            };
        }
        found
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }
}

impl<K, V> SharedMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Each entry, in the order of the keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let mut iter = Iter { ahead: Vec::new() };
        iter.descend(&self.root);
        iter
    }

    /// Each key, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Each value, in the order of the keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord + Hash + Clone, V: Clone> SharedMap<K, V> {
    /// Has the key lead to the value. Returns what it led to before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = insert(&mut self.root, Node { rank: rank(&key), key, value, before: None, after: None });
        self.length += usize::from(before.is_none());
        before
    }

    /// Takes a key out. Returns what it led to.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        // What is not there is nothing that copies should be made for.
        self.get(key)?;
        self.length -= 1;
        remove(&mut self.root, key)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.get(key)?;
        let mut tree = &mut self.root;
        while let Some(node) = tree {
            let node = Arc::make_mut(node);
            tree = match key.cmp(&node.key) {
                Ordering::Equal => return Some(&mut node.value),
                Ordering::Less => &mut node.before,
                Ordering::Greater => &mut node.after,
            };
        }
        None
    }

    /// Tells each key that is in one of the two maps only or may lead to another value in `new`, with what it leads to
    /// in either. What both share is not looked at.
    pub fn for_each_difference(&self, new: &Self, mut tell: impl FnMut(&K, Option<&V>, Option<&V>)) {
        differ(&self.root, &new.root, &mut tell);
    }
}

fn rank<K: Hash>(key: &K) -> u64 {
    // Always the same one, unlike those of hash maps.
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl<K: Ord, V> Node<K, V> {
    /// Whether it stands above another. No two with different keys stand equal.
    fn is_above(&self, other: &Self) -> bool {
        (self.rank, &self.key) > (other.rank, &other.key)
    }
}

fn insert<K: Ord + Clone, V: Clone>(tree: &mut Tree<K, V>, mut new: Node<K, V>) -> Option<V> {
    let Some(node) = tree else {
        *tree = Some(Arc::new(new));
        return None;
    };
    // One that is there already stands where it has to.
    if new.is_above(node) {
        (new.before, new.after) = split(tree.take(), &new.key);
        *tree = Some(Arc::new(new));
        return None;
    }
    let node = Arc::make_mut(node);
    match new.key.cmp(&node.key) {
        Ordering::Equal => Some(std::mem::replace(&mut node.value, new.value)),
        Ordering::Less => insert(&mut node.before, new),
        Ordering::Greater => insert(&mut node.after, new),
    }
}

fn remove<K: Ord + Clone, V: Clone>(tree: &mut Tree<K, V>, key: &K) -> Option<V> {
    let mut found = tree.take()?;
    let order = key.cmp(&found.key);
    if order == Ordering::Equal {
        let Node { value, before, after, .. } = Arc::unwrap_or_clone(found);
        *tree = joined(before, after);
        return Some(value);
    }
    let node = Arc::make_mut(&mut found);
    let removed = remove(if order == Ordering::Less { &mut node.before } else { &mut node.after }, key);
    *tree = Some(found);
    removed
}

/// What comes before a key, and what after it. The key itself is not there.
fn split<K: Ord + Clone, V: Clone>(tree: Tree<K, V>, key: &K) -> (Tree<K, V>, Tree<K, V>) {
    let Some(mut root) = tree else { return (None, None) };
    let node = Arc::make_mut(&mut root);
    if node.key < *key {
        let (before, after) = split(node.after.take(), key);
        node.after = before;
        (Some(root), after)
    } else {
        let (before, after) = split(node.before.take(), key);
        node.before = after;
        (before, Some(root))
    }
}

/// Both in one, where all of the first comes before all of the second.
fn joined<K: Ord + Clone, V: Clone>(before: Tree<K, V>, after: Tree<K, V>) -> Tree<K, V> {
    let (mut first, mut second) = match (before, after) {
        (Some(first), Some(second)) => (first, second),
        (first, second) => return first.or(second),
    };
    if first.is_above(&second) {
        let node = Arc::make_mut(&mut first);
        node.after = joined(node.after.take(), Some(second));
        Some(first)
    } else {
        let node = Arc::make_mut(&mut second);
        node.before = joined(Some(first), node.before.take());
        Some(second)
    }
}

fn differ<K: Ord + Clone, V: Clone>(
    old: &Tree<K, V>,
    new: &Tree<K, V>,
    tell: &mut impl FnMut(&K, Option<&V>, Option<&V>),
) {
    match (old, new) {
        (None, None) => {}
        (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
        (Some(gone), None) => {
            differ(&gone.before, &None, tell);
            tell(&gone.key, Some(&gone.value), None);
            differ(&gone.after, &None, tell);
        }
        (None, Some(come)) => {
            differ(&None, &come.before, tell);
            tell(&come.key, None, Some(&come.value));
            differ(&None, &come.after, tell);
        }
        (Some(one), Some(other)) if one.key == other.key => {
            differ(&one.before, &other.before, tell);
            tell(&one.key, Some(&one.value), Some(&other.value));
            differ(&one.after, &other.after, tell);
        }
        // Were it in the other as well, it would stand at its top.
        (Some(gone), Some(other)) if gone.is_above(other) => {
            let (before, after) = split(new.clone(), &gone.key);
            differ(&gone.before, &before, tell);
            tell(&gone.key, Some(&gone.value), None);
            differ(&gone.after, &after, tell);
        }
        (Some(_), Some(come)) => {
            let (before, after) = split(old.clone(), &come.key);
            differ(&before, &come.before, tell);
            tell(&come.key, None, Some(&come.value));
            differ(&after, &come.after, tell);
        }
    }
}

fn are_equal<K: PartialEq, V: PartialEq>(one: &Tree<K, V>, other: &Tree<K, V>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            Arc::ptr_eq(one, other)
                || one.key == other.key
                    && one.value == other.value
                    && are_equal(&one.before, &other.before)
                    && are_equal(&one.after, &other.after)
        }
        _ => false,
    }
}

impl<'m, K, V> Iter<'m, K, V> {
    fn descend(&mut self, mut tree: &'m Tree<K, V>) {
        while let Some(node) = tree {
            self.ahead.push(node);
            tree = &node.before;
        }
    }
}

impl<'m, K, V> Iterator for Iter<'m, K, V> {
    type Item = (&'m K, &'m V);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.ahead.pop()?;
        self.descend(&node.after);
        Some((&node.key, &node.value))
    }
}

impl<'m, K, V> IntoIterator for &'m SharedMap<K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = Iter<'m, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Of entries with one key the last one counts.
impl<K: Ord + Hash, V> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        let length = entries.len();
        // The nodes along the right edge, from the top: only there something is added.
        let mut edge: Vec<Node<K, V>> = Vec::new();
        for (key, value) in entries {
            let mut new = Node { rank: rank(&key), key, value, before: None, after: None };
            while let Some(mut node) = edge.pop_if(|node| new.is_above(node)) {
                node.after = new.before.take();
                new.before = Some(Arc::new(node));
            }
            edge.push(new);
        }
        let hang = |below: Tree<K, V>, mut node: Node<K, V>| {
            node.after = below;
            Some(Arc::new(node))
        };
        Self { root: edge.into_iter().rev().fold(None, hang), length }
    }
}

impl<K: Ord + Hash, V, const N: usize> From<[(K, V); N]> for SharedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { root: None, length: 0 }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), length: self.length }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && are_equal(&self.root, &other.root)
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

#[cfg(test)]
mod tests;
