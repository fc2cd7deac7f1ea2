//! What happened: a bounded history that outlives the daemon, and whoever follows it.
//!
//! The history is a file of one JSON object per line, written without fsync: a crash of the daemon loses nothing of it,
//! one of the host perhaps its last seconds. The events of a removal that is completed after a crash are told then.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use api::{Event, EventAction, EventKind, EventsQuery};
use axum::body::Body;
use jiff::Timestamp;
use model::{Container, Endpoint, Label, Labels, Network};
use tokio::sync::watch;

use crate::{daemon::Daemon, follow, world::World};

/// How many events are remembered, and how many octets of them.
const REMEMBERED: usize = 4096;
const REMEMBERED_OCTETS: usize = 16 << 20;

/// How many octets of labels an event tells of, in their order. Images bring labels of any number and length, and each
/// event of a container repeats them.
const LABELS: usize = 16 << 10;

/// How far the file grows beyond twice what is remembered before it is written anew, in octets.
const SLACK: u64 = 1 << 20;

/// How many events are sent at a time: as many are copied under the lock.
const BATCH: usize = 64;

/// Everything that is remembered of what happened.
#[derive(Debug)]
pub(crate) struct Events {
    history: Mutex<History>,
    /// The sequence number of the last event; wakes those who follow.
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct History {
    path: PathBuf,
    events: VecDeque<Event>,
    /// What [`octets`] says of all of them.
    octets: usize,
    /// None if the file has to be written anew.
    file: Option<File>,
    written: u64,
    limit: u64,
}

impl Events {
    /// The history that the file at `path` holds, as far as it can be read, or an empty one. A line that a crash of the
    /// host cut off is skipped. Nothing depends on the history, so that it is lost is logged and no reason not to
    /// start.
    pub(crate) fn load(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %path.display(), "cannot read what happened before");
            }
            Vec::new()
        });
        let events = text.split(|octet| *octet == b'\n').filter_map(|line| serde_json::from_slice::<Event>(line).ok());
        let mut history =
            History { path: path.to_owned(), events: VecDeque::new(), octets: 0, file: None, written: 0, limit: 0 };
        events.for_each(|event| history.remember(event));
        let last = history.events.back().map_or(0, |event| event.sequence);
        Self { history: Mutex::new(history), last: watch::Sender::new(last) }
    }

    /// Remembers that `event` has just happened; its sequence number and time are given here. That it cannot be written
    /// down is logged, and keeps nothing from happening.
    pub(crate) fn tell(&self, mut event: Event) {
        let mut history = self.history();
        // Under the lock, so that times are in order, too, where the clock allows it.
        event.sequence = *self.last.borrow() + 1;
        event.time = Timestamp::now();
        let sequence = event.sequence;
        history.remember(event);
        if let Err(error) = history.write() {
            tracing::warn!(%error, path = %history.path.display(), "cannot write down what happened");
        }
        self.last.send_replace(sequence);
    }

    /// How many events there were since the first.
    pub(crate) fn count(&self) -> u64 {
        *self.last.borrow()
    }

    /// Whether just this was the last that happened to this container. An end, a removal or a disconnection that a
    /// crash kept from the store is seen once more by the next daemon. Nothing else can be, and is not looked for: a
    /// container that has just come to be is nowhere in the history, so that all of it would be searched.
    fn was_last(&self, event: &Event) -> bool {
        if !matches!(event.action, EventAction::Exit | EventAction::Remove | EventAction::Disconnect) {
            return false;
        }
        let history = self.history();
        let own = history.events.iter().rev().filter(|other| other.id == event.id);
        // Several networks may be left at once.
        let mut last = own.take_while(|last| last.action == event.action);
        last.any(|last| event.action != EventAction::Disconnect || last.networks == event.networks)
    }

    fn tell_once(&self, event: Event) {
        if !self.was_last(&event) {
            self.tell(event);
        }
    }

    /// The next events at and after `sequence` and `since`, at most [`BATCH`], and the sequence number to go on with.
    fn batch(&self, sequence: u64, since: Option<Timestamp>) -> (Vec<Event>, u64) {
        let history = self.history();
        let first = history.events.partition_point(|event| event.sequence < sequence);
        let next = history.events.range(first..).take(BATCH);
        let go_on = next.clone().next_back().map_or(sequence, |event| event.sequence + 1);
        (next.filter(|event| since.is_none_or(|since| event.time >= since)).cloned().collect(), go_on)
    }

    /// The history as a body of one JSON object per line, and with `follow` what happens from then on.
    pub(crate) fn body(daemon: Arc<Daemon>, query: EventsQuery) -> Body {
        let told = daemon.events.last.subscribe();
        follow::body(told, query.follow, move |sequence| {
            let (events, go_on) = daemon.events.batch(sequence, query.since);
            (events.iter().flat_map(line).collect(), go_on)
        })
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no holder of the history panics")
    }
}

