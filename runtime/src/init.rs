//! The first process of a container that asked for an init: it has the container's program as its child, passes signals
//! on to it, reaps what loses its parent, and ends as the program does.
//!
//! It is the process that would have executed the program, and executes nothing: so it needs no file inside, whatever
//! the image. It has the program's own filter, capabilities and user, and no descriptor. Its memory is a copy of the
//! zygote's, so it cannot be dumped or traced; a container that could do that all the same (CAP_SYS_PTRACE) must not
//! have one.

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Pid, WaitOptions},
};

use crate::system::{self, Fork};

/// What it is called in lists of processes.
const NAME: &str = "fabric-init";

/// Splits the process: returns in a child, which is to execute the program. The process itself stays, and ends with the
/// child's exit code.
pub(crate) fn begin() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Before there is a child, so that the signal of its end is not lost.
    system::block_signals();
    match system::fork()? {
        Fork::Child => {
            become_foreground();
            system::reset_signals();
            Ok(())
        }
        Fork::Parent(child) => watch_over(child),
    }
}

/// A group of its own, which the keys of a terminal go to: otherwise it would have their signals twice, once passed on.
fn become_foreground() {
    let _ = rustix::process::setpgid(None, None);
    // Refused where standard input is no terminal. All signals are blocked, SIGTTOU among them.
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
}

fn watch_over(child: Pid) -> ! {
    // Whoever holds a pipe open keeps its reader waiting.
    system::close_everything();
    let _ = rustix::thread::set_name(c"fabric-init");
    system::rename_arguments(NAME);
    loop {
        match system::next_signal() {
            Some(libc::SIGCHLD) => reap_all(child),
            // They concern whoever uses the terminal, and this process does not.
            Some(libc::SIGTTIN | libc::SIGTTOU) | None => {}
            Some(signal) => system::pass_on(child, signal),
        }
    }
}

/// One signal may stand for the ends of many.
fn reap_all(child: Pid) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            system::exit_now(system::exit_code(status));
        }
    }
}
