//! `fabric-bench`: Fabric beside its peers, in one run, on one machine.
//!
//! It measures from outside, as a user would: processes, packets and what the kernel says of memory. Each peer lives in
//! namespaces and directories of its own, and the machine is left as it was. What a peer cannot do here is said, with
//! the reason; nothing is compared with a figure from another day.

mod competition;
mod peer;
mod place;
mod report;
mod row;
mod sample;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

/// Measure Fabric beside its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure [default: everything].
    #[arg(value_enum)]
    rows: Vec<Measure>,
    /// How often each value is measured.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Where to write the values as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory of the binaries `netd` and `fabric`.
    #[arg(long, value_name = "DIR")]
    binaries: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Start a container and see it end.
    Run,
    /// Attach a running container to one more network, until its first packet is answered.
    Attach,
    /// Streams and requests between two containers.
    Throughput,
    /// A host with a thousand containers: memory, one more endpoint, and a restart.
    Full,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = |measure| arguments.rows.is_empty() || arguments.rows.contains(&measure);
    let mut competition = match competition::Competition::start(&arguments.binaries) {
        Ok(competition) => competition,
        Err(why) => {
            eprintln!("fabric-bench: Fabric cannot be measured: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut rows = Vec::new();
    if chosen(Measure::Run) {
        rows.extend(row::run::measure(&competition, arguments.rounds));
    }
    if chosen(Measure::Attach) {
        rows.extend(row::attach::measure(&competition, arguments.rounds));
    }
    if chosen(Measure::Throughput) {
        rows.extend(row::throughput::measure(&competition));
    }
    if chosen(Measure::Full) {
        rows.extend(row::memory::measure(&mut competition, arguments.rounds));
    }
    println!("{}", report::table(&rows));
    if let Some(path) = &arguments.json
        && let Err(error) = report::write(path, &rows)
    {
        eprintln!("fabric-bench: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
