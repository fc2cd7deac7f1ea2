//! `fabric completion` and `fabric man`: what shells and readers know of `fabric`.

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::{
    arguments::{Arguments, ShellArgument},
    failure::Failure,
};

/// Prints the completion script of a shell.
pub(super) fn completion(shell: ShellArgument) -> Result<(), Failure> {
    let shell = match shell {
        ShellArgument::Bash => Shell::Bash,
        ShellArgument::Zsh => Shell::Zsh,
        ShellArgument::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "fabric", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script).map_err(Failure::Output)
}

/// Writes a page for every command into `directory`: `fabric.1`, `fabric-run.1`, `fabric-network-create.1`.
pub(super) fn man(directory: &Path) -> Result<(), Failure> {
    // Told once, and not of the first page.
    let is_directory = fs::metadata(directory)
        .and_then(|found| if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
    is_directory.map_err(|source| Failure::ManPages { directory: directory.to_owned(), source })?;
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    pages(&command, directory)
}

fn pages(command: &Command, directory: &Path) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(Failure::Output)?;
    let written = fs::write(directory.join(format!("{name}.1")), page);
    written.map_err(|source| Failure::ManPages { directory: directory.to_owned(), source })?;
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| pages(sub, directory))
}
