//! Removal of what carries no packet any more, beside the kernel thread and many at a time.
//!
//! The kernel takes tens of milliseconds to remove an interface, because it waits until no processor can still see
//! it, and as long again to look through its conntrack table; the time is the same for one as for a hundred. Nobody
//! who removes a container needs to wait for either: its links are down and its ports closed by then. So these
//! changes are queued here, and whatever has been queued while one batch was under way makes the next one.
//!
//! Who makes or looks at objects of the same name or address waits first ([`Sweeper::settle`]). Nothing depends on
//! the queue for its memory: if it is lost in a crash, or a removal fails, the next look at everything finds what is
//! left.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use model::{Change, Flows, IfName, Scope};

use crate::{KernelError, conntrack, link, worker::Worker};

/// What is told of each change that was applied.
pub(crate) type After = Arc<dyn Fn(&Change) + Send + Sync>;

/// A handle to the thread that removes; the thread ends with it.
pub(crate) struct Sweeper {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Sweep>,
    /// What is being removed.
    under_way: Vec<Change>,
    closed: bool,
}

struct Sweep {
    changes: Vec<Change>,
    after: After,
}

/// Whether a change only removes what carries no packet any more, once its links are down and its ports closed.
pub(crate) fn can_wait(change: &Change) -> bool {
    matches!(change, Change::ForgetFlows(Flows::Of(_)) | Change::RemoveLink(_) | Change::RemoveNamespace(_))
}

/// Whether a change works on something that a reconcile of the scope looks at.
fn touches(change: &Change, scope: &Scope) -> bool {
    let mut endpoints = scope.attachments().iter().map(|attachment| &attachment.endpoint);
    match (scope, change) {
        (Scope::Everything | Scope::Network(_), _) => true,
        (_, Change::ForgetFlows(Flows::Of(address))) => endpoints.any(|endpoint| endpoint.holds(*address)),
        (_, Change::RemoveLink(name)) => endpoints.any(|endpoint| endpoint.host_interface() == *name),
        (_, Change::RemoveNamespace(name)) => scope.covers_namespace(name),
        _ => false,
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch: all that waits. None when the handle is gone and nothing waits.
    fn next(&self) -> Option<Vec<Sweep>> {
        let mut state = self.lock();
        state.under_way.clear();
        self.changed.notify_all();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let batch: Vec<_> = state.waiting.drain(..).collect();
        state.under_way = batch.iter().flat_map(|sweep| sweep.changes.iter().cloned()).collect();
        Some(batch)
    }
}

impl Sweeper {
    /// Starts the thread, in the namespace of the calling thread. `worker` is its own.
    pub(crate) fn start(mut worker: Worker) -> Result<Self, KernelError> {
        let queue = Arc::new(Queue::default());
        let served = queue.clone();
        thread::Builder::new()
            .name("fabric-sweeper".into())
            .spawn(move || {
                while let Some(batch) = served.next() {
                    sweep(&mut worker, &batch);
                }
            })
            .map_err(|source| KernelError::System { action: "start the thread that removes".into(), source })?;
        Ok(Self { queue })
    }

    /// Queues changes, each of which [can wait](can_wait).
    pub(crate) fn queue(&self, changes: Vec<Change>, after: After) {
        self.queue.lock().waiting.push_back(Sweep { changes, after });
        self.queue.changed.notify_all();
    }

    /// Waits until nothing is queued that a reconcile of the scope would look at.
    pub(crate) fn settle(&self, scope: &Scope) {
        let mut state = self.queue.lock();
        let busy = |state: &State| {
            let waiting = state.waiting.iter().flat_map(|sweep| &sweep.changes);
            waiting.chain(&state.under_way).any(|change| touches(change, scope))
        };
        while busy(&state) {
            state = self.queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

/// Applies the changes of a batch, all of one kind together: flows first, for links know the addresses whose flows are
/// to be forgotten, should this be cut short.
fn sweep(worker: &mut Worker, batch: &[Sweep]) {
    let changes = || batch.iter().flat_map(|sweep| sweep.changes.iter().map(move |change| (change, &sweep.after)));
    let flows: Vec<Flows> = changes().filter_map(|(change, _)| flows_of(change)).collect();
    let forgotten = conntrack::forget(&mut worker.netfilter, &flows);
    report(&forgotten, changes().filter(|(change, _)| flows_of(change).is_some()));
    if forgotten.is_err() {
        // The links stay as the memory of what is still to be forgotten.
        return;
    }
    let links: Vec<&IfName> = changes().filter_map(|(change, _)| link_of(change)).collect();
    let removed = link::remove_all(&mut worker.route, &links);
    report(&removed, changes().filter(|(change, _)| link_of(change).is_some()));
    for (change, after) in changes() {
        if let Change::RemoveNamespace(name) = change {
            let removed = worker.namespaces.remove(name);
            report(&removed, [(change, after)].into_iter());
        }
    }
}

fn flows_of(change: &Change) -> Option<Flows> {
    if let Change::ForgetFlows(flows) = change { Some(*flows) } else { None }
}

fn link_of(change: &Change) -> Option<&IfName> {
    if let Change::RemoveLink(name) = change { Some(name) } else { None }
}

fn report<'a>(result: &Result<(), KernelError>, changes: impl Iterator<Item = (&'a Change, &'a After)>) {
    for (change, after) in changes {
        match result {
            Ok(()) => after(change),
            // The next look at everything finds it again.
            Err(error) => tracing::warn!(%change, %error, "cannot remove what is no longer wanted yet"),
        }
    }
}
