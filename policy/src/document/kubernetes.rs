//! `NetworkPolicy` of `networking.k8s.io/v1`, as the API reference of Kubernetes has it.

use std::{collections::BTreeSet, num::NonZeroU16};

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    },
    apimachinery::pkg::{apis::meta::v1::Condition, util::intstr::IntOrString},
};
use model::{NetworkName, PortRange, Protocol};
use serde::Deserialize;

use super::{Document, Reader, selection::label_selector};
use crate::{
    block::AddressBlock,
    peer::{EndpointSelector, Networks, Peer},
    rule::{Action, Direction, Layer, Logging, Policy, Rule},
    service::{Ports, Service},
    tree::{Defect, Node, read},
};

pub(super) const API_VERSION: &str = "networking.k8s.io/v1";

/// `NetworkPolicyStatus` of the API reference of Kubernetes 1.24 to 1.27.
#[derive(Deserialize)]
struct Status {
    #[serde(rename = "conditions")]
    _conditions: Option<Vec<Condition>>,
}

/// The annotation that has logged what a policy isolates from, and what it says.
const LOG: &str = "fabric/log";
const LOG_DENIED: &str = "denied";

impl Reader<'_> {
    pub(super) fn kubernetes(&self, node: &Node) -> Result<Document, Defect> {
        // What tools of Kubernetes 1.24 to 1.27 wrote, whose API had it: it says nothing of who may talk to whom.
        let without_status =
            node.field("status").map(|status| read::<Option<Status>>(status).map(|_| node.without("status")));
        let written: NetworkPolicy = match without_status.transpose()? {
            Some(rest) => read(&rest)?,
            None => read(node)?,
        };
        let metadata = node.nearest_to_field("metadata");
        let name = written.metadata.name.ok_or_else(|| metadata.invalid("`metadata.name` is missing"))?;
        let network = self.network_of(written.metadata.namespace.as_deref(), metadata)?;
        // A policy without `spec` is one whose every field is missing.
        let spec_node = node.nearest_to_field("spec");
        let spec = written.spec.unwrap_or_default();
        let (ingress, egress) = (spec.ingress.unwrap_or_default(), spec.egress.unwrap_or_default());

        let types = spec.policy_types.unwrap_or_default();
        let isolates: BTreeSet<Direction> = if types.is_empty() {
            // "policies that contain an egress section are assumed to affect egress, and all policies [...] ingress"; a
            // section without rules is none.
            let egress = (!egress.is_empty()).then_some(Direction::Egress);
            [Direction::Ingress].into_iter().chain(egress).collect()
        } else {
            let place = spec_node.nearest_to_field("policyTypes");
            let direction = |(index, text): (usize, &String)| match text.as_str() {
                "Ingress" => Ok(Direction::Ingress),
                "Egress" => Ok(Direction::Egress),
                _ => Err(place.nearest_to_item(index).invalid("expected `Ingress` or `Egress`")),
            };
            types.iter().enumerate().map(direction).collect::<Result<BTreeSet<_>, _>>()?
        };

        // It has no words for a log, and an annotation changes nothing for anybody else.
        let annotations = written.metadata.annotations.unwrap_or_default();
        let logged = match annotations.get(LOG).map(String::as_str) {
            None => BTreeSet::new(),
            Some(LOG_DENIED) => BTreeSet::clone(&isolates),
            Some(_) => {
                let place = metadata.nearest_to_field("annotations").nearest_to_field(LOG);
                return Err(place.invalid(format!("expected `{LOG}: {LOG_DENIED}`")));
            }
        };

        let subject = match &spec.pod_selector {
            Some(selector) => label_selector(selector, spec_node.nearest_to_field("podSelector"))?,
            None => Default::default(),
        };
        let mut rules = Vec::new();
        for (index, NetworkPolicyIngressRule { from, ports }) in ingress.iter().enumerate() {
            let place = spec_node.nearest_to_field("ingress").nearest_to_item(index);
            rules.push(self.rule(Direction::Ingress, index, place, ("from", from.as_deref()), ports.as_deref())?);
        }
        for (index, NetworkPolicyEgressRule { to, ports }) in egress.iter().enumerate() {
            let place = spec_node.nearest_to_field("egress").nearest_to_item(index);
            rules.push(self.rule(Direction::Egress, index, place, ("to", to.as_deref()), ports.as_deref())?);
        }
        Ok(Document::Policy(Policy {
            name: name.parse().map_err(|error| metadata.nearest_to_field("name").invalid(error))?,
            place: self.place(node.position),
            layer: Layer::Additive(isolates),
            networks: Networks::Named([network].into()),
            subject: EndpointSelector { labels: subject, ..EndpointSelector::default() },
            rules,
            logged,
        }))
    }

    fn network_of(&self, namespace: Option<&str>, metadata: &Node) -> Result<NetworkName, Defect> {
        let Some(namespace) = namespace else {
            return self.network.cloned().ok_or_else(|| {
                metadata
                    .invalid("`metadata.namespace` is missing: write the network's name there, or say --network NAME")
            });
        };
        namespace.parse().map_err(|error| metadata.nearest_to_field("namespace").invalid(error))
    }

    fn rule(
        &self,
        direction: Direction,
        index: usize,
        node: &Node,
        (side, peers): (&str, Option<&[NetworkPolicyPeer]>),
        ports: Option<&[NetworkPolicyPort]>,
    ) -> Result<Rule, Defect> {
        let (peers_node, ports_node) = (node.nearest_to_field(side), node.nearest_to_field("ports"));
        let peers = peers.unwrap_or_default().iter().enumerate();
        let ports = ports.unwrap_or_default().iter().enumerate();
        Ok(Rule {
            place: self.place(node.position),
            direction,
            number: index + 1,
            order: 0,
            action: Action::Allow,
            peers: peers
                .map(|(index, written)| peer(written, peers_node.nearest_to_item(index)))
                .collect::<Result<_, _>>()?,
            services: ports
                .map(|(index, written)| port(written, ports_node.nearest_to_item(index)))
                .collect::<Result<_, _>>()?,
            logging: Logging::Off,
            rate: None,
            connections: None,
            expires: None,
        })
    }
}

