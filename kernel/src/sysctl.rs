//! Settings below `/proc/sys/net`, which show the network namespace of the thread that opens them.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use model::{Family, IfName, Switch};
use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use crate::KernelError;

/// A file below `/proc` that is read again and again, and opened once. Of a network namespace it shows that of the
/// thread that made this; one that the kernel does not have then is looked for whenever it is read.
pub(crate) struct Held {
    path: PathBuf,
    file: Option<File>,
}

impl Held {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { file: File::open(&path).ok(), path }
    }

    /// How it begins; none where the kernel does not have it.
    fn beginning(&mut self) -> Result<Option<[u8; 16]>, KernelError> {
        let mut text = [0; 16];
        // One that was held may be that of a module which was unloaded, and loaded again since.
        if self.file.as_ref().is_some_and(|file| file.read_at(&mut text, 0).is_ok()) {
            return Ok(Some(text));
        }
        match File::open(&self.path).and_then(|file| file.read_at(&mut text, 0).map(|_| file)) {
            Ok(file) => self.file = Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KernelError::File { action: "read", path: self.path.clone(), source }),
        }
        Ok(Some(text))
    }

    /// Whether its value is 1 now; where the kernel does not have it, it is not.
    pub(crate) fn is_on(&mut self) -> Result<bool, KernelError> {
        Ok(self.beginning()?.is_some_and(|text| words_of(&text) == b"1"))
    }

    /// Whether there is anything in it.
    pub(crate) fn says_something(&mut self) -> Result<bool, KernelError> {
        Ok(self.beginning()?.is_some_and(|text| !words_of(&text).is_empty()))
    }
}

