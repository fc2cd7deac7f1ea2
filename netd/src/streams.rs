//! Connections that leave the daemon: an upgraded request's socket is handed to the container's shim, so that an
//! attached run goes on when the daemon does not.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use model::{Command, ContainerId, Frame};
use runtime::ExecStreams;
use tokio::{net::UnixStream, sync::OwnedMutexGuard};

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
};

/// How long a shim may take to accept a client.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client's connection is to be handed to.
pub(crate) enum Target {
    /// The container's own standard streams.
    Attach,
    /// A new process in the container.
    Exec {
        /// What it runs.
        command: Box<Command>,
        /// What its standard streams are.
        streams: ExecStreams,
    },
}

/// The other half of a request that asks for the upgrade; refused if it does not.
pub(crate) fn upgrade(request: &mut Request) -> Result<OnUpgrade, Failure> {
    let asked = request.headers().get(header::UPGRADE).is_some_and(|value| value == api::route::UPGRADE);
    match request.extensions_mut().remove::<OnUpgrade>() {
        Some(upgrade) if asked => Ok(upgrade),
        _ => Err(Failure::NoUpgrade),
    }
}

impl Daemon {
    /// Answers that the protocol changes, and hands the connection over as soon as it has. Until then `work`, the lock
    /// on the container, is held: a start that is asked for after the answer happens with the client attached.
    pub(crate) fn hand_over(
        self: Arc<Self>,
        id: ContainerId,
        work: OwnedMutexGuard<()>,
        target: Target,
        upgrade: OnUpgrade,
    ) -> Response {
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => self.connect(&id, target, upgraded).await,
                Err(error) => tracing::debug!(error = chain(&error), "a client went away before it was connected"),
            }
            drop(work);
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static(api::route::UPGRADE)),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }

    async fn connect(&self, id: &ContainerId, target: Target, upgraded: Upgraded) {
        let parts = match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(parts) => parts,
            Err(_) => {
                tracing::error!("a client's connection is not a Unix socket, so it cannot be handed over");
                return;
            }
        };
        let handed = split(parts.io.into_inner());
        let (client, ours) = match handed {
            Ok(both) => both,
            Err(error) => {
                tracing::error!(%error, "a client's connection cannot be handed over");
                return;
            }
        };
        let read = parts.read_buf.to_vec();
        let begun = match &target {
            Target::Attach => "client attached",
            Target::Exec { .. } => "program begun",
        };
        let connecting = async {
            match target {
                Target::Attach => self.runtime.attach(id, client, read).await,
                Target::Exec { command, streams } => self.runtime.exec(id, &command, streams, client, read).await,
            }
        };
        // The container is locked meanwhile: a shim that hangs must not keep anybody from removing it.
        let failure = match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((error.exit_code(), chain(&error))),
            Err(_) => Some((125, format!("the container's shim did not answer within {} s", PATIENCE.as_secs()))),
        };
        if let Some((code, message)) = failure {
            let failed = Frame::Failed { code, message };
            // Who has gone away need not be told.
            let _ = std::io::Write::write_all(&mut &ours, &failed.encode());
        } else {
            self.steps.after(begun);
        }
    }
}

/// The connection, and a second handle on it for telling the client that it could not be handed over.
fn split(stream: UnixStream) -> std::io::Result<(OwnedFd, std::os::unix::net::UnixStream)> {
    let stream = stream.into_std()?;
    Ok((OwnedFd::from(stream.try_clone()?), stream))
}
