//! Signals that a terminal or a supervisor sends, passed on instead of obeyed.

use std::{io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are passed on to an attached process.
///
/// From its creation on they no longer end this process.
pub(crate) struct Signals {
    sources: Vec<(u8, Signal)>,
}

impl Signals {
    /// Begins to take them.
    pub(crate) fn take() -> io::Result<Self> {
        let kinds = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        let take = |kind: SignalKind| {
            let number = u8::try_from(kind.as_raw_value()).expect("signal numbers are at most 64");
            signal(kind).map(|source| (number, source))
        };
        Ok(Self { sources: kinds.into_iter().map(take).collect::<io::Result<_>>()? })
    }

    /// The number of the next one to arrive. Cancel-safe.
    pub(crate) async fn next(&mut self) -> u8 {
        std::future::poll_fn(|context| {
            for (number, source) in &mut self.sources {
                if source.poll_recv(context).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}
