//! What others do to the host's network is answered at once, through the same reconcile as everything else.

use std::sync::Arc;

use kernel::{Notice, Watch};
use model::{IfName, Network, Scope};

use crate::daemon::{Daemon, chain};

/// Whether the daemon mends by itself. A test of the doctor keeps it from that with `NETD_HANDS_OFF`: damage that is
/// gone before anybody looks at it shows nothing.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os("NETD_HANDS_OFF").is_none()
}

/// Mends what is told to be damaged, for as long as the kernel tells.
pub(crate) async fn attend(daemon: Arc<Daemon>, mut watch: Watch) {
    loop {
        let notice = match watch.next().await {
            Ok(notice) => notice,
            Err(error) => {
                tracing::error!(error = chain(&error), "changes by others are now seen only every 10 s");
                return;
            }
        };
        if matches!(notice, Notice::Uplink | Notice::Everything)
            && let Err(failure) = daemon.follow_uplinks().await
        {
            tracing::warn!(failure = chain(&failure), "cannot follow the MTUs of uplinks");
        }
        if matches!(notice, Notice::Addresses | Notice::Everything)
            && let Err(failure) = daemon.follow_host().await
        {
            tracing::warn!(failure = chain(&failure), "cannot follow the host's addresses");
        }
        let Some(scope) = daemon.scope_of(&notice) else { continue };
        tracing::debug!(?notice, "looking at what another program changed");
        let is_worked_on = daemon.is_worked_on(&notice);
        if let Err(failure) = daemon.put_back(scope, |_| !is_worked_on).await {
            tracing::warn!(failure = chain(&failure), "this host's network is not as it should be");
        }
    }
}

impl Daemon {
    /// Where to look; nowhere if the interface is no longer, or not yet, meant to be.
    fn scope_of(&self, notice: &Notice) -> Option<Scope> {
        match notice {
            Notice::Rules => Some(Scope::Firewall),
            Notice::Judges => Some(Scope::Shortcut),
            // Interfaces for VLANs have the MTU of what they are on.
            Notice::Uplink => {
                self.world().networks().any(|network| network.vlan.is_some()).then_some(Scope::Everything)
            }
            Notice::Addresses => None,
            Notice::Everything => Some(Scope::Everything),
            Notice::Interface(name) => self.scope_of_interface(name),
        }
    }

    /// Whether what the notice is about is just being changed by a request, which may look like damage.
    fn is_worked_on(&self, notice: &Notice) -> bool {
        let Notice::Interface(name) = notice else { return false };
        let world = self.world();
        match world.attachment_of_port(name) {
            Some(attachment) => world.life_at(&attachment.endpoint.id).is_some_and(|life| life.is_worked_on()),
            None => self.editing.try_lock().is_err(),
        }
    }

    fn scope_of_interface(&self, name: &IfName) -> Option<Scope> {
        let world = self.world();
        let is_for_it = |network: &Network| network.vlan.as_ref().is_some_and(|vlan| vlan.interface() == name);
        if world.networks().any(is_for_it) {
            // What sat on it, in containers' namespaces, went with it.
            return Some(Scope::Everything);
        }
        match world.network_of_bridge(name) {
            Some(network) => Some(Scope::Network(network.id.clone())),
            None => world.attachment_of_port(name).map(Scope::from),
        }
    }
}
