//! What the daemon says to the zygote and to a shim, and what they answer.

use std::time::Duration;

use model::Command;
use serde::{Deserialize, Serialize};

use crate::{ContainerSpec, Created, Directories, ExecStreams, Exit, Failure, Observed};

/// To the zygote, with one descriptor: the socket on which the new shim sends its [`Reply::Created`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateRequest {
    pub(crate) spec: ContainerSpec,
    pub(crate) directories: Directories,
}

/// To a shim; one per connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Execute the container's program.
    Start,
    /// Tell what the first process does.
    State,
    /// Send a signal to the first process.
    Kill { signal: i32 },
    /// Connect a client, the one descriptor that comes along, to the standard streams.
    Attach { already_read: Vec<u8> },
    /// Run another program in the container, with the descriptor that comes along as its client.
    Exec { command: Command, streams: ExecStreams, already_read: Vec<u8> },
    /// Answer when the first process has ended.
    Wait,
    /// Kill the container and let go of everything of it; the connection is closed when that is done.
    Delete,
}

impl Request {
    /// How long a shim may take to answer; none when the answer is up to the container.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self {
            // Executing a program may wait for a disk.
            Self::Start => Some(Duration::from_secs(30)),
            Self::State | Self::Kill { .. } | Self::Attach { .. } | Self::Exec { .. } | Self::Delete => {
                Some(Duration::from_secs(5))
            }
            Self::Wait => None,
        }
    }
}

/// What a zygote's child or a shim answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Created(Created),
    Done,
    State(Observed),
    Exited(Exit),
    Failed(Failure),
}
