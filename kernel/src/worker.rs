//! The state of the kernel thread, and how it applies changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use model::{
    Admin, Announcement, Change, IfName, Inside, Ipv6, NamespaceName, Route, Scope, State, SubInterface, Subject,
    Tracked, diff,
};
use netlink_sys::constants::{NETLINK_NETFILTER, NETLINK_ROUTE};

use crate::{
    Failure, KernelError, Removal, Report,
    announce::{Announcer, Herald},
    conntrack, element, host,
    ipv6::Interfaces,
    link,
    namespace::{Home, Namespaces},
    neighbour,
    netlink::Socket,
    patience::Patience,
    policing::Police,
    ports, route,
    shortcut::{Splice, Terms},
    structure, sub_interface,
    sweep::{After, Sweeper},
    sysctl, vlan,
    watch::concerns_rules,
};

/// The interface of the namespace's own addresses, which IPv6 needs.
const LOOPBACK: &str = "lo";

/// How long to wait before looking again whether a link is gone: the kernel takes one to ten milliseconds to unlist it.
const GLANCE: Duration = Duration::from_micros(300);

/// Sockets and descriptors of the namespace that the kernel thread works in. They hold no knowledge of its state but
/// that the kernel has told of no change to the rules.
pub(crate) struct Worker {
    pub(crate) run_dir: PathBuf,
    pub(crate) namespaces: Namespaces,
    pub(crate) home: Home,
    pub(crate) route: Socket,
    pub(crate) netfilter: Socket,
    pub(crate) forwarding: host::ForwardingSettings,
    pub(crate) interfaces: Interfaces,
    pub(crate) vigil: structure::Vigil,
    pub(crate) splice: Splice,
    pub(crate) police: Police,
    pub(crate) runs: structure::Runs,
    pub(crate) rules: structure::Rules,
    /// How many processors it may use at a time.
    pub(crate) processors: usize,
    /// Whether somebody waits for its first look at everything, until it has had it: the settings of namespaces are
    /// left to the next one.
    pub(crate) hurries: bool,
    pub(crate) herald: Herald,
}

impl Worker {
    /// Opens all in the namespace of the calling thread.
    pub(crate) fn open(
        run_dir: &Path,
        namespaces: Namespaces,
        herald: Herald,
        limit: structure::ConnectionLimit,
        unlimited: structure::Unlimited,
        terms: Terms,
    ) -> Result<Self, KernelError> {
        let mut netfilter = Socket::open(NETLINK_NETFILTER)?;
        let runs = structure::Runs::default();
        Ok(Self {
            rules: structure::Rules::new(limit, unlimited, runs.clone(), &mut netfilter)?,
            run_dir: run_dir.into(),
            namespaces,
            home: Home::current()?,
            route: Socket::open(NETLINK_ROUTE)?,
            netfilter,
            forwarding: host::ForwardingSettings::default(),
            interfaces: Interfaces::open()?,
            vigil: structure::Vigil::over(concerns_rules),
            splice: Splice::open(terms)?,
            police: Police::new(runs.clone()),
            runs,
            processors: 1,
            hurries: false,
            herald,
        })
    }

