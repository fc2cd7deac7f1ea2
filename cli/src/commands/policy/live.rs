//! The daemon's own world: whom policies are about there, and which are in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, ToSocketAddrs},
    path::PathBuf,
};

use api::{
    Client, Container, ContainersQuery, DnsQuery, Network, NetworkMode, PolicyInForce, PolicyPublish, PolicyWorld,
    Reference,
};
use jiff::Timestamp;
use model::{ContainerName, GatewayMode, NetworkName, Published};
use policy::{Course, DnsName, Document, Effect, Mention, Party, Policies, Question, Syntax, World, parse};

use crate::{
    failure::Failure,
    policy_files::{self, PolicyFailure},
};

/// What a verdict depends on.
pub(super) struct Scene {
    pub(super) policies: Policies,
    pub(super) world: World,
    pub(super) now: Timestamp,
}

impl Scene {
    /// What is in force, and what these files would change of it: their policies take the place of those of their
    /// names, as with `apply`.
    pub(super) async fn of(client: &Client, files: &[PathBuf], network: Option<&NetworkName>) -> Result<Self, Failure> {
        let given = policy_files::documents(files, network)?;
        let asked = client.policy_world().await?;
        let titles: BTreeSet<String> = given.iter().map(Document::title).collect();
        let in_force = documents(&asked.in_force)?;
        let others = in_force.into_iter().filter(|document| !titles.contains(&document.title()));
        let policies = Policies::new(others.chain(given)).map_err(PolicyFailure::Policies)?;
        Ok(Self { policies, now: asked.now, world: world(asked)? })
    }

    /// The same with the addresses of the names that are asked about, as whoever opens the connection would learn them,
    /// and the kernel with it.
    pub(super) async fn with_names(mut self, client: &Client, questions: &[Question]) -> Result<Self, Failure> {
        let mut names: BTreeMap<DnsName, BTreeSet<IpAddr>> = BTreeMap::new();
        for Question { from, to, .. } in questions {
            let viewer = match from {
                Mention::Endpoint(_, name) => Some(Reference::from(name)),
                _ => None,
            };
            for mention in [from, to] {
                let Mention::Name(name) = mention else { continue };
                names.entry(name.clone()).or_default().extend(addresses(client, name, viewer.clone()).await?);
            }
        }
        self.world = self.world.with_names(names);
        Ok(self)
    }
}

/// The documents of these files that are in force.
pub(super) fn documents(files: &[PolicyInForce]) -> Result<Vec<Document>, Failure> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for PolicyInForce { name, network, text, documents } in files {
        match parse(name, Syntax::of(name), text, network.as_ref()) {
            Ok(parsed) => found.extend(parsed.into_iter().filter(|it| documents.contains(&it.title()))),
            Err(errors) => failures.extend(errors.into_iter().map(|error| PolicyFailure::Document(error).into())),
        }
    }
    Failure::from_several(failures)?;
    Ok(found)
}

fn world(asked: PolicyWorld) -> Result<World, PolicyFailure> {
    let network = |(name, network): (NetworkName, api::PolicyNetwork)| {
        (name, policy::Network { labels: network.labels, gateways: network.gateways, subnets: network.subnets })
    };
    let endpoint = |endpoint: api::PolicyEndpoint| policy::Endpoint {
        network: endpoint.network,
        name: Some(endpoint.name),
        labels: endpoint.labels,
        addresses: endpoint.addresses,
        ports: endpoint.ports.into_iter().collect(),
    };
    let networks = asked.networks.into_iter().map(network).collect();
    let endpoints = asked.endpoints.into_iter().map(endpoint).collect();
    // A name that this program does not know as one is no rule's either.
    let named = asked.names.into_iter().filter_map(|(name, addresses)| Some((name.parse().ok()?, addresses)));
    let published = asked.published.into_iter().flat_map(|PolicyPublish { publish, to }| Published::of(&publish, to));
    let world = World::new(networks, endpoints, named.collect(), asked.host)?;
    Ok(world.with_published(published.collect()))
}