impl History {
    /// Remembers one more, and forgets the oldest for it.
    fn remember(&mut self, event: Event) {
        self.octets += octets(&event);
        self.events.push_back(event);
        while self.events.len() > REMEMBERED || self.octets > REMEMBERED_OCTETS {
            let Some(oldest) = self.events.pop_front() else { return };
            self.octets -= octets(&oldest);
        }
    }

    /// Writes the newest event down.
    fn write(&mut self) -> io::Result<()> {
        if self.file.is_none() || self.written > self.limit {
            return self.rewrite();
        }
        let Some((file, event)) = self.file.as_mut().zip(self.events.back()) else { return Ok(()) };
        let line = line(event);
        self.written += line.len() as u64;
        // A line that was cut off must not spoil the next: the file is then written anew.
        file.write_all(&line).inspect_err(|_| self.file = None)
    }

    /// Replaces the file by one with what is remembered.
    fn rewrite(&mut self) -> io::Result<()> {
        let draft = self.path.with_extension("new");
        let text: Vec<u8> = self.events.iter().flat_map(line).collect();
        // Names and labels are nobody's business who may not ask for them.
        let mut options = File::options();
        let private = options.write(true).create(true).truncate(true).mode(0o600).open(&draft);
        let written = private.and_then(|mut file| file.write_all(&text)).and_then(|()| fs::rename(&draft, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written?;
        self.file = Some(File::options().append(true).open(&self.path)?);
        self.written = text.len() as u64;
        self.limit = 2 * self.written + SLACK;
        Ok(())
    }
}

fn line(event: &Event) -> Vec<u8> {
    let mut text = serde_json::to_vec(event).expect("numbers and texts are JSON");
    text.push(b'\n');
    text
}

/// About how many octets of memory an event takes.
fn octets(event: &Event) -> usize {
    let texts = event.networks.iter().chain(&event.image).chain([&event.id, &event.name]).map(String::len);
    size_of::<Event>() + texts.sum::<usize>() + event.labels.iter().map(octets_of_label).sum::<usize>()
}

fn octets_of_label((key, value): (&String, &String)) -> usize {
    key.len() + value.len()
}

/// The labels that an event tells of: such as a person could have given, as far as there is room.
fn told(labels: &Labels) -> Labels {
    let mut room = LABELS;
    let fits = |label: &(&String, &String)| {
        let (key, value) = label;
        let fits = octets_of_label(*label) <= room && Label::is_writable(key, value);
        room -= if fits { octets_of_label(*label) } else { 0 };
        fits
    };
    labels.iter().filter(fits).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn event(kind: EventKind, action: EventAction, id: &str, name: &str, labels: &Labels) -> Event {
    Event {
        sequence: 0,
        time: Timestamp::UNIX_EPOCH,
        kind,
        action,
        id: id.to_owned(),
        name: name.to_owned(),
        image: None,
        networks: Vec::new(),
        exit_code: None,
        labels: told(labels),
    }
}

/// What happened to a container.
fn of_container(world: &World, container: &Container, action: EventAction, exit_code: Option<i32>) -> Event {
    let networks = container.endpoints.iter().filter_map(|endpoint| world.network(&endpoint.network));
    Event {
        image: Some(container.image.to_string()),
        networks: networks.map(|network| network.name.to_string()).collect(),
        exit_code,
        ..event(EventKind::Container, action, container.id.as_str(), container.name.as_str(), &container.labels)
    }
}

/// What happened to a network.
pub(crate) fn of_network(network: &Network, action: EventAction) -> Event {
    event(EventKind::Network, action, network.id.as_str(), network.name.as_str(), &network.labels)
}

/// What happened to an image.
pub(crate) fn of_image(image: &image::Image, action: EventAction) -> Event {
    event(EventKind::Image, action, &image.digest.to_string(), image.name.as_str(), &Labels::new())
}

impl Daemon {
    /// Remembers that a container was connected to a network, or disconnected from it.
    pub(crate) fn tell_endpoint(&self, container: &Container, endpoint: &Endpoint, action: EventAction) {
        let world = self.world();
        let Some(network) = world.network(&endpoint.network) else { return };
        let networks = vec![network.name.to_string()];
        let event = Event { networks, ..of_container(&world, container, action, None) };
        drop(world);
        self.events.tell_once(event);
    }

    /// Remembers what happened to a container.
    pub(crate) fn tell_container(&self, container: &Container, action: EventAction, exit_code: Option<i32>) {
        self.events.tell_once(of_container(&self.world(), container, action, exit_code));
    }
}

#[cfg(test)]
mod tests;