    /// Observes, compares and applies; see [`crate::Kernel::reconcile`].
    pub(crate) fn reconcile(
        &mut self,
        scope: &Scope,
        desired: State,
        removal: Removal,
        sweeper: &Sweeper,
        after: &After,
    ) -> Result<Report, KernelError> {
        let containers = if *scope == Scope::Firewall { addresses(&desired) } else { BTreeMap::new() };
        let desired = desired.within(scope);
        let (observed, unreadable) = self.observe(scope, &desired)?;
        for (namespace, error) in unreadable {
            tracing::warn!(%namespace, error = &error as &dyn std::error::Error, "it cannot be looked into, and is left as it is");
        }
        self.hurries &= *scope != Scope::Everything;
        let changes = diff(&desired, &observed).into_iter().map(|change| {
            let is_swept = removal == Removal::Swept;
            let patience = if is_swept { Patience::with(&change, &desired, &observed.state) } else { Patience::Done };
            (change, patience)
        });
        let (changes, mut later): (Vec<_>, Vec<_>) = changes.partition(|(_, patience)| *patience == Patience::Done);
        let mut report = Report::default();
        let mut failures = Vec::new();
        let mut broken: BTreeSet<Subject> = BTreeSet::new();
        for (change, _) in changes {
            // What stands on something that failed would fail too, or come up unprotected.
            if change.relies_on().any(|object| broken.contains(&object)) {
                broken.extend(change.subject());
                continue;
            }
            tracing::debug!(%change, "applying");
            let mut applied = self.apply(&change);
            if applied.as_ref().is_err_and(KernelError::is_full_bridge) {
                // Ports that await their removal count until they are gone.
                sweeper.settle(&Scope::Everything);
                applied = self.apply(&change);
            }
            match applied {
                Ok(()) => {
                    after(&change);
                    report.changes.push(change);
                }
                Err(error) if change.is_optional() => {
                    tracing::debug!(%change, %error, "frames go by the bridge instead");
                }
                Err(source) => {
                    let fatal = change.guards_all();
                    broken.extend(change.subject());
                    failures.push(Failure { change, source: Box::new(source) });
                    if fatal {
                        // Nothing may come up without rules, nor be forwarded without the guard.
                        break;
                    }
                }
            }
        }
        later.retain(|(change, _)| change.relies_on().all(|object| !broken.contains(&object)));
        if !later.is_empty() {
            let seen = later.iter().filter(|(_, patience)| *patience == Patience::OutOfSight);
            let seen: Vec<Change> = seen.map(|(change, _)| change.clone()).collect();
            sweeper.queue(later.into_iter().map(|(change, _)| change).collect(), after.clone());
            failures.extend(self.lose_sight(seen, sweeper));
        }
        if *scope == Scope::Firewall && failures.is_empty() {
            conntrack::forget_uninvited(&mut self.netfilter, &mut self.route, &containers)?;
        }
        if failures.is_empty() { Ok(report) } else { Err(KernelError::Changes(failures)) }
    }

    /// Waits until nobody finds the links any more that the sweeper is to remove. One that it could not remove is
    /// removed here, so that whoever waits is told.
    fn lose_sight(&mut self, removals: Vec<Change>, sweeper: &Sweeper) -> Vec<Failure> {
        if !removals.is_empty() {
            sweeper.hurry();
        }
        let mut failures = Vec::new();
        for change in removals {
            let Change::RemoveLink(name) = &change else { continue };
            let lost = loop {
                let is_under_way = sweeper.is_removing(name);
                match link::find(&mut self.route, name) {
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                    Ok(Some(_)) if is_under_way => thread::sleep(GLANCE),
                    Ok(Some(_)) => break link::remove(&mut self.route, name),
                }
            };
            failures.extend(lost.err().map(|source| Failure { change, source: Box::new(source) }));
        }
        failures
    }

    /// Observes and compares. Here a namespace that cannot be looked into is an error, for nothing is to be said that
    /// was not seen.
    pub(crate) fn difference(&mut self, scope: &Scope, desired: State) -> Result<Vec<Change>, KernelError> {
        let desired = desired.within(scope);
        let (observed, unreadable) = self.observe(scope, &desired)?;
        match unreadable.into_iter().next() {
            Some((name, source)) => Err(KernelError::Namespace { name, source: Box::new(source) }),
            None => Ok(diff(&desired, &observed)),
        }
    }

    /// Configures a container's interface; returns its index, a socket of its namespace, and what it is announced with,
    /// if it is to be.
    fn configure(
        &mut self,
        inside: &Inside,
        remove: &BTreeSet<IpNet>,
        leave: &BTreeSet<Route>,
        is_announced: bool,
    ) -> Result<(u32, Socket, Option<Announcer>), KernelError> {
        let namespace = self.namespaces.require(&inside.namespace)?;
        let open = || {
            let mut socket = Socket::open(NETLINK_ROUTE)?;
            let link = link::find_ours(&mut socket, &inside.interface)?;
            // Off it is from the beginning; a kernel that has no IPv6 is not told so.
            if link.ipv6 != inside.ipv6 {
                let interfaces = Interfaces::open()?;
                if inside.ipv6 != Ipv6::Off {
                    interfaces.set(&LOOPBACK.parse().expect("two letters name an interface"), Ipv6::Credulous)?;
                }
                interfaces.set(&inside.interface, inside.ipv6)?;
            }
            let announcer = is_announced.then(|| Announcer::open(&self.herald)).transpose()?;
            Ok::<_, KernelError>((link, socket, announcer))
        };
        let (link, mut socket, announcer) = self.home.visit(&namespace, open)??;
        link::configure_inside(&mut socket, &link, inside, remove, leave)?;
        Ok((link.index, socket, announcer))
    }