/// The addresses that a container, or this host, learns of a name; none if there are none.
async fn addresses(client: &Client, name: &DnsName, viewer: Option<Reference>) -> Result<BTreeSet<IpAddr>, Failure> {
    let mut found = BTreeSet::new();
    for kind in ["A", "AAAA"] {
        let query = DnsQuery { name: name.to_string(), kind: kind.to_owned(), viewer: viewer.clone() };
        let answer = client.query_dns(&query).await?;
        found.extend(answer.answers.iter().filter_map(|record| record.data.parse::<IpAddr>().ok()));
    }
    if found.is_empty() && viewer.is_none() {
        // The daemon tells the host of containers only; the rest is for its own resolver.
        let resolved = (name.to_string(), 0).to_socket_addrs();
        found.extend(resolved.into_iter().flatten().map(|address| address.ip()));
    }
    Ok(found)
}

/// The same question with containers by their names, however they were named: by the beginning of an id, or as one that
/// shares another's network or the host's.
pub(super) async fn resolved(client: &Client, question: Question) -> Result<Question, Failure> {
    let containers = client.containers(ContainersQuery { all: true }).await?;
    let resolve = |mention| resolve(&containers, mention);
    Ok(Question { from: resolve(question.from)?, to: resolve(question.to)?, port: question.port })
}

fn resolve(containers: &[Container], mention: Mention) -> Result<Mention, PolicyFailure> {
    let Mention::Endpoint(network, name) = &mention else { return Ok(mention) };
    let called = |wanted: &str| containers.iter().find(|container| container.name.as_str() == wanted);
    let begins = |container: &&Container| container.id.as_str().starts_with(name.as_str());
    let mut by_id = containers.iter().filter(begins);
    let found = match (called(name.as_str()), by_id.next(), by_id.next()) {
        (Some(container), ..) | (None, Some(container), None) => container,
        (None, Some(_), Some(_)) => return Err(PolicyFailure::ManyIds(name.to_string())),
        // Nobody is, which is told with what is like it.
        (None, None, _) => return Ok(mention),
    };
    let endpoint = |name: &ContainerName| Mention::Endpoint(network.clone(), name.clone());
    match &found.network_mode {
        NetworkMode::Networks => Ok(endpoint(&found.name)),
        NetworkMode::Host => Ok(Mention::Host),
        NetworkMode::None => Err(PolicyFailure::Nowhere(found.name.clone())),
        NetworkMode::Container(other) => Ok(called(other.as_str()).map_or(mention.clone(), |it| endpoint(&it.name))),
    }
}

/// Why something else becomes of a connection than policies say; none as far as that can be told.
pub(super) fn barrier(networks: &[Network], course: &Course<'_>, effect: Effect) -> Option<String> {
    let flow = &course.judged;
    let of = |party: &Party<'_>| {
        let endpoint = party.endpoint()?;
        networks.iter().find(|network| network.name == endpoint.network)
    };
    if effect == Effect::Deny {
        let beyond = [&flow.from, &flow.to].into_iter().filter_map(of).find(|network| network.parent.is_some())?;
        return Some(format!(
            "policies are not enforced on network `{}`: its packets do not come by this host (driver {})",
            beyond.name, beyond.driver
        ));
    }
    match (of(&flow.from), of(&flow.to)) {
        (Some(from), Some(to)) if course.is_led() && from.name != to.name => (!reaches_out(from))
            .then(|| format!("network `{}` does not reach the outside, whatever policies allow", from.name)),
        (Some(from), Some(to)) if from.name != to.name => {
            Some(format!("networks `{}` and `{}` are kept apart, whatever policies allow", from.name, to.name))
        }
        (Some(network), Some(_)) if !network.icc => Some(format!(
            "containers of network `{}` are kept apart (icc is off), whatever policies allow",
            network.name
        )),
        (Some(network), None) if matches!(flow.to, Party::Outside(_)) && !reaches_out(network) => {
            Some(format!("network `{}` does not reach the outside, whatever policies allow", network.name))
        }
        (None, Some(network)) if matches!(flow.from, Party::Outside(_)) && !course.is_led() => Some(format!(
            "from outside only published ports lead to network `{}`, whatever policies allow",
            network.name
        )),
        _ => None,
    }
}

fn reaches_out(network: &Network) -> bool {
    !network.internal && network.gateway_mode != GatewayMode::Isolated
}
