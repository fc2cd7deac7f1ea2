//! A request body that a thread writes while the client sends it.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// How many pieces may wait to be sent; a piece is what one `write` was given.
const PENDING: usize = 8;

/// The sending end of a request body: what is written to the other end, as it arrives.
#[derive(Debug)]
pub struct Upload {
    pieces: mpsc::Receiver<Piece>,
    state: UploadState,
}

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
    Failed(io::Error),
}

#[derive(Debug, PartialEq, Eq)]
enum UploadState {
    Open,
    Ended,
}

/// The writing end of a request body, for a thread that may block.
///
/// Writing fails with [`io::ErrorKind::BrokenPipe`] once the request is over. A writer that is dropped without
/// [`UploadWriter::finish`] breaks the request off, so that half a body is never taken for a whole one.
#[derive(Debug)]
pub struct UploadWriter {
    pieces: mpsc::Sender<Piece>,
}

/// A request body in two ends.
pub fn upload() -> (UploadWriter, Upload) {
    let (sender, receiver) = mpsc::channel(PENDING);
    (UploadWriter { pieces: sender }, Upload { pieces: receiver, state: UploadState::Open })
}

impl UploadWriter {
    /// The body is complete.
    pub fn finish(self) {
        // Without a receiver the request is over, and nobody is left to care.
        let _ = self.pieces.blocking_send(Piece::End);
    }

    /// The body cannot be completed.
    pub fn fail(self, error: io::Error) {
        let _ = self.pieces.blocking_send(Piece::Failed(error));
    }
}

impl Write for UploadWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let piece = Piece::Data(Bytes::copy_from_slice(bytes));
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.state == UploadState::Ended {
            return Poll::Ready(None);
        }
        let piece = match self.pieces.poll_recv(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        if let Some(Piece::Data(data)) = piece {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        self.state = UploadState::Ended;
        Poll::Ready(match piece {
            Some(Piece::Failed(error)) => Some(Err(error)),
            None => Some(Err(io::Error::other("what was sent ended early"))),
            Some(Piece::End | Piece::Data(_)) => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.state == UploadState::Ended
    }
}