    /// Waits until frames pass a port, and tells the container behind it and the host where the other is. `socket` is
    /// of the container's namespace, `index` that of its interface.
    fn acquaint(&mut self, port: &IfName, inside: &Inside, index: u32, mut socket: Socket) -> Result<(), KernelError> {
        let Some(bridge) = link::await_forwarding(&mut self.route, port)? else { return Ok(()) };
        if inside.ipv6 != Ipv6::Off {
            // With its carrier it gets its link-local address.
            link::await_carrier(&mut socket, &inside.interface)?;
        }
        if let Some(mac) = bridge.mac {
            neighbour::tell_container(&mut socket, index, inside, mac);
        }
        neighbour::tell_host(&mut self.route, bridge.index, inside);
        Ok(())
    }

    /// See [`crate::Kernel::remember_connections`].
    pub(crate) fn remember_connections(
        &mut self,
        namespaces: &[NamespaceName],
        is_one: &dyn Fn(&Tracked) -> bool,
    ) -> Result<(), KernelError> {
        let mut found = Vec::new();
        for name in namespaces {
            let Some(Some(namespace)) = self.namespaces.find(name)? else { continue };
            match self.home.visit(&namespace, ports::accepted).flatten() {
                Ok(accepted) => found.extend(accepted.into_iter().filter(|accepted| is_one(&accepted.as_tracked()))),
                Err(error) => tracing::warn!(%name, %error, "connections there are not known"),
            }
        }
        conntrack::remember(&mut self.netfilter, &found)
    }

