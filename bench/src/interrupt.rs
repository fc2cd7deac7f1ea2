//! What Ctrl-C does: the measure ends early, and everything is put away as at any other end.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::peer::Absence;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Notes from now on that somebody wants the end. What is started is in process groups of its own, so that the terminal
/// interrupts this program and not its peers.
pub(crate) fn watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]
    };
    thread::spawn(move || {
        runtime.block_on(async {
            let [interrupt, terminate, hangup] = &mut signals;
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
        });
        ASKED.store(true, Ordering::Relaxed);
        eprintln!("fabric-bench: ending; what was started is put away");
        // The signals stay caught, and are not heard a second time.
        thread::park();
    });
    Ok(())
}

/// Whether it is to go on.
pub(crate) fn check() -> Result<(), Absence> {
    if ASKED.load(Ordering::Relaxed) { Err("interrupted".to_owned()) } else { Ok(()) }
}
