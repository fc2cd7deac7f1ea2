//! `fabric`: the command line of the daemon `netd`.

mod arguments;
mod attached;
mod commands;
mod detach;
mod env_file;
mod failure;
mod filter;
mod objects;
mod output;
mod policy_files;
mod signals;
mod table;
mod tarball;
mod template;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    commands::complete();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::Failure::Runtime(error).report(),
    };
    let result = runtime.block_on(commands::execute(arguments));
    // A thread may still wait for standard input; nothing waits for the thread.
    runtime.shutdown_background();
    result.unwrap_or_else(|failure| failure.report())
}
