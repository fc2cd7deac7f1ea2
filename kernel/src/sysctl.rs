//! Settings below `/proc/sys/net`, which show the network namespace of the thread that opens them.

use std::{
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};

use model::{Family, IfName, Ipv6, Switch};

use crate::KernelError;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Setting<'a> {
    /// Whether the host forwards packets of a family.
    Forwarding(Family),
    /// Whether an interface forwards IPv6: a router's does not heed other routers.
    InterfaceForwarding(&'a str),
    /// Whether an interface takes addresses and routes from router advertisements: 0 never, 1 unless it forwards, 2 always.
    RouterAdvertisements(&'a str),
    /// Whether an interface asks its neighbours before it uses an IPv6 address.
    DuplicateDetection(&'a IfName),
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
            Self::Forwarding(Family::Ipv4) => path.join("ipv4/ip_forward"),
            Self::Forwarding(Family::Ipv6) => path.join("ipv6/conf/all/forwarding"),
            Self::InterfaceForwarding(name) => path.join(format!("ipv6/conf/{name}/forwarding")),
            Self::RouterAdvertisements(name) => path.join(format!("ipv6/conf/{name}/accept_ra")),
            Self::DuplicateDetection(name) => path.join(format!("ipv6/conf/{name}/accept_dad")),
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

/// Whether an interface of the namespace that the thread is in speaks IPv6.
pub(crate) fn ipv6(name: &IfName) -> Result<Ipv6, KernelError> {
    // A kernel without IPv6 has no such setting.
    if Setting::Ipv6Disabled(name).read()?.is_none_or(|words| words == ["1"]) {
        return Ok(Ipv6::Off);
    }
    let heeds_nobody = Setting::RouterAdvertisements(name.as_str()).is_zero()?;
    Ok(if heeds_nobody { Ipv6::On } else { Ipv6::Credulous })
}

/// Turns IPv6 on an interface on or off. Where it is turned on, nobody but Fabric says what its addresses and routes are,
/// and they can be used at once.
pub(crate) fn set_ipv6(name: &IfName, to: Ipv6) -> Result<(), KernelError> {
    match to {
        Ipv6::Off => Setting::Ipv6Disabled(name).write("1"),
        Ipv6::Credulous => Setting::Ipv6Disabled(name).write("0"),
        Ipv6::On => {
            Setting::RouterAdvertisements(name.as_str()).write("0")?;
            Setting::DuplicateDetection(name).write("0")?;
            Setting::Ipv6Disabled(name).write("0")
        }
    }
}

/// Turns IPv6 on a container's interface on or off, and on the loopback interface of its namespace if it needs that.
pub(crate) fn set_ipv6_inside(name: &IfName, to: Ipv6) -> Result<(), KernelError> {
    // Off it is from the beginning; a kernel that has no IPv6 is not told so.
    if ipv6(name)? == to {
        return Ok(());
    }
    if to != Ipv6::Off {
        let loopback: IfName = "lo".parse().expect("two letters name an interface");
        Setting::Ipv6Disabled(&loopback).write("0")?;
    }
    set_ipv6(name, to)
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

/// What every container's namespace has: no IPv6 but where an interface is given it, any port for any user, ping for any group. The last two are what
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
