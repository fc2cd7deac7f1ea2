//! A stream whose answer is read even though it takes no more of the request.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

/// A Unix stream that, once the other end has closed, waits in its writes instead of failing them.
///
/// A daemon that refuses half of an upload answers and closes. The answer is then still in the socket, but `hyper`
/// gives up at the first write that fails. Waiting lets it read the answer, or the end of the stream, which fails the
/// request just as well.
#[derive(Debug)]
pub(super) struct Patient {
    stream: UnixStream,
    closed: bool,
}

impl Patient {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, closed: false }
    }

    pub(super) fn into_inner(self) -> UnixStream {
        self.stream
    }

    /// The result of a write, or an endless wait in place of the news that the other end has closed. Nothing needs
    /// to wake the writer: the reader is always awake to what is left to read.
    fn patiently(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(error)) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.closed = true;
                Poll::Pending
            }
            other => other,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.patiently(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.patiently(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
