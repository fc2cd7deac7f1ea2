//! `fabric completion` and `fabric man`: what shells and readers know of `fabric`.

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory};
use clap_complete::{CompleteEnv, env::Shells};

use crate::{
    arguments::{Arguments, ShellArgument},
    failure::Failure,
};

const PROGRAM: &str = "fabric";
/// By this variable a script says which shell wants to know how a line goes on.
const ASKED: &str = "FABRIC_COMPLETE";
/// zsh runs the file of a function the first time that the function is needed, which is to complete something.
const WHEN_LOADED_BY_ZSH: &str = r#"
if [ "${funcstack[1]}" = _fabric ]; then
    _clap_dynamic_completer_fabric "$@"
fi
"#;

/// Tells a completion script how a line goes on, and ends, if that is what this process is for.
pub(crate) fn complete() {
    CompleteEnv::with_factory(Arguments::command).var(ASKED).bin(PROGRAM).completer(PROGRAM).complete();
}

/// Prints the completion script of a shell. It asks the `fabric` that it finds, which knows its own options and the
/// names that `netd` knows.
pub(super) fn completion(shell: ShellArgument) -> Result<(), Failure> {
    let name = match shell {
        ShellArgument::Bash => "bash",
        ShellArgument::Zsh => "zsh",
        ShellArgument::Fish => "fish",
    };
    let shells = Shells::builtins();
    let script = shells.completer(name).expect("clap knows these shells");
    let mut text = Vec::new();
    script.write_registration(ASKED, PROGRAM, PROGRAM, PROGRAM, &mut text).map_err(Failure::Output)?;
    if shell == ShellArgument::Zsh {
        text.extend_from_slice(WHEN_LOADED_BY_ZSH.as_bytes());
    }
    io::Write::write_all(&mut io::stdout().lock(), &text).map_err(Failure::Output)
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
