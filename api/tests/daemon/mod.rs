//! A server on a Unix socket that answers with what a test tells it to.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// A running server; it ends with the test's runtime.
pub(crate) struct Daemon {
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Serves with `handler` on `netd.sock` in a directory of its own.
    pub(crate) fn start<F>(handler: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let listener = UnixListener::bind(directory.path().join("netd.sock")).expect("a new socket can be bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let handler = handler.clone();
                let service = service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client that leaves early is part of some tests.
                tokio::spawn(connection.with_upgrades());
            }
        });
        Self { directory }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("netd.sock")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("tests use real statuses");
    response
}

pub(crate) fn json(status: u16, value: &impl serde::Serialize) -> Answer {
    answer(status, serde_json::to_vec(value).expect("tests answer with wire types"))
}

/// Answers with 101 and hands the connection, with what was read ahead, to `conversation`.
pub(crate) fn upgrade<F>(
    request: Request<Incoming>,
    conversation: impl FnOnce(UnixStream, Bytes) -> F + Send + 'static,
) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.expect("the client upgrades");
        let parts = upgraded.downcast::<TokioIo<UnixStream>>().expect("the server accepts Unix sockets");
        conversation(parts.io.into_inner(), parts.read_buf).await;
    });
    let mut response = answer(101, "");
    response.headers_mut().insert(header::CONNECTION, "upgrade".parse().expect("literal"));
    response.headers_mut().insert(header::UPGRADE, api::route::UPGRADE.parse().expect("literal"));
    response
}

pub(crate) async fn body(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.expect("the client sends its whole body").to_bytes()
}

/// A container as the daemon would answer with.
pub(crate) fn container() -> api::Container {
    serde_json::from_value(serde_json::json!({
        "id": "ab".repeat(16),
        "name": "api",
        "image": "busybox:1.36",
        "state": "running",
        "exit_code": null,
        "pid": 4711,
        "created_at": "2026-11-20T08:00:00Z",
        "started_at": "2026-11-20T08:00:01Z",
        "finished_at": null,
        "hostname": "api",
        "command": ["httpd", "-f"],
        "labels": {"tier": "web"},
        "publishes": ["8080:80/tcp"],
        "endpoints": [{
            "id": "0123456789abcdef",
            "network": "web",
            "ipv4": "10.89.0.2",
            "ipv6": null,
            "mac": "02:42:0a:59:00:02",
            "gateway": "10.89.0.1",
            "gateway6": null,
            "aliases": [], "gateway_priority": 0, "default_routes": ["ipv4"],
            "interface": "eth0",
        }],
    }))
    .expect("the literal is a container")
}
