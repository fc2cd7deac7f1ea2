//! A connection that carries [`Frame`]s.

use std::io;

use model::{DecodeFrameError, Frame, FrameDecoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// An attached connection. Whoever is at its other end, the daemon need not live for it to go on.
#[derive(Debug)]
pub struct FrameStream {
    stream: UnixStream,
    decoder: FrameDecoder,
}

/// Why frames stopped.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection broke while it was read.
    #[error("cannot read from the container's streams")]
    Read(#[source] io::Error),
    /// The connection broke while it was written to.
    #[error("cannot write to the container's streams")]
    Write(#[source] io::Error),
    /// The other end does not speak frames.
    #[error("the container's streams are not understood")]
    Decode(#[source] DecodeFrameError),
}

impl FrameStream {
    /// Frames over `stream`, of which `read` was read already.
    pub(super) fn new(stream: UnixStream, read: &[u8]) -> Self {
        let mut decoder = FrameDecoder::default();
        decoder.push(read);
        Self { stream, decoder }
    }

    /// Sends one frame, before the two directions are used on their own. Not cancel-safe.
    ///
    /// # Errors
    /// [`FrameError::Write`], also when the other end has closed.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), FrameError> {
        self.stream.write_all(&frame.encode()).await.map_err(FrameError::Write)
    }

    /// The two directions, each to be used on its own.
    pub fn split(self) -> (FrameReader, FrameWriter) {
        let (read, write) = self.stream.into_split();
        (FrameReader { stream: read, decoder: self.decoder, buffer: vec![0; BUFFER] }, FrameWriter { stream: write })
    }
}

const BUFFER: usize = 64 << 10;

/// What the other end says.
#[derive(Debug)]
pub struct FrameReader {
    stream: OwnedReadHalf,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl FrameReader {
    /// The next frame; none when the other end has closed. Cancel-safe.
    ///
    /// # Errors
    /// [`FrameError::Read`] and [`FrameError::Decode`]; the connection is then of no more use.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(FrameError::Decode)? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut self.buffer).await.map_err(FrameError::Read)? {
                0 => return Ok(None),
                length => self.decoder.push(&self.buffer[..length]),
            }
        }
    }
}

/// What is said to the other end.
#[derive(Debug)]
pub struct FrameWriter {
    stream: OwnedWriteHalf,
}

impl FrameWriter {
    /// Sends one frame, whose payload is at most [`Frame::MAX_PAYLOAD`] octets. Not cancel-safe.
    ///
    /// # Errors
    /// [`FrameError::Write`], also when the other end has closed.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), FrameError> {
        self.stream.write_all(&frame.encode()).await.map_err(FrameError::Write)
    }
}
