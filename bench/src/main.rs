//! `fabric-bench`: Fabric beside its peers, in one run, on one machine.
//!
//! It measures from outside, as a user would: processes, packets and what the kernel says of memory. Each peer lives in
//! namespaces and directories of its own, and the machine is left as it was. What a peer cannot do here is said, with
//! the reason; nothing is compared with a figure from another day.

mod ask;
mod competition;
mod contest;
mod enter;
mod host;
mod interrupt;
mod peer;
mod ping;
mod place;
mod processor;
mod report;
mod row;
mod sample;
mod socket;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::{Parser, ValueEnum};

/// Measure Fabric beside its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure [default: everything].
    #[arg(value_enum)]
    rows: Vec<Measure>,
    /// How often each value is measured; measures that take seconds each are made five times at most.
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
    /// Start a container, until its address answers: with a namespace from the pool, and without.
    Start,
    /// Attach a running container to one more network, until its first packet is answered.
    Attach,
    /// Streams and requests between two containers.
    Throughput,
    /// 200 published ports more, where thousands are published.
    Publish,
    /// Connections and streams under many policies, and changing one of many rules.
    Policy,
    /// Queries for a thousand names.
    Dns,
    /// A host with a thousand containers: memory, one more endpoint, and a restart.
    Full,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = interrupt::watch() {
        eprintln!("fabric-bench: cannot watch for signals: {error}");
        return ExitCode::FAILURE;
    }
    let before = host::Host::look();
    let rows = match measure(&arguments) {
        Ok(rows) => rows,
        Err(why) => {
            eprintln!("fabric-bench: Fabric cannot be measured: {why}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", report::table(&rows));
    let left = host::Host::look().left_since(&before);
    if !left.is_empty() {
        // Other programs of a machine that is not idle come and go as well.
        let first: Vec<&str> = left.iter().take(10).map(String::as_str).collect();
        println!("New on the host since the beginning ({}): {}", left.len(), first.join(", "));
    }
    if let Some(path) = &arguments.json
        && let Err(error) = report::write(path, &rows)
    {
        eprintln!("fabric-bench: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if interrupt::check().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures what was chosen. All that was started for it has ended by then.
fn measure(arguments: &Arguments) -> Result<Vec<row::Row>, peer::Absence> {
    let mut competition = competition::Competition::start(&arguments.binaries)?;
    let rounds = arguments.rounds;
    let mut rows = Vec::new();
    for measure in Measure::value_variants() {
        if interrupt::check().is_err() || !(arguments.rows.is_empty() || arguments.rows.contains(measure)) {
            continue;
        }
        let begin = Instant::now();
        rows.extend(match measure {
            Measure::Run => row::run::measure(&competition, rounds),
            Measure::Start => row::start::measure(&competition, rounds),
            Measure::Attach => row::attach::measure(&competition, rounds),
            Measure::Throughput => row::throughput::measure(&competition, rounds),
            Measure::Publish => row::publish::measure(&competition, rounds),
            Measure::Policy => row::policy::measure(&competition, rounds),
            Measure::Dns => row::dns::measure(&competition, rounds),
            Measure::Full => row::full::measure(&mut competition, rounds),
        });
        eprintln!("fabric-bench: {measure:?} took {:.0} s", begin.elapsed().as_secs_f64());
    }
    Ok(rows)
}
