//! The loops that read queries from sockets and write answers to them.
//!
//! One task per socket answers what is known at once, in place: a task for each such query would cost more than its
//! answer. Only queries that wait for an upstream get a task, and how many there are is bounded.

mod batch;
mod connections;
mod datagrams;
mod fair;

use std::{net::SocketAddr, time::Duration};

pub(crate) use self::{connections::connections, datagrams::datagrams};
use crate::decision::Listening;

/// How long to wait after a socket failed, which is mostly for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a loop listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) address: SocketAddr,
    pub(crate) listening: Listening,
}
