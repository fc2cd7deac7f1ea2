//! `Policy` and `Stance` of `fabric/v1`: what Kubernetes has no words for, and what it takes more of them for.

use std::{collections::BTreeSet, num::NonZeroU32};

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelectorRequirement, util::intstr::IntOrString};
use model::{ContainerName, Family, NetworkName};

mod wire;

use super::{
    Document, Reader,
    kubernetes::block,
    selection::{exact, label_key, label_value, requirements},
};
use crate::{
    peer::{EndpointSelector, Networks, Peer},
    rule::{Action, Direction, Effect, Layer, Logging, Policy, Rule, Stance},
    selector::{Identity, Requirement, Selector},
    service::{ParseServiceError, Service},
    tree::{Defect, Node, read},
};

pub(super) const API_VERSION: &str = "fabric/v1";

/// What stands for every network.
const EVERY: &str = "*";
/// The tier and the order of a policy that names none.
const DEFAULT_TIER: u16 = 100;
const DEFAULT_ORDER: u16 = 100;

impl Reader<'_> {
    pub(super) fn native(&self, node: &Node) -> Result<Document, Defect> {
        let written: wire::Policy = read(node)?;
        let order = written.order.unwrap_or(DEFAULT_ORDER);
        let mut rules = Vec::new();
        for (direction, field, list) in
            [(Direction::Ingress, "ingress", &written.ingress), (Direction::Egress, "egress", &written.egress)]
        {
            for (index, rule) in list.iter().enumerate() {
                let place = node.nearest_to_field(field).nearest_to_item(index);
                rules.push(self.native_rule(direction, index, order, rule, place)?);
            }
        }
        let networks_node = node.nearest_to_field("networks");
        let networks = networks(&written.networks, networks_node)?;
        Ok(Document::Policy(Policy {
            name: name(&written.metadata.name, node)?,
            place: self.place(node.position),
            layer: Layer::Tier(written.tier.unwrap_or(DEFAULT_TIER)),
            networks,
            subject: match &written.subject {
                Some(subject) => subject_of(subject, node.nearest_to_field("subject"))?,
                None => EndpointSelector::default(),
            },
            rules,
            logged: BTreeSet::new(),
        }))
    }

    pub(super) fn stance(&self, node: &Node) -> Result<Document, Defect> {
        let written: wire::Stance = read(node)?;
        let place = node.nearest_to_field("networks");
        if written.networks.is_empty() {
            return Err(place.invalid("`networks` is empty: name one network or more"));
        }
        let said = [(Direction::Ingress, written.ingress.is_some()), (Direction::Egress, written.egress.is_some())];
        let said: BTreeSet<Direction> = said.into_iter().filter_map(|(way, is_said)| is_said.then_some(way)).collect();
        let is_logged = written.log.unwrap_or_default();
        if is_logged && said.is_empty() {
            let told = "`log` is about what `ingress` and `egress` say, and both are missing";
            return Err(node.nearest_to_field("log").invalid(told));
        }
        let network = |(index, text): (usize, &String)| named(text, place.nearest_to_item(index));
        Ok(Document::Stance(Stance {
            name: name(&written.metadata.name, node)?,
            place: self.place(node.position),
            networks: written.networks.iter().enumerate().map(network).collect::<Result<_, _>>()?,
            ingress: written.ingress.map_or(Effect::Allow, Effect::from),
            egress: written.egress.map_or(Effect::Allow, Effect::from),
            logged: if is_logged { said } else { BTreeSet::new() },
        }))
    }

    fn native_rule(
        &self,
        direction: Direction,
        index: usize,
        order: u16,
        written: &wire::Rule,
        node: &Node,
    ) -> Result<Rule, Defect> {
        let (side, peers) = match (direction, &written.from, &written.to) {
            (Direction::Ingress, from, None) => ("from", from),
            (Direction::Egress, None, to) => ("to", to),
            (Direction::Ingress, _, Some(_)) => {
                return Err(node.nearest_to_field("to").invalid("a rule of `ingress` has `from`, not `to`"));
            }
            (Direction::Egress, Some(_), _) => {
                return Err(node.nearest_to_field("from").invalid("a rule of `egress` has `to`, not `from`"));
            }
        };
        let peers_node = node.nearest_to_field(side);
        let action = Action::from(written.action);
        if action != Action::Allow {
            for (field, is_there) in [("rate", written.rate.is_some()), ("connections", written.connections.is_some())]
            {
                if is_there {
                    let told = format!("`{field}` limits what is allowed: it needs `action: allow`");
                    return Err(node.nearest_to_field(field).invalid(told));
                }
            }
        }
        // An empty list would read as "nobody" and mean "anybody".
        if peers.as_ref().is_some_and(Vec::is_empty) {
            return Err(peers_node.invalid(format!("`{side}` is empty: leave it out for anybody, or name somebody")));
        }
        let peers = peers.iter().flatten().enumerate();
        Ok(Rule {
            place: self.place(node.position),
            direction,
            number: index + 1,
            order: written.order.unwrap_or(order),
            action,
            peers: peers
                .map(|(index, written)| peer(written, direction, peers_node.nearest_to_item(index)))
                .collect::<Result<_, _>>()?,
            services: services(written, node)?,
            logging: match written.log {
                Some(true) => Logging::On,
                Some(false) => Logging::Off,
                // Whom it would have denied is what it is there to tell.
                None if action == Action::Audit => Logging::On,
                None => Logging::Off,
            },
            rate: match &written.rate {
                Some(text) => Some(text.parse().map_err(|error| node.nearest_to_field("rate").invalid(error))?),
                None => None,
            },
            connections: limit(written.connections, node.nearest_to_field("connections"))?,
            expires: match &written.expires {
                Some(text) => Some(super::moment(text, node.nearest_to_field("expires"))?),
                None => None,
            },
        })
    }
}

