//! Whom policies are about, and which are in force, for whoever wants to know what that comes to.

use api::{PolicyEndpoint, PolicyInForce, PolicyNetwork, PolicyPublish, PolicyWorld};

use crate::{daemon::Daemon, failure::Failure, rulebook::PolicyFile};

impl Daemon {
    /// All that a verdict depends on.
    pub(crate) async fn policy_world(&self) -> Result<PolicyWorld, Failure> {
        // Nobody follows the host's addresses where there are no policies.
        self.look_at_host().await?;
        let now = self.clock.now();
        let (of, rulebook, publishes) = {
            let world = self.world();
            (world.as_judged(), world.rulebook().clone(), world.publishes())
        };
        let network = |name: &model::NetworkName| {
            let mut labels = of.labels_of(name);
            labels.remove(policy::NAME_LABEL);
            (
                name.clone(),
                PolicyNetwork {
                    labels,
                    gateways: of.gateways_of(name).collect(),
                    subnets: of.subnets_of(name).collect(),
                },
            )
        };
        let endpoint = |endpoint: &policy::Endpoint| {
            Some(PolicyEndpoint {
                name: endpoint.name.clone()?,
                network: endpoint.network.clone(),
                labels: endpoint.labels.clone(),
                addresses: endpoint.addresses.clone(),
                ports: endpoint.ports.iter().cloned().collect(),
            })
        };
        let file = |file: &PolicyFile| PolicyInForce {
            name: file.name.clone(),
            network: file.network.clone(),
            text: file.text.clone(),
            documents: file.documents.clone(),
        };
        Ok(PolicyWorld {
            now,
            networks: of.networks().map(network).collect(),
            host: of.host().collect(),
            endpoints: of.endpoints().iter().filter_map(endpoint).collect(),
            names: of.names().iter().map(|(name, addresses)| (name.to_string(), addresses.clone())).collect(),
            published: publishes.into_iter().map(|(publish, to)| PolicyPublish { publish, to }).collect(),
            in_force: rulebook.files().map(file).collect(),
        })
    }
}
