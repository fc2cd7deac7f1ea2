//! A former: the container that had an address last, and its record in the store.

use std::net::IpAddr;

use model::{ContainerName, MacAddress, NetworkId};
use serde::{Deserialize, Serialize};
use store::{Entry, Key, Write};

use crate::{IpamError, lease::address_key};

/// Who had an address last.
///
/// Its record is `formers/NETWORK/ADDRESS`, the address as in the key of a [`crate::Lease`], and its value JSON. It is
/// written by the transaction that gives the address back, and says nothing while the address is leased. How old it is,
/// is the revision that wrote it: no clock is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Former {
    /// The network one of whose subnets the address is in.
    pub network: NetworkId,
    /// The address.
    pub address: IpAddr,
    /// What the container was called when it gave the address back.
    pub container: ContainerName,
    /// The MAC address it was found at, unless that is the one that belongs to the address ([`MacAddress::of`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
}

/// Who gives an address back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting<'a> {
    /// What the container is called.
    pub container: &'a ContainerName,
    /// The MAC address that its neighbours find the address at; none if it has none of its own.
    pub mac: Option<MacAddress>,
}

impl Former {
    /// What the keys of all formers of `network` start with.
    pub fn prefix(network: &NetworkId) -> String {
        format!("formers/{network}/")
    }

    /// The key of the former of an address.
    pub(crate) fn key_of(network: &NetworkId, address: IpAddr) -> Key {
        address_key(&Self::prefix(network), address)
    }

    /// What a transaction needs in it to remember this former, instead of whom it had before.
    pub(crate) fn remember(&self) -> Write {
        let value = serde_json::to_vec(self).expect("texts and addresses always serialise");
        Write::put(Self::key_of(&self.network, self.address), value)
    }

    /// The MAC address that neighbours found the address at.
    pub(crate) fn found_at(&self) -> MacAddress {
        self.mac.unwrap_or_else(|| MacAddress::of(self.address))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`IpamError::UnreadableFormer`] names the key.
    pub fn parse(key: &Key, entry: &Entry) -> Result<Self, IpamError> {
        let unreadable = |source| IpamError::UnreadableFormer { key: key.clone(), source };
        let former: Self = serde_json::from_slice(&entry.value).map_err(|error| unreadable(Some(error)))?;
        if Self::key_of(&former.network, former.address) != *key {
            return Err(unreadable(None));
        }
        Ok(former)
    }
}
