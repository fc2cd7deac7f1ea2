//! DNS inside containers' namespaces, for those that cannot reach the host over their networks.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use model::{Container, NetworkMode};

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
};

/// Where such a container asks, in its own namespace.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

impl Daemon {
    /// Answers DNS inside the container's namespace, if it needs that; one that needs it no more is no longer answered.
    pub(crate) async fn listen_inside(&self, container: &Container) -> Result<(), Failure> {
        // Who shares another's network is answered by what listens for that one.
        let NetworkMode::Own { namespace } = &container.mode else { return Ok(()) };
        let address = {
            let world = self.world();
            let on_parent = |network: &model::Network| network.parent.is_some();
            let mut endpoints = container.endpoints.iter();
            let found = endpoints.find(|endpoint| world.network(&endpoint.network).is_some_and(on_parent));
            found.and_then(|endpoint| endpoint.addresses().next())
        };
        let Some(address) = address else {
            self.dns.close_inside(namespace).await;
            return Ok(());
        };
        if self.dns.is_inside(namespace, address).await {
            return Ok(());
        }
        self.dns.close_inside(namespace).await;
        let doing = || format!("answer DNS inside container `{}`", container.name);
        let local = SocketAddr::V4(SocketAddrV4::new(ADDRESS, 53));
        let sockets = self.kernel.listen_inside(namespace.clone(), local).await;
        let sockets = sockets.map_err(|source| Failure::Kernel { doing: doing(), source: source.into() })?;
        let listening = self.dns.listen_inside(namespace.clone(), address, local, sockets).await;
        listening.map_err(|source| Failure::Dns { doing: doing(), source: source.into() })?;
        self.steps.after("answering inside");
        Ok(())
    }

    /// The same where nobody waits for it.
    pub(crate) async fn keep_listening_inside(&self, container: &Container) {
        if let Err(failure) = self.listen_inside(container).await {
            tracing::warn!(failure = chain(&failure), "a container has no DNS");
        }
    }

    /// Nobody in the container's namespace asks any more: the sockets would keep the namespace.
    pub(crate) async fn stop_listening_inside(&self, container: &Container) {
        if let NetworkMode::Own { namespace } = &container.mode {
            self.dns.close_inside(namespace).await;
        }
    }
}
