//! A container's log: one JSON object per line, in a few files of bounded size.
//!
//! The newest is `log.jsonl`; when it is full it becomes `log.jsonl.1`, and that one `log.jsonl.2`, whose end that is. So a
//! container that writes without end cannot fill the disk.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use model::Stream;
use serde::{Deserialize, Serialize};

use crate::RuntimeError;

/// One line, or a piece of a long one, that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When its first octet was received.
    pub time: Timestamp,
    /// Which stream it was written to.
    pub stream: Stream,
    /// The text with its line feed. What is not UTF-8 is replaced by U+FFFD.
    pub log: String,
    /// Whether the line goes on in the stream's next object: it was too long, or the stream ended without a line feed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// The longest piece of a line in one object, in octets.
const MAX_LINE: usize = 16 << 10;

/// How large a file of a log becomes, in octets.
const MAX_FILE: u64 = 10 << 20;
/// How many files a log has.
pub(crate) const FILES: usize = 3;

/// The files of the log at `path`, newest first, whether they exist or not.
pub(crate) fn files(path: &Path) -> impl DoubleEndedIterator<Item = PathBuf> {
    let path = path.to_owned();
    (0..FILES).map(move |number| match number {
        0 => path.clone(),
        _ => {
            let mut name = path.clone().into_os_string();
            name.push(format!(".{number}"));
            name.into()
        }
    })
}

/// Writes a container's log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    length: u64,
    max_file: u64,
    stdout: Pending,
    stderr: Pending,
}

#[derive(Debug, Default)]
struct Pending {
    since: Timestamp,
    line: Vec<u8>,
}

impl LogWriter {
    /// Appends to `path`, which is made if it does not exist.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, MAX_FILE)
    }

    fn with_limit(path: &Path, max_file: u64) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        let (stdout, stderr) = (Pending::default(), Pending::default());
        Ok(Self { path: path.to_owned(), file, length, max_file, stdout, stderr })
    }

    fn append(&mut self, text: &[u8]) {
        if self.file.write_all(text).is_err() {
            return;
        }
        self.length += text.len() as u64;
        if self.length >= self.max_file {
            // Should that fail, this file goes on, and the next line tries again.
            let _ = self.turn_over();
        }
    }

    /// Begins a new file, and forgets the oldest.
    fn turn_over(&mut self) -> io::Result<()> {
        let files: Vec<PathBuf> = files(&self.path).collect();
        for pair in files.windows(2).rev() {
            match fs::rename(&pair[0], &pair[1]) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = File::options().append(true).create(true).open(&self.path)?;
        self.length = 0;
        Ok(())
    }

    /// Takes octets as they were read. A log that cannot be written (a full disk) loses them: a container must not
    /// stop for its log.
    pub(crate) fn write(&mut self, stream: Stream, octets: &[u8], now: Timestamp) {
        let mut text = Vec::new();
        let pending = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            for piece in piece.chunks(MAX_LINE) {
                if pending.line.is_empty() {
                    pending.since = now;
                }
                pending.line.extend_from_slice(piece);
                let whole = pending.line.ends_with(b"\n");
                if whole || pending.line.len() >= MAX_LINE {
                    pending.flush(stream, !whole, &mut text);
                }
            }
        }
        self.append(&text);
    }

    /// Writes what is left of lines that never ended.
    pub(crate) fn finish(&mut self) {
        let mut text = Vec::new();
        self.stdout.flush(Stream::Stdout, true, &mut text);
        self.stderr.flush(Stream::Stderr, true, &mut text);
        self.append(&text);
    }
}

impl Pending {
    fn flush(&mut self, stream: Stream, partial: bool, text: &mut Vec<u8>) {
        // A character that is cut stays for the next piece, unless it is no character.
        let end = if partial { whole_characters(&self.line) } else { self.line.len() };
        if end == 0 {
            return;
        }
        let rest = self.line.split_off(end);
        let log = String::from_utf8_lossy(&self.line).into_owned();
        let line = LogLine { time: self.since, stream, log, partial };
        serde_json::to_writer(&mut *text, &line).expect("a Vec takes everything");
        text.push(b'\n');
        self.line = rest;
    }
}

fn whole_characters(octets: &[u8]) -> usize {
    match std::str::from_utf8(octets) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => octets.len(),
    }
}

/// Reads a container's log, and what is appended to it.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
    position: u64,
    rest: Vec<u8>,
}

