//! Transactions: guards that must hold, and writes that then happen together.

use std::sync::Arc;

use crate::{Key, Revision};

/// Writes that happen together, if all guards hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold, checked in order.
    pub guards: Vec<Guard>,
    /// What changes, at most one write for each key.
    pub writes: Vec<Write>,
    /// What it must survive.
    pub durability: Durability,
    /// What becomes of it where the disk is full.
    pub on_full_disk: OnFullDisk,
}

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// There is no such key.
    Absent(Key),
    /// There is such a key, whatever its value.
    Present(Key),
    /// The key was last written by this revision ([`crate::Entry::modified`]).
    Unchanged(Key, Revision),
}

impl Guard {
    /// The key it is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Present(key) | Self::Unchanged(key, _) => key,
        }
    }
}

/// A change of one key. Made by [`Write::put`] and [`Write::delete`], so that a kind of write with more to say
/// (a value that ends with its writer's lease, say) changes no caller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Creates the key or replaces its value.
    #[non_exhaustive]
    Put {
        /// The key.
        key: Key,
        /// Its value from now on.
        value: Arc<[u8]>,
    },
    /// Removes the key; that it is absent already is success.
    #[non_exhaustive]
    Delete {
        /// The key.
        key: Key,
    },
}

impl Write {
    /// Creates `key` or replaces its value.
    pub fn put(key: Key, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { key, value: Arc::from(value.into()) }
    }

    /// Removes `key`.
    pub fn delete(key: Key) -> Self {
        Self::Delete { key }
    }

    /// The key it changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// What a committed transaction survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The power may fail as soon as the commit has returned. Makes all earlier relaxed commits durable too.
    Durable,
    /// A crash of the process or the host within the next seconds may lose it; for state that can be observed again.
    Relaxed,
}

/// What becomes of a transaction where the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFullDisk {
    /// It is not committed.
    Fail,
    /// It may take the space that a backend sets aside for it: what it makes room by comes after it.
    UseReserve,
}

impl Transaction {
    /// An empty transaction that will be durable.
    pub fn durable() -> Self {
        Self { guards: Vec::new(), writes: Vec::new(), durability: Durability::Durable, on_full_disk: OnFullDisk::Fail }
    }

    /// An empty transaction that a crash may lose.
    pub fn relaxed() -> Self {
        Self { durability: Durability::Relaxed, ..Self::durable() }
    }

    /// The same as what leads to more space: it is committed on a full disk, too, if that is possible at all.
    #[must_use]
    pub fn making_room(self) -> Self {
        Self { on_full_disk: OnFullDisk::UseReserve, ..self }
    }

    /// Adds a condition.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a change.
    #[must_use]
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Adds a condition and the change that relies on it.
    #[must_use]
    pub fn guarded(self, (guard, write): (Guard, Write)) -> Self {
        self.guard(guard).write(write)
    }

    /// Creates `key`, which must not exist yet.
    #[must_use]
    pub fn create(self, key: Key, value: impl Into<Vec<u8>>) -> Self {
        self.guard(Guard::Absent(key.clone())).put(key, value)
    }

    /// Creates `key` or replaces its value.
    #[must_use]
    pub fn put(self, key: Key, value: impl Into<Vec<u8>>) -> Self {
        self.write(Write::put(key, value))
    }

    /// Removes `key`.
    #[must_use]
    pub fn delete(self, key: Key) -> Self {
        self.write(Write::delete(key))
    }
}
