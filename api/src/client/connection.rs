//! One request over one connection.

use std::{
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
};

use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Method, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header,
};
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, task::JoinHandle};

use super::{ClientError, FrameStream, patient::Patient, query_string};
use crate::{Problem, route};

/// The longest path that fits a socket address: `sun_path` has 108 octets, the last of them NUL (`unix(7)`).
const MAX_SOCKET_PATH: usize = 107;

/// The longest answer that is read as one JSON document, in octets.
const MAX_ANSWER: usize = 64 << 20;

/// A request on its way.
pub(super) struct Request<'a> {
    socket: &'a Path,
    method: Method,
    path: String,
    query: String,
    content_type: Option<&'static str>,
    body: UnsyncBoxBody<Bytes, io::Error>,
}

impl<'a> Request<'a> {
    pub(super) fn new(socket: &'a Path, method: Method, path: &str) -> Self {
        let body = Full::default().map_err(|never| match never {}).boxed_unsync();
        Self { socket, method, path: path.to_owned(), query: String::new(), content_type: None, body }
    }

    pub(super) fn with_query(self, query: &impl Serialize) -> Self {
        Self { query: query_string(query), ..self }
    }

    pub(super) fn with_json(self, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).expect("wire types have text keys");
        let body = Full::from(json).map_err(|never| match never {}).boxed_unsync();
        Self { content_type: Some("application/json"), body, ..self }
    }

    pub(super) fn with_body(self, body: impl Body<Data = Bytes, Error = io::Error> + Send + 'static) -> Self {
        Self { content_type: Some("application/x-tar"), body: body.boxed_unsync(), ..self }
    }

    /// The request as errors call it.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Sends it and reads the answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let name = self.name();
        let bytes = read(&name, self.send().await?).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { request: name, source })
    }

    /// Sends it; the answer says no more than that it was done.
    pub(super) async fn empty(self) -> Result<(), ClientError> {
        self.send().await.map(drop)
    }

    /// Sends it and refuses every answer that is not a success.
    pub(super) async fn send(self) -> Result<Answer, ClientError> {
        let name = self.name();
        let answer = self.exchange(None).await?;
        refuse_failure(&name, answer).await
    }

    /// Sends it and turns the connection into a stream of frames.
    pub(super) async fn upgrade(self) -> Result<FrameStream, ClientError> {
        let name = self.name();
        let mut answer = self.exchange(Some(route::UPGRADE)).await?;
        if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answer = refuse_failure(&name, answer).await?;
            return Err(ClientError::NotUpgraded { request: name, status: answer.response.status().as_u16() });
        }
        let broken = |source| ClientError::broken(&name, source);
        let upgraded = hyper::upgrade::on(&mut answer.response).await.map_err(broken)?;
        let parts = upgraded.downcast::<TokioIo<Patient>>().expect("`exchange` made the connection of this type");
        Ok(FrameStream::new(parts.io.into_inner().into_inner(), &parts.read_buf))
    }

    async fn exchange(self, upgrade: Option<&'static str>) -> Result<Answer, ClientError> {
        let request_name = self.name();
        let stream = connect(self.socket)
            .await
            .map_err(|source| ClientError::Connect { socket: self.socket.to_owned(), source })?;
        let broken = |source| ClientError::broken(&request_name, source);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(Patient::new(stream))).await.map_err(broken)?;
        // Its error reaches whoever waits for the answer, too.
        let driver = Driver(tokio::spawn(connection.with_upgrades()));

        let uri = if self.query.is_empty() { self.path } else { format!("{}?{}", self.path, self.query) };
        let mut request = hyper::Request::builder().method(self.method).uri(uri).header(header::HOST, "netd");
        if let Some(content_type) = self.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(protocol) = upgrade {
            request = request.header(header::CONNECTION, "upgrade").header(header::UPGRADE, protocol);
        }
        let request = request.body(self.body).expect("paths and queries are percent-encoded, headers are literals");
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(Answer { response, _driver: driver })
    }
}

/// An answer, whose body arrives as long as this lives.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    _driver: Driver,
}

/// The task that drives a connection; it ends with this, whatever is left of the request.
#[derive(Debug)]
struct Driver(JoinHandle<hyper::Result<()>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects to a socket whose path may be longer than a socket address can hold.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH {
        return UnixStream::connect(socket).await;
    }
    let handle = rustix::fs::open(socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}", handle.as_raw_fd())).await
}

async fn refuse_failure(name: &str, answer: Answer) -> Result<Answer, ClientError> {
    let status = answer.response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(answer);
    }
    let bytes = read(name, answer).await?;
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => Err(ClientError::Problem { status: status.as_u16(), problem }),
        Err(_) => Err(ClientError::Refused { request: name.to_owned(), status: status.as_u16() }),
    }
}

async fn read(name: &str, mut answer: Answer) -> Result<Bytes, ClientError> {
    let collected = Limited::new(answer.response.body_mut(), MAX_ANSWER).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|source| ClientError::unreadable(name, source))
}
