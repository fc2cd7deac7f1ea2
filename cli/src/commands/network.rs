//! `fabric network`.

use api::{Client, Network, NetworkCreate, NetworkEndpoint};
use jiff::Timestamp;
use model::Family;

use super::{each, show};
use crate::{
    arguments::{CreateNetworkArguments, ListNetworksArguments, NetworkCommand, RemoveNetworksArguments},
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
        NetworkCommand::Rm(arguments) => remove(client, output, arguments).await,
    }
}

async fn create(client: &Client, output: Output, arguments: CreateNetworkArguments) -> Result<(), Failure> {
    let request = NetworkCreate {
        driver: arguments.driver,
        subnet: arguments.subnet,
        gateway: arguments.gateway,
        mtu: arguments.mtu,
        name_servers: arguments.name_servers,
        labels: arguments.labels.into_iter().map(|label| (label.key, label.value)).collect(),
        ..NetworkCreate::new(arguments.name)
    };
    let network = client.create_network(&request).await?;
    output.print(&network, || format!("{}\n", network.name))
}

async fn list(client: &Client, output: Output, arguments: ListNetworksArguments) -> Result<(), Failure> {
    let mut networks = client.networks().await?;
    networks.retain(|network| passes(network, &arguments.filters));
    let names = || networks.iter().map(|network| format!("{}\n", network.name)).collect();
    let table = || render_list(&networks, Timestamp::now());
    output.print(&networks, || if arguments.quiet { names() } else { table() })
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

fn render(network: &Network) -> String {
    let mut text = fields(
        [
            ["id", network.id.as_str()],
            ["name", network.name.as_str()],
            ["driver", &network.driver.to_string()],
            ["subnet", &joined(network.subnets.iter().map(|subnet| subnet.range().to_string()))],
            ["gateway", &joined(network.subnets.iter().map(|subnet| subnet.gateway().to_string()))],
            ["mtu", &network.mtu.to_string()],
            ["dns", &joined(network.name_servers.iter().map(ToString::to_string))],
            ["addresses", &format!("{} of {} used", network.usage.used, network.usage.capacity)],
            ["created", &network.created_at.to_string()],
            ["labels", &joined(network.labels.iter().map(|(key, value)| format!("{key}={value}")))],
        ]
        .map(|row| row.map(str::to_owned)),
    );
    if !network.endpoints.is_empty() {
        text.push('\n');
        text.push_str(&endpoints(network));
    }
    text
}

/// Who is on the network; IPv6 has a column only where the network has it.
fn endpoints(network: &Network) -> String {
    let row = |endpoint: &NetworkEndpoint| {
        let [id, container, container_id] =
            [endpoint.id.short(), endpoint.container.as_str(), endpoint.container_id.short()].map(str::to_owned);
        let ipv4 = joined(endpoint.ipv4.map(|address| address.to_string()));
        [id, container, container_id, ipv4, endpoint.mac.to_string()]
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