fn name(text: &str, node: &Node) -> Result<crate::rule::PolicyName, Defect> {
    text.parse().map_err(|error| node.nearest_to_field("metadata").nearest_to_field("name").invalid(error))
}

fn named(text: &str, node: &Node) -> Result<NetworkName, Defect> {
    text.parse().map_err(|error| node.invalid(error))
}

fn limit(number: Option<u32>, node: &Node) -> Result<Option<NonZeroU32>, Defect> {
    let positive = |number| NonZeroU32::new(number).ok_or_else(|| node.invalid("must be 1 or more"));
    number.map(positive).transpose()
}

fn networks(written: &[String], node: &Node) -> Result<Networks, Defect> {
    match written {
        [] => Err(node.invalid(format!("`networks` is empty: name one or more, or \"{EVERY}\" for every network"))),
        [only] if only == EVERY => Ok(Networks::Labelled(Selector::default())),
        names => {
            let network = |(index, text): (usize, &String)| named(text, node.nearest_to_item(index));
            names.iter().enumerate().map(network).collect::<Result<_, _>>().map(Networks::Named)
        }
    }
}

fn subject_of(written: &wire::Subject, node: &Node) -> Result<EndpointSelector, Defect> {
    let wire::Subject { names, labels, expressions, identity } = written;
    endpoints(names.as_deref(), labels.as_ref(), expressions.as_deref(), identity.as_ref(), node)
}

fn endpoints(
    names: Option<&[String]>,
    labels: Option<&wire::LabelMap>,
    expressions: Option<&[LabelSelectorRequirement]>,
    identity: Option<&std::collections::BTreeMap<String, String>>,
    node: &Node,
) -> Result<EndpointSelector, Defect> {
    let place = node.nearest_to_field("names");
    if names.is_some_and(<[_]>::is_empty) {
        return Err(place.invalid("`names` is empty: leave it out for any name, or give one"));
    }
    let container = |(index, text): (usize, &String)| {
        text.parse::<ContainerName>().map_err(|error| place.nearest_to_item(index).invalid(error))
    };
    Ok(EndpointSelector {
        names: names.unwrap_or_default().iter().enumerate().map(container).collect::<Result<_, _>>()?,
        labels: selector(labels, expressions, node, ("labels", "expressions"))?,
        identity: match identity {
            Some(labels) => Some(Identity(exact(labels, node.nearest_to_field("identity"))?)),
            None => None,
        },
    })
}

