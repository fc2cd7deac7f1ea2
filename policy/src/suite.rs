//! Files of tests: what there is, and what should become of which connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::IpAddr,
    str::FromStr,
    sync::Arc,
};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::{ContainerPort, Labels, PortName, Publish, Published};
use serde::Deserialize;

use crate::{
    block::AddressBlock,
    document::{DocumentError, moment},
    label::{LabelKey, LabelValue, shown},
    mention::{Mention, Question},
    place::Place,
    rule::Effect,
    tree::{Defect, Node, Syntax, read},
    world::{Endpoint, Network, World},
};

/// A file of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Files and directories of policies, relative to the file.
    pub policies: Vec<String>,
    /// The moment at which it is; none means that of the test.
    pub now: Option<Timestamp>,
    /// What there is.
    pub world: World,
    /// What is expected.
    pub expectations: Vec<Expectation>,
}

/// What should become of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Where it stands.
    pub place: Place,
    /// The connection.
    pub question: Question,
    /// What should become of it.
    pub expected: Effect,
}

#[derive(Deserialize)]
struct WrittenSuite {
    #[serde(default)]
    policies: Vec<String>,
    now: Option<String>,
    #[serde(default)]
    networks: BTreeMap<String, Option<WrittenNetwork>>,
    #[serde(default)]
    endpoints: Vec<WrittenEndpoint>,
    #[serde(default)]
    names: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    host: Vec<String>,
    #[serde(default)]
    expect: Vec<WrittenExpectation>,
}

#[derive(Deserialize)]
struct WrittenNetwork {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    gateways: Vec<String>,
    #[serde(default)]
    subnets: Vec<String>,
}

#[derive(Deserialize)]
struct WrittenEndpoint {
    name: String,
    network: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    ports: BTreeMap<String, IntOrString>,
    #[serde(default)]
    publish: Vec<String>,
}

