//! The state of the kernel thread, and how it applies changes.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use model::{Change, Scope, State, diff};
use netlink_sys::constants::{NETLINK_NETFILTER, NETLINK_ROUTE};

use crate::{
    Failure, KernelError, Removal, Report,
    announce::Announcer,
    conntrack, element, host, link,
    namespace::{Home, Namespaces},
    netlink::Socket,
    route, structure,
    sweep::{After, Sweeper, can_wait},
    sysctl,
};

/// Sockets and descriptors of the namespace that the kernel thread works in. They hold no knowledge of its state.
pub(crate) struct Worker {
    pub(crate) run_dir: PathBuf,
    pub(crate) namespaces: Namespaces,
    pub(crate) home: Home,
    pub(crate) route: Socket,
    pub(crate) netfilter: Socket,
}

impl Worker {
    /// Opens all in the namespace of the calling thread.
    pub(crate) fn open(run_dir: &Path, namespaces: Namespaces) -> Result<Self, KernelError> {
        Ok(Self {
            run_dir: run_dir.into(),
            namespaces,
            home: Home::current()?,
            route: Socket::open(NETLINK_ROUTE)?,
            netfilter: Socket::open(NETLINK_NETFILTER)?,
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
        let containers = if *scope == Scope::Firewall { addresses(&desired) } else { BTreeSet::new() };
        let desired = desired.within(scope);
        // Where something is to be made, it may need the place of what is to be removed.
        let only_removes = desired.veths.is_empty() && desired.namespaces.is_empty();
        let mut changes = self.changes(scope, &desired)?;
        let mut later = Vec::new();
        if removal == Removal::Swept && only_removes {
            (later, changes) = changes.into_iter().partition(can_wait);
        }
        let mut report = Report::default();
        let mut failures = Vec::new();
        let mut broken: BTreeSet<String> = BTreeSet::new();
        for change in changes {
            // What stands on something that failed would fail too, or come up unprotected.
            if change.relies_on().any(|object| broken.contains(object)) {
                broken.extend(change.subject().map(str::to_owned));
                continue;
            }
            tracing::debug!(%change, "applying");
            match self.apply(&change) {
                Ok(()) => {
                    after(&change);
                    report.changes.push(change);
                }
                Err(source) => {
                    let fatal = matches!(change, Change::InstallFirewall { .. } | Change::AddElements { of: None, .. });
                    broken.extend(change.subject().map(str::to_owned));
                    failures.push(Failure { change, source: Box::new(source) });
                    if fatal {
                        // Nothing may come up without rules, nor be forwarded without the guard.
                        break;
                    }
                }
            }
        }
        later.retain(|change| change.relies_on().all(|object| !broken.contains(object)));
        if !later.is_empty() {
            sweeper.queue(later, after.clone());
        }
        if *scope == Scope::Firewall && failures.is_empty() {
            conntrack::forget_uninvited(&mut self.netfilter, &containers)?;
        }
        if failures.is_empty() { Ok(report) } else { Err(KernelError::Changes(failures)) }
    }

    /// Observes and compares.
    pub(crate) fn difference(&mut self, scope: &Scope, desired: State) -> Result<Vec<Change>, KernelError> {
        self.changes(scope, &desired.within(scope))
    }

    /// What leads to a desired state that is within the scope.
    fn changes(&mut self, scope: &Scope, desired: &State) -> Result<Vec<Change>, KernelError> {
        let observed = self.observe(scope, desired)?;
        Ok(diff(desired, &observed))
    }

    fn apply(&mut self, change: &Change) -> Result<(), KernelError> {
        match change {
            Change::InstallFirewall { elements } => structure::install(&mut self.netfilter, elements),
            Change::AddElements { elements, .. } => element::add(&mut self.netfilter, elements),
            Change::RemoveElements { elements } => element::remove(&mut self.netfilter, elements),
            Change::ForgetFlows(flows) => conntrack::forget(&mut self.netfilter, &[*flows]),
            Change::CreateNamespace(name) | Change::PrepareNamespace(name) => self.namespaces.create(name),
            Change::RemoveNamespace(name) => self.namespaces.remove(name),
            Change::CreateBridge { name, bridge } => link::create_bridge(&mut self.route, name, bridge),
            Change::CreateVeth { name, veth } => {
                let inside = veth
                    .inside
                    .as_ref()
                    .ok_or_else(|| KernelError::Missing { object: format!("the container's end of veth {name}") })?;
                let namespace = self.namespaces.require(&inside.namespace)?;
                link::create_veth(&mut self.route, name, veth, inside, namespace.as_fd())
            }
            Change::ConfigureInside { name, inside, remove, leave } => {
                let namespace = self.namespaces.require(&inside.namespace)?;
                let open = || {
                    sysctl::set_ipv6_inside(&inside.interface, inside.ipv6)?;
                    Ok::<_, KernelError>((Socket::open(NETLINK_ROUTE)?, Announcer::open()?))
                };
                let (mut socket, announcer) = self.home.visit(&namespace, open)??;
                let index = link::configure_inside(&mut socket, inside, remove, leave)?;
                link::await_forwarding(&mut self.route, name)?;
                // Not before: a bridge drops what comes in by a port that does not forward yet.
                if let Err(error) = announcer.announce(index, inside) {
                    // The container's own first packets tell the same.
                    tracing::warn!(%error, "neighbours are not told of an endpoint");
                }
                Ok(())
            }
            Change::SetLink { name, settings } => link::set(&mut self.route, name, settings),
            Change::RemoveLink(name) => link::remove(&mut self.route, name),
            Change::AddAddress { name, address } => route::add_address(&mut self.route, name, *address),
            Change::RemoveAddress { name, address } => route::remove_address(&mut self.route, name, *address),
            Change::SetIpv6 { name, to } => sysctl::set_ipv6(name, *to),
            Change::SetLoopbackRouting { name, to } => sysctl::set_loopback_routing(name, *to),
            Change::AllowForwarding(family) => host::allow_forwarding(&self.run_dir, *family),
        }
    }
}

/// The addresses of all containers.
fn addresses(desired: &State) -> BTreeSet<IpAddr> {
    let insides = desired.veths.values().filter_map(|veth| veth.inside.as_ref());
    insides.flat_map(|inside| inside.addresses.iter().map(IpNet::addr)).collect()
}
