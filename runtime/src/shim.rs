//! In progress.
use std::os::fd::OwnedFd;
pub(crate) const PROCESS_NAME: &str = "fabric-shim";
pub(crate) fn run(_: crate::protocol::CreateRequest, _: crate::seccomp::Filter, _: OwnedFd, _: OwnedFd) -> ! {
    crate::system::exit_now(1)
}