#[derive(Deserialize)]
struct WrittenExpectation {
    from: String,
    to: String,
    port: Option<IntOrString>,
    verdict: WrittenEffect,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenEffect {
    Allow,
    Deny,
}

impl Suite {
    /// The tests of a file. What says what there is need not expect anything.
    pub fn parse(file: &str, syntax: Syntax, text: &str) -> Result<Self, DocumentError> {
        let file: Arc<str> = file.into();
        let told = |defect: Defect| DocumentError {
            place: Place::new(&file, defect.position()),
            document: None,
            problem: defect.problem,
        };
        let nodes = Node::documents(syntax, text).map_err(told)?;
        match &nodes[..] {
            [node] => suite(&file, node).map_err(told),
            [] => Err(told(Defect::invalid(crate::place::Position::START, "the file is empty"))),
            [_, second, ..] => Err(told(second.invalid("a file of tests is one document"))),
        }
    }
}

fn suite(file: &Arc<str>, node: &Node) -> Result<Suite, Defect> {
    let written: WrittenSuite = read(node)?;
    let expect = node.nearest_to_field("expect");
    let expectation = |(index, expectation)| expectation_of(file, expectation, expect.nearest_to_item(index));
    Ok(Suite {
        now: match &written.now {
            Some(text) => Some(moment(text, node.nearest_to_field("now"))?),
            None => None,
        },
        world: world(&written, node)?,
        expectations: written.expect.iter().enumerate().map(expectation).collect::<Result<_, _>>()?,
        policies: written.policies,
    })
}

fn world(written: &WrittenSuite, node: &Node) -> Result<World, Defect> {
    let networks_node = node.nearest_to_field("networks");
    let network = |(name, network): (&String, &Option<WrittenNetwork>)| {
        let place = networks_node.nearest_to_field(name);
        let network = match network {
            Some(network) => Network {
                labels: labels(&network.labels, place.nearest_to_field("labels"))?,
                gateways: addresses_of(&network.gateways, place.nearest_to_field("gateways"))?,
                subnets: ranges_of(&network.subnets, place.nearest_to_field("subnets"))?,
            },
            None => Network::default(),
        };
        Ok((parsed(name, place)?, network))
    };
    let endpoints_node = node.nearest_to_field("endpoints");
    let endpoint = |(index, endpoint)| endpoint_of(endpoint, endpoints_node.nearest_to_item(index));
    let names_node = node.nearest_to_field("names");
    let name = |(name, addresses): (&String, &Vec<String>)| {
        let place = names_node.nearest_to_field(name);
        Ok((parsed(name, place)?, addresses_of(addresses, place)?))
    };
    let mut published = Vec::new();
    for (index, endpoint) in written.endpoints.iter().enumerate() {
        published.extend(published_of(endpoint, endpoints_node.nearest_to_item(index))?);
    }
    let world = World::new(
        written.networks.iter().map(network).collect::<Result<_, _>>()?,
        written.endpoints.iter().enumerate().map(endpoint).collect::<Result<_, _>>()?,
        written.names.iter().map(name).collect::<Result<_, _>>()?,
        addresses_of(&written.host, node.nearest_to_field("host"))?,
    );
    world.map(|world| world.with_published(published)).map_err(|error| endpoints_node.invalid(error))
}

fn published_of(written: &WrittenEndpoint, node: &Node) -> Result<Vec<Published>, Defect> {
    let (place, addresses) = (node.nearest_to_field("publish"), node.nearest_to_field("addresses"));
    let addresses = addresses_of(&written.addresses, addresses)?;
    let mut published = Vec::new();
    for (index, text) in written.publish.iter().enumerate() {
        let publish: Publish = parsed(text, place.nearest_to_item(index))?;
        published.extend(addresses.iter().flat_map(|address| Published::of(&publish, *address)));
    }
    Ok(published)
}

fn endpoint_of(written: &WrittenEndpoint, node: &Node) -> Result<Endpoint, Defect> {
    let ports_node = node.nearest_to_field("ports");
    let port = |(name, port): (&String, &IntOrString)| {
        let place = ports_node.nearest_to_field(name);
        Ok((parsed::<PortName>(name, place)?, port_of(port, place)?))
    };
    Ok(Endpoint {
        network: parsed(&written.network, node.nearest_to_field("network"))?,
        name: Some(parsed(&written.name, node.nearest_to_field("name"))?),
        labels: labels(&written.labels, node.nearest_to_field("labels"))?,
        addresses: addresses_of(&written.addresses, node.nearest_to_field("addresses"))?,
        ports: written.ports.iter().map(port).collect::<Result<_, _>>()?,
    })
}

fn expectation_of(file: &Arc<str>, written: &WrittenExpectation, node: &Node) -> Result<Expectation, Defect> {
    let mention = |text: &str, field| parsed::<Mention>(text, node.nearest_to_field(field));
    Ok(Expectation {
        place: Place::new(file, node.position),
        question: Question {
            from: mention(&written.from, "from")?,
            to: mention(&written.to, "to")?,
            port: match &written.port {
                Some(port) => Some(port_of(port, node.nearest_to_field("port"))?),
                None => None,
            },
        },
        expected: match written.verdict {
            WrittenEffect::Allow => Effect::Allow,
            WrittenEffect::Deny => Effect::Deny,
        },
    })
}

fn port_of(written: &IntOrString, node: &Node) -> Result<ContainerPort, Defect> {
    match written {
        IntOrString::Int(number) => parsed(&number.to_string(), node),
        IntOrString::String(text) => parsed(text, node),
    }
}

fn labels(written: &BTreeMap<String, String>, node: &Node) -> Result<Labels, Defect> {
    for (key, value) in written {
        let place = node.nearest_to_field(key);
        key.parse::<LabelKey>().map_err(|error| place.invalid(error))?;
        value.parse::<LabelValue>().map_err(|error| place.invalid(error))?;
    }
    Ok(written.clone())
}

fn addresses_of(texts: &[String], node: &Node) -> Result<BTreeSet<IpAddr>, Defect> {
    let address = |(index, text): (usize, &String)| {
        text.parse().map_err(|_| node.nearest_to_item(index).invalid(format!("`{}` is not an address", shown(text))))
    };
    texts.iter().enumerate().map(address).collect()
}

fn ranges_of(texts: &[String], node: &Node) -> Result<BTreeSet<IpNet>, Defect> {
    let range = |(index, text): (usize, &String)| {
        let range = AddressBlock::range_of(text).map_err(|error| node.nearest_to_item(index).invalid(error))?;
        Ok(range.trunc())
    };
    texts.iter().enumerate().map(range).collect()
}

fn parsed<T: FromStr<Err: Display>>(text: &str, node: &Node) -> Result<T, Defect> {
    text.parse().map_err(|error| node.invalid(error))
}
