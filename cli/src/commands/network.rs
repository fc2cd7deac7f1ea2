//! `fabric network`.

use std::net::IpAddr;

use api::{
    Client, DisconnectQuery, EndpointCreate, Network, NetworkCreate, NetworkEndpoint, NetworkUpdate, SubnetUsage, Usage,
};
use jiff::Timestamp;
use model::{Family, GatewayMode, Label, MtuSource, NameServer, Parent, SubInterfaceKind};

use super::{
    prune,
    several::{each, show},
};
use crate::{
    arguments::{
        ConnectArguments, CreateNetworkArguments, DisconnectArguments, ListNetworksArguments, NameServerArgument,
        NetworkCommand, RemoveNetworksArguments, UpdateNetworkArguments,
    },
    failure::Failure,
    filter::passes,
    output::Output,
    table::{age, fields, joined, table},
};

pub(super) async fn network(client: &Client, output: Output, command: NetworkCommand) -> Result<(), Failure> {
    match command {
        NetworkCommand::Create(arguments) => create(client, output, arguments).await,
        NetworkCommand::Ls(arguments) => list(client, output, arguments).await,
        NetworkCommand::Inspect(arguments) => {
            show(output, &arguments.names, async |name| client.network(name).await, render).await
        }
        NetworkCommand::Connect(arguments) => connect(client, output, arguments).await,
        NetworkCommand::Update(arguments) => update(client, output, arguments).await,
        NetworkCommand::Disconnect(arguments) => disconnect(client, output, arguments).await,
        NetworkCommand::Rm(arguments) => remove(client, output, arguments).await,
        NetworkCommand::Prune(arguments) => prune::networks(client, output, arguments).await,
    }
}

/// Keys with their values; of a key that is given twice the last value counts.
fn pairs<T: FromIterator<(String, String)>>(given: Vec<Label>) -> T {
    given.into_iter().map(|label| (label.key, label.value)).collect()
}

async fn create(client: &Client, output: Output, arguments: CreateNetworkArguments) -> Result<(), Failure> {
    let request = NetworkCreate {
        driver: arguments.driver,
        subnets: arguments.subnets,
        gateways: arguments.gateways,
        ip_ranges: arguments.ip_ranges,
        reserve: arguments.reserve,
        ipv4: !arguments.no_ipv4,
        ipv6: arguments.ipv6,
        internal: arguments.internal,
        icc: arguments.icc,
        default_route: !arguments.no_default_route,
        routes: arguments.routes,
        gateway_mode: arguments.gateway_mode,
        mtu: arguments.mtu,
        name_servers: arguments.name_servers,
        options: pairs(arguments.options),
        labels: pairs(arguments.labels),
        ..NetworkCreate::new(arguments.name)
    };
    request.plan()?;
    let network = client.create_network(&request).await?;
    let Network { name, driver, .. } = &network;
    for policy in &network.unenforced {
        Failure::warn(&format!(
            "policy `{policy}` is not enforced on network `{name}`: its packets do not come by this host (driver {driver})"
        ));
    }
    output.print(&network, || format!("{}\n", network.name))
}

async fn update(client: &Client, output: Output, arguments: UpdateNetworkArguments) -> Result<(), Failure> {
    let request = NetworkUpdate {
        driver: arguments.driver,
        mtu: arguments.mtu,
        internal: arguments.internal,
        icc: arguments.icc,
        default_route: arguments.no_default_route.map(|without| !without),
        add_routes: arguments.add_routes,
        remove_routes: arguments.remove_routes,
        name_servers: name_servers(&arguments.name_servers)?,
        gateway_mode: arguments.gateway_mode,
        add_subnets: arguments.add_subnets,
        remove_subnets: arguments.remove_subnets,
        ip_ranges: arguments.ip_ranges,
        reserve: arguments.reserve,
        release: arguments.release,
        labels: pairs(arguments.labels),
        remove_labels: arguments.remove_labels,
        options: pairs(arguments.options),
    };
    request.check(&arguments.name)?;
    let network = client.update_network(&arguments.name, &request).await?;
    output.print(&network, || format!("{}\n", network.name))
}

