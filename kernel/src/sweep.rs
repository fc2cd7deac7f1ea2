//! Removal of what carries no packet any more, beside the kernel thread and many at a time; and the last of what is
//! made, which packets go without until it is there.
//!
//! The kernel takes tens of milliseconds to remove an interface, because it waits until no processor can still see it,
//! and as long again to look through its conntrack table; the time is the same for one as for a hundred. Nobody who
//! removes a container needs to wait for either: its links are down and its ports closed by then. So these changes are
//! queued here, and whatever has been queued within a moment, or while one batch was under way, makes the next one.
//! Only whoever lives on in a namespace must not find there what it was to lose: such a removal begins as soon as no
//! other is under way, and is waited for until the interface is out of sight, which is long before it is freed.
//!
//! Who makes or looks at objects of the same name or address waits first ([`Sweeper::settle`]). Nothing depends on
//! the queue for its memory: if it is lost in a crash, or a removal fails, the next look at everything finds what is
//! left.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use model::{Change, Flows, IfName, Scope};

use crate::{KernelError, conntrack, link, worker::Worker};

/// How long a batch waits for more, unless somebody waits for it. What it takes of a processor is missing elsewhere: at
/// first to the rest of the removal, then to what is started next.
const REST: Duration = Duration::from_millis(100);

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
    /// When the next batch is due, if anything waits.
    due: Option<Instant>,
    /// What is being removed.
    under_way: Vec<Change>,
    closed: bool,
}

struct Sweep {
    changes: Vec<Change>,
    after: After,
}

/// Whether a change works on something that a reconcile of the scope looks at.
fn touches(change: &Change, scope: &Scope) -> bool {
    let mut endpoints = scope.attachments().iter().map(|attachment| &attachment.endpoint);
    match (scope, change) {
        (Scope::Everything | Scope::Shortcut | Scope::Network(_), _) => true,
        (_, Change::InstallShortcut { passages }) => {
            endpoints.any(|endpoint| passages.contains_key(&endpoint.host_interface()))
        }
        (_, Change::OpenPassage { port, .. }) => endpoints.any(|endpoint| endpoint.host_interface() == *port),
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
        loop {
            state = match state.due.map(|due| due.saturating_duration_since(Instant::now())) {
                None if state.closed => return None,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(rest) if rest.is_zero() || state.closed => break,
                Some(rest) => self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        state.due = None;
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

    /// Queues changes that nobody waits for to the end ([`crate::patience::Patience`]).
    pub(crate) fn queue(&self, changes: Vec<Change>, after: After) {
        let mut state = self.queue.lock();
        state.waiting.push_back(Sweep { changes, after });
        state.due.get_or_insert_with(|| Instant::now() + REST);
        drop(state);
        self.queue.changed.notify_all();
    }

    /// Begins with what is queued now, unless something is under way; that comes right after it.
    pub(crate) fn hurry(&self) {
        let mut state = self.queue.lock();
        if state.due.is_some() {
            state.due = Some(Instant::now());
            self.queue.changed.notify_all();
        }
    }

    /// Whether the removal of this link is queued or under way.
    pub(crate) fn is_removing(&self, name: &IfName) -> bool {
        let state = self.queue.lock();
        let waiting = state.waiting.iter().flat_map(|sweep| &sweep.changes);
        waiting.chain(&state.under_way).any(|change| link_of(change) == Some(name))
    }

    /// Waits until nothing is queued that a reconcile of the scope would look at.
    pub(crate) fn settle(&self, scope: &Scope) {
        let mut state = self.queue.lock();
        let busy = |state: &State| {
            let waiting = state.waiting.iter().flat_map(|sweep| &sweep.changes);
            waiting.chain(&state.under_way).any(|change| touches(change, scope))
        };
        while busy(&state) {
            if state.due.is_some() {
                state.due = Some(Instant::now());
                self.queue.changed.notify_all();
            }
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
    let forgotten = conntrack::forget(&mut worker.netfilter, &mut worker.route, &flows);
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
        if change.is_optional() {
            let opened = worker.splice.apply(change);
            report(&opened, [(change, after)].into_iter());
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
            Err(error) => tracing::warn!(%change, %error, "not done; the next look at everything finds it again"),
        }
    }
}
