//! `fabric port`, and how published ports are shown.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
};

use api::{Client, Container, State};
use model::{ContainerPort, Family, Protocol, Publish};
use serde::Serialize;

use crate::{arguments::PortArguments, failure::Failure, output::Output};

/// A publish at one address of the host, or at every address of one family.
#[derive(Debug, Serialize)]
struct Published {
    protocol: Protocol,
    host_address: IpAddr,
    /// The first of them, on the host.
    host_port: NonZeroU16,
    /// The first of them, in the container.
    container_port: NonZeroU16,
    /// How many ports follow each other from there on.
    count: u16,
}

pub(super) async fn port(client: &Client, output: Output, arguments: PortArguments) -> Result<(), Failure> {
    let container = client.container(&arguments.container).await?;
    let name = container.name.to_string();
    if has_ended(&container) && !container.publishes.is_empty() {
        return Err(Failure::PortsClosed { name });
    }
    let published = container.publishes.iter().flat_map(|publish| at_addresses(&container, publish));
    let Some(ContainerPort { port, protocol }) = arguments.port else {
        let published: Vec<_> = published.map(|(_, published)| published).collect();
        return output.print(&published, || published.iter().map(Published::line).collect());
    };
    let leads_there = |(publish, published): (&Publish, Published)| {
        let host_port = publish.host_port_of(port).filter(|_| publish.protocol() == protocol)?;
        Some(Published { host_port, container_port: port, count: 1, ..published })
    };
    let published: Vec<_> = published.filter_map(leads_there).collect();
    if published.is_empty() {
        return Err(Failure::NotPublished { name, port: format!("{port}/{protocol}") });
    }
    output.print(&published, || published.iter().map(|one| format!("{}\n", one.host())).collect())
}

/// What a container publishes and is in force, as container tools show it.
pub(super) fn in_force(container: &Container) -> impl Iterator<Item = String> {
    let publishes = container.publishes.iter().filter(|_| !has_ended(container));
    publishes.flat_map(|publish| at_addresses(container, publish)).map(|(_, published)| published.arrow())
}

/// Whether nothing leads to it, be it for good or until its restart policy starts it again.
fn has_ended(container: &Container) -> bool {
    matches!(container.state, State::Exited | State::Restarting)
}

/// Where a publish is found: at addresses of the families by which the outside can come to the container.
fn at_addresses<'a>(
    container: &Container,
    publish: &'a Publish,
) -> impl Iterator<Item = (&'a Publish, Published)> + use<'a> {
    let endpoints = &container.endpoints;
    let open = |family| endpoints.iter().any(|endpoint| endpoint.default_routes.contains(&family));
    let (has_ipv4, has_ipv6) = (open(Family::Ipv4), open(Family::Ipv6));
    let ipv4 = has_ipv4.then_some(Ipv4Addr::UNSPECIFIED.into());
    let ipv6 = has_ipv6.then_some(Ipv6Addr::UNSPECIFIED.into());
    let one = publish.host_ip().filter(|address| if address.is_ipv4() { has_ipv4 } else { has_ipv6 });
    let every = [ipv4, ipv6].into_iter().flatten().filter(|_| publish.host_ip().is_none());
    one.into_iter().chain(every).map(move |host_address| {
        let published = Published {
            protocol: publish.protocol(),
            host_address,
            host_port: publish.host_ports().first(),
            container_port: publish.container_ports().first(),
            count: publish.host_ports().count(),
        };
        (publish, published)
    })
}

impl Published {
    /// `ADDRESS:PORTS` on the host.
    fn host(&self) -> String {
        let first = SocketAddr::new(self.host_address, self.host_port.get());
        format!("{first}{}", self.up_to(self.host_port))
    }

    /// `PORTS/PROTOCOL` in the container.
    fn container(&self) -> String {
        format!("{}{}/{}", self.container_port, self.up_to(self.container_port), self.protocol)
    }

    /// `-LAST`, if it is more than one port.
    fn up_to(&self, first: NonZeroU16) -> String {
        if self.count == 1 { String::new() } else { format!("-{}", first.get() + (self.count - 1)) }
    }

    fn line(&self) -> String {
        format!("{} -> {}\n", self.container(), self.host())
    }

    fn arrow(&self) -> String {
        format!("{}->{}", self.host(), self.container())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::samples;

    #[test]
    fn a_publish_is_shown_at_each_address_it_is_found_at() {
        let mut container = samples::containers().remove(0);
        container.publishes = ["8080:80", "[::]:9000-9009:9000-9009/udp", "127.0.0.1:81-82:91-92/sctp"]
            .map(|text| text.parse().expect("literal"))
            .to_vec();
        let shown = |container: &Container| in_force(container).collect::<Vec<_>>();
        let (ipv4, ipv6) = ("127.0.0.1:81-82->91-92/sctp", "[::]:9000-9009->9000-9009/udp");
        assert_eq!(shown(&container), ["0.0.0.0:8080->80/tcp", ipv4]);
        container.endpoints[0].default_routes = Family::ALL.into();
        assert_eq!(shown(&container), ["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp", ipv6, ipv4]);
        container.endpoints[0].default_routes = vec![Family::Ipv6];
        assert_eq!(shown(&container), ["[::]:8080->80/tcp", ipv6]);
        container.endpoints[0].default_routes = Vec::new();
        assert_eq!(shown(&container), [""; 0], "nobody comes to a container whose networks are internal");
        container.endpoints[0].default_routes = Family::ALL.into();
        container.state = State::Exited;
        assert_eq!(shown(&container), [""; 0], "an exited container's ports are closed");
    }
}
