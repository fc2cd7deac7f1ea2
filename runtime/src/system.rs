//! The system calls that no safe crate offers, each behind a function that is safe to call as documented.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

use rustix::{
    fs::{MemfdFlags, Mode, OFlags, SealFlags},
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::Exit;

/// Which of the two processes this is.
pub(crate) enum Fork {
    /// The new one.
    Child,
    /// The old one, with the new one's identifier.
    Parent(Pid),
}

/// Forks. The caller must be single-threaded: in the child no other thread exists to release a lock it held, and the
/// allocator's are among them.
pub(crate) fn fork() -> Result<Fork, Errno> {
    // SAFETY: fork has no memory preconditions; the child of a single-threaded process may do everything.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid).expect("fork returns a positive identifier to the parent"))),
    }
}

/// Ends the process without running anything of the parent's: no destructors, no `atexit` handlers, no flushing.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes any number and does not return.
    unsafe { libc::_exit(status) }
}

/// Takes ownership of a descriptor that this program's previous image prepared.
pub(crate) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: nothing in this process image owns the descriptor; it was inherited through exec by agreement. Should
    // it not be open, every use returns EBADF.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// A copy of the running program in memory that nobody can change.
pub(crate) fn sealed_copy_of_self() -> io::Result<OwnedFd> {
    let mut program = File::open("/proc/self/exe")?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create(c"fabric", flags | MemfdFlags::EXEC)
        // MFD_EXEC came with Linux 6.3; before, every memfd was executable.
        .or_else(|_| rustix::fs::memfd_create(c"fabric", flags))?;
    let mut copy = File::from(copy);
    io::copy(&mut program, &mut copy)?;
    seal(&copy)?;
    Ok(copy.into())
}

/// Sees to it that nobody changes what is in `copy` any more: neither its size, nor its octets, nor this.
///
/// `F_SEAL_WRITE` would be refused with `EBUSY` while the kernel itself holds a page, be it because it moves memory
/// (`memfd_wait_for_pins` in `mm/memfd.c`). It differs from `F_SEAL_FUTURE_WRITE` only in that it also asks for older
/// mappings that can be written through, and of a file that never left this function's caller there are none.
fn seal(copy: &File) -> Result<(), Errno> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE;
    rustix::fs::fcntl_add_seals(copy, seals)
}

/// Executes `program` under `name` with nothing open but `/dev/null` as 0, 1 and 2, and `socket` as descriptor
/// `number`. Returns only if that fails, and has then also written the error number to `failure`.
pub(crate) fn become_program(
    program: &OwnedFd,
    name: &str,
    socket: OwnedFd,
    number: RawFd,
    failure: BorrowedFd<'_>,
) -> Errno {
    let error = match try_become_program(program, name, socket, number, failure) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let _ = rustix::io::write(failure, &error.raw_os_error().to_ne_bytes());
    error
}

