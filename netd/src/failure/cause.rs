//! What to do about failures of images, of the runtime and of files, whoever met with them.

use std::{error::Error, io, iter, path::Path};

use image::ImageError;
use kernel::KernelError;
use runtime::{FailureKind, RuntimeError};
use rustix::io::Errno;

pub(super) fn of_image(error: &ImageError) -> String {
    let text = match error {
        ImageError::NotTar { .. } => {
            "give a tar of a root file system, an OCI image layout or a docker-archive, plain or compressed with gzip or zstd"
        }
        ImageError::Empty => "check the command that writes it",
        ImageError::Compression { command, .. } => return format!("decompress it first: `{command}`"),
        ImageError::Malformed { .. } => "make or transfer it again",
        ImageError::Hostile { .. } => {
            "do not trust where it comes from; if you made it yourself, make it of a directory with `tar -C DIRECTORY -c .`"
        }
        ImageError::Limit { .. } => "make it smaller, or of fewer entries: the limits are the same for all",
        ImageError::Mismatch { .. } => "the archive is damaged or was altered: make or transfer it again",
        ImageError::Missing { .. } => "export the image again, complete",
        ImageError::Document { .. } => "make it again with a tool that writes OCI images or docker-archives",
        ImageError::Several { .. } => "export just one of them and import that",
        ImageError::Platform { wanted, .. } => return format!("export the image for {wanted}"),
        ImageError::NotFound { .. } => "`fabric image ls` shows those there are",
        ImageError::InUse { .. } => "remove its containers first: `fabric ps -a` shows them, `fabric rm` removes them",
        ImageError::Read { .. } => "send the image again",
        ImageError::Full { .. } => "free some, or remove images with `fabric image rm`, and try again",
        ImageError::Storage { path, source, .. } => return of_file(path, source),
        ImageError::Damaged { .. } => "remove the image and import it again",
    };
    text.to_owned()
}

/// About a container that a person knows by `name`.
pub(super) fn of_runtime(error: &RuntimeError, name: &str) -> String {
    let text = match error {
        RuntimeError::Zygote { .. } | RuntimeError::ZygoteGone { .. } => {
            "restart netd, which ends no container: `systemctl restart netd`"
        }
        RuntimeError::OutOfMemory { .. } => "give it more with `--memory`",
        RuntimeError::NotRunning { .. } => "`fabric ps -a` shows what its state is",
        RuntimeError::ShimGone { .. } | RuntimeError::Shim { .. } => {
            "`fabric ps -a` shows what became of it, the log of netd what it met with"
        }
        RuntimeError::ShimSilent { .. } => {
            return format!("try again when the host has less to do; `fabric rm -f {name}` ends it");
        }
        RuntimeError::Unreachable { .. } => {
            return format!("`fabric stop {name}` and `fabric rm -f {name}` do without");
        }
        RuntimeError::Path { path, source, .. } => return of_file(path, source),
        RuntimeError::Container { failure, .. } => match failure.kind {
            FailureKind::ProgramNotFound => "name a program that the image has, or its path there",
            FailureKind::ProgramNotExecutable => {
                "name a file that may be executed (`chmod +x`) and was built for this host's processor"
            }
            FailureKind::UnknownUser => {
                "name a user that the image has, or give numbers, which need no name: `--user 1000:1000`"
            }
            FailureKind::NotRunning => "`fabric ps -a` shows what its state is",
            FailureKind::Other => "`fabric doctor` looks for what the host lacks, the log of netd says what was tried",
        },
    };
    text.to_owned()
}

/// What to do where a failure comes down to open files of which there may be no more; nothing where it does not.
pub(super) fn of_open_files(error: &(dyn Error + 'static)) -> Option<&'static str> {
    iter::once(error).chain(model::causes(error)).find_map(|error| {
        // What is boxed where it is a source is its box.
        let boxed = || error.downcast_ref::<Box<KernelError>>().map(|error| &**error);
        if let Some(KernelError::Changes(failures)) = error.downcast_ref().or_else(boxed) {
            return failures.iter().find_map(|failure| of_open_files(failure));
        }
        match Errno::from_io_error(error.downcast_ref()?)? {
            Errno::MFILE => Some(
                "netd may open no more files: raise `LimitNOFILE=` with `systemctl edit netd`; `systemctl restart netd` \
                 ends no container",
            ),
            Errno::NFILE => Some("the host may open no more files: raise the number that `sysctl fs.file-max` shows"),
            _ => None,
        }
    })
}

pub(super) fn of_file(path: &Path, source: &io::Error) -> String {
    let path = path.display();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("free space on the file system of {path}: `df {path}`")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("make the file system of {path} writable: `findmnt -T {path}`"),
        io::ErrorKind::PermissionDenied => {
            "netd runs as root: see what else forbids it, such as a mount or AppArmor".to_owned()
        }
        io::ErrorKind::NotFound => {
            format!("somebody removed what netd keeps there: `fabric doctor` looks at {path} and the rest")
        }
        _ => "check the disk, and the kernel's log: `dmesg`".to_owned(),
    }
}
