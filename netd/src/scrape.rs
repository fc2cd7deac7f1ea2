//! `/metrics` by TCP, where the configuration asks for it: for monitoring that may not use the API's socket.
//!
//! Whoever reaches the address may read the metrics and nothing else.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use api::route;
use axum::{Router, routing::get};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    daemon::{Daemon, chain},
    server,
};

/// How long one request may take, from its connection to its last octet.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once. Strangers who open more wait, and take no descriptors that containers need.
const CONNECTIONS: usize = 16;

/// Listens on `address`.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers requests for metrics until the process ends.
pub(crate) async fn serve(daemon: Arc<Daemon>, listener: TcpListener) {
    let router = Router::new().route(route::METRICS, get(server::metrics)).with_state(daemon);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    if timeout(PATIENCE, converse(stream, router)).await.is_err() {
                        tracing::debug!("a request for metrics took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers one request, so that no idle connection keeps a place.
async fn converse(stream: TcpStream, router: Router) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(error = chain(&error), "a connection for metrics broke off");
    }
}