/// Those to have from now on, none of which means those of the host; nothing if nothing is said.
fn name_servers(arguments: &[NameServerArgument]) -> Result<Option<Vec<NameServer>>, Failure> {
    match arguments {
        [] => Ok(None),
        [NameServerArgument::Auto] => Ok(Some(Vec::new())),
        several => {
            let server = |argument: &NameServerArgument| match argument {
                NameServerArgument::Server(server) => Ok(*server),
                NameServerArgument::Auto => Err(Failure::AutoBesideServers),
            };
            several.iter().map(server).collect::<Result<_, _>>().map(Some)
        }
    }
}

async fn list(client: &Client, output: Output, arguments: ListNetworksArguments) -> Result<(), Failure> {
    let mut networks = client.networks().await?;
    networks.retain(|network| passes(network, &arguments.filters));
    let names = || networks.iter().map(|network| format!("{}\n", network.name)).collect();
    let table = || render_list(&networks, Timestamp::now());
    output.print(&networks, || if arguments.quiet { names() } else { table() })
}

async fn connect(client: &Client, output: Output, arguments: ConnectArguments) -> Result<(), Failure> {
    let request = EndpointCreate {
        network: arguments.network,
        ipv4: arguments.ip,
        ipv6: arguments.ip6,
        mac: arguments.mac,
        interface: arguments.ifname,
        aliases: arguments.aliases,
        gateway_priority: arguments.gw_priority,
    };
    let container = client.connect(&arguments.container, &request).await?;
    let endpoint = container.endpoints.iter().find(|endpoint| endpoint.network == request.network);
    let addresses = endpoint.map(|endpoint| {
        let addresses = [endpoint.ipv4.map(IpAddr::from), endpoint.ipv6.map(IpAddr::from)];
        joined(addresses.into_iter().flatten().map(|address| address.to_string()))
    });
    output.print(&container, || format!("{}\n", addresses.unwrap_or_default()))
}

async fn disconnect(client: &Client, output: Output, arguments: DisconnectArguments) -> Result<(), Failure> {
    let query = DisconnectQuery { network: arguments.network };
    let container = client.disconnect(&arguments.container, &query).await?;
    output.print(&container, || format!("{}\n", query.network))
}

async fn remove(client: &Client, output: Output, arguments: RemoveNetworksArguments) -> Result<(), Failure> {
    each(output, &arguments.names, async |name| {
        client.remove_network(name).await?;
        Ok((name.to_string(), name))
    })
    .await
}

fn render_list(networks: &[Network], now: Timestamp) -> String {
    table(
        ["NETWORK ID", "NAME", "DRIVER", "SUBNET", "CONTAINERS", "CREATED"],
        networks.iter().map(|network| {
            [
                network.id.short().to_owned(),
                network.name.to_string(),
                network.driver.to_string(),
                joined(network.subnets.iter().map(|subnet| subnet.range().to_string())),
                network.endpoints.len().to_string(),
                age(network.created_at, now),
            ]
        }),
    )
}

