//! What the API shows of the world.

use ipam::LeaseTable;
use model::{Container, ContainerState, Endpoint, Family, Network, NetworkId, NetworkMode};

use crate::{policy_reach::unenforced, record::Record, world::World};

/// The container as a client sees it.
pub(crate) fn container(world: &World, record: &Record) -> api::Container {
    let container = &record.container;
    let state = world.life(&container.id).map_or(ContainerState::Created, |life| life.state());
    let (mut pid, mut started_at, mut exit_code, mut finished_at) = (None, None, None, None);
    match state {
        ContainerState::Created => {}
        ContainerState::Running { pid: running, started_at: at } => (pid, started_at) = (Some(running), Some(at)),
        ContainerState::Exited { exit_code: code, finished_at: at } => {
            (exit_code, finished_at) = (Some(code), Some(at));
            started_at = record.exit.and_then(|exit| exit.started_at);
        }
    }
    let defaults = Family::ALL.map(|family| (family, world.default_endpoint(container, family)));
    let default_routes = |endpoint: &Endpoint| {
        let own = defaults.iter().filter(|(_, default)| default.is_some_and(|default| default.id == endpoint.id));
        own.map(|(family, _)| *family).collect()
    };
    let endpoints = container.endpoints.iter().filter_map(|endpoint| {
        let network = world.network(&endpoint.network)?;
        Some(api::Endpoint {
            id: endpoint.id.clone(),
            network: network.name.clone(),
            ipv4: endpoint.ipv4,
            ipv6: endpoint.ipv6,
            mac: endpoint.mac,
            gateway: network.gateway_of(endpoint).filter(|_| network.has_neighbours()),
            gateway6: network.gateway6_of(endpoint).filter(|_| network.has_neighbours()),
            aliases: endpoint.aliases.clone(),
            interface: endpoint.interface.clone(),
            gateway_priority: endpoint.gateway_priority,
            default_routes: default_routes(endpoint),
        })
    });
    api::Container {
        id: container.id.clone(),
        name: container.name.clone(),
        image: container.image.clone(),
        state: match state {
            ContainerState::Created | ContainerState::Exited { .. } if record.is_restarting() => api::State::Restarting,
            state => api::State::from(&state),
        },
        exit_code,
        pid,
        created_at: container.created_at,
        started_at,
        finished_at,
        restart_policy: container.restart,
        restart_count: record.restarts.count,
        auto_remove: container.auto_remove,
        hostname: container.hostname.clone(),
        command: container.command.arguments.clone(),
        user: container.command.user.clone(),
        confinement: container.confinement.clone(),
        terminal: container.terminal,
        open_stdin: container.open_stdin,
        init: container.init,
        log: container.log,
        labels: container.labels.clone(),
        publishes: container.publishes.clone(),
        exposed: container.exposed.clone(),
        port_names: container.port_names.clone(),
        resolver: container.resolver.clone(),
        network_mode: network_mode(world, container),
        endpoints: endpoints.collect(),
    }
}

fn network_mode(world: &World, container: &Container) -> api::NetworkMode {
    match &container.mode {
        NetworkMode::Own { .. } if container.endpoints.is_empty() => api::NetworkMode::None,
        NetworkMode::Own { .. } => api::NetworkMode::Networks,
        NetworkMode::Joined { container: id, .. } => {
            let name = world.record(id).map(|record| api::Reference::from(&record.container.name));
            api::NetworkMode::Container(name.unwrap_or_else(|| id.into()))
        }
        NetworkMode::Host => api::NetworkMode::Host,
    }
}

/// A process as a client sees it.
pub(crate) fn process(process: runtime::ProcessInfo) -> api::Process {
    api::Process {
        pid: process.pid,
        host_pid: process.host_pid,
        uid: process.uid,
        processor_time_ms: u64::try_from(process.processor_time.as_millis()).unwrap_or(u64::MAX),
        command: process.command,
    }
}

/// The network as a client sees it.
pub(crate) fn network(world: &World, network: &Network) -> api::Network {
    let attached = world.on_network(&network.id).flat_map(|record| {
        let endpoints = record.container.endpoints.iter().filter(|endpoint| endpoint.network == network.id);
        endpoints.map(|endpoint| api::NetworkEndpoint {
            id: endpoint.id.clone(),
            container: record.container.name.clone(),
            container_id: record.container.id.clone(),
            ipv4: endpoint.ipv4,
            ipv6: endpoint.ipv6,
            mac: endpoint.mac,
        })
    });
    api::Network {
        id: network.id.clone(),
        name: network.name.clone(),
        driver: network.driver,
        parent: network.parent.clone(),
        subnets: network.subnets.clone(),
        reserved: network.reserved.clone(),
        internal: !network.reach.has_way_out(),
        icc: network.icc.is_on(),
        default_route: network.default_route.is_offered(),
        routes: network.routes.clone(),
        gateway_mode: network.reach.gateway_mode(),
        mtu: network.mtu,
        mtu_source: network.mtu_source,
        name_servers: network.name_servers.clone(),
        labels: network.labels.clone(),
        created_at: network.created_at,
        endpoints: attached.collect(),
        usage: usage(world, &network.id),
        unenforced: unenforced(world, network),
    }
}

/// How full the network is, as a client sees it.
fn usage(world: &World, id: &NetworkId) -> api::Usage {
    let table = world.leases(id);
    let all = table.map(LeaseTable::usage).unwrap_or_default();
    let subnets = table.into_iter().flat_map(LeaseTable::usages).map(|(subnet, usage)| api::SubnetUsage {
        range: subnet.range(),
        capacity: api::exact_in_json(usage.capacity),
        used: usage.used,
        resting: usage.resting,
        free: api::exact_in_json(usage.free()),
    });
    api::Usage {
        capacity: api::exact_in_json(all.capacity),
        used: all.used,
        resting: all.resting,
        free: api::exact_in_json(all.free()),
        subnets: subnets.collect(),
        leaked: world.leaked(id),
    }
}

/// The image as a client sees it.
pub(crate) fn image(image: &image::Image) -> api::Image {
    api::Image {
        name: image.name.clone(),
        digest: image.digest.clone(),
        size: image.size,
        created_at: image.imported_at,
    }
}