fn selector(
    labels: Option<&wire::LabelMap>,
    expressions: Option<&[LabelSelectorRequirement]>,
    node: &Node,
    (labels_field, expressions_field): (&str, &str),
) -> Result<Selector, Defect> {
    let equal = labels.into_iter().flat_map(|labels| &labels.0).map(|(key, values)| {
        let place = node.nearest_to_field(labels_field).nearest_to_field(key);
        if values.0.is_empty() {
            return Err(place.invalid("expected a value, or a list of at least one"));
        }
        let values = values.0.iter().map(|value| label_value(value, place)).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(Requirement::In(label_key(key, place)?, values))
    });
    let others = requirements(expressions.unwrap_or_default(), node.nearest_to_field(expressions_field))?;
    Ok(Selector::new(equal.collect::<Result<Vec<_>, _>>()?.into_iter().chain(others)))
}

fn peer(written: &wire::Peer, direction: Direction, node: &Node) -> Result<Peer, Defect> {
    let wire::Peer { names, labels, expressions, identity, networks: of, network_labels, cidr, except, entity, dns } =
        written;
    let is_of_endpoints = names.is_some()
        || labels.is_some()
        || expressions.is_some()
        || identity.is_some()
        || of.is_some()
        || network_labels.is_some();
    let kinds = [is_of_endpoints, cidr.is_some(), entity.is_some(), dns.is_some()];
    if kinds.into_iter().filter(|is_there| *is_there).count() != 1 {
        return Err(node.invalid(
            "a peer is one of: endpoints (`names`, `labels`, `expressions`, `identity`, `networks`, `networkLabels`), `cidr`, \
             `entity`, `dns`",
        ));
    }
    if except.is_some() && cidr.is_none() {
        return Err(node.nearest_to_field("except").invalid("`except` is left out of `cidr`, which is missing"));
    }
    if let Some(cidr) = cidr {
        return block(cidr, except.as_deref().unwrap_or_default(), node).map(Peer::Block);
    }
    if let Some(entity) = entity {
        return Ok(match entity {
            wire::Entity::Host => Peer::Host,
            wire::Entity::World => Peer::World,
        });
    }
    if let Some(patterns) = dns {
        let place = node.nearest_to_field("dns");
        if direction == Direction::Ingress {
            return Err(place.invalid("`dns` stands in rules of `egress` only: who opens a connection has no name"));
        }
        if patterns.is_empty() {
            return Err(place.invalid("`dns` is empty: give one name or more"));
        }
        let pattern = |(index, text): (usize, &String)| {
            text.parse()
                .map_err(|error: crate::dns_name::ParseDnsNameError| place.nearest_to_item(index).invalid(error))
        };
        return patterns.iter().enumerate().map(pattern).collect::<Result<_, _>>().map(Peer::Names);
    }
    let place = node.nearest_to_field("networks");
    let networks = match (of, network_labels) {
        (None, None) => None,
        (Some(names), None) => Some(networks(names, place)?),
        (None, Some(_)) => {
            let labelled = selector(network_labels.as_ref(), None, node, ("networkLabels", ""))?;
            Some(Networks::Labelled(labelled))
        }
        (Some(_), Some(_)) => return Err(place.invalid("a peer has `networks` or `networkLabels`, not both")),
    };
    endpoints(names.as_deref(), labels.as_ref(), expressions.as_deref(), identity.as_ref(), node)
        .map(|selector| Peer::Endpoints(networks, selector))
}

fn services(written: &wire::Rule, node: &Node) -> Result<Vec<Service>, Defect> {
    let mut services = Vec::new();
    let icmp = |family| move |text: &str| Service::icmp(family, text);
    let mut read =
        |field: &str, list: &Option<Vec<IntOrString>>, parse: &dyn Fn(&str) -> Result<Service, ParseServiceError>| {
            let place = node.nearest_to_field(field);
            if list.as_ref().is_some_and(Vec::is_empty) {
                return Err(place.invalid(format!("`{field}` is empty: leave it out for anything, or give one")));
            }
            for (index, item) in list.iter().flatten().enumerate() {
                let text = match item {
                    IntOrString::Int(number) => number.to_string(),
                    IntOrString::String(text) => text.clone(),
                };
                services.push(parse(&text).map_err(|error| place.nearest_to_item(index).invalid(error))?);
            }
            Ok(())
        };
    read("ports", &written.ports, &Service::ports)?;
    read("icmp", &written.icmp, &icmp(Family::Ipv4))?;
    read("icmpv6", &written.icmpv6, &icmp(Family::Ipv6))?;
    Ok(services)
}
