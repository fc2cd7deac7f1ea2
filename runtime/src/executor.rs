//! The last steps of a process that becomes a container's program.
//!
//! libcontainer would load a seccomp filter only into the first process, not into what `exec` adds, and without "no
//! new privileges" only while capabilities are complete. Here both kinds of process take the same last steps: they
//! arrive with the container's capabilities and CAP_SYS_ADMIN, load the one filter, give up CAP_SYS_ADMIN, execute.
//! Nothing of the container's runs in between, and a process of the container cannot trace one with more capabilities.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::CString,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd, RawFd},
    rc::Rc,
};

use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use model::{Command, TerminalSize};
use oci_spec::runtime::{Process, Spec};
use rustix::{
    io::Errno,
    process::Signal,
    thread::{CapabilitySet, CapabilitySets},
};

use crate::{
    Failure, FailureKind, init,
    seccomp::Filter,
    system,
    terminal::{self, Demand, Offer},
};

/// Executes the program, and reports to the shim why that failed.
#[derive(Clone)]
pub(crate) struct Launcher {
    filter: Filter,
    /// What the program ends up with.
    capabilities: CapabilitySet,
    // Shared with the shim's own copy of this object, which closes its end when the container's has been made.
    report: Rc<RefCell<Option<OwnedFd>>>,
    /// What makes its standard streams a terminal, if they are to be one.
    terminal: Rc<RefCell<Option<Offer>>>,
    surplus: Rc<[RawFd]>,
    parentage: Parentage,
}

/// Whose child a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parentage {
    /// It takes the place of the process that prepared it.
    Direct,
    /// It has an init ([`crate::init`]).
    UnderInit,
}

/// The shim's end of a [`Launcher`].
pub(crate) struct Launch {
    report: File,
    terminal: Option<Demand>,
}

/// The steps that may fail, as they cross the pipe.
const PREPARE: u8 = 0;
const EXECUTE: u8 = 1;

impl Launcher {
    /// `surplus` are descriptors of the caller that the process must close before it waits to be started: a shim's
    /// socket that a container held open would seem alive when the shim is not. With a `terminal`, of a size that may
    /// not be known yet, the standard streams that the process is given otherwise are replaced.
    pub(crate) fn new(
        filter: Filter,
        capabilities: CapabilitySet,
        surplus: &[RawFd],
        terminal: Option<Option<TerminalSize>>,
        parentage: Parentage,
    ) -> io::Result<(Self, Launch)> {
        let (reader, writer) = io::pipe()?;
        let (offer, demand) = terminal.map(terminal::arrange).transpose()?.unzip();
        let report = Rc::new(RefCell::new(Some(writer.into())));
        let terminal = Rc::new(RefCell::new(offer));
        let launcher = Self { filter, capabilities, report, terminal, surplus: surplus.into(), parentage };
        Ok((launcher, Launch { report: OwnedFd::from(reader).into(), terminal: demand }))
    }

    /// The filter it loads.
    pub(crate) fn filter(&self) -> Filter {
        self.filter.clone()
    }

    /// Closes this process's copies of what the program's process has, so that their end means that it was executed.
    pub(crate) fn close(&self) {
        self.report.borrow_mut().take();
        self.terminal.borrow_mut().take();
    }

    fn fail(&self, step: u8, error: Errno) -> ! {
        let mut message = vec![step];
        message.extend(error.raw_os_error().to_ne_bytes());
        if let Some(report) = self.report.borrow_mut().take() {
            let _ = File::from(report).write_all(&message);
        }
        system::exit_now(i32::from(kind_of(step, error).exit_code()))
    }
}

impl Launch {
    /// The other side of the process's terminal, if it has one. It has when the container was built.
    pub(crate) fn terminal(&self) -> io::Result<Option<OwnedFd>> {
        self.terminal.as_ref().map(Demand::receive).transpose()
    }

