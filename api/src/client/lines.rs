//! Answers of one JSON document per line, as they arrive.

use std::marker::PhantomData;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;

use super::{ClientError, connection::Answer};
/// The lines of an endless answer, each parsed as `T`, as they arrive.
#[derive(Debug)]
pub struct Lines<T> {
    request: String,
    answer: Answer,
    pending: Vec<u8>,
    /// How many octets of `pending` are known to hold no line feed.
    searched: usize,
    line: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn new(request: String, answer: Answer) -> Self {
        Self { request, answer, pending: Vec::new(), searched: 0, line: PhantomData }
    }

    /// The next line; none when the daemon has sent the last. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Ended`] when the connection breaks, [`ClientError::Answer`] when it sends something else.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(line) = self.take_line() {
                return self.parse(&line).map(Some);
            }
            match self.chunk().await? {
                Some(bytes) => self.pending.extend_from_slice(&bytes),
                None if self.pending.is_empty() => return Ok(None),
                None => {
                    let rest = std::mem::take(&mut self.pending);
                    self.searched = 0;
                    return self.parse(&rest).map(Some);
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(offset) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.pending.len();
            return None;
        };
        let end = self.searched + offset;
        self.searched = 0;
        Some(self.pending.drain(..=end).collect())
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.answer.response.body_mut().frame().await {
            let frame = frame.map_err(|source| ClientError::broken(&self.request, source))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn parse(&self, line: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(line).map_err(|source| ClientError::Answer { request: self.request.clone(), source })
    }
}
