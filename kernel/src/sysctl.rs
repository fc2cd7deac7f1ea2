//! Settings below `/proc/sys/net`, which show the network namespace of the thread that opens them.

use std::{
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};

use model::{IfName, Switch};

use crate::KernelError;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Setting<'a> {
    /// Whether the host forwards IPv4.
    Forwarding,
    /// Whether 127.0.0.0/8 may be routed over an interface.
    LoopbackRouting(&'a IfName),
    /// Whether an interface is without IPv6.
    Ipv6Disabled(&'a IfName),
    /// Whether all present interfaces are without IPv6.
    Ipv6DisabledOnAll,
    /// Whether interfaces to come are without IPv6.
    Ipv6DisabledByDefault,
    /// The lowest port that a process without `CAP_NET_BIND_SERVICE` may bind.
    UnprivilegedPortStart,
    /// The ports that the kernel gives to programs that ask for any.
    LocalPorts,
    /// The groups whose members may send ICMP echo requests without `CAP_NET_RAW`.
    PingGroups,
}

impl Setting<'_> {
    fn path(self) -> PathBuf {
        let path = PathBuf::from("/proc/sys/net");
        match self {
            Self::Forwarding => path.join("ipv4/ip_forward"),
            Self::LoopbackRouting(name) => path.join(format!("ipv4/conf/{name}/route_localnet")),
            Self::Ipv6Disabled(name) => path.join(format!("ipv6/conf/{name}/disable_ipv6")),
            Self::Ipv6DisabledOnAll => path.join("ipv6/conf/all/disable_ipv6"),
            Self::Ipv6DisabledByDefault => path.join("ipv6/conf/default/disable_ipv6"),
            Self::UnprivilegedPortStart => path.join("ipv4/ip_unprivileged_port_start"),
            Self::LocalPorts => path.join("ipv4/ip_local_port_range"),
            Self::PingGroups => path.join("ipv4/ping_group_range"),
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

    /// Sets it.
    pub(crate) fn write(self, value: &str) -> Result<(), KernelError> {
        fs::write(self.path(), value).map_err(|source| self.failed("write", source))
    }

    fn failed(self, action: &'static str, source: io::Error) -> KernelError {
        KernelError::File { action, path: self.path(), source }
    }
}

/// Whether an interface speaks IPv6.
pub(crate) fn ipv6(name: &IfName) -> Result<Switch, KernelError> {
    // A kernel without IPv6 has no such setting.
    let disabled = Setting::Ipv6Disabled(name).read()?.is_none_or(|words| words == ["1"]);
    Ok(if disabled { Switch::Off } else { Switch::On })
}

/// Turns IPv6 on an interface on or off.
pub(crate) fn set_ipv6(name: &IfName, to: Switch) -> Result<(), KernelError> {
    match to {
        Switch::Off => Setting::Ipv6Disabled(name).write("1"),
        Switch::On => Setting::Ipv6Disabled(name).write("0"),
    }
}

/// Whether 127.0.0.0/8 may be routed over an interface.
pub(crate) fn loopback_routing(name: &IfName) -> Result<Switch, KernelError> {
    Ok(if Setting::LoopbackRouting(name).is_on()? { Switch::On } else { Switch::Off })
}

/// Allows or forbids 127.0.0.0/8 on an interface.
pub(crate) fn set_loopback_routing(name: &IfName, to: Switch) -> Result<(), KernelError> {
    match to {
        Switch::On => Setting::LoopbackRouting(name).write("1"),
        Switch::Off => Setting::LoopbackRouting(name).write("0"),
    }
}

/// What every container's namespace has: no IPv6, any port for any user, ping for any group. The last two are what
/// container tools give, so that images need fewer capabilities.
const CONTAINER: [(Setting<'static>, &str); 4] = [
    (Setting::Ipv6DisabledOnAll, "1"),
    (Setting::Ipv6DisabledByDefault, "1"),
    (Setting::UnprivilegedPortStart, "0"),
    (Setting::PingGroups, "0 2147483647"),
];

/// Whether the namespace that the thread is in has the settings of a container's.
pub(crate) fn is_container_ready() -> Result<bool, KernelError> {
    for (setting, value) in CONTAINER {
        if setting.read()?.is_some_and(|words| words.join(" ") != value) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives the namespace that the thread is in the settings of a container's.
pub(crate) fn make_container_ready() -> Result<(), KernelError> {
    for (setting, value) in CONTAINER {
        if setting.read()?.is_some_and(|words| words.join(" ") != value) {
            setting.write(value)?;
        }
    }
    Ok(())
}
