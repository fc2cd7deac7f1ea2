//! Who asks, and what they see.

use std::net::IpAddr;

use model::NetworkName;
use smallvec::SmallVec;

use crate::{Attachment, Forwarding, Snapshot};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The address the query came from.
    pub(crate) source: IpAddr,
    /// The address it was sent to.
    pub(crate) listener: Listening,
}

/// Where a query was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    /// On the gateway of a network, with this address.
    Gateway(IpAddr),
    /// On a loopback address, for the host.
    Host,
    /// On a loopback address in the namespace of the container with this address.
    Inside(IpAddr),
}

/// What an asker sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum View<'a> {
    /// A container: the zones of the networks it is attached to, each once, sorted.
    Container(&'a Attachment, SmallVec<[&'a NetworkName; 4]>),
    /// The host on the gateway of this network.
    Gateway([&'a NetworkName; 1]),
    /// The host on its own address: every zone, sorted.
    Host(Vec<&'a NetworkName>),
    /// Nothing: the address is one of ours and no container's. It is told so.
    Unassigned,
    /// Nothing: it is neither container nor this host. It gets no sign of life, as from any port that is not published.
    Stranger,
}

/// Whom an asker's queries for names that are not ours go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// The host's upstreams.
    Host,
    /// These.
    To(&'a std::sync::Arc<[std::net::SocketAddr]>),
    /// Nobody.
    Never,
}

impl<'a> View<'a> {
    /// The view of `asker`: a container's networks, whichever gateway it asks. The host, whose packets to a gateway
    /// address have that same address as their source, sees the network of that gateway.
    pub(crate) fn of(snapshot: &'a Snapshot, asker: Asker) -> Self {
        let gateway = match asker.listener {
            Listening::Host if asker.source.is_loopback() => {
                let mut networks: Vec<_> = snapshot.all_networks().collect();
                networks.sort_unstable();
                return Self::Host(networks);
            }
            Listening::Host => return Self::Stranger,
            Listening::Gateway(gateway) | Listening::Inside(gateway) => gateway,
        };
        if let Some(attachment) = snapshot.attachment(asker.source) {
            let mut networks: SmallVec<[_; 4]> = snapshot.networks(&attachment.container).iter().collect();
            networks.sort_unstable();
            networks.dedup();
            return Self::Container(attachment, networks);
        }
        match snapshot.network_of(asker.source) {
            Some((network, _)) if asker.source == gateway => Self::Gateway([network]),
            Some(_) => Self::Unassigned,
            None => Self::Stranger,
        }
    }

    /// The zones that are seen; none for those who see nothing.
    pub(crate) fn networks(&self) -> Option<&[&'a NetworkName]> {
        match self {
            Self::Container(_, networks) => Some(networks),
            Self::Gateway(networks) => Some(networks),
            Self::Host(networks) => Some(networks),
            Self::Unassigned | Self::Stranger => None,
        }
    }

    /// Whom its queries for other names go to. A container that is on internal networks only has nobody; one that is on
    /// another network as well asks the upstreams of the network whose gateway it asked, or else of the first that has
    /// some.
    pub(crate) fn route(&self, snapshot: &'a Snapshot, asker: Asker) -> Route<'a> {
        let Some(networks) = self.networks() else { return Route::Never };
        let asked = match asker.listener {
            Listening::Gateway(gateway) => snapshot.network_of(gateway).map(|(network, _)| network),
            Listening::Host | Listening::Inside(_) => None,
        };
        let asked = asked.filter(|asked| networks.contains(asked));
        let forwarding = asked.into_iter().chain(networks.iter().copied()).filter_map(|network| {
            let zone = snapshot.zone(network)?;
            (zone.forwarding != Forwarding::Never).then_some(&zone.forwarding)
        });
        match (forwarding.into_iter().next(), self) {
            (None, _) => Route::Never,
            (Some(_), Self::Container(attachment, _)) if !attachment.upstreams.is_empty() => {
                Route::To(&attachment.upstreams)
            }
            (Some(Forwarding::To(upstreams)), _) => Route::To(upstreams),
            (Some(_), _) => Route::Host,
        }
    }
}
