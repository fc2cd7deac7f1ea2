//! What others do to the host's network is answered at once, through the same reconcile as everything else.

use std::sync::Arc;

use kernel::{Notice, Watch};
use model::{IfName, Scope};

use crate::daemon::{Daemon, chain};

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
        let Some(scope) = daemon.scope_of(&notice) else { continue };
        tracing::debug!(?notice, "looking at what another program changed");
        if let Err(failure) = daemon.reconcile("restore networks", scope).await {
            tracing::warn!(failure = chain(&failure), "this host's network is not as it should be");
        }
    }
}

impl Daemon {
    /// Where to look; nowhere if the interface is no longer, or not yet, meant to be.
    fn scope_of(&self, notice: &Notice) -> Option<Scope> {
        match notice {
            Notice::Rules => Some(Scope::Firewall),
            Notice::Everything => Some(Scope::Everything),
            Notice::Interface(name) => self.scope_of_interface(name),
        }
    }

    fn scope_of_interface(&self, name: &IfName) -> Option<Scope> {
        let world = self.world();
        if let Some(network) = world.networks().find(|network| network.id.bridge() == *name) {
            return Some(Scope::Network(network.id.clone()));
        }
        let attachment = world.live_attachments().find(|attachment| attachment.endpoint.host_interface() == *name)?;
        Some(Scope::from(attachment))
    }
}
