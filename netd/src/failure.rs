//! Why a request was not carried out.

mod answer;
mod cause;
mod hint;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    path::PathBuf,
};

use api::Elsewhere;
use model::{
    ByteSize, Chain, ContainerName, Driver, IfName, ImageName, MacAddress, NetworkName, Printable, Publish,
    PublishRequest, SubInterfaceKind, nearest,
};

/// What a name can belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noun {
    Network,
    Container,
    Image,
    Policy,
}

impl Noun {
    fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Container => "container",
            Self::Image => "image",
            Self::Policy => "policy",
        }
    }
}

/// What something was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To show, change or remove it.
    Find,
    /// To make something else with it.
    Use,
}

/// Why a request was not carried out. The state before it still stands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("there is no {} `{name}`", .noun.word())]
    Unknown { noun: Noun, name: String, nearest: Option<String>, purpose: Purpose },
    #[error("`{reference}` begins the id of more than one {}", .noun.word())]
    Ambiguous { noun: Noun, reference: String },
    #[error("there is already a {} `{name}`", .noun.word())]
    NameTaken { noun: Noun, name: String },
    #[error("network `{network}` is in use by {}", listed(.containers))]
    NetworkInUse { network: NetworkName, containers: Vec<String> },
    #[error("network `{network}` could not be made to the end, and stays because it is in use by {}", listed(.containers))]
    HalfMade {
        network: NetworkName,
        containers: Vec<String>,
        #[source]
        source: Box<Failure>,
    },
    #[error("image `{name}` is in use by {}", listed(.containers))]
    ImageInUse { name: ImageName, containers: Vec<String> },
    #[error("image `{reference}` has more than one name: {}", .names.join(", "))]
    ImageWithNames { reference: ImageName, names: Vec<String> },
    #[error("network `{network}` cannot do without {}", addresses_of(.held))]
    AddressesHeld { network: NetworkName, held: Vec<(IpAddr, String)> },
    #[error("network `{network}` cannot have subnet {range}")]
    Range {
        network: NetworkName,
        range: ipnet::IpNet,
        #[source]
        source: Box<ipam::IpamError>,
    },
    #[error("there is no subnet for network `{network}`")]
    NoRange {
        network: NetworkName,
        #[source]
        source: Box<ipam::IpamError>,
    },
    #[error("network `{network}` has no address to give")]
    Address {
        network: NetworkName,
        #[source]
        source: Box<ipam::IpamError>,
    },
    #[error("network `{network}` cannot give address {address}: container `{holder}` has it")]
    AddressTaken { network: NetworkName, address: IpAddr, holder: String },
    #[error("network `{network}` cannot give address {address}")]
    AddressRefused {
        network: NetworkName,
        address: IpAddr,
        #[source]
        source: Box<ipam::IpamError>,
    },
    #[error("MAC address {mac} is taken on network `{network}`: {holder} has it")]
    MacTaken { network: NetworkName, mac: MacAddress, holder: String },
    #[error("container `{container}` is already connected to network `{network}`")]
    AlreadyConnected { container: ContainerName, network: NetworkName },
    #[error(
        "container `{container}` cannot have interface `{interface}` on network `{network}`: that on network `{holder}` \
         has the name"
    )]
    InterfaceTaken { container: ContainerName, interface: IfName, network: NetworkName, holder: NetworkName },
    #[error("container `{container}` is not connected to network `{network}`")]
    NotConnected { container: ContainerName, network: NetworkName },
    #[error("container `{container}` is not yet disconnected from network `{network}`")]
    StillLeaving { container: ContainerName, network: NetworkName },
    #[error("cannot publish {publish}: host port {port} is already published by container `{holder}`")]
    PortTaken {
        publish: Publish,
        port: NonZeroU16,
        holder: String,
        /// Whether the container is there already, with ports that it keeps.
        made: bool,
    },
    #[error(
        "cannot publish {publish}: {} listens on {}/{}", .holder.as_deref().unwrap_or("another program"),
        SocketAddr::new(.listener.address, .listener.port), .listener.protocol
    )]
    PortInUse {
        publish: Publish,
        listener: kernel::Listener,
        holder: Option<String>,
        /// The setting of netd by which netd itself listens there.
        setting: Option<&'static str>,
        /// Whether the container is there already, with ports that it keeps.
        made: bool,
    },
    #[error("cannot publish {publish}: {address} is not an address of this host")]
    AddressNotHere { publish: PublishRequest, address: IpAddr },
    #[error("cannot publish {publish}: the host address cannot be used")]
    AddressUnusable {
        publish: PublishRequest,
        #[source]
        source: io::Error,
    },
    #[error("cannot publish {publish}: the container has no address of that family")]
    PublishLeadsNowhere { publish: Publish },
    #[error("cannot publish {publish}: nothing is let in from outside to {}", networks_of(.networks))]
    PublishInternal { publish: Publish, networks: Vec<NetworkName> },
    #[error("cannot publish {publish}: there are not so many free host ports in a row")]
    NoPortFree { publish: PublishRequest },
    #[error("network `{network}` cannot sit on `{parent}`: this host has no such interface")]
    NoParent { network: NetworkName, parent: IfName, known: Vec<String> },
    #[error("network `{network}` cannot have MTU {asked}: its parent `{parent}` has {mtu}")]
    ParentMtu { network: NetworkName, parent: IfName, asked: u32, mtu: u32 },
    #[error("network `{network}` cannot sit on `{parent}`, the loopback interface: nothing leaves the host by it")]
    LoopbackParent { network: NetworkName, parent: IfName, known: Vec<String> },
    #[error("network `{network}` cannot sit on `{parent}`: VLANs have numbers from 1 to 4094")]
    VlanNumber { network: NetworkName, parent: IfName },
    #[error("network `{network}` cannot sit on `{parent}`: this host has no interface `{link}` to make it on")]
    NoVlanLink { network: NetworkName, parent: IfName, link: IfName, known: Vec<String> },
    #[error("network `{network}` cannot sit on `{parent}`: interface `{interface}` is for that VLAN already")]
    VlanElsewhere { network: NetworkName, parent: IfName, interface: IfName },
    #[error("network `{network}` cannot sit on `{parent}`: this host's kernel has no VLANs (802.1Q)")]
    NoVlans { network: NetworkName, parent: IfName },
    #[error("network `{network}` cannot sit on `{parent}` as {asked}: network `{holder}` is there as {theirs}")]
    ParentHeld {
        network: NetworkName,
        parent: IfName,
        asked: SubInterfaceKind,
        holder: NetworkName,
        theirs: SubInterfaceKind,
    },
    #[error("network `{network}` cannot have driver {driver}: this host's kernel does not have it")]
    NoFacility { network: NetworkName, driver: Driver },
    #[error(
        "the endpoint on network `{network}` cannot have MAC address {mac}: with driver ipvlan it has that of `{parent}`"
    )]
    MacOfParent { network: NetworkName, parent: IfName, mac: MacAddress },
    #[error(
        "network `{network}` cannot take another container in: container `{holder}` is on its parent `{parent}`, which one \
         can have to itself only"
    )]
    ParentTaken { network: NetworkName, parent: IfName, holder: ContainerName },
    #[error("cannot publish {publish}: the host has no part in what comes to network `{network}`")]
    PublishOnLan { publish: Publish, network: NetworkName },
    #[error("container `{sharer}` cannot share the network of container `{joined}`, which {elsewhere} itself")]
    JoinsASharer { sharer: ContainerName, joined: ContainerName, elsewhere: Elsewhere },
    #[error("container `{sharer}` cannot share the network of container `{joined}`, which is not running")]
    JoinedNotRunning { sharer: String, joined: String },
    #[error("container `{sharer}` shared the network of container {joined}, which is gone")]
    JoinedGone { sharer: String, joined: String },
    #[error("container `{name}` is on no network, so it has no DNS")]
    NoDns { name: String },
    #[error("container `{name}` has nothing to run: image `{image}` has no command")]
    NoCommand { name: String, image: ImageName },
    #[error("a container cannot live on {asked} of memory")]
    TooLittleMemory { asked: ByteSize },
    #[error("host path {} cannot be mounted", .path.display())]
    HostPath {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("container `{name}` is running")]
    StillRunning { name: String },
    #[error("container `{name}` has ended, and is about to be started again")]
    Restarting { name: String },
    #[error("container `{name}` is not running")]
    NotRunning { name: String },
    #[error("container `{name}` was not started")]
    NotStarted { name: String },
    #[error("container `{name}` cannot be started: the host is being shut down")]
    HostEnds { name: String },
    #[error("container `{name}` is already running")]
    AlreadyRunning { name: String },
    #[error("container `{name}` cannot be restarted: it is removed when it ends")]
    EndsOnce { name: String },
    #[error("container `{name}` was stopped by somebody else while it was restarted")]
    StoppedMeanwhile { name: String },
    #[error("image `{image}` of container `{name}` is gone")]
    ImageGone { name: String, image: ImageName },
    #[error("container `{name}` is being removed")]
    BeingRemoved { name: String },
    #[error("{}", told(.errors))]
    PolicyDocuments { errors: Vec<policy::DocumentError> },
    #[error("the policies contradict each other")]
    Policies {
        #[source]
        source: Box<policy::PoliciesError>,
    },
    #[error("`{name}` is the name of a {} and of a {}", .kinds[0], .kinds[1])]
    PolicyNames { name: String, kinds: [&'static str; 2] },
    #[error(
        "network `{network}` cannot be of driver {driver}: {} about it and would not be enforced, as its packets would not \
         come by this host",
        being(.policies)
    )]
    NetworkBeyondReach { network: NetworkName, driver: Driver, policies: Vec<(String, String)> },
    #[error("there is no revision {asked} of the policies")]
    UnknownRevision {
        asked: u64,
        /// The first and the last that there are.
        known: Option<(u64, u64)>,
    },
    #[error("the request is not valid: {reason}")]
    Malformed { reason: String },
    #[error("the API has nothing at `{path}`")]
    NoRoute { path: String },
    #[error("the API does not do `{method}` at `{path}`")]
    NoMethod { method: String, path: String },
    #[error(transparent)]
    ContainerRequest(#[from] api::ContainerCreateError),
    #[error(transparent)]
    NetworkRequest(#[from] api::NetworkCreateError),
    #[error(transparent)]
    NetworkUpdate(#[from] api::NetworkUpdateError),
    #[error("the connection was not upgraded to `{}`", api::route::UPGRADE)]
    NoUpgrade,
    #[error("cannot {doing} container `{name}`")]
    Runtime {
        doing: &'static str,
        name: String,
        #[source]
        source: Box<runtime::RuntimeError>,
    },
    #[error("cannot {doing} on this host")]
    Kernel {
        doing: String,
        #[source]
        source: Box<kernel::KernelError>,
    },
    #[error("cannot {doing}")]
    Dns {
        doing: String,
        #[source]
        source: Box<dns::DnsError>,
    },
    #[error(transparent)]
    Image(#[from] image::ImageError),
    #[error("cannot {doing}")]
    Commit {
        doing: String,
        #[source]
        source: Box<store::CommitError>,
    },
    #[error("the state file does not say what was in force")]
    Record {
        #[source]
        source: Box<crate::record::RecordError>,
    },
    #[error("cannot {doing} {}", .path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let noun = if names.len() == 1 { "container" } else { "containers" };
    let mut text = format!("{noun} {}", names[..names.len().min(SHOWN)].join(", "));
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

fn being(policies: &[(String, String)]) -> String {
    let named =
        policies.iter().take(5).map(|(name, place)| format!("`{name}` ({place})")).collect::<Vec<_>>().join(", ");
    match policies.len() {
        1 => format!("policy {named} is"),
        2..=5 => format!("policies {named} are"),
        all => format!("policies {named} and {} more are", all - 5),
    }
}

fn told(errors: &[policy::DocumentError]) -> String {
    const SHOWN: usize = 20;
    let mut text = errors.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if errors.len() > SHOWN {
        text.push_str(&format!("; and {} more", errors.len() - SHOWN));
    }
    Printable(&text).to_string()
}

fn networks_of(networks: &[NetworkName]) -> String {
    let names: Vec<_> = networks.iter().map(|network| format!("`{network}`")).collect();
    let noun = if names.len() == 1 { "network" } else { "networks" };
    format!("{noun} {}", names.join(", "))
}

fn addresses_of(held: &[(IpAddr, String)]) -> String {
    const SHOWN: usize = 5;
    let of = |(address, holder): &(IpAddr, String)| format!("{address} of container `{holder}`");
    let mut text = held.iter().take(SHOWN).map(of).collect::<Vec<_>>().join(", ");
    if held.len() > SHOWN {
        text.push_str(&format!(" and {} more", held.len() - SHOWN));
    }
    text
}

impl Failure {
    /// What was to be done could not be committed, or the store not be read for it.
    pub(crate) fn commit(doing: impl Into<String>, source: impl Into<store::CommitError>) -> Self {
        Self::Commit { doing: doing.into(), source: Box::new(source.into()) }
    }

    /// That `name` is unknown, with the known name nearest to it.
    pub(crate) fn unknown<'a>(noun: Noun, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let nearest = nearest(name, known).map(str::to_owned);
        Self::Unknown { noun, name: name.to_owned(), nearest, purpose: Purpose::Find }
    }

    /// The same failure of a request that needs what is unknown, so that making it would help.
    pub(crate) fn wanted(self) -> Self {
        match self {
            Self::Unknown { noun, name, nearest, .. } => Self::Unknown { noun, name, nearest, purpose: Purpose::Use },
            other => other,
        }
    }

    /// The same failure of a container that is there already and is to be started.
    pub(crate) fn of_made(self) -> Self {
        match self {
            Self::PortTaken { publish, port, holder, .. } => Self::PortTaken { publish, port, holder, made: true },
            Self::PortInUse { publish, listener, holder, setting, .. } => {
                Self::PortInUse { publish, listener, holder, setting, made: true }
            }
            other => other,
        }
    }

    /// That the request itself makes no sense, in the words of `error`.
    pub(crate) fn malformed(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Malformed { reason: shown(&Chain(error).to_string()) }
    }

    /// Nothing answers requests at this path.
    pub(crate) fn no_route(path: &str) -> Self {
        Self::NoRoute { path: shown(path) }
    }

    /// What answers at this path does not answer this method.
    pub(crate) fn no_method(method: &str, path: &str) -> Self {
        Self::NoMethod { method: shown(method), path: shown(path) }
    }
}

/// The text as a terminal may show it: it repeats what a client sent, of any length and with any character.
fn shown(text: &str) -> String {
    const LONGEST: usize = 400;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", Printable(&text[..end])),
        None => Printable(text).to_string(),
    }
}

#[cfg(test)]
mod tests;
