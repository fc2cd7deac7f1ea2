//! The program, and a server for it that answers as told.

#![allow(dead_code, reason = "every test file uses its own part")]

#[path = "../../../api/tests/daemon/mod.rs"]
pub(crate) mod daemon;

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use bytes::Bytes;
use daemon::Daemon;
use model::{Frame, FrameDecoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::Command,
    time::timeout,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn fabric(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fabric"));
    command.args(arguments).env("FABRIC_SOCKET", daemon.socket()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) async fn output(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("it ends").expect("the program was built with this test")
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes text")
}

/// The frames that a client sends, one after the other.
pub(crate) struct Client {
    stream: UnixStream,
    decoder: FrameDecoder,
}

impl Client {
    pub(crate) fn new(stream: UnixStream, read: &Bytes) -> Self {
        let mut decoder = FrameDecoder::default();
        decoder.push(read);
        Self { stream, decoder }
    }

    /// The next frame; none when the client has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("the program speaks frames") {
                return Some(frame);
            }
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.decoder.push(&buffer[..length]),
            }
        }
    }

    /// Whether the client still listens.
    pub(crate) async fn send(&mut self, frame: Frame) -> bool {
        self.stream.write_all(&frame.encode()).await.is_ok()
    }
}
