//! Answers that go on: what is remembered, and what comes from then on.

use std::io;

use axum::body::{Body, Bytes};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

/// A body of what is remembered, and with `follow` of what comes from then on.
///
/// `told` has the number of the last that there is, from 1. `batch` returns some of those from a number on, as they are
/// to be sent, and the number to go on with, which is the same where there are no more. Who reads slowly is waited for,
/// and holds nothing but a few batches.
pub(crate) fn body(
    mut told: watch::Receiver<u64>,
    follow: bool,
    mut batch: impl FnMut(u64) -> (Vec<u8>, u64) + Send + 'static,
) -> Body {
    let (lines, receiver) = mpsc::channel::<io::Result<Bytes>>(16);
    tokio::spawn(async move {
        let mut number = 0;
        loop {
            let last = *told.borrow_and_update();
            while number <= last {
                let (text, go_on) = batch(number);
                if go_on == number {
                    break;
                }
                number = go_on;
                if !text.is_empty() && lines.send(Ok(text.into())).await.is_err() {
                    return;
                }
            }
            if !follow {
                return;
            }
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                () = lines.closed() => return,
            }
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}
