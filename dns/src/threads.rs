//! The threads that queries are answered on.
//!
//! They are the server's own. A runtime with several threads lets them hand tasks and the waiting for sockets to each
//! other, which is right for tasks that compute; one that answers a query in microseconds and waits again is then woken
//! now here, now there, and each time two threads are woken for one. And whatever else the program does, names are
//! answered.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
};

/// Threads at most: each answers some hundred thousand queries in a second.
const MOST: usize = 4;

/// Some threads, each with a runtime. They end soon after this is dropped, and with them what they run.
#[derive(Debug)]
pub(crate) struct Threads {
    handles: Vec<Handle>,
    turn: AtomicUsize,
    _open: watch::Sender<()>,
}

impl Threads {
    /// One for every two processors: who asks needs some too.
    pub(crate) fn start() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, |count| count.get() / 2).clamp(1, MOST);
        let (open, closed) = watch::channel(());
        let start = |_| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, mut closed) = (runtime.handle().clone(), closed.clone());
            let work = move || {
                // An error is what ends it: there is no sender any more.
                let _ = runtime.block_on(closed.changed());
            };
            thread::Builder::new().name("fabric-dns".to_owned()).spawn(work)?;
            Ok(handle)
        };
        let handles = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { handles, turn: AtomicUsize::new(0), _open: open })
    }

    /// The next, by turns.
    pub(crate) fn next(&self) -> &Handle {
        &self.handles[self.turn.fetch_add(1, Ordering::Relaxed) % self.handles.len()]
    }
}
