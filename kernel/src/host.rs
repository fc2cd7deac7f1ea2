//! The host's own part: whether it forwards, what its routes occupy, how large its packets may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use model::{Family, Forwarding, IfName, VlanId};

use crate::{
    KernelError, link,
    netlink::Socket,
    route,
    sysctl::{self, Held, Setting},
};

const ETHERNET_MTU: u32 = 1500;
/// The index of the loopback interface, where routes that lead nowhere lead (`LOOPBACK_IFINDEX`, `include/net/flow.h`).
const LOOPBACK: u32 = 1;

/// An interface of the host's that is not Fabric's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: IfName,
    /// Its maximum transmission unit in octets.
    pub mtu: u32,
    /// If it is for a VLAN, that and the interface that it is on.
    pub vlan: Option<(IfName, VlanId)>,
}

/// The host's interfaces that are not Fabric's, without the loopback interface.
pub(crate) fn interfaces(socket: &mut Socket) -> Result<Vec<HostInterface>, KernelError> {
    let all = link::all(socket)?;
    let name_of =
        |index: Option<u32>| -> Option<IfName> { all.iter().find(|link| Some(link.index) == index)?.name.parse().ok() };
    let others = all.iter().filter(|link| !link.ours && link.name != "lo");
    let shown = others.filter_map(|link| {
        let vlan = link.vlan.and_then(|id| Some((name_of(link.peer)?, id)));
        Some(HostInterface { name: link.name.parse().ok()?, mtu: link.mtu, vlan })
    });
    Ok(shown.collect())
}

/// The file in the run directory that says it was Fabric who turned forwarding on.
fn note(run_dir: &Path, family: Family) -> PathBuf {
    run_dir.join(match family {
        Family::Ipv4 => "forwarding-enabled-by-fabric",
        Family::Ipv6 => "ipv6-forwarding-enabled-by-fabric",
    })
}

/// The settings of the host that say whether it forwards; each reconcile asks.
pub(crate) struct ForwardingSettings {
    ipv4: Held,
    ipv6: Held,
}

impl Default for ForwardingSettings {
    fn default() -> Self {
        let [ipv4, ipv6] = Family::ALL.map(|family| Setting::Forwarding(family).held());
        Self { ipv4, ipv6 }
    }
}

impl ForwardingSettings {
    /// Whether the host forwards packets of a family, and by whose will.
    pub(crate) fn observe(&mut self, run_dir: &Path, family: Family) -> Result<Forwarding, KernelError> {
        let setting = match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        };
        if setting.is_on()? { willed(run_dir, family) } else { Ok(Forwarding::Off) }
    }
}

fn willed(run_dir: &Path, family: Family) -> Result<Forwarding, KernelError> {
    let path = note(run_dir, family);
    match path.try_exists() {
        Ok(true) => Ok(Forwarding::TurnedOn),
        Ok(false) => Ok(Forwarding::On),
        Err(source) => Err(KernelError::File { action: "look for", path, source }),
    }
}

/// Turns forwarding on. The note comes first: without it a crash would leave the host open and unguarded.
pub(crate) fn allow_forwarding(run_dir: &Path, family: Family) -> Result<(), KernelError> {
    if Setting::Forwarding(family).is_on()? {
        return Ok(());
    }
    let path = note(run_dir, family);
    let setting = match family {
        Family::Ipv4 => "net.ipv4.ip_forward",
        Family::Ipv6 => "net.ipv6.conf.all.forwarding",
    };
    let text = format!(
        "Fabric set {setting} to 1 and drops what is forwarded between other interfaces.\n\
         Remove this file to let the host forward for others too.\n"
    );
    fs::write(&path, text).map_err(|source| KernelError::File { action: "write", path, source })?;
    if family == Family::Ipv6 {
        sysctl::keep_heeding_routers()?;
    }
    Setting::Forwarding(family).write("1")
}

/// What addresses and routes of interfaces that are not Fabric's occupy, and the interface each leads through; a route
/// that leads nowhere (blackhole, unreachable) counts as the loopback interface's, as the kernel has it.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<(IfName, IpNet)>, KernelError> {
    let loopback: IfName = "lo".parse().expect("a literal interface name");
    let others: BTreeMap<u32, IfName> = link::all(socket)?
        .into_iter()
        .filter(|link| !link.ours)
        .map(|link| (link.index, link.name.parse().unwrap_or_else(|_| loopback.clone())))
        .collect();
    let through = |link: Option<u32>| link.map_or(Some(&loopback), |index| others.get(&index)).cloned();
    let routes = route::routes(socket)?
        .into_iter()
        // A default route occupies nothing; some VPNs write it as two halves. Every link has link-local addresses.
        .filter(|route| route.to.prefix_len() > 1 && !is_link_local(route.to))
        .filter_map(|route| Some((through(route.link)?, route.to)));
    let addresses = route::addresses(socket, 0)?
        .into_iter()
        .filter(|address| !is_link_local(address.net))
        .filter_map(|address| Some((through(Some(address.link))?, address.net.trunc())));
    let occupied: BTreeSet<(IfName, IpNet)> = routes.chain(addresses).collect();
    Ok(occupied.into_iter().collect())
}

fn is_link_local(net: IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

/// The MTU of the interface that the default route of the lowest metric leaves by: that of IPv4, or of IPv6 if there is
/// no other.
pub(crate) fn uplink_mtu(socket: &mut Socket) -> Result<u32, KernelError> {
    let default = route::routes(socket)?
        .into_iter()
        .filter(|route| route.to.prefix_len() == 0)
        .filter_map(|route| {
            Some((Family::of(route.to.addr()), route.metric, route.link.filter(|link| *link != LOOPBACK)?))
        })
        .min();
    let Some((_, _, index)) = default else {
        return Ok(ETHERNET_MTU);
    };
    Ok(link::at(socket, index)?.map_or(ETHERNET_MTU, |link| link.mtu))
}