    fn apply(&mut self, change: &Change) -> Result<(), KernelError> {
        match change {
            Change::InstallFirewall { elements } => structure::install(&mut self.netfilter, &self.rules, elements),
            Change::AddElements { elements, .. } => element::add(&mut self.netfilter, elements),
            Change::RemoveElements { elements } => element::remove(&mut self.netfilter, elements),
            Change::InstallPolicing(_) | Change::ChangePolicing { .. } => {
                self.police.apply(&mut self.netfilter, change)
            }
            Change::ForgetFlows(flows) => conntrack::forget(&mut self.netfilter, &mut self.route, &[*flows]),
            Change::CreateNamespace(name) | Change::PrepareNamespace(name) => self.namespaces.create(name),
            Change::RemoveNamespace(name) => self.namespaces.remove(name),
            Change::CreateBridge { name, bridge } => link::create_bridge(&mut self.route, name, bridge),
            Change::CreateVeth { name, veth } => {
                let inside = veth
                    .inside
                    .as_ref()
                    .ok_or_else(|| KernelError::Missing { object: format!("the container's end of veth {name}") })?;
                let namespace = self.namespaces.require(&inside.namespace)?;
                link::create_veth(&mut self.route, name, veth, inside, namespace.as_fd())?;
                self.splice.prepare(name);
                Ok(())
            }
            Change::CreateVlan { name, vlan } => vlan::create(&mut self.route, name, vlan),
            Change::InheritMtu { name, link } => vlan::inherit_mtu(&mut self.route, name, link),
            Change::CreateSubInterface(wanted) => {
                let namespace = self.namespaces.require(&wanted.inside.namespace)?;
                sub_interface::create(&mut self.route, wanted, namespace.as_fd())
            }
            Change::ConfigureSubInterface { wanted: SubInterface { parent, inside }, remove, leave } => {
                // On a network that others have a part in, nobody knows who had an address before.
                let (index, _, announcer) = self.configure(inside, remove, leave, parent.kind.has_neighbours())?;
                if let Some(announcer) = announcer {
                    let mac = link::find(&mut self.route, &parent.interface)?.and_then(|parent| parent.mac);
                    self.herald.announce(announcer, index, &Inside { mac: inside.mac.or(mac), ..inside.clone() });
                }
                Ok(())
            }
            Change::RemoveSubInterface(place) => {
                let Some(Some(namespace)) = self.namespaces.find(&place.namespace)? else { return Ok(()) };
                self.home.visit(&namespace, || link::remove(&mut Socket::open(NETLINK_ROUTE)?, &place.interface))?
            }
            Change::RenameInside { place, to, .. } => {
                let namespace = self.namespaces.require(&place.namespace)?;
                self.home.visit(&namespace, || link::rename(&mut Socket::open(NETLINK_ROUTE)?, place, to))?
            }
            Change::ConfigureInside { name, inside, remove, leave, announcement } => {
                let is_announced = inside.admin == Admin::Up && *announcement == Announcement::Due;
                let (index, socket, announcer) = self.configure(inside, remove, leave, is_announced)?;
                self.acquaint(name, inside, index, socket)?;
                // Not before: a bridge drops what comes in by a port that does not forward yet.
                if let Some(announcer) = announcer {
                    self.herald.announce(announcer, index, inside);
                }
                Ok(())
            }
            Change::Reacquaint { name, inside } => {
                let namespace = self.namespaces.require(&inside.namespace)?;
                let open = || {
                    let mut socket = Socket::open(NETLINK_ROUTE)?;
                    let link = link::find_ours(&mut socket, &inside.interface)?;
                    Ok::<_, KernelError>((link.index, socket))
                };
                let (index, socket) = self.home.visit(&namespace, open)??;
                self.acquaint(name, inside, index, socket)
            }
            Change::SetLink { name, settings } => {
                link::set(&mut self.route, name, settings)?;
                // A bridge that comes back: showing it brings its state up to date, see `link::await_forwarding`.
                if settings.admin == Some(Admin::Up) && settings.fixed.is_none() {
                    link::find(&mut self.route, name)?;
                }
                Ok(())
            }
            Change::RemoveLink(name) => link::remove(&mut self.route, name),
            Change::AddAddress { name, address } => route::add_address(&mut self.route, name, *address),
            Change::RemoveAddress { name, address } => route::remove_address(&mut self.route, name, *address),
            Change::SetIpv6 { name, to } => self.interfaces.set(name, *to),
            Change::SetLoopbackRouting { name, to } => sysctl::set_loopback_routing(name, *to),
            Change::AllowForwarding(family) => host::allow_forwarding(&self.run_dir, *family),
            Change::InstallShortcut { .. }
            | Change::RemoveShortcut
            | Change::OpenPassage { .. }
            | Change::ClosePassage(_)
            | Change::RemoveStrays(_)
            | Change::LeaveQuestions
            | Change::TakeQuestions => self.splice.apply(change),
        }
    }
}

/// The addresses of all containers on bridges, each with the ranges of its neighbours: those of the bridge and of
/// whoever is on it.
fn addresses(desired: &State) -> BTreeMap<IpAddr, BTreeSet<IpNet>> {
    let mut ranges: BTreeMap<&IfName, BTreeSet<IpNet>> = BTreeMap::new();
    for (name, bridge) in &desired.bridges {
        ranges.entry(name).or_default().extend(bridge.addresses.iter().map(IpNet::trunc));
    }
    let on_bridges = || desired.veths.values().filter_map(|veth| Some((veth.bridge.as_ref()?, veth.inside.as_ref()?)));
    for (bridge, inside) in on_bridges() {
        ranges.entry(bridge).or_default().extend(inside.addresses.iter().map(IpNet::trunc));
    }
    let own = |(bridge, inside): (&IfName, &Inside)| {
        let ranges = ranges.get(bridge).cloned().unwrap_or_default();
        inside.addresses.iter().map(|net| (net.addr(), ranges.clone())).collect::<Vec<_>>()
    };
    on_bridges().flat_map(own).collect()
}
