//! What the daemon and its clients say to each other: wire types, routes, and the client.
//!
//! Owns the JSON forms of requests and answers, the paths they are sent to, and a typed client over the daemon's
//! Unix socket. Owns neither stored forms (`model`) nor what the daemon does with a request (`netd`).
//!
//! Requests refuse unknown fields; answers may gain fields, so clients ignore what they do not know.

mod checked;
mod client;
mod container;
mod container_create;
mod dns;
mod endpoint;
mod event;
mod flow;
mod hint;
mod host;
mod image;
mod logs;
mod network;
mod network_create;
mod network_mode;
mod network_update;
mod openapi;
mod policy;
mod policy_history;
mod policy_world;
mod problem;
mod reference;
pub mod route;
mod schema;

pub use client::{
    Client, ClientError, FrameError, FrameReader, FrameStream, FrameWriter, Lines, Upload, UploadWriter, upload,
};
pub use container::{
    Container, ContainersPrune, ContainersQuery, Endpoint, ExecCreate, KillQuery, Process, Pruned, RemoveQuery, Rename,
    StartQuery, State, StopQuery, Until, WaitQuery, Waited,
};
pub use container_create::{ContainerCreate, ContainerCreateError, Elsewhere, OwnThing};
pub use dns::{DnsAnswer, DnsLogEntry, DnsLogQuery, DnsOrigin, DnsQuery, DnsRecord};
pub use endpoint::{DisconnectQuery, EndpointCreate, ParseEndpointError};
pub use event::{Event, EventAction, EventKind, EventsQuery, ParseEventActionError, ParseEventKindError};
pub use flow::{Flow, FlowEnd, FlowsQuery};
pub use host::{API_VERSION, Check, CheckResult, Difference, Doctor, Status, Version};
pub use image::{Image, ImportQuery};
pub use logs::{LogLine, LogsQuery};
pub use model::{ParseSignalError, Signal};
pub use network::{
    Mtu, Network, NetworkEndpoint, NetworksPrune, ParseMtuError, PrunedNetworks, SubnetUsage, Usage, exact_in_json,
};
pub use network_create::{NetworkCreate, NetworkCreateError, NetworkPlan, check_routes};
pub use network_mode::{NetworkMode, ParseNetworkModeError};
pub use network_update::{Auto, MtuChoice, NetworkUpdate, NetworkUpdateError};
pub use openapi::openapi;
pub use policy::{Policy, PolicyAction, PolicyApply, PolicyChange, PolicyChanges, PolicyFile, RuleCounter};
pub use policy_history::{PolicyRequest, PolicyRevision, PolicyRollback};
pub use policy_world::{PolicyEndpoint, PolicyInForce, PolicyNetwork, PolicyPublish, PolicyWorld};
pub use problem::Problem;
pub use reference::{ParseReferenceError, Reference};
