//! Reading a log while it is written.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use model::LogLimits;

use super::{LogLine, files};
use crate::RuntimeError;

/// Reads a container's log, and what is appended to it.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
    position: u64,
    rest: Vec<u8>,
    /// What is still to be read of what was there at first: the octets of `file`, and behind it files with theirs,
    /// oldest first. None before the first look.
    backlog: Option<(u64, VecDeque<(File, u64)>)>,
}

impl LogReader {
    /// The most that one call to [`LogReader::read`] takes from the file, in octets.
    const STEP: u64 = 1 << 20;

    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, position: 0, rest: Vec::new(), backlog: None }
    }

    /// The lines that were appended since the last call, at most about a mebioctet of them; none when there are none
    /// at the moment, or the file does not exist yet. Blocks on the disk only.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> Result<Vec<LogLine>, RuntimeError> {
        self.read_step().map_err(|source| RuntimeError::path("read", &self.path, source))
    }

    /// Whether all has been read that was there when reading began: of a log that is written faster than it is read,
    /// there would be no other end.
    pub fn has_caught_up(&self) -> bool {
        matches!(&self.backlog, Some((0, files)) if files.is_empty())
    }

    fn read_step(&mut self) -> io::Result<Vec<LogLine>> {
        if self.backlog.is_none() {
            self.backlog = Some((0, self.present()?));
        }
        loop {
            let (rest_of_file, files) = self.backlog.as_mut().expect("looked at above");
            if *rest_of_file == 0
                && let Some((file, length)) = files.pop_front()
            {
                *rest_of_file = length;
                self.enter(file);
                continue;
            }
            let most = if *rest_of_file > 0 { Self::STEP.min(*rest_of_file) } else { Self::STEP };
            // Before reading: what was written to a file until it was left is read for certain.
            let next = if *rest_of_file > 0 { None } else { self.newer()? };
            if let Some(file) = &mut self.file {
                file.seek(SeekFrom::Start(self.position))?;
                let read = file.take(most).read_to_end(&mut self.rest)? as u64;
                self.position += read;
                let (rest_of_file, _) = self.backlog.as_mut().expect("looked at above");
                // A file that somebody cut off has no more.
                *rest_of_file = if read == 0 { 0 } else { rest_of_file.saturating_sub(read) };
                if read > 0 {
                    break;
                }
                if !self.has_caught_up() {
                    continue;
                }
            }
            let Some(next) = next else { return Ok(Vec::new()) };
            self.enter(next);
        }
        let Some(end) = self.rest.iter().rposition(|octet| *octet == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        // A line that a full disk cut off is skipped.
        Ok(whole.split(|octet| *octet == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

impl LogReader {
    fn enter(&mut self, file: File) {
        self.file = Some(file);
        self.position = 0;
        self.rest.clear();
    }

    /// The files that are there with their lengths in octets, oldest first.
    fn present(&self) -> io::Result<VecDeque<(File, u64)>> {
        let mut present = VecDeque::new();
        let (mut last, mut missing) = (None, 0);
        for path in files(&self.path, LogLimits::MOST_FILES.into()) {
            match File::open(&path) {
                Ok(file) => {
                    let metadata = file.metadata()?;
                    let own = (metadata.dev(), metadata.ino());
                    // One that turned over meanwhile is met again by its next name.
                    if last.replace(own) != Some(own) {
                        present.push_front((file, metadata.len()));
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    missing += 1;
                    // While they turn over, one of them has no name for a moment.
                    if missing > 1 {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(present)
    }

    /// The file after the one that is read, or the oldest if that is gone or there is none; none if it is the newest.
    fn newer(&self) -> io::Result<Option<File>> {
        let own = self.file.as_ref().map(File::metadata).transpose()?.map(|file| (file.dev(), file.ino()));
        let (mut newer, mut missing) = (None, 0);
        for path in files(&self.path, LogLimits::MOST_FILES.into()) {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    missing += 1;
                    // While they turn over, one of them has no name for a moment.
                    if missing > 1 {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let metadata = file.metadata()?;
            if own == Some((metadata.dev(), metadata.ino())) {
                break;
            }
            newer = Some(file);
        }
        Ok(newer)
    }
}
