//! What stays of a shim when its container was deleted before every client had taken everything.
//!
//! It has nothing but the clients: no path, mount, namespace or log of the container, and no socket to be asked on, so
//! that whatever comes to be under the same name has no business with it. It ends with the last client that reads.

use std::{fs::File, io};

use crate::{exec, namespace, streams::Streams, system};

/// Sends the clients what waits for them, in this process, which was the container's shim, and ends.
pub(crate) fn stay(streams: Streams) -> ! {
    // With nothing to send, the end of this process lets go of everything at once: what is unmounted one by one waits
    // for an RCU grace period each. What cannot be let go of ends with it as well: that nothing is left comes before
    // the last octets.
    if !streams.is_flushed()
        && let Ok(mut streams) = let_go(streams)
    {
        exec::flush(&mut streams);
    }
    system::exit_now(0)
}

fn let_go(streams: Streams) -> io::Result<Streams> {
    std::env::set_current_dir("/")?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    for number in 0..3 {
        system::duplicate_to(&nothing, number)?;
    }
    drop(nothing);
    namespace::leave_mounts(File::open("/proc/self/mountinfo")?)?;
    // Last, for it also closes the connection on which the deletion is awaited.
    streams.only_clients()
}