/// What is as it is on most networks is left out.
fn render(network: &Network) -> String {
    let subnets = || network.subnets.iter();
    let pools = subnets().filter_map(|subnet| subnet.pool());
    // On an isolated network nobody has its address, and where there are no neighbours nobody is asked for it.
    let has_gateway = network.gateway_mode != GatewayMode::Isolated
        && network.parent.as_ref().is_none_or(|parent| parent.kind.has_neighbours());
    let rows = [
        Some(["id", network.id.as_str()].map(str::to_owned)),
        Some(["name", network.name.as_str()].map(str::to_owned)),
        row("driver", Some(network.driver)),
        row("parent", network.parent.as_ref().map(|parent| parent.interface.to_string())),
        row("mode", network.parent.as_ref().map(mode)),
        row("subnet", subnets().map(|subnet| subnet.range())),
        row("gateway", subnets().filter(|_| has_gateway).map(|subnet| subnet.gateway())),
        row("ip range", pools),
        row("reserved", &network.reserved),
        network.internal.then(|| ["internal", "yes"].map(str::to_owned)),
        (!network.icc).then(|| ["icc", "no"].map(str::to_owned)),
        (!network.default_route).then(|| ["default route", "no"].map(str::to_owned)),
        row("routes", &network.routes),
        row("gateway mode", Some(network.gateway_mode).filter(|mode| *mode != GatewayMode::Nat)),
        row("mtu", Some(mtu(network))),
        Some(["dns".to_owned(), joined(network.name_servers.iter().map(ToString::to_string))]),
        Some(["addresses".to_owned(), used(&network.usage)]),
        row("leaked", &network.usage.leaked),
        row("not enforced", &network.unenforced),
        row("created", Some(network.created_at)),
        Some(["labels".to_owned(), joined(network.labels.iter().map(|(key, value)| format!("{key}={value}")))]),
    ];
    let mut text = fields(rows.into_iter().flatten());
    if !network.endpoints.is_empty() {
        text.push('\n');
        text.push_str(&endpoints(network));
    }
    text
}

/// What the driver calls the ways in which endpoints sit on their parent.
fn mode(parent: &Parent) -> String {
    match parent.kind {
        SubInterfaceKind::Macvlan { mode } => mode.to_string(),
        SubInterfaceKind::Ipvlan { mode, flag } => format!("{mode}, {flag}"),
    }
}

/// The MTU, and that it stays if it does.
fn mtu(network: &Network) -> String {
    match network.mtu_source {
        MtuSource::Uplink => network.mtu.to_string(),
        MtuSource::Fixed => format!("{}, fixed", network.mtu),
    }
}

/// A field with its values; none without a value.
fn row(name: &str, values: impl IntoIterator<Item = impl ToString>) -> Option<[String; 2]> {
    let values: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
    (!values.is_empty()).then(|| [name.to_owned(), values.join(", ")])
}

/// How full the network is, of several subnets each.
fn used(usage: &Usage) -> String {
    match usage.subnets.as_slice() {
        [] => filled(usage.used, usage.capacity, usage.resting),
        [subnet] => filled(subnet.used, subnet.capacity, subnet.resting),
        subnets => {
            let each = |subnet: &SubnetUsage| {
                format!("{}: {}", subnet.range, filled(subnet.used, subnet.capacity, subnet.resting))
            };
            subnets.iter().map(each).collect::<Vec<_>>().join("; ")
        }
    }
}

/// What no host can fill has no end worth telling.
fn filled(used: u64, capacity: Option<u64>, resting: u64) -> String {
    let used = match capacity.filter(|capacity| u32::try_from(*capacity).is_ok()) {
        Some(capacity) => format!("{used} of {capacity} used"),
        None => format!("{used} used"),
    };
    if resting == 0 { used } else { format!("{used}, {resting} resting") }
}

/// Who is on the network; IPv6 has a column only where the network has it.
fn endpoints(network: &Network) -> String {
    let row = |endpoint: &NetworkEndpoint| {
        let [id, container, container_id] =
            [endpoint.id.short(), endpoint.container.as_str(), endpoint.container_id.short()].map(str::to_owned);
        let ipv4 = joined(endpoint.ipv4.map(|address| address.to_string()));
        [id, container, container_id, ipv4, joined(endpoint.mac.map(|mac| mac.to_string()))]
    };
    if !network.subnets.iter().any(|subnet| subnet.family() == Family::Ipv6) {
        let titles = ["ENDPOINT", "CONTAINER", "CONTAINER ID", "IPV4", "MAC"];
        return table(titles, network.endpoints.iter().map(row));
    }
    let rows = network.endpoints.iter().map(|endpoint| {
        let [id, container, container_id, ipv4, mac] = row(endpoint);
        [id, container, container_id, ipv4, joined(endpoint.ipv6.map(|address| address.to_string())), mac]
    });
    table(["ENDPOINT", "CONTAINER", "CONTAINER ID", "IPV4", "IPV6", "MAC"], rows)
}

#[cfg(test)]
mod tests;
