//! Commands on several objects: each of them is asked for, whatever becomes of the others, and every failure is told.

use std::{cell::RefCell, collections::BTreeMap, pin::pin};

use api::{ClientError, Reference};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{failure::Failure, output::Output};

/// How many requests wait for the daemon at once: each is a connection, of which both sides have a limit.
const AT_ONCE: usize = 64;

/// What became of one object: a line for people and a value for programs.
type Outcome<V> = Result<(String, V), ClientError>;

/// Asks for each of several objects in turn.
pub(super) async fn each<'a, T, V: Serialize>(
    output: Output,
    objects: &'a [T],
    request: impl AsyncFn(&'a T) -> Outcome<V>,
) -> Result<(), Failure> {
    let mut told = Told::new(output);
    for (number, object) in objects.iter().enumerate() {
        told.take(number, request(object).await)?;
    }
    told.finish(None)
}

/// Asks for all of several objects at once, and tells of them in the order in which they were given.
pub(super) async fn together<'a, T, V: Serialize>(
    output: Output,
    objects: &'a [T],
    request: impl AsyncFn(&'a T) -> Outcome<V>,
) -> Result<(), Failure> {
    let (mut told, request) = (Told::new(output), &request);
    let asked = objects.iter().enumerate().map(|(number, object)| async move { (number, request(object).await) });
    let mut answers = pin!(stream::iter(asked).buffer_unordered(AT_ONCE));
    while let Some((number, outcome)) = answers.next().await {
        told.take(number, outcome)?;
    }
    told.finish(None)
}

/// As [`together`], one wave after the other, of containers with their numbers. The daemon goes on with `doing` that
/// when nobody waits for it any more, so SIGINT ends only the wait, and who sent it is told so.
pub(super) async fn together_in_waves<'a, V: Serialize>(
    output: Output,
    doing: &'static str,
    waves: &[Vec<(usize, &'a Reference)>],
    request: impl AsyncFn(&'a Reference) -> Outcome<V>,
) -> Result<(), Failure> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    let (mut told, request) = (Told::new(output), &request);
    // Those without an answer, and whether they were asked for.
    let open: BTreeMap<usize, (&Reference, bool)> =
        waves.iter().flatten().map(|(number, reference)| (*number, (*reference, false))).collect();
    let open = &RefCell::new(open);
    for wave in waves {
        let asked = wave.iter().map(|(number, reference)| async move {
            open.borrow_mut().insert(*number, (*reference, true));
            let outcome = request(*reference).await;
            open.borrow_mut().remove(number);
            (*number, outcome)
        });
        let mut answers = pin!(stream::iter(asked).buffer_unordered(AT_ONCE));
        loop {
            tokio::select! {
                answer = answers.next() => match answer {
                    Some((number, outcome)) => told.take(number, outcome)?,
                    None => break,
                },
                _ = interrupts.recv() => {
                    let of = |is_asked| {
                        let open = open.borrow();
                        let open = open.values().filter(|(_, asked)| *asked == is_asked);
                        open.map(|(reference, _)| reference.to_string()).collect()
                    };
                    return told.finish(Some(Failure::Interrupted { doing, going_on: of(true), left: of(false) }));
                }
            }
        }
    }
    told.finish(None)
}

/// Asks for each of several objects in turn and shows those there are; failures are told after them. Programs get one
/// object if one was asked for, and an array otherwise.
pub(super) async fn show<'a, T, V: Serialize>(
    output: Output,
    objects: &'a [T],
    request: impl AsyncFn(&'a T) -> Result<V, ClientError>,
    render: impl Fn(&V) -> String,
) -> Result<(), Failure> {
    let (mut values, mut failures) = (Vec::new(), Vec::new());
    for object in objects {
        match request(object).await {
            Ok(value) => values.push(value),
            Err(error) => failures.push(error.into()),
        }
    }
    match (&values[..], objects) {
        ([value], [_]) => output.print(value, || render(value))?,
        ([], [_]) => {}
        _ => output.print(&values, || values.iter().map(&render).collect::<Vec<_>>().join("\n"))?,
    }
    Failure::from_several(failures)
}

/// What became of the objects so far, told in the order in which they were given.
struct Told<V> {
    output: Output,
    values: Vec<V>,
    failures: Vec<Failure>,
    /// The number of the object that is told of next.
    next: usize,
    /// What is known of those behind it.
    early: BTreeMap<usize, Outcome<V>>,
}

impl<V: Serialize> Told<V> {
    fn new(output: Output) -> Self {
        Self { output, values: Vec::new(), failures: Vec::new(), next: 0, early: BTreeMap::new() }
    }

    fn take(&mut self, number: usize, outcome: Outcome<V>) -> Result<(), Failure> {
        self.early.insert(number, outcome);
        while let Some(outcome) = self.early.remove(&self.next) {
            self.next += 1;
            self.tell(outcome)?;
        }
        Ok(())
    }

    fn tell(&mut self, outcome: Outcome<V>) -> Result<(), Failure> {
        match outcome {
            Ok((line, value)) => {
                self.output.progress(&line)?;
                self.values.push(value);
            }
            Err(error) => self.failures.push(error.into()),
        }
        Ok(())
    }

    /// Tells of all that is known. An interruption, if there was one, is the last of the failures.
    fn finish(mut self, interrupted: Option<Failure>) -> Result<(), Failure> {
        for outcome in std::mem::take(&mut self.early).into_values() {
            self.tell(outcome)?;
        }
        self.output.finish(&self.values)?;
        self.failures.extend(interrupted);
        Failure::from_several(self.failures)
    }
}
