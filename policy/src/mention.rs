//! How a person names one end of a connection.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use model::{ContainerName, ContainerPort, Family, Label, Labels, NetworkName, nearest};

use crate::{
    course::{Course, is_of_one_scope, spoken},
    dns_name::DnsName,
    label::shown,
    service::Asked,
    world::{Endpoint, Flow, Party, World},
};

/// One end of a connection, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mention {
    /// `host`: the host itself, under each address that it would be spoken with.
    Host,
    /// `10.0.0.1`: whoever has this address.
    Address(IpAddr),
    /// `api.example.com`: whoever outside has this name.
    Name(DnsName),
    /// `web` or `shop/web`: an endpoint, by its container's name.
    Endpoint(Option<NetworkName>, ContainerName),
    /// `shop/app=web,tier=front`: an endpoint that need not exist, by its network and all of its labels.
    Labelled(NetworkName, Labels),
}

/// A connection, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who opens it.
    pub from: Mention,
    /// Whom it is opened to.
    pub to: Mention,
    /// The port that is asked for; none means a ping.
    pub port: Option<ContainerPort>,
}

/// Somebody whom a mention means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meant {
    Endpoint(Box<Endpoint>, Option<IpAddr>),
    /// Under an address of this subnet.
    Within(Box<Endpoint>, IpNet),
    /// Under an address, or under any that it would have.
    Host(Option<IpAddr>),
    Outside(IpAddr),
}

/// Why a mention means nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MentionError {
    /// Not written as anything that could be meant.
    #[error(
        "`{}` names nobody: write NAME, NETWORK/NAME, NETWORK/KEY=VALUE[,KEY=VALUE...], an address, a name in DNS, or `host`",
        shown(.0)
    )]
    Text(String),
    /// What stands behind the last colon is no port.
    #[error(
        "`{}` of `{}` is no port: write a number from 1 to 65535, with `/udp` or `/sctp` where it is not TCP; ports have no \
         names here",
        shown(.port), shown(.text)
    )]
    Port {
        /// The port.
        port: String,
        /// With whose it is.
        text: String,
    },
    /// No such endpoint.
    #[error("there is no endpoint `{name}`{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// As it was named.
        name: String,
        /// What may have been meant.
        near: Option<String>,
    },
    /// A name on several networks.
    #[error("`{name}` is an endpoint of several networks: write one of {}", .networks.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// `NETWORK/NAME` of each.
        networks: Vec<String>,
    },
    /// A name outside whose addresses nobody gave.
    #[error("no address of `{0}` is known")]
    NoAddress(DnsName),
    /// Two ends that cannot speak with each other.
    #[error("the two ends have no family of addresses in common")]
    Families,
}

impl FromStr for Mention {
    type Err = MentionError;

