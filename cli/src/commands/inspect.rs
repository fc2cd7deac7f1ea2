//! `fabric inspect`.

use api::{Client, Container, Endpoint, NetworkMode};
use model::Confinement;

use super::{port::in_force, ps::state, several::show};
use crate::{
    arguments::InspectArguments,
    failure::Failure,
    output::Output,
    table::{NOTHING, fields, joined, table},
};

pub(super) async fn inspect(client: &Client, output: Output, arguments: InspectArguments) -> Result<(), Failure> {
    show(output, &arguments.containers, async |container| client.container(container).await, render).await
}

fn render(container: &Container) -> String {
    let or_nothing = |value: Option<String>| value.unwrap_or_else(|| NOTHING.to_owned());
    let mut text = fields(
        [
            ["id", &container.id.to_string()],
            ["name", container.name.as_str()],
            ["image", container.image.as_str()],
            ["state", &state(container)],
            ["pid", &or_nothing(container.pid.map(|pid| pid.to_string()))],
            ["hostname", container.hostname.as_str()],
            ["command", &container.command.join(" ")],
            ["created", &container.created_at.to_string()],
            ["started", &or_nothing(container.started_at.map(|time| time.to_string()))],
            ["finished", &or_nothing(container.finished_at.map(|time| time.to_string()))],
            ["restart", &container.restart_policy.to_string()],
            ["mounts", &joined(mounts(&container.confinement))],
            ["limits", &joined(limits(&container.confinement))],
            ["network", &networks(container)],
            ["ports", &joined(in_force(container))],
            ["labels", &joined(container.labels.iter().map(|(key, value)| format!("{key}={value}")))],
        ]
        .map(|row| row.map(str::to_owned)),
    );
    if !container.endpoints.is_empty() {
        text.push('\n');
        text.push_str(&table(
            [
                "ENDPOINT",
                "NETWORK",
                "INTERFACE",
                "IPV4",
                "IPV6",
                "MAC",
                "GATEWAY",
                "DEFAULT ROUTE",
                "GW-PRIORITY",
                "ALIASES",
            ],
            container.endpoints.iter().map(|endpoint| {
                [
                    endpoint.id.short().to_owned(),
                    endpoint.network.to_string(),
                    endpoint.interface.to_string(),
                    or_nothing(endpoint.ipv4.map(|address| address.to_string())),
                    or_nothing(endpoint.ipv6.map(|address| address.to_string())),
                    or_nothing(endpoint.mac.map(|mac| mac.to_string())),
                    joined(gateways(endpoint)),
                    joined(endpoint.default_routes.iter().map(ToString::to_string)),
                    endpoint.gateway_priority.to_string(),
                    joined(endpoint.aliases.iter().map(ToString::to_string)),
                ]
            }),
        ));
    }
    text
}

/// Its networks, or what it has in their place.
fn networks(container: &Container) -> String {
    match &container.network_mode {
        NetworkMode::Networks => joined(container.endpoints.iter().map(|endpoint| endpoint.network.to_string())),
        mode => mode.to_string(),
    }
}

/// What appears inside, as `-v` and `--tmpfs` have it.
fn mounts(confinement: &Confinement) -> impl Iterator<Item = String> {
    let binds = confinement.binds.iter().map(ToString::to_string);
    binds.chain(confinement.tmpfs.iter().map(|tmpfs| format!("tmpfs {tmpfs}")))
}

/// How much it may use, as the options of `fabric run` have it.
fn limits(confinement: &Confinement) -> impl Iterator<Item = String> {
    let memory = confinement.memory.map(|memory| format!("memory {memory}"));
    let processors = confinement.processors.map(|processors| format!("cpus {processors}"));
    let processes = format!("pids {}", confinement.processes);
    let ulimits = confinement.ulimits.iter().map(|ulimit| format!("ulimit {ulimit}"));
    memory.into_iter().chain(processors).chain([processes]).chain(ulimits)
}

/// Its gateways, that of IPv4 first.
fn gateways(endpoint: &Endpoint) -> impl Iterator<Item = String> {
    let ipv4 = endpoint.gateway.map(|address| address.to_string());
    ipv4.into_iter().chain(endpoint.gateway6.map(|address| address.to_string()))
}

#[cfg(test)]
mod tests;
