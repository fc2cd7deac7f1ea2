//! The nouns of Fabric as parsed types, the desired state of a host's kernel, and the difference between two states.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and randomness are arguments.
//! A value that exists is valid; text and wire forms enter through `FromStr`, `TryFrom` and serde, and are
//! refused there.

mod capability;
mod change;
mod confinement;
mod container;
mod container_port;
pub mod data_path;
mod default_route;
mod diff;
mod endpoint;
mod firewall;
mod id;
mod limit;
mod link;
mod log_limits;
mod mount;
mod name;
mod namespace;
mod nearest;
mod network;
mod network_mode;
mod number;
mod parent;
mod port;
mod port_name;
mod publish;
mod reach;
mod reservation;
mod resolver;
mod restart;
mod route;
mod scope;
mod shared_map;
mod shortcut;
mod shown;
mod signal;
mod spare;
mod state;
mod stream;
mod subnet;
mod sysctl;
mod text;
mod tracked;
mod vlan;

pub use capability::{Capability, DroppedCapability, ParseCapabilityError};
pub use change::{Change, LinkSettings, Subject};
pub use confinement::Confinement;
pub use container::{Command, Container, ContainerState, EnvironmentVariable, ParseEnvironmentError, StopPolicy};
pub use container_port::{ContainerPort, ParseContainerPortError};
pub use data_path::DataPath;
pub use default_route::default_route;
pub use diff::diff;
pub use endpoint::Endpoint;
pub use firewall::{Element, Flows, Published, Structure};
pub use id::{ContainerId, Digest, EndpointId, NetworkId, ParseIdError};
pub use limit::{ByteSize, ParseLimitError, ProcessLimit, Processors, Ulimit};
pub use link::{ContainerIfName, IfName, MacAddress, ParseContainerIfNameError, ParseIfNameError, ParseMacError};
pub use log_limits::{LogLimits, LogLimitsError, LogOption, ParseLogOptionError};
pub use mount::{Bind, ParseMountError, Tmpfs, why_not_at};
pub use name::{ContainerName, Hostname, ImageName, Label, Labels, NetworkName, ParseNameError};
pub use namespace::{NamespaceName, ParseNamespaceNameError};
pub use nearest::nearest;
pub use network::{DefaultRoute, Driver, IPV6_MTU, Icc, MtuSource, Network, ParseDriverError};
pub use network_mode::NetworkMode;
pub use number::{ParseWholeError, Whole, whole_number};
pub use parent::{
    IpvlanFlag, IpvlanMode, MacvlanMode, Parent, ParseIpvlanFlagError, ParseIpvlanModeError, ParseMacvlanModeError,
    SubInterfaceKind,
};
pub use port::{PortRange, Protocol};
pub use port_name::{ExposedPort, ParseExposedPortError, ParsePortNameError, PortName};
pub use publish::{ParsePublishError, Publish, PublishRequest};
pub use reach::{GatewayMode, ParseGatewayModeError, Reach};
pub use reservation::{ParseReservationError, Reservation};
pub use resolver::{
    ExtraHost, HostAddress, NameServer, ParseResolverError, ResolverOption, ResolverSettings, SearchDomain,
};
pub use restart::{ParseRestartPolicyError, RestartPolicy};
pub use route::{NetworkRoute, ParseNetworkRouteError, Route};
pub use scope::{Announcement, Attachment, Scope};
pub use shared_map::SharedMap;
pub use shortcut::{Barrier, Gate, Passage, Program, Questions, Sender, Shortcut, Stray};
pub use shown::{Chain, Printable, causes};
pub use signal::{ParseSignalError, Signal};
pub use spare::Spare;
pub use state::{
    Admin, Bridge, Forwarding, Inside, Ipv6, Namespace, Observed, Place, Policing, State, SubInterface, Switch, Veth,
    interface_itself, leads_to_itself,
};
pub use stream::{DecodeFrameError, Frame, FrameDecoder, Stream, TerminalSize};
pub use subnet::{Family, Subnet, SubnetError};
pub use sysctl::{ParseSysctlError, Sysctl};
pub use tracked::Tracked;
pub use vlan::{ParseVlanError, Vlan, VlanId, VlanLink, VlanMtu};