/// What was read into a buffer of zeros, without white space around it.
fn words_of(text: &[u8]) -> &[u8] {
    text.split(|octet| *octet == 0).next().unwrap_or_default().trim_ascii()
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Setting<'a> {
    /// Whether the host forwards packets of a family.
    Forwarding(Family),
    /// Whether an interface forwards IPv6: a router's does not heed other routers.
    InterfaceForwarding(&'a str),
    /// Whether an interface takes addresses and routes from router advertisements: 0 never, 1 unless it forwards, 2
    /// always.
    RouterAdvertisements(&'a str),
    /// Whether 127.0.0.0/8 may be routed over an interface.
    LoopbackRouting(&'a IfName),
    /// Whether bridges have a family's packets judged by iptables on their way from port to port.
    BridgesCall(Family),
    /// The ports that the kernel gives to programs that ask for any.
    LocalPorts,
    /// How many connections the host's table holds, once the module that has it is loaded.
    ConnectionTable,
}

impl Setting<'_> {
    fn path(self) -> PathBuf {
        let path = PathBuf::from("/proc/sys/net");
        match self {
            Self::Forwarding(Family::Ipv4) => path.join("ipv4/ip_forward"),
            Self::Forwarding(Family::Ipv6) => path.join("ipv6/conf/all/forwarding"),
            Self::InterfaceForwarding(name) => path.join(format!("ipv6/conf/{name}/forwarding")),
            Self::RouterAdvertisements(name) => path.join(format!("ipv6/conf/{name}/accept_ra")),
            Self::LoopbackRouting(name) => path.join(format!("ipv4/conf/{name}/route_localnet")),
            Self::BridgesCall(Family::Ipv4) => path.join("bridge/bridge-nf-call-iptables"),
            Self::BridgesCall(Family::Ipv6) => path.join("bridge/bridge-nf-call-ip6tables"),
            Self::LocalPorts => path.join("ipv4/ip_local_port_range"),
            Self::ConnectionTable => path.join("netfilter/nf_conntrack_max"),
        }
    }

    /// The words of its value; none where the kernel does not have the setting.
    pub(crate) fn read(self) -> Result<Option<Vec<String>>, KernelError> {
        match fs::read_to_string(self.path()) {
            Ok(text) => Ok(Some(text.split_whitespace().map(str::to_owned).collect())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed("read", source)),
        }
    }

    /// Whether its value is 1; where the kernel does not have the setting it is not.
    pub(crate) fn is_on(self) -> Result<bool, KernelError> {
        Ok(self.read()?.is_some_and(|words| words == ["1"]))
    }

    /// The setting, to be read again and again.
    pub(crate) fn held(self) -> Held {
        Held::new(self.path())
    }

    /// Whether its value is 0.
    fn is_zero(self) -> Result<bool, KernelError> {
        Ok(self.read()?.is_some_and(|words| words == ["0"]))
    }

    /// Sets it.
    pub(crate) fn write(self, value: &str) -> Result<(), KernelError> {
        fs::write(self.path(), value).map_err(|source| self.failed("write", source))
    }

    fn failed(self, action: &'static str, source: io::Error) -> KernelError {
        KernelError::File { action, path: self.path(), source }
    }
}

/// Makes interfaces that listen to routers do so also when the host forwards.
///
/// By default (`accept_ra` 1) an interface that forwards takes nothing from router advertisements, and what it took is
/// forgotten when forwarding is turned on (`rt6_purge_dflt_routers` in `net/ipv6/route.c`): a host that has its address
/// and default route from its router would lose both. With 2 it keeps them. Interfaces to come are like `default`.
pub(crate) fn keep_heeding_routers() -> Result<(), KernelError> {
    const DIRECTORY: &str = "/proc/sys/net/ipv6/conf";
    let failed = |source| KernelError::File { action: "list", path: DIRECTORY.into(), source };
    for entry in fs::read_dir(DIRECTORY).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        let heeds = Setting::RouterAdvertisements(&name).is_on()? && Setting::InterfaceForwarding(&name).is_zero()?;
        if name != "all" && heeds {
            Setting::RouterAdvertisements(&name).write("2")?;
        }
    }
    Ok(())
}

/// Allows or forbids 127.0.0.0/8 on an interface.
pub(crate) fn set_loopback_routing(name: &IfName, to: Switch) -> Result<(), KernelError> {
    match to {
        Switch::On => Setting::LoopbackRouting(name).write("1"),
        Switch::Off => Setting::LoopbackRouting(name).write("0"),
    }
}

/// A directory below `/proc/sys/net` of one network namespace, open.
///
/// The kernel finds a name there by walking past the entries of that name of every other network namespace
/// (`proc_sys_compare` in `fs/proc/proc_sysctl.c`), which takes up to 1 ms where there are 1,000. What is sought from
/// an open directory on is found at once.
pub(crate) struct Directory {
    path: &'static str,
    /// None where the kernel does not have it.
    opened: Option<OwnedFd>,
}

impl Directory {
    /// That of the namespace that the thread is in.
    pub(crate) fn open(path: &'static str) -> Result<Self, KernelError> {
        match openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(opened) => Ok(Self { path, opened: Some(opened) }),
            Err(Errno::NOENT) => Ok(Self { path, opened: None }),
            Err(error) => Err(KernelError::File { action: "open", path: path.into(), source: error.into() }),
        }
    }

    /// The words of a setting below it; none where the kernel does not have the setting.
    fn read(&self, setting: &str) -> Result<Option<Vec<String>>, KernelError> {
        let mut text = String::new();
        match self.file(setting, OFlags::RDONLY).and_then(|mut file| file.read_to_string(&mut text)) {
            Ok(_) => Ok(Some(text.split_whitespace().map(str::to_owned).collect())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed("read", setting, source)),
        }
    }

    /// Sets one. Says whether the kernel has it.
    pub(crate) fn write(&self, setting: &str, value: &str) -> Result<bool, KernelError> {
        match self.file(setting, OFlags::WRONLY).and_then(|mut file| file.write_all(value.as_bytes())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.failed("write", setting, source)),
        }
    }

    fn file(&self, setting: &str, how: OFlags) -> io::Result<File> {
        let directory = self.opened.as_ref().ok_or(ErrorKind::NotFound)?;
        Ok(openat(directory, setting, how | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    fn failed(&self, action: &'static str, setting: &str, source: io::Error) -> KernelError {
        KernelError::File { action, path: PathBuf::from(self.path).join(setting), source }
    }
}

/// What every container's namespace has: no IPv6 but where an interface is given it, any port for any user, ping for
/// any group. The last two are what container tools give, so that images need fewer capabilities.
const CONTAINER: [(&str, [(&str, &str); 2]); 2] = [
    ("/proc/sys/net/ipv6/conf", [("all/disable_ipv6", "1"), ("default/disable_ipv6", "1")]),
    ("/proc/sys/net/ipv4", [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")]),
];

/// Whether the namespace that the thread is in has the settings of a container's.
pub(crate) fn is_container_ready() -> Result<bool, KernelError> {
    for (directory, settings) in CONTAINER {
        let directory = Directory::open(directory)?;
        for (setting, value) in settings {
            if directory.read(setting)?.is_some_and(|words| words.join(" ") != value) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Gives the namespace that the thread is in the settings of a container's.
pub(crate) fn make_container_ready() -> Result<(), KernelError> {
    for (directory, settings) in CONTAINER {
        let directory = Directory::open(directory)?;
        for (setting, value) in settings {
            if directory.read(setting)?.is_some_and(|words| words.join(" ") != value) {
                directory.write(setting, value)?;
            }
        }
    }
    Ok(())
}
