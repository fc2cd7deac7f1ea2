//! A lease: one address held by one endpoint, and its record in the store.

use std::net::IpAddr;

use model::{EndpointId, NetworkId};
use serde::{Deserialize, Serialize};
use store::{Entry, Guard, Key, Revision, Write};

use crate::IpamError;

/// One address held by one endpoint.
///
/// Its record is `leases/NETWORK/ADDRESS`, the address as 8 hexadecimal digits, of IPv6 as 32, so that records of a
/// family sort as addresses do, and its value JSON. A record is written once and removed once, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The network one of whose subnets the address is in.
    pub network: NetworkId,
    /// The address.
    pub address: IpAddr,
    /// The endpoint that holds it.
    pub endpoint: EndpointId,
}

impl Lease {
    /// What the keys of all leases of `network` start with.
    pub fn prefix(network: &NetworkId) -> String {
        format!("leases/{network}/")
    }

    /// The key of the lease's record.
    pub fn key(&self) -> Key {
        address_key(&Self::prefix(&self.network), self.address)
    }

    /// What a transaction needs in it to take the address: nobody holds it, and from then on the endpoint does.
    pub fn claim(&self) -> (Guard, Write) {
        let value = serde_json::to_vec(self).expect("texts and addresses always serialise");
        (Guard::Absent(self.key()), Write::put(self.key(), value))
    }

    /// What a transaction needs in it to give the address back: it is held by the claim made at revision `claimed`
    /// still, and by nobody from then on.
    pub fn release(&self, claimed: Revision) -> (Guard, Write) {
        (Guard::Unchanged(self.key(), claimed), Write::delete(self.key()))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`IpamError::Unreadable`] or [`IpamError::Misplaced`] name the key.
    pub fn parse(key: &Key, entry: &Entry) -> Result<Self, IpamError> {
        let lease: Self = serde_json::from_slice(&entry.value)
            .map_err(|source| IpamError::Unreadable { key: key.clone(), source })?;
        if lease.key() != *key {
            return Err(IpamError::Misplaced { key: key.clone(), address: lease.address, network: lease.network });
        }
        Ok(lease)
    }
}

/// The key of an address's record below `prefix`.
pub(crate) fn address_key(prefix: &str, address: IpAddr) -> Key {
    let key = match address {
        IpAddr::V4(address) => format!("{prefix}{:08x}", u32::from(address)),
        IpAddr::V6(address) => format!("{prefix}{:032x}", u128::from(address)),
    };
    key.parse().expect("a word and hexadecimal digits are plain segments")
}
