//! What appears in a container's file system beside its image.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// A file or directory of the host that appears inside, written `HOST:CONTAINER[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bind {
    /// An absolute path on the host.
    pub source: PathBuf,
    /// An absolute path inside at which [something can be mounted](why_not_at).
    pub destination: PathBuf,
    /// Whether the container cannot write to it, nor to what is mounted below it.
    pub read_only: bool,
}

/// A file system in memory, written `PATH[:OPTION,…]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tmpfs {
    /// An absolute path inside at which [something can be mounted](why_not_at).
    pub destination: PathBuf,
    /// The most it holds; none means half of the machine's memory, the kernel's default. `size=`
    pub size: Option<ByteSize>,
    /// The mode of its root, 1777 unless said otherwise. `mode=`
    pub mode: u32,
    /// Whether programs in it can be executed. `exec`, `noexec`
    pub executable: bool,
    /// Whether the container cannot write to it. `ro`, `rw`
    pub read_only: bool,
}

/// Why a text is no mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be mounted: {reason}; expected {expected}", .text.escape_debug())]
pub struct ParseMountError {
    text: String,
    reason: &'static str,
    expected: &'static str,
}

const BIND: &str = "HOST_PATH:CONTAINER_PATH[:ro]";
const TMPFS: &str = "PATH[:size=SIZE,mode=OCTAL,exec,ro]";

fn error(text: &str, reason: &'static str, expected: &'static str) -> ParseMountError {
    ParseMountError { text: text.chars().take(120).collect(), reason, expected }
}

impl FromStr for Bind {
    type Err = ParseMountError;

    fn from_str(text: &str) -> Result<Self, ParseMountError> {
        let fail = |reason| error(text, reason, BIND);
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, read_only) = match parts[..] {
            [source, destination] | [source, destination, "rw"] => (source, destination, false),
            [source, destination, "ro"] => (source, destination, true),
            [_, _, _] => return Err(fail("the only options are ro and rw")),
            _ => return Err(fail("two paths are needed")),
        };
        if text.contains('\0') {
            return Err(fail("a path holds no NUL"));
        }
        if !source.starts_with('/') {
            return Err(fail("the host's path must be absolute, there are no named volumes"));
        }
        Ok(Self { source: source.into(), destination: destination_of(destination).map_err(fail)?, read_only })
    }
}

impl FromStr for Tmpfs {
    type Err = ParseMountError;

    fn from_str(text: &str) -> Result<Self, ParseMountError> {
        let fail = |reason| error(text, reason, TMPFS);
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let destination = destination_of(path).map_err(fail)?;
        let mut tmpfs = Self { destination, size: None, mode: 0o1777, executable: false, read_only: false };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=').unwrap_or((option, "")) {
                ("ro", "") => tmpfs.read_only = true,
                ("rw", "") => tmpfs.read_only = false,
                ("exec", "") => tmpfs.executable = true,
                ("noexec", "") => tmpfs.executable = false,
                ("size", size) => tmpfs.size = Some(size.parse().map_err(|_| fail("its size is none"))?),
                ("mode", mode) => {
                    let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777);
                    tmpfs.mode = mode.ok_or_else(|| fail("its mode is none"))?;
                }
                _ => return Err(fail("it has an unknown option")),
            }
        }
        Ok(tmpfs)
    }
}

/// A path inside a container that something can be mounted at.
fn destination_of(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    if !path.is_absolute() || text.contains('\0') {
        return Err("the container's path must be absolute");
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return Err("the container's path must not hold `..`");
    }
    // Without doubled and trailing slashes and dots.
    let path: PathBuf = path.components().collect();
    why_not_at(&path).map_or(Ok(path), Err)
}

/// Why nothing of anybody's can be mounted at a path inside a container; none if something can be. The path is absolute
/// and without `..` and links.
///
/// Whoever makes the container makes its devices in `/dev`, in whatever is mounted there.
pub fn why_not_at(path: &Path) -> Option<&'static str> {
    if path == Path::new("/") {
        Some("the container's path must not be /")
    } else if path.starts_with("/proc") || path.starts_with("/sys") {
        Some("nothing can be mounted in /proc and /sys")
    } else if path == Path::new("/dev") {
        Some("nothing can be mounted at /dev, where the container's own devices are, only at a path below it")
    } else {
        None
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{access}", self.source.display(), self.destination.display())
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:mode={:o}", self.destination.display(), self.mode)?;
        if let Some(size) = self.size {
            write!(f, ",size={size}")?;
        }
        f.write_str(if self.executable { ",exec" } else { "" })?;
        f.write_str(if self.read_only { ",ro" } else { "" })
    }
}

crate::text::through_text!(Bind, ParseMountError);
crate::text::through_text!(Tmpfs, ParseMountError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_as_they_are_written() {
        for text in ["/srv/data:/data", "/srv/data:/data/x:ro", "/dev/shm:/dev/shm", "/srv/data:/device"] {
            assert_eq!(text.parse::<Bind>().expect("valid").to_string(), text);
        }
        let bind: Bind = "/a/../b:/x//y/./z/:rw".parse().expect("valid");
        assert_eq!((bind.source, bind.destination), ("/a/../b".into(), "/x/y/z".into()));
        for text in ["/tmp:mode=1777", "/run:mode=755,size=64m,exec,ro"] {
            assert_eq!(text.parse::<Tmpfs>().expect("valid").to_string(), text);
        }
        assert_eq!("/tmp".parse::<Tmpfs>().expect("valid").mode, 0o1777);
    }

    #[test]
    fn what_cannot_be_mounted_is_refused_with_the_reason() {
        for (text, reason) in [
            ("/a", "two paths"),
            ("data:/data", "no named volumes"),
            ("/a:data", "absolute"),
            ("/a:/", "must not be /"),
            ("/a:/b/../../c", "`..`"),
            ("/a:/proc/sys", "/proc and /sys"),
            ("/a:/dev", "own devices"),
            ("/a:/dev/./", "own devices"),
            ("/a:/b:exec", "ro and rw"),
            ("/a:/b:ro:rw", "two paths"),
            ("/a:/b\0", "NUL"),
        ] {
            let error = text.parse::<Bind>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for text in ["tmp", "/", "/sys", "/dev/", "/tmp:size=x", "/tmp:mode=9", "/tmp:mode=77777", "/tmp:uid=0"] {
            assert!(text.parse::<Tmpfs>().is_err(), "{text}");
        }
    }
}
