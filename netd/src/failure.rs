//! Why a request was not carried out, and how that is told.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    path::PathBuf,
};

use api::Problem;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use model::{ContainerName, ImageName, MacAddress, NetworkName, Publish, PublishRequest};

/// What a name can belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noun {
    Network,
    Container,
    Image,
}

impl Noun {
    fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Container => "container",
            Self::Image => "image",
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
    #[error("`{reference}` begins the id of more than one container")]
    Ambiguous { reference: String },
    #[error("there is already a {} `{name}`", .noun.word())]
    NameTaken { noun: Noun, name: String },
    #[error("network `{network}` is in use by {}", listed(.containers))]
    NetworkInUse { network: NetworkName, containers: Vec<String> },
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
    #[error("container `{container}` is not connected to network `{network}`")]
    NotConnected { container: ContainerName, network: NetworkName },
    #[error("container `{container}` is not yet disconnected from network `{network}`")]
    StillLeaving { container: ContainerName, network: NetworkName },
    #[error("cannot publish {publish}: host port {port} is already published by container `{holder}`")]
    PortTaken { publish: Publish, port: NonZeroU16, holder: String },
    #[error("cannot publish {publish}: host port {port} is given twice")]
    PublishedTwice { publish: Publish, port: NonZeroU16 },
    #[error(
        "cannot publish {publish}: {} listens on {}/{}", .holder.as_deref().unwrap_or("another program"),
        SocketAddr::new(.listener.address, .listener.port), .listener.protocol
    )]
    PortInUse { publish: Publish, listener: kernel::Listener, holder: Option<String> },
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
    #[error("cannot publish {publish}: there are not so many free host ports in a row")]
    NoPortFree { publish: PublishRequest },
    #[error("cannot publish {publish} of a container without a network")]
    PublishWithoutNetwork { publish: PublishRequest },
    #[error("cannot lead `{name}` to the host: the container has no network")]
    GatewayWithoutNetwork { name: String },
    #[error("container `{name}` is on no network, so it has no DNS")]
    NoDns { name: String },
    #[error("container `{name}` has nothing to run: image `{image}` has no command")]
    NoCommand { name: String, image: ImageName },
    #[error("host path {} cannot be mounted", .path.display())]
    HostPath {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("container `{name}` is running")]
    StillRunning { name: String },
    #[error("container `{name}` is not running")]
    NotRunning { name: String },
    #[error("container `{name}` is already running")]
    AlreadyRunning { name: String },
    #[error("container `{name}` cannot be restarted: it is removed when it ends")]
    EndsOnce { name: String },
    #[error("image `{image}` of container `{name}` is gone")]
    ImageGone { name: String, image: ImageName },
    #[error("container `{name}` is being removed")]
    BeingRemoved { name: String },
    #[error("the request is not valid: {reason}")]
    Malformed { reason: String },
    #[error(transparent)]
    NetworkRequest(#[from] api::NetworkCreateError),
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
    #[error("cannot {doing} {}", .path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The publish as a person would write it to leave the host ports to Fabric.
fn without_host_ports(publish: &Publish) -> String {
    let ports = format!("{}/{}", publish.container_ports(), publish.protocol());
    match publish.host_ip() {
        None => ports,
        Some(IpAddr::V4(address)) => format!("{address}::{ports}"),
        Some(IpAddr::V6(address)) => format!("[{address}]::{ports}"),
    }
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

impl Failure {
    /// That `name` is unknown, with the known name nearest to it.
    pub(crate) fn unknown<'a>(noun: Noun, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let nearest = known
            .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
            .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
            .min()
            .map(|(_, candidate)| candidate.to_owned());
        Self::Unknown { noun, name: name.to_owned(), nearest, purpose: Purpose::Find }
    }

    /// The same failure of a request that needs what is unknown, so that making it would help.
    pub(crate) fn wanted(self) -> Self {
        match self {
            Self::Unknown { noun, name, nearest, .. } => Self::Unknown { noun, name, nearest, purpose: Purpose::Use },
            other => other,
        }
    }

    /// That the request itself makes no sense, in the words of `error`.
    pub(crate) fn malformed(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let reason: Vec<_> = causes.map(ToString::to_string).collect();
        Self::Malformed { reason: reason.join(": ") }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::Ambiguous { .. }
            | Self::NameTaken { .. }
            | Self::NetworkInUse { .. }
            | Self::Range { .. }
            | Self::NoRange { .. }
            | Self::Address { .. }
            | Self::AddressTaken { .. }
            | Self::MacTaken { .. }
            | Self::AlreadyConnected { .. }
            | Self::NotConnected { .. }
            | Self::StillLeaving { .. }
            | Self::PortTaken { .. }
            | Self::PortInUse { .. }
            | Self::AddressNotHere { .. }
            | Self::NoPortFree { .. }
            | Self::StillRunning { .. }
            | Self::NotRunning { .. }
            | Self::AlreadyRunning { .. }
            | Self::EndsOnce { .. }
            | Self::ImageGone { .. }
            | Self::BeingRemoved { .. } => StatusCode::CONFLICT,
            Self::Malformed { .. } | Self::NetworkRequest(_) | Self::NoUpgrade => StatusCode::BAD_REQUEST,
            Self::PublishedTwice { .. }
            | Self::AddressUnusable { .. }
            | Self::PublishLeadsNowhere { .. }
            | Self::AddressRefused { .. }
            | Self::PublishWithoutNetwork { .. }
            | Self::GatewayWithoutNetwork { .. }
            | Self::NoDns { .. }
            | Self::NoCommand { .. }
            | Self::HostPath { .. }
            | Self::Image(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Runtime { source, .. } if source.exit_code() != 125 => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Runtime { .. } | Self::Kernel { .. } | Self::Dns { .. } | Self::Commit { .. } | Self::File { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unknown { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::Unknown { noun: Noun::Network, name, purpose: Purpose::Use, .. } => {
                format!("`fabric network ls` lists those there are; `fabric network create {name}` makes it")
            }
            Self::Unknown { noun: Noun::Container, .. } => "`fabric ps -a` lists those there are".into(),
            Self::Unknown { noun: Noun::Image, name, purpose: Purpose::Use, .. } => {
                format!("`fabric image ls` lists those there are; `fabric image import PATH {name}` adds it")
            }
            Self::Unknown { noun, .. } => format!("`fabric {} ls` lists those there are", noun.word()),
            Self::Ambiguous { .. } => "give more of the id, or the name".into(),
            Self::NameTaken { noun: Noun::Container, name } => {
                format!("choose another name, or remove that one with `fabric rm {name}`")
            }
            Self::NameTaken { noun, name } => {
                format!("choose another name, or remove that one with `fabric {} rm {name}`", noun.word())
            }
            Self::NetworkInUse { .. } => {
                "remove them first with `fabric rm`; stopped ones count, `fabric ps -a` shows them".into()
            }
            Self::Range { source, .. } | Self::NoRange { source, .. } | Self::Address { source, .. } => {
                source.hint().into()
            }
            Self::AddressRefused { source, .. } => source.hint().into(),
            Self::AddressTaken { .. } => "ask for another address, or for none to have a free one chosen".into(),
            Self::MacTaken { .. } => "ask for another MAC address, or for none to have one derived".into(),
            Self::AlreadyConnected { container, network } => {
                format!("to change the attachment, end it first: `fabric network disconnect {network} {container}`")
            }
            Self::NotConnected { container, .. } => format!("`fabric inspect {container}` shows its networks"),
            Self::StillLeaving { container, network } => {
                format!("complete that first: `fabric network disconnect {network} {container}`")
            }
            Self::Commit { source, .. } => match &**source {
                store::CommitError::Store(error) => error.hint().into(),
                _ => return None,
            },
            Self::PortTaken { publish, holder, .. } => format!(
                "choose another host port, or leave the choice to Fabric: `-p {}`; `fabric stop {holder}` frees it",
                without_host_ports(publish)
            ),
            Self::PublishedTwice { .. } => "publish each host port once".into(),
            Self::PortInUse { publish, .. } => format!(
                "stop it, choose another host port, or leave the choice to Fabric: `-p {}`",
                without_host_ports(publish)
            ),
            Self::AddressNotHere { .. } => "`ip address` lists the host's addresses".into(),
            Self::PublishLeadsNowhere { .. } => {
                "leave out the host address, or attach it to a network that has a subnet of that family".into()
            }
            Self::NoPortFree { .. } => "publish fewer ports, or name the host ports".into(),
            Self::PublishWithoutNetwork { .. } | Self::GatewayWithoutNetwork { .. } => "add `--network NAME`".into(),
            Self::HostPath { path, source } if source.kind() == io::ErrorKind::NotFound => {
                format!("nothing is made on the host by mounting it: `mkdir -p {}`", path.display())
            }
            Self::NoCommand { .. } => "name the program to run after the image".into(),
            Self::StillRunning { name } => {
                format!("stop it first with `fabric stop {name}`, or use `fabric rm -f {name}`")
            }
            Self::NotRunning { .. } => "`fabric ps -a` shows what its state is, `fabric logs` what it wrote".into(),
            Self::EndsOnce { name } => format!("stop it with `fabric stop {name}`, and run it anew, without `--rm`"),
            Self::Kernel { .. } => "`fabric doctor` compares what should be with what is".into(),
            _ => return None,
        };
        Some(text)
    }

    /// The failure as it goes over the wire.
    pub(crate) fn problem(&self) -> Problem {
        let mut problem = Problem::from_error(self);
        problem.hint = self.hint();
        if let Self::Runtime { source, .. } = self {
            problem.exit_code = Some(source.exit_code());
        }
        problem
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::debug!(failure = %self, "request not carried out");
        (self.status(), Json(self.problem())).into_response()
    }
}
