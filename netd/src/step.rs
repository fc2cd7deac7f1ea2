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
    crash_at: Option<CrashAt>,
    passed: AtomicU64,
}

/// The step that the process is killed after.
#[derive(Debug, PartialEq, Eq)]
enum CrashAt {
    /// So many have been taken.
    Number(u64),
    /// The first called so, where `…` stands for any word.
    Name(String),
}

impl Steps {
    /// Steps as the environment asks: appended to the file `NETD_STEP_LOG`, and the process killed right after the
    /// `NETD_CRASH_AT`th since `netd` was ready, or the first of that name, in which `…` stands for any word. With
    /// neither variable a step costs nothing.
    pub(crate) fn from_environment() -> std::io::Result<Self> {
        let log = std::env::var_os("NETD_STEP_LOG")
            .map(|path| File::options().append(true).create(true).open(path))
            .transpose()?
            .map(Mutex::new);
        let crash_at = std::env::var("NETD_CRASH_AT").ok();
        let crash_at = crash_at.map(|step| step.parse().map_or(CrashAt::Name(step), CrashAt::Number));
        if log.is_none() && crash_at.is_none() {
            return Ok(Self(None));
        }
        Ok(Self(Some(Arc::new(Watched { log, crash_at, passed: AtomicU64::new(0) }))))
    }

    /// Reports that the effect called `name` has just happened.
    pub(crate) fn after(&self, name: &str) {
        let Some(watched) = &self.0 else { return };
        // Held to the end: the step that the process is killed after is the last in the log.
        let mut log = watched.log.as_ref().map(|log| log.lock().expect("no holder of the step log panics"));
        if let Some(log) = &mut log {
            // The log is an aid of the test that reads it; a test that misses a line fails by itself.
            let _ = writeln!(log, "{name}");
        }
        let number = watched.passed.fetch_add(1, Ordering::SeqCst) + 1;
        let is_last = match &watched.crash_at {
            Some(CrashAt::Number(last)) => *last == number,
            Some(CrashAt::Name(last)) => is_called(name, last),
            None => false,
        };
        if is_last {
            // SIGKILL, not abort: nothing may run after it, as in a real crash.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}

fn is_called(step: &str, name: &str) -> bool {
    let words = |text: &str| text.split(' ').count();
    words(step) == words(name) && step.split(' ').zip(name.split(' ')).all(|(word, of)| of == "…" || word == of)
}

#[test]
fn a_step_is_known_by_its_words() {
    for (step, name, called) in [
        ("stop intended", "stop intended", true),
        ("add address 10.9.8.1/24", "add address …", true),
        ("add address 10.9.8.1/24", "add address", false),
        ("add address", "add address …", false),
        ("stop intended", "stop done", false),
    ] {
        assert_eq!(is_called(step, name), called, "{step} {name}");
    }
}