    /// Waits until the command's program is executed.
    pub(crate) fn outcome(mut self, command: &Command) -> Result<(), Failure> {
        let program = command.arguments.first().map_or("", String::as_str);
        let mut message = Vec::new();
        self.report.read_to_end(&mut message).map_err(Failure::at("learn whether it started"))?;
        let [step, number @ ..] = message.as_slice() else {
            return Ok(());
        };
        let number: [u8; 4] = number.try_into().unwrap_or_default();
        let error = Errno::from_raw_os_error(i32::from_ne_bytes(number));
        let step_name = match *step {
            EXECUTE => format!("execute `{program}`"),
            _ => "enter the container's security confinement".to_owned(),
        };
        let kind = kind_of(*step, error);
        let cause = match kind {
            FailureKind::ProgramNotFound if !program.contains('/') => "no such program in $PATH".to_owned(),
            _ => io::Error::from(error).to_string(),
        };
        Err(Failure::message(kind, step_name, cause))
    }
}

fn kind_of(step: u8, error: Errno) -> FailureKind {
    match (step, error) {
        (EXECUTE, Errno::NOENT | Errno::NOTDIR) => FailureKind::ProgramNotFound,
        (EXECUTE, _) => FailureKind::ProgramNotExecutable,
        _ => FailureKind::Other,
    }
}

impl Executor for Launcher {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let Some((process, arguments)) = spec.process().as_ref().and_then(|it| Some((it, it.args().as_ref()?))) else {
            return Err(ExecutorError::InvalidArg);
        };
        let (arguments, environment) = match (strings(arguments), strings(environment_of(process))) {
            (Ok(arguments), Ok(environment)) if !arguments.is_empty() => (arguments, environment),
            _ => self.fail(EXECUTE, Errno::INVAL),
        };
        if let Err(error) = self.confine() {
            self.fail(PREPARE, error);
        }
        self.fail(EXECUTE, execute(&arguments, &environment))
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        // A program that is missing is an error of the start, not of the creation. But this is the one moment
        // between the last change of credentials, which clears the signal, and the wait for the start.
        for descriptor in self.surplus.iter() {
            drop(system::adopt(*descriptor));
        }
        if let Some(offer) = self.terminal.borrow_mut().take() {
            offer
                .fulfil()
                .map_err(|error| ExecutorValidationError::ArgValidationError(format!("terminal: {error}")))?;
        }
        // A container must not run unobserved: without its shim nobody would ever learn that it ended.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| ExecutorValidationError::ArgValidationError(format!("prctl: {error}")))
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment goes straight to execve, in its own order.
        Ok(())
    }
}

impl Launcher {
    fn confine(&self) -> Result<(), Errno> {
        self.filter.load()?;
        let capabilities = self.capabilities;
        rustix::thread::set_capabilities(
            None,
            CapabilitySets {
                effective: capabilities,
                permitted: capabilities,
                // What is inheritable could be regained by files' capabilities (CVE-2022-24769).
                inheritable: CapabilitySet::empty(),
            },
        )?;
        system::reset_signals();
        if self.parentage == Parentage::UnderInit {
            init::begin()?;
        }
        Ok(())
    }
}

fn environment_of(process: &Process) -> &[String] {
    process.env().as_deref().unwrap_or_default()
}

fn strings(texts: &[String]) -> Result<Vec<CString>, std::ffi::NulError> {
    texts.iter().map(|text| CString::new(text.as_str())).collect()
}

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// As execvp(3), with the container's own PATH.
fn execute(arguments: &[CString], environment: &[CString]) -> Errno {
    let program = arguments[0].as_bytes();
    if program.contains(&b'/') {
        return system::execute(&arguments[0], arguments, environment);
    }
    let path = environment.iter().find_map(|variable| variable.as_bytes().strip_prefix(b"PATH="));
    let mut result = Errno::NOENT;
    for directory in path.unwrap_or(DEFAULT_PATH).split(|octet| *octet == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate = CString::new([directory, b"/", program].concat()).expect("made of parts without NUL");
        match system::execute(&candidate, arguments, environment) {
            Errno::NOENT | Errno::NOTDIR => {}
            // Remembered, for a later directory may have a better one.
            Errno::ACCESS => result = Errno::ACCESS,
            error => return error,
        }
    }
    result
}

/// The descriptor's number in `/proc`, as a path that this process and those it forks can open.
pub(crate) fn path_of(descriptor: impl AsFd) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()).into()
}