impl LogReader {
    /// The most that one call to [`LogReader::read`] takes from the file, in octets.
    const STEP: u64 = 1 << 20;

    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, position: 0, rest: Vec::new() }
    }

    /// The lines that were appended since the last call, at most about a mebioctet of them; none when there are none
    /// at the moment, or the file does not exist yet. Blocks on the disk only.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> Result<Vec<LogLine>, RuntimeError> {
        self.read_step().map_err(|source| RuntimeError::path("read", &self.path, source))
    }

    fn read_step(&mut self) -> io::Result<Vec<LogLine>> {
        loop {
            // Before reading: what was written to a file until it was left is read for certain.
            let next = self.newer()?;
            if let Some(file) = &mut self.file {
                file.seek(SeekFrom::Start(self.position))?;
                let read = file.take(Self::STEP).read_to_end(&mut self.rest)?;
                self.position += read as u64;
                if read > 0 {
                    break;
                }
            }
            let Some(next) = next else { return Ok(Vec::new()) };
            self.file = Some(next);
            self.position = 0;
            self.rest.clear();
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
    /// The file after the one that is read, or the oldest if that is gone or there is none; none if it is the newest.
    fn newer(&self) -> io::Result<Option<File>> {
        let own = self.file.as_ref().map(File::metadata).transpose()?.map(|file| (file.dev(), file.ino()));
        let mut newer = None;
        for path in files(&self.path) {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_read_across_its_files() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log.jsonl");
        let mut writer = LogWriter::with_limit(&path, 2000).expect("opens");
        let mut follower = LogReader::new(path.clone());
        let mut followed = Vec::new();
        let mut drain = |followed: &mut Vec<String>| loop {
            let lines = follower.read().expect("reads");
            if lines.is_empty() {
                break;
            }
            followed.extend(lines.into_iter().map(|line| line.log));
        };
        let line = |number: usize| format!("{number}\n");
        for number in 0..500 {
            writer.write(Stream::Stdout, line(number).as_bytes(), Timestamp::UNIX_EPOCH);
            // Not after each: files turn over between two looks.
            if number % 40 == 0 {
                drain(&mut followed);
            }
        }
        drain(&mut followed);
        assert_eq!(followed, (0..500).map(line).collect::<Vec<_>>(), "who follows misses nothing");
        let sizes: u64 = files(&path).filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum();
        assert!((2000..3 * 2100).contains(&sizes), "{sizes}");
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), FILES);
        let mut reader = LogReader::new(path);
        let mut kept = Vec::new();
        loop {
            let lines = reader.read().expect("reads");
            if lines.is_empty() {
                break;
            }
            kept.extend(lines.into_iter().map(|line| line.log));
        }
        assert_eq!(kept, (500 - kept.len()..500).map(line).collect::<Vec<_>>(), "the newest lines, in order");
        assert!(kept.len() > 30);
    }

    fn log_of(pieces: &[(Stream, &[u8])]) -> Vec<(Stream, String, bool)> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log.jsonl");
        let mut reader = LogReader::new(path.clone());
        assert_eq!(reader.read().expect("a missing log is empty"), []);
        let mut writer = LogWriter::open(&path).expect("opens");
        let mut lines = Vec::new();
        for (stream, octets) in pieces {
            writer.write(*stream, octets, Timestamp::UNIX_EPOCH);
            lines.extend(reader.read().expect("reads"));
        }
        writer.finish();
        lines.extend(reader.read().expect("reads"));
        lines.into_iter().map(|line| (line.stream, line.log, line.partial)).collect()
    }

    #[test]
    fn lines_are_put_together_per_stream() {
        use Stream::{Stderr, Stdout};
        let whole = |stream, text: &str| (stream, text.to_owned(), false);
        assert_eq!(
            log_of(&[(Stdout, b"a\nb"), (Stderr, b"x\n"), (Stdout, b"c\n")]),
            [whole(Stdout, "a\n"), whole(Stderr, "x\n"), whole(Stdout, "bc\n")]
        );
        assert_eq!(log_of(&[(Stdout, b"no end")]), [(Stdout, "no end".to_owned(), true)]);
        assert_eq!(log_of(&[(Stdout, b"\xff\n")]), [whole(Stdout, "\u{fffd}\n")]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = "ä".repeat(MAX_LINE) + "\n";
        let lines = log_of(&[(Stream::Stdout, &text.as_bytes()[..7]), (Stream::Stdout, &text.as_bytes()[7..])]);
        assert_eq!(lines.iter().map(|(_, log, _)| log.as_str()).collect::<String>(), text);
        assert!(lines.len() >= 2 && lines.iter().rev().skip(1).all(|(.., partial)| *partial));
        assert!(!lines.last().expect("has lines").2);
    }
}