fn peer(written: &NetworkPolicyPeer, node: &Node) -> Result<Peer, Defect> {
    let pods = match &written.pod_selector {
        Some(selector) => Some(label_selector(selector, node.nearest_to_field("podSelector"))?),
        None => None,
    };
    let namespaces = match &written.namespace_selector {
        Some(selector) => Some(label_selector(selector, node.nearest_to_field("namespaceSelector"))?),
        None => None,
    };
    let endpoints = |labels| EndpointSelector { labels, ..EndpointSelector::default() };
    match (&written.ip_block, pods, namespaces) {
        (None, None, None) => Err(node.invalid("a peer needs `podSelector`, `namespaceSelector`, both, or `ipBlock`")),
        (Some(IPBlock { cidr, except }), None, None) => {
            block(cidr, except.as_deref().unwrap_or_default(), node.nearest_to_field("ipBlock")).map(Peer::Block)
        }
        (Some(_), ..) => Err(node
            .nearest_to_field("ipBlock")
            .invalid("`ipBlock` stands alone: a peer with it has no `podSelector` and no `namespaceSelector`")),
        (None, pods, namespaces) => {
            Ok(Peer::Endpoints(namespaces.map(Networks::Labelled), endpoints(pods.unwrap_or_default())))
        }
    }
}

/// A range and its exceptions, which both forms have.
pub(super) fn block(cidr: &str, except: &[String], node: &Node) -> Result<AddressBlock, Defect> {
    if cidr.is_empty() {
        return Err(node.invalid("`cidr` is missing"));
    }
    let range = AddressBlock::range_of(cidr).map_err(|error| node.nearest_to_field("cidr").invalid(error))?;
    let place = node.nearest_to_field("except");
    let exception = |(index, text): (usize, &String)| {
        AddressBlock::range_of(text).map_err(|error| place.nearest_to_item(index).invalid(error))
    };
    let except = except.iter().enumerate().map(exception).collect::<Result<Vec<_>, _>>()?;
    AddressBlock::new(range, except).map_err(|error| place.invalid(error))
}

fn port(written: &NetworkPolicyPort, node: &Node) -> Result<Service, Defect> {
    let protocol = match written.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) => return Err(node.nearest_to_field("protocol").invalid("`protocol` must be TCP, UDP or SCTP")),
    };
    let number = |number: i32, field: &str| {
        let port = u16::try_from(number).ok().and_then(NonZeroU16::new);
        port.ok_or_else(|| node.nearest_to_field(field).invalid(format!("`{field}` must be 1 to 65535")))
    };
    let ports = match (&written.port, written.end_port) {
        (None, None) => Ports::All,
        (Some(IntOrString::Int(first)), None) => Ports::Range(PortRange::single(number(*first, "port")?)),
        (Some(IntOrString::Int(first)), Some(last)) => {
            let range = PortRange::new(number(*first, "port")?, number(last, "endPort")?);
            Ports::Range(
                range.ok_or_else(|| node.nearest_to_field("endPort").invalid("`endPort` is lower than `port`"))?,
            )
        }
        (Some(IntOrString::String(name)), None) => {
            Ports::Named(name.parse().map_err(|error| node.nearest_to_field("port").invalid(error))?)
        }
        (None | Some(IntOrString::String(_)), Some(_)) => {
            return Err(node.nearest_to_field("endPort").invalid("`endPort` needs a `port` that is a number"));
        }
    };
    Ok(Service::Ports(protocol, ports))
}