fn try_become_program(
    program: &OwnedFd,
    name: &str,
    socket: OwnedFd,
    number: RawFd,
    failure: BorrowedFd<'_>,
) -> Result<std::convert::Infallible, Errno> {
    // Out of the way of the numbers that are about to be assigned.
    let program = rustix::io::fcntl_dupfd_cloexec(program, number + 16)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(&socket, number + 16)?;
    let _failure = rustix::io::fcntl_dupfd_cloexec(failure, number + 16)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for standard in 0..3 {
        duplicate_to(&null, standard)?;
    }
    duplicate_to(&socket, number)?;
    close_range_on_exec(number + 1)?;
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let arguments = [name.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: path and both vectors are NUL-terminated and outlive the call.
    unsafe {
        libc::execveat(
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr().cast(),
            environment.as_ptr().cast(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(last_error())
}

/// Makes `number` a second name for the descriptor, one that stays open across exec.
pub(crate) fn duplicate_to(descriptor: impl AsFd, number: RawFd) -> Result<(), Errno> {
    // SAFETY: the callers own what `number` was: a standard stream, or a number they agreed on with another image.
    if unsafe { libc::dup2(descriptor.as_fd().as_raw_fd(), number) } < 0 { Err(last_error()) } else { Ok(()) }
}

/// Marks every descriptor from `first` on to be closed by exec.
fn close_range_on_exec(first: RawFd) -> Result<(), Errno> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: RawFd, flags: u32) -> Result<(), Errno> {
    // SAFETY: only the mark or the openness of descriptors changes; see the callers for their owners.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// Closes every descriptor, the standard streams too. For a process that never returns into the frames which own them.
pub(crate) fn close_everything() {
    // Refused only to a caller that has left memory for threads of its own.
    let _ = close_range(0, 0);
}

/// Writes `name` over the arguments that lists of processes show, as far as it has room.
pub(crate) fn rename_arguments(name: &str) {
    // The 48th and 49th fields (proc_pid_stat(5)); the second may hold spaces and ends with the last bracket.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(45);
    let mut field = || fields.next().and_then(|field| field.parse::<usize>().ok()).unwrap_or_default();
    let (begin, end) = (field(), field());
    if begin == 0 || end <= begin {
        return;
    }
    for (place, octet) in (begin..end - 1).zip(name.bytes().chain(std::iter::repeat(0))) {
        // SAFETY: the kernel says that this process's arguments are here, which lie on its stack and can be written.
        // Nobody reads them any more: the caller never returns.
        unsafe { std::ptr::write_volatile(std::ptr::with_exposed_provenance_mut::<u8>(place), octet) };
    }
}

/// [`keep_only_these`] for a number of descriptors that is known.
pub(crate) fn keep_only<const N: usize>(descriptors: [OwnedFd; N]) -> Result<[OwnedFd; N], Errno> {
    let kept = keep_only_these(descriptors.into())?;
    Ok(kept.try_into().expect("as many as were given"))
}

/// Closes every descriptor but the standard streams and those given, which are returned, in order, under new numbers.
///
/// For a process that never returns into the frames which own the closed ones: one that was just forked, or that is
/// about to end.
pub(crate) fn keep_only_these(descriptors: Vec<OwnedFd>) -> Result<Vec<OwnedFd>, Errno> {
    let count = i32::try_from(descriptors.len()).expect("fewer than a process may have");
    // First above all the numbers to be assigned, so that none of them overwrites another.
    let mut above = Vec::with_capacity(descriptors.len());
    for descriptor in &descriptors {
        above.push(rustix::io::fcntl_dupfd_cloexec(descriptor, 3 + count)?);
    }
    // Their numbers are about to be reused.
    std::mem::forget(descriptors);
    for (number, descriptor) in (3..).zip(&above) {
        // SAFETY: the numbers from 3 on belong to frames that are never returned to.
        if unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) } < 0 {
            return Err(last_error());
        }
    }
    std::mem::forget(above);
    close_range(3 + count, 0)?;
    Ok((3..3 + count).map(adopt).collect())
}

/// Registers a socket with tokio. Must be called within a tokio runtime.
pub(crate) fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd names one open descriptor as long as it exists, and the AsyncFd owns it from here on.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }.map_err(Into::into)
}

/// Replaces the program. Returns only if that fails.
pub(crate) fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let vector = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (vector(arguments), vector(environment));
    // SAFETY: all strings and both vectors are NUL-terminated and outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_error()
}

/// The kernel's mask of signals has a bit for each of 64.
const SIZE_OF_MASK: usize = 8;

/// Gives every signal its default action and unblocks all. Rust ignores SIGPIPE, and what is ignored stays so across
/// exec, which breaks `yes | head`.
pub(crate) fn reset_signals() {
    /// `struct sigaction` as the kernel defines it, of which only the size matters here: handler, flags, restorer,
    /// mask.
    const DEFAULT: [u64; 4] = [0; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads one action of all zeroes, which is SIG_DFL. Not through libc, which refuses the two
        // numbers it keeps for itself. SIGKILL and SIGSTOP return EINVAL.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &DEFAULT, std::ptr::null::<u64>(), SIZE_OF_MASK) };
    }
    // SAFETY: the kernel reads one mask of eight octets.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &0_u64, std::ptr::null::<u64>(), SIZE_OF_MASK)
    };
}

/// Has every signal wait for [`next_signal`] or [`reset_signals`], also those that the first process of a PID namespace
/// would never see because it has no handler for them.
pub(crate) fn block_signals() {
    // SAFETY: the kernel reads one mask of eight octets. Not through libc, which leaves out the numbers it keeps for
    // itself.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &u64::MAX, std::ptr::null::<u64>(), SIZE_OF_MASK)
    };
}

