//! The nouns of Fabric as parsed types, the desired state of a host's kernel, and the difference between two states.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and randomness are arguments.
//! A value that exists is valid; text and wire forms enter through `FromStr`, `TryFrom` and serde, and are
//! refused there.

mod container;
mod endpoint;
mod id;
mod link;
mod name;
mod network;
mod publish;
mod stream;

pub use container::{Command, Container, ContainerState, EnvironmentVariable, ParseEnvironmentError};
pub use endpoint::Endpoint;
pub use id::{ContainerId, Digest, EndpointId, NetworkId, ParseIdError};
pub use link::{IfName, MacAddress, ParseIfNameError, ParseMacError};
pub use name::{ContainerName, Hostname, ImageName, Label, Labels, NetworkName, ParseNameError};
pub use network::{Driver, Network, ParseDriverError, Subnet, SubnetError};
pub use publish::{ParsePublishError, Protocol, Publish};
pub use stream::{DecodeFrameError, Frame, FrameDecoder, Stream};
