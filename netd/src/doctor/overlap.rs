//! Ranges of networks that the host has come to use itself: by a route of a VPN, or an address, that was not there when
//! the network was made.

use std::sync::Mutex;

use api::{Check, CheckResult, Difference};
use ipam::{HostRange, IpamError, Occupant};
use ipnet::IpNet;
use model::NetworkName;

use super::{check, failed};
use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
};

/// A subnet, and what of the host's it overlaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overlap {
    network: NetworkName,
    subnet: IpNet,
    with: Occupant,
}

/// What was told of already, as long as it lasts.
#[derive(Debug, Default)]
pub(crate) struct KnownOverlaps(Mutex<Vec<Overlap>>);

impl Daemon {
    /// Names each subnet that the host uses a part of; none if there is no such subnet. It can be meant, where a VPN
    /// routes more than anybody has there, so it is no problem, but it should be known.
    pub(super) async fn examine_overlaps(&self) -> Option<Check> {
        const NAME: &str = "overlaps";
        let overlaps = match self.overlaps().await {
            Err(failure) => return Some(failed(NAME, &failure)),
            Ok(overlaps) if overlaps.is_empty() => return None,
            Ok(overlaps) => overlaps,
        };
        let difference = |Overlap { network, subnet, with }: Overlap| Difference {
            object: format!("network `{network}`"),
            difference: format!("its subnet {subnet} overlaps {with}: addresses in both are reached on one side only"),
            remedy: format!(
                "if that is not meant: remove that route or address, or give the network another subnet: \
                 `fabric network update {network} --add-subnet RANGE`, and `--rm-subnet {subnet}` once nobody is in it"
            ),
        };
        let found = check(NAME, "", overlaps.into_iter().map(difference).collect());
        Some(Check { result: CheckResult::Warning, ..found })
    }

    /// Logs what overlaps since the last time that this was asked.
    pub(crate) async fn tell_new_overlaps(&self) {
        let overlaps = match self.overlaps().await {
            Ok(overlaps) => overlaps,
            Err(failure) => {
                tracing::warn!(failure = chain(&failure), "cannot see whether the host uses ranges of networks");
                return;
            }
        };
        let before = {
            let mut known = self.overlaps.0.lock().expect("nobody panics with it");
            std::mem::replace(&mut *known, overlaps.clone())
        };
        for Overlap { network, subnet, with } in overlaps.iter().filter(|overlap| !before.contains(overlap)) {
            tracing::warn!(%network, "its subnet {subnet} overlaps {with}; `fabric doctor` says what to do");
        }
    }

    async fn overlaps(&self) -> Result<Vec<Overlap>, Failure> {
        if self.world().networks().next().is_none() {
            return Ok(Vec::new());
        }
        let ranges = self.host_ranges_at_leisure().await?;
        let world = self.world();
        let mut found = Vec::new();
        for network in world.networks() {
            // A network on an interface of the host's is meant to be in its LAN.
            let is_other =
                |range: &&HostRange| network.parent.as_ref().is_none_or(|parent| parent.interface != range.interface);
            for subnet in network.subnets.iter().map(model::Subnet::range) {
                found.extend(ranges.iter().filter(is_other).filter_map(|range| {
                    match ipam::overlap(subnet, [], [range]) {
                        Err(IpamError::Overlap { with, .. }) => {
                            Some(Overlap { network: network.name.clone(), subnet, with })
                        }
                        _ => None,
                    }
                }));
            }
        }
        Ok(found)
    }
}
