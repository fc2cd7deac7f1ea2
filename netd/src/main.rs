//! The daemon: owns state, decides when. `main` parses, wires and exits; see `daemon` for the parts.

mod again;
mod arguments;
mod attention;
mod binds;
mod boot;
mod clock;
mod config;
mod containers;
mod daemon;
mod directories;
mod doctor;
mod editing;
mod ending;
mod endpoints;
mod events;
mod expiring;
mod failure;
mod files;
mod flows;
mod follow;
mod history;
mod host_end;
mod images;
mod inside_dns;
mod lapsed;
mod learned;
mod learning;
mod life;
mod lifecycle;
mod logs;
mod mended;
mod metrics;
mod names;
mod namespaces;
mod networks;
mod notify;
mod pending;
mod policies;
mod policy_reach;
mod policy_world;
mod ports;
mod queries;
mod record;
mod refresh;
mod removal;
mod restarting;
mod resuming;
mod retry;
mod rolling_back;
mod rulebook;
mod scrape;
mod seat;
mod server;
mod shown_policies;
mod step;
mod streams;
mod upkeep;
mod uplinks;
mod view;
mod world;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{arguments::Arguments, boot::StartError, config::Config, directories::Directories};

/// How long what is still being done when the daemon ends may take.
const LAST_WORK: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    // The zygote is this program, executed once more from a sealed copy.
    runtime::run_if_zygote();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            model::causes(&error).for_each(|cause| eprintln!("  caused by: {cause}"));
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<(), StartError> {
    let config = Config::load(arguments.config.as_deref())?;
    let filter = Targets::new().with_targets(config.log.targets.clone()).with_default(config.log.rest);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(filter).with(lines).init();
    // Held until the end: while what is made is removed again, nobody else is to find it.
    let (directories, traces) = Directories::claim(&arguments.data_dir, &arguments.run_dir)?;
    let ran = serve(config, directories);
    if ran.is_err() {
        traces.remove();
    }
    ran
}

fn serve(config: Config, directories: Directories) -> Result<(), StartError> {
    share_arenas();
    // Before the first thread: the zygote is forked.
    let zygote = runtime::Runtime::spawn_zygote()?;
    raise_descriptor_limit();
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Threads)?;
    let ended = tokio.block_on(boot::run(config, directories, zygote));
    // Nobody waits for a thread that looks at a file system which does not answer.
    tokio.shutdown_timeout(LAST_WORK);
    ended
}

/// Has the threads share two arenas of the allocator. Otherwise glibc makes one for each, up to eight for a processor,
/// and what is free in one is of no use to the others. `mallopt(3)`; called before the first thread.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate wraps it")]
fn share_arenas() {
    const ARENAS: libc::c_int = 2;
    // SAFETY: it takes two numbers, and there is one thread.
    if unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) } == 0 {
        tracing::debug!("the allocator keeps an arena for each thread");
    }
}

#[cfg(not(target_env = "gnu"))]
fn share_arenas() {}

/// Lets the daemon have as many descriptors as it may: DNS alone uses hundreds under load. Called after the zygote was
/// made, so that containers start with the limit that the daemon was started with.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