    fn from_str(text: &str) -> Result<Self, MentionError> {
        let error = || MentionError::Text(text.to_owned());
        if text == "host" {
            return Ok(Self::Host);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let Some((network, rest)) = text.split_once('/') else {
            return match text.contains('.') {
                true => text.parse().map(Self::Name).map_err(|_| error()),
                false => text.parse().map(|name| Self::Endpoint(None, name)).map_err(|_| error()),
            };
        };
        let network = network.parse().map_err(|_| error())?;
        if !rest.contains('=') {
            return rest.parse().map(|name| Self::Endpoint(Some(network), name)).map_err(|_| error());
        }
        let label = |text: &str| text.parse().map(|Label { key, value }| (key, value)).map_err(|_| error());
        Ok(Self::Labelled(network, rest.split(',').map(label).collect::<Result<_, _>>()?))
    }
}

impl Mention {
    /// Everybody it means: an endpoint once for each of its addresses.
    fn meant(&self, world: &World) -> Result<Vec<Meant>, MentionError> {
        let each =
            |endpoint: &Endpoint| -> Vec<Meant> { world.parties(endpoint).iter().map(Meant::party_of).collect() };
        match self {
            Self::Host => Ok(vec![Meant::Host(None)]),
            Self::Address(address) => Ok(vec![Meant::with(*address, world)]),
            Self::Name(name) => {
                let meant: Vec<_> = world.addresses_of(name).map(|address| Meant::with(address, world)).collect();
                if meant.is_empty() { Err(MentionError::NoAddress(name.clone())) } else { Ok(meant) }
            }
            Self::Labelled(network, labels) => {
                let (addresses, ports) = Default::default();
                let (network, labels) = (network.clone(), labels.clone());
                Ok(each(&Endpoint { network, name: None, labels, addresses, ports }))
            }
            Self::Endpoint(network, name) => {
                let is_meant = |endpoint: &&Endpoint| {
                    endpoint.name.as_ref() == Some(name)
                        && network.as_ref().is_none_or(|network| *network == endpoint.network)
                };
                let found: Vec<Meant> = world.endpoints().iter().filter(is_meant).flat_map(each).collect();
                if found.is_empty() { Err(MentionError::unknown(network.as_ref(), name, world)) } else { Ok(found) }
            }
        }
    }
}

impl MentionError {
    fn ambiguous(mention: &Mention, meant: &[Meant]) -> Self {
        let titles: BTreeSet<String> =
            meant.iter().filter_map(|meant| Some(format!("`{}`", meant.party().endpoint()?.title()))).collect();
        let name = match mention {
            Mention::Endpoint(_, name) => name.to_string(),
            Mention::Name(name) => name.to_string(),
            // No other means several.
            Mention::Host | Mention::Address(_) | Mention::Labelled(..) => String::new(),
        };
        Self::Ambiguous { name, networks: titles.into_iter().collect() }
    }

    fn unknown(network: Option<&NetworkName>, name: &ContainerName, world: &World) -> Self {
        let title = |endpoint: &Endpoint| match (network, &endpoint.name) {
            (None, Some(name)) => name.to_string(),
            _ => endpoint.title(),
        };
        let name = network.map_or_else(|| name.to_string(), |network| format!("{network}/{name}"));
        let titles: Vec<String> = world.endpoints().iter().map(title).collect();
        let near = nearest(&name, titles.iter().map(String::as_str)).map(str::to_owned);
        Self::Unknown { name, near }
    }
}

impl Meant {
    /// Whoever has this address.
    fn with(address: IpAddr, world: &World) -> Self {
        Self::party_of(&world.party_with(address))
    }

    fn party_of(party: &Party<'_>) -> Self {
        match *party {
            Party::Endpoint { endpoint, address } => Self::Endpoint(Box::new(endpoint.clone()), address),
            Party::Within { endpoint, subnet } => Self::Within(Box::new(endpoint.clone()), subnet),
            Party::Host { address } => Self::Host(address),
            Party::Outside(address) => Self::Outside(address),
        }
    }

    fn network(&self) -> Option<&NetworkName> {
        self.party().endpoint().map(|endpoint| &endpoint.network)
    }

    fn party(&self) -> Party<'_> {
        match self {
            Self::Endpoint(endpoint, address) => Party::Endpoint { endpoint, address: *address },
            Self::Within(endpoint, subnet) => Party::Within { endpoint, subnet: *subnet },
            Self::Host(address) => Party::Host { address: *address },
            Self::Outside(address) => Party::Outside(*address),
        }
    }
}

impl Question {
    /// A question whose target may have a port: `DST`, `DST:PORT` or `DST:PORT/PROTOCOL`, with an IPv6 address in
    /// brackets before a port.
    pub fn read(from: &str, to: &str) -> Result<Self, MentionError> {
        let (to, port) = match to.parse::<IpAddr>().is_ok() {
            true => (to, None),
            false => match to.rsplit_once(':') {
                Some((to, port)) => {
                    let error = || match to.contains(':') && !to.ends_with(']') {
                        // Rather an address of IPv6 that is none.
                        true => MentionError::Text(format!("{to}:{port}")),
                        false => MentionError::Port { port: port.to_owned(), text: format!("{to}:{port}") },
                    };
                    (to, Some(port.parse().map_err(|_| error())?))
                }
                None => (to, None),
            },
        };
        let to = to.strip_prefix('[').and_then(|to| to.strip_suffix(']')).unwrap_or(to);
        Ok(Self { from: from.parse()?, to: to.parse()?, port })
    }

