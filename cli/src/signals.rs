//! Signals that a terminal or a supervisor sends, passed on instead of obeyed.

use std::{io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are passed on to an attached process.
///
/// From its creation on they no longer end this process.
pub(crate) struct Signals {
    sources: Vec<(u8, Signal)>,
    /// How often the process was asked to end, by SIGINT or SIGTERM.
    asked: u32,
}

/// The terminal is closed.
pub(crate) const HANGUP: u8 = 1;
/// This process goes on after it was stopped.
pub(crate) const CONTINUE: u8 = 18;
/// The terminal has another size. Like [`CONTINUE`], it is not for the attached process as it is.
pub(crate) const WINDOW_CHANGE: u8 = 28;

/// A container's first process ignores what it has no handler for (`pid_namespaces(7)`). Whoever asks it to end for the
/// third time means it.
const PATIENCE: u32 = 3;

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
            SignalKind::window_change(),
            SignalKind::from_raw(CONTINUE.into()),
        ];
        let take = |kind: SignalKind| {
            let number = u8::try_from(kind.as_raw_value()).expect("signal numbers are at most 64");
            signal(kind).map(|source| (number, source))
        };
        Ok(Self { sources: kinds.into_iter().map(take).collect::<io::Result<_>>()?, asked: 0 })
    }

    /// The number of the signal to pass on next: the one that arrived, or SIGKILL when the process was asked to end
    /// twice before and is still there. Cancel-safe.
    pub(crate) async fn next(&mut self) -> u8 {
        let number = self.arrival().await;
        let asks = [SignalKind::interrupt(), SignalKind::terminate()];
        if !asks.iter().any(|kind| kind.as_raw_value() == i32::from(number)) {
            return number;
        }
        self.asked += 1;
        match PATIENCE.checked_sub(self.asked) {
            Some(1) => anstream::eprintln!("still there; once more kills it"),
            Some(0) | None => return api::Signal::kill().number(),
            Some(_) => {}
        }
        number
    }

    /// Waits for a signal that ends a process which does not take it, and returns its number.
    pub(crate) async fn ending(&mut self) -> u8 {
        loop {
            match self.arrival().await {
                CONTINUE | WINDOW_CHANGE => {}
                number => return number,
            }
        }
    }

    async fn arrival(&mut self) -> u8 {
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
