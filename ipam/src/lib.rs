//! Which addresses a network and its endpoints have.
//!
//! Decisions are pure: a subnet is chosen from [`Pool`]s and what is taken, an address from a [`LeaseTable`]. What was
//! decided holds once the store has committed it, for an address by one compare-and-swap on one key ([`Lease::claim`]).
//! An address that was given back is its last holder's before it is anybody else's ([`Former`]). Who needs an address
//! and when it is given back is the caller's.

mod claim;
mod error;
mod former;
mod formers;
mod lease;
mod number;
mod overlap;
mod pool;
mod range;
mod runs;
mod table;

pub use claim::{ClaimError, claim};
pub use error::{IpamError, Occupant, Role};
pub use former::{Former, Parting};
pub use lease::Lease;
pub use overlap::{HostRange, overlap};
pub use pool::{Pool, PoolError, choose_subnet, choose_unique_local, default_pools};
pub use table::{LeaseTable, Request, Usage};
