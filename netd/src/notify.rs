//! What a service manager is told: that the daemon is ready, ends, and is well (sd_notify(3), without its library).

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Arc,
    time::Duration,
};

use crate::daemon::{Daemon, chain};

/// How long it may take to answer itself where no service manager waits for it.
const UNWATCHED: Duration = Duration::from_secs(60);

/// The service manager, if one started this process.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How long it waits for a sign of life.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` if it is meant for this process.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let address = match address.as_encoded_bytes() {
            // Abstract names are written with an @ in place of their NUL.
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&address)?,
        };
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0).map(Duration::from_micros);
        Ok(Self { socket: Some((UnixDatagram::unbound()?, address)), watchdog })
    }

    /// Requests are answered from now on.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=Answering requests\n");
    }

    /// The daemon ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Ending\n");
    }

    /// Asks for so much time from now on to end.
    pub(crate) fn ask_for_time(&self, time: Duration) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS=Ending containers\n", time.as_micros()));
    }

    /// Whether one started this process.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Gives signs of life for as long as the daemon is well, and logs that it is not. One that is not well falls
    /// silent, and the manager starts another in its place, which stops no container.
    pub(crate) async fn watch(&self, daemon: &Arc<Daemon>) {
        // Where nobody would replace it, it is logged at least.
        let limit = self.watchdog.unwrap_or(UNWATCHED);
        loop {
            match tokio::time::timeout(limit / 2, daemon.is_well()).await {
                Ok(Ok(())) => self.tell("WATCHDOG=1\n"),
                Ok(Err(reason)) => tracing::error!(reason, "netd is not well"),
                Err(_) => tracing::error!("netd is not well: it did not answer itself in time"),
            }
            tokio::time::sleep(limit / 4).await;
        }
    }

    fn tell(&self, text: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

impl Daemon {
    /// Whether the parts that every request needs answer: the world's lock, the store, the kernel's thread, the zygote.
    async fn is_well(&self) -> Result<(), String> {
        if self.runtime.has_lost_zygote() {
            return Err(
                "its zygote has ended, so no container can be started; restart netd, which stops no container".into()
            );
        }
        drop(self.world());
        self.store.list(crate::record::NETWORKS).await.map_err(|error| chain(&error))?;
        self.kernel.uplink_mtu().await.map_err(|error| chain(&error))?;
        Ok(())
    }
}