/// Takes the next signal that is blocked, once there is one, and returns its number; none if the wait was interrupted.
pub(crate) fn next_signal() -> Option<i32> {
    // SAFETY: the kernel reads one mask of eight octets, and writes nothing where no place is given.
    let number = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &u64::MAX,
            std::ptr::null::<libc::siginfo_t>(),
            std::ptr::null::<libc::timespec>(),
            SIZE_OF_MASK,
        )
    };
    i32::try_from(number).ok().filter(|number| *number > 0)
}

/// Sends a signal by number to a child. That it has ended is noticed elsewhere.
pub(crate) fn pass_on(child: Pid, signal: i32) {
    // SAFETY: the kernel checks both numbers.
    unsafe { libc::kill(child.as_raw_nonzero().get(), signal) };
}

/// Sends a signal by number to the process behind a pidfd.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: no information block is passed; the kernel checks both numbers.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// Puts this process under a seccomp filter, for good.
pub(crate) fn load_seccomp(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `program` describes memory that outlives the call, and the kernel only reads it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// Leaves every supplementary group.
pub(crate) fn drop_groups() -> Result<(), Errno> {
    // SAFETY: a count of zero makes the kernel ignore the pointer.
    if unsafe { libc::setgroups(0, std::ptr::null()) } < 0 { Err(last_error()) } else { Ok(()) }
}

/// Leaves the mount namespace for a copy of it.
pub(crate) fn unshare_mounts() -> Result<(), Errno> {
    // SAFETY: of the namespaces only the mount namespace changes; no descriptor table or memory is unshared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}

/// The `bpf` system call with a command's attributes.
pub(crate) fn bpf<T>(command: u32, attributes: &T) -> Result<i32, Errno> {
    // SAFETY: the callers pass the prefix of `union bpf_attr` that the command reads, whose pointers outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), std::mem::size_of::<T>()) };
    if result < 0 { Err(last_error()) } else { Ok(i32::try_from(result).expect("a descriptor or zero")) }
}

/// Waits for a child that has ended, or is about to, and returns its exit code, or 128 and the number of the signal
/// that ended it.
pub(crate) fn reap(child: Pid) -> i32 {
    loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return exit_code(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return Exit::LOST,
        }
    }
}

/// The exit code that a status stands for, or 128 and the number of a signal.
pub(crate) fn exit_code(status: WaitStatus) -> i32 {
    let signal = || status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or_else(signal).unwrap_or(Exit::LOST)
}

/// Kills a process that is known only by number.
pub(crate) fn kill_by_number(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid).filter(|pid| !pid.is_init()) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Opens a directory to be named through its descriptor.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn last_error() -> Errno {
    Errno::from_raw_os_error(io::Error::last_os_error().raw_os_error().expect("made from errno"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::pipe::SpliceFlags;

    use super::*;

    #[test]
    fn what_the_kernel_still_holds_is_sealed() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut copy = File::from(rustix::fs::memfd_create(c"copy", flags).expect("makes a file"));
        copy.write_all(&[1; 8192]).expect("writes");
        // The page itself waits in the pipe, not a copy of it.
        let (_reader, writer) = io::pipe().expect("makes a pipe");
        let mut from = 0;
        let moved = rustix::pipe::splice(&copy, Some(&mut from), &writer, None, 4096, SpliceFlags::empty());
        assert_eq!(moved, Ok(4096));
        let write = rustix::fs::fcntl_add_seals(&copy, SealFlags::WRITE);
        assert_eq!(write, Err(Errno::BUSY), "so the page is held");

        seal(&copy).expect("seals");
        assert_eq!(rustix::io::pwrite(&copy, &[2], 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&copy, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&copy, 9000), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&copy, SealFlags::EXEC), Err(Errno::PERM));
        // SAFETY: the kernel chooses where, and nothing looks at what is mapped.
        let mapped = unsafe {
            let how = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), 4096, how, libc::MAP_SHARED, copy.as_raw_fd(), 0)
        };
        assert_eq!((mapped, last_error()), (libc::MAP_FAILED, Errno::PERM));
    }
}
