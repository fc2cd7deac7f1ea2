//! The state of a host: a revisioned key-value store behind one trait, [`Store`], and [`Embedded`], which keeps it
//! in one file of the data directory.
//!
//! The store owns order and durability: every transaction that changes something has a [`Revision`] of its own,
//! is applied wholly or not at all, and is told to whoever watches. It does not know what the values mean;
//! their owners parse them.

pub mod conformance;
mod contract;
mod embedded;
mod error;
mod key;
mod transaction;
mod watch;

pub use contract::{Accepted, Entry, Listing, Revision, Store};
pub use embedded::Embedded;
pub use error::{Cause, CommitError, OpenError, StoreError};
pub use key::{Key, ParseKeyError};
pub use transaction::{Durability, Guard, OnFullDisk, Transaction, Write};
pub use watch::{Change, Event, EventSource, Watch, WatchEnd};
