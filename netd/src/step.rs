//! Named steps: the points after which a crash must leak nothing.
//!
//! Every effect of a request is followed by one step. A crash test first runs a request with `NETD_STEP_LOG` to learn
//! the steps there are, then once per step with `NETD_CRASH_AT`, so the list of crash points is always the code's own.

use std::{
    fs::File,
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where steps are reported to; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(Option<Arc<Watched>>);

#[derive(Debug)]
struct Watched {
    log: Option<Mutex<File>>,
    crash_at: Option<u64>,
    passed: AtomicU64,
}

impl Steps {
    /// Steps as the environment asks: appended to the file `NETD_STEP_LOG`, and the process killed right after the
    /// `NETD_CRASH_AT`th since `netd` was ready. With neither variable a step costs nothing.
    pub(crate) fn from_environment() -> std::io::Result<Self> {
        let log = std::env::var_os("NETD_STEP_LOG")
            .map(|path| File::options().append(true).create(true).open(path))
            .transpose()?
            .map(Mutex::new);
        let crash_at = std::env::var("NETD_CRASH_AT").ok().and_then(|number| number.parse().ok());
        if log.is_none() && crash_at.is_none() {
            return Ok(Self(None));
        }
        Ok(Self(Some(Arc::new(Watched { log, crash_at, passed: AtomicU64::new(0) }))))
    }

    /// Reports that the effect called `name` has just happened.
    pub(crate) fn after(&self, name: &str) {
        let Some(watched) = &self.0 else { return };
        if let Some(log) = &watched.log {
            let mut log = log.lock().expect("no holder of the step log panics");
            // The log is an aid of the test that reads it; a test that misses a line fails by itself.
            let _ = writeln!(log, "{name}");
        }
        let number = watched.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if watched.crash_at == Some(number) {
            // SIGKILL, not abort: nothing may run after it, as in a real crash.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
