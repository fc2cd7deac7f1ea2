//! What a container wrote, sent line by line, and on as it is written.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use jiff::Timestamp;
use model::ContainerState;
use runtime::LogReader;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{images::blocking, life::Life};

/// How often a log that is followed is looked at. A person does not see the difference, and a log that nobody follows
/// costs nothing.
const INTERVAL: Duration = Duration::from_millis(50);

/// A container's log as a body of one JSON object per line: of what was written between `since` and `until` the last
/// `tail` lines or all, and with `follow` what is written until it has ended or `until` has come.
pub(crate) fn body(reader: LogReader, life: Arc<Life>, query: api::LogsQuery) -> Body {
    let (lines, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        // A client that has gone away ends this, and that is all that can go wrong with sending.
        if let Err(Some(error)) = send(reader, life, query, &lines).await {
            let _ = lines.send(Err(error)).await;
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

/// Sends the lines; the error is none when the client has gone away.
async fn send(
    mut reader: LogReader,
    life: Arc<Life>,
    query: api::LogsQuery,
    lines: &mpsc::Sender<std::io::Result<Bytes>>,
) -> Result<(), Option<std::io::Error>> {
    let mut first = query.tail.map(|tail| usize::try_from(tail).unwrap_or(usize::MAX));
    loop {
        // Before reading: what was written until then is read for certain.
        let ended = life.has_ended() || query.until.is_some_and(|until| Timestamp::now() >= until);
        loop {
            let (back, batch) = blocking(move || {
                let batch = batch(&mut reader, query, first);
                (reader, batch)
            })
            .await;
            reader = back;
            first = None;
            let batch = batch.map_err(|error| Some(std::io::Error::other(error)))?;
            if batch.is_empty() {
                break;
            }
            lines.send(Ok(batch.into())).await.map_err(|_| None)?;
            // A container that writes faster than its log is read would have no end.
            if !query.follow && reader.has_caught_up() {
                return Ok(());
            }
        }
        if !query.follow || ended {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = lines.closed() => return Err(None),
            _ = life.wait(|seen| matches!(seen.state, ContainerState::Exited { .. })) => {}
        }
    }
}

/// Lines that were asked for, are there and were not read yet, as they go over the wire; with `tail` the last so many
/// of all that were there at first. None means that there are no more for now.
fn batch(reader: &mut LogReader, query: api::LogsQuery, tail: Option<usize>) -> Result<Vec<u8>, runtime::RuntimeError> {
    let mut lines = VecDeque::new();
    loop {
        let more = reader.read()?;
        if more.is_empty() {
            break;
        }
        lines.extend(more.into_iter().filter(|line| is_between(line.time, query)));
        if let Some(tail) = tail {
            drop(lines.drain(..lines.len().saturating_sub(tail)));
        }
        if reader.has_caught_up() || (tail.is_none() && !lines.is_empty()) {
            break;
        }
    }
    Ok(lines.into_iter().flat_map(wire).collect())
}

fn is_between(time: Timestamp, query: api::LogsQuery) -> bool {
    query.since.is_none_or(|since| time >= since) && query.until.is_none_or(|until| time < until)
}

fn wire(line: runtime::LogLine) -> Vec<u8> {
    let line = api::LogLine { time: line.time, stream: line.stream, log: line.log };
    let mut text = serde_json::to_vec(&line).expect("a time, a word and a text are JSON");
    text.push(b'\n');
    text
}