    /// Asks of each connection that is meant: of one for each pair of addresses of one family that both ends have. Of a
    /// container on several networks, those endpoints are meant that are on one with the other end; and link-local
    /// addresses speak with each other alone, unless they are asked about.
    pub fn each_flow<T>(&self, world: &World, mut ask: impl FnMut(&Course<'_>) -> T) -> Result<Vec<T>, MentionError> {
        let (from, to) = (self.from.meant(world)?, self.to.meant(world)?);
        let is_on_several = |meant: &[Meant]| meant.iter().any(|one| one.network() != meant[0].network());
        let by_network = is_on_several(&from) || is_on_several(&to);
        let is_asked =
            |one: &Meant, other: &Meant| !by_network || one.network().is_some() && one.network() == other.network();
        if !from.iter().any(|from| to.iter().any(|to| is_asked(from, to))) {
            let (mention, meant) = if is_on_several(&from) { (&self.from, &from) } else { (&self.to, &to) };
            return Err(MentionError::ambiguous(mention, meant));
        }
        let mut pairs = Vec::new();
        for from in &from {
            let to = to.iter().filter(|to| is_asked(from, to));
            pairs.extend(to.flat_map(|to| spoken(world, from.party(), to.party(), self.port)));
        }
        if pairs.iter().any(|(from, to)| is_of_one_scope(from, to)) {
            pairs.retain(|(from, to)| is_of_one_scope(from, to));
        }
        let mut answers = Vec::new();
        for (from, to) in pairs {
            let family = from.family().or(to.family()).unwrap_or(Family::Ipv4);
            let asks = self.port.map_or(Asked::echo(family), |port| Asked::Port(port.protocol, port.port));
            answers.push(ask(&world.course(Flow { from, to, asks })));
        }
        if answers.is_empty() { Err(MentionError::Families) } else { Ok(answers) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_with_their_ports() {
        let port = |text: &str| Some(text.parse::<ContainerPort>().expect("literal"));
        let name = |network: Option<&str>, name: &str| {
            let network = network.map(|network| network.parse().expect("literal"));
            Mention::Endpoint(network, name.parse().expect("literal"))
        };
        let address = |text: &str| Mention::Address(text.parse().expect("literal"));
        let labels = Labels::from([("app".to_owned(), "web".to_owned()), ("a/b".to_owned(), String::new())]);
        for (text, to, expected) in [
            ("web", name(None, "web"), None),
            ("web:80", name(None, "web"), port("80/tcp")),
            ("shop/web:53/udp", name(Some("shop"), "web"), port("53/udp")),
            ("10.0.0.1", address("10.0.0.1"), None),
            ("10.0.0.1:80", address("10.0.0.1"), port("80")),
            ("fd00::1", address("fd00::1"), None),
            ("[fd00::1]:80", address("fd00::1"), port("80")),
            ("api.example.com:443", Mention::Name("api.example.com".parse().expect("literal")), port("443")),
            ("host:22", Mention::Host, port("22")),
            ("shop/app=web,a/b=:80", Mention::Labelled("shop".parse().expect("literal"), labels), port("80")),
        ] {
            assert_eq!(
                Question::read("host", text),
                Ok(Question { from: Mention::Host, to, port: expected }),
                "{text}"
            );
        }
        for text in
            ["", ":80", "web:0", "web:http", "a b", "shop/", "/web", "Shop/web", "shop/=x", "a\n", "shop/k=a\nb"]
        {
            assert!(Question::read("host", text).is_err(), "{text:?}");
        }
    }
}
