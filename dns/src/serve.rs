//! The loops that read queries from sockets and write answers to them.
//!
//! One task per socket answers what is known at once, in place: a task for each such query would cost more than its
//! answer. Only queries that wait for an upstream get a task, and how many there are is bounded.

mod batch;
mod connections;
mod datagrams;
mod fair;
mod outbox;

use std::{net::SocketAddr, time::Duration};

pub(crate) use self::{connections::connections, datagrams::datagrams};
use crate::decision::{Asker, Listening};

/// How long to wait after a socket failed, which is mostly for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a loop listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) address: SocketAddr,
    pub(crate) listening: Listening,
}

impl Local {
    /// Whoever asks from `source`. In a container's namespace whatever comes from its loopback interface is the
    /// container.
    pub(crate) fn asker(self, source: SocketAddr) -> Asker {
        let source = match self.listening {
            Listening::Inside(container) if source.ip().is_loopback() => container,
            _ => source.ip(),
        };
        Asker { source, listener: self.listening }
    }
}
