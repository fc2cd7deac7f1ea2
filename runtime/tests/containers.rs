//! Containers for real: every case makes them in its own directories, cgroup and network namespace, and removes them.
//!
//! Its own harness, because the zygote is forked from a process without threads: each case is a process of this
//! program, run one after the other. Needs root. `cargo test -p runtime --test containers [PART OF A NAME]`.

use std::{
    panic::AssertUnwindSafe,
    process::{Command, ExitCode},
    time::Instant,
};

#[path = "containers/bed.rs"]
mod bed;
#[path = "containers/confinement.rs"]
mod confinement;
#[path = "containers/inits.rs"]
mod inits;
#[path = "containers/life.rs"]
mod life;
#[path = "containers/options.rs"]
mod options;
#[path = "containers/recovery.rs"]
mod recovery;
#[path = "containers/streams.rs"]
mod streams;
#[path = "containers/terminals.rs"]
mod terminals;

use bed::{Bed, Case};

/// Set in the processes that run one case.
const CASE: &str = "RUNTIME_TEST_CASE";

fn main() -> ExitCode {
    runtime::run_if_zygote();
    let cases: Vec<Case> = [
        life::CASES,
        streams::CASES,
        terminals::CASES,
        options::CASES,
        confinement::CASES,
        recovery::CASES,
        inits::CASES,
    ]
    .concat();
    if let Ok(order) = std::env::var(recovery::DAEMON) {
        return recovery::be_the_daemon(&order);
    }
    if let Ok(name) = std::env::var(CASE) {
        let case = cases.iter().find(|case| case.name == name).expect("the parent passes names of cases");
        return run(case);
    }
    let filter: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, 0);
    for case in cases.iter().filter(|case| filter.is_empty() || filter.iter().any(|part| case.name.contains(part))) {
        let begin = Instant::now();
        let program = std::env::current_exe().expect("has a program");
        let status = Command::new(program).env(CASE, case.name).status().expect("runs itself");
        let verdict = if status.success() { "ok" } else { "FAILED" };
        println!("{} ... {verdict} ({} ms)", case.name, begin.elapsed().as_millis());
        if status.success() {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

fn run(case: &Case) -> ExitCode {
    if case.unified && !bed::enter_unified_cgroups() {
        return ExitCode::FAILURE;
    }
    let bed = Bed::make();
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| (case.run)(&bed)));
    let left = bed.strip();
    for thing in &left {
        eprintln!("{}: left behind: {thing}", case.name);
    }
    ExitCode::from(u8::from(outcome.is_err() || !left.is_empty()))
}
