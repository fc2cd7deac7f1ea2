//! What can be wrong with what is asked of a network that is there.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{Driver, NetworkName, NetworkRoute};

use crate::NetworkCreateError;

/// Why a network cannot become what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkUpdateError {
    /// No new network could be like this, either.
    #[error(transparent)]
    Unfit(#[from] NetworkCreateError),
    /// Nothing was asked for.
    #[error("network `{0}` is to be updated, and nothing is said that is to change")]
    Nothing(NetworkName),
    /// Its driver is for life.
    #[error(
        "network `{name}` is made by the driver {driver}, and another takes other interfaces in its containers; make a \
         new network and connect them to it"
    )]
    Driver {
        /// The network.
        name: NetworkName,
        /// Its driver.
        driver: Driver,
    },
    /// It has no such subnet.
    #[error("network `{name}` has no subnet {range}; it has {}", joined(.subnets))]
    NoSuchSubnet {
        /// The network.
        name: NetworkName,
        /// The range that was to go.
        range: IpNet,
        /// Those it has.
        subnets: Vec<IpNet>,
    },
    /// It has no such route.
    #[error("network `{name}` has no route to {destination}; it has {}", joined(.routes))]
    NoSuchRoute {
        /// The network.
        name: NetworkName,
        /// The destination of the route that was to go.
        destination: IpNet,
        /// Those it has.
        routes: Vec<NetworkRoute>,
    },
    /// It would have no addresses.
    #[error("network `{0}` cannot be without a subnet; add another in the same request")]
    NoSubnetLeft(NetworkName),
    /// The address is not reserved.
    #[error("network `{name}` does not reserve {address}")]
    NotReserved {
        /// The network.
        name: NetworkName,
        /// The address.
        address: IpAddr,
    },
    /// A label is to come and to go.
    #[error("network `{name}` cannot have the label `{}` and be without it; give one of them", .key.escape_debug())]
    LabelBoth {
        /// The network.
        name: NetworkName,
        /// The label's key.
        key: String,
    },
    /// Whoever is isolated has no way out by any name.
    #[error("network `{0}` is isolated, so it stays internal; give it another gateway mode to open it")]
    StaysIsolated(NetworkName),
}

fn joined<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
