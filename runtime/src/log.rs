//! A container's log: one JSON object per line, in a few files of bounded size.
//!
//! The newest is `log.jsonl`; when it is full it becomes `log.jsonl.1`, and that one `log.jsonl.2`, and so on, until
//! there are as many as there may be. So a container that writes without end cannot fill the disk.

mod reader;

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use model::{LogLimits, Stream};
use serde::{Deserialize, Serialize};

pub use reader::LogReader;

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

/// The first `count` files of the log at `path`, newest first, whether they exist or not.
pub(crate) fn files(path: &Path, count: usize) -> impl DoubleEndedIterator<Item = PathBuf> {
    let path = path.to_owned();
    (0..count).map(move |number| match number {
        0 => path.clone(),
        _ => {
            let mut name = path.clone().into_os_string();
            name.push(format!(".{number}"));
            name.into()
        }
    })
}

/// Removes every file of the log at `path`; that there is none is success.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let mut missing = 0;
    for path in files(path, LogLimits::MOST_FILES.into()) {
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => missing += 1,
            removed => removed?,
        }
        // One that died while they turned over left one of them without a name.
        if missing > 1 {
            break;
        }
    }
    Ok(())
}

/// Writes a container's log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    length: u64,
    limits: LogLimits,
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
    pub(crate) fn open(path: &Path, limits: LogLimits) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        let (stdout, stderr) = (Pending::default(), Pending::default());
        Ok(Self { path: path.to_owned(), file, length, limits, stdout, stderr })
    }

    fn append(&mut self, text: &[u8]) {
        if self.file.write_all(text).is_err() {
            return;
        }
        self.length += text.len() as u64;
        if self.length >= self.limits.max_size().octets() {
            // Should that fail, this file goes on, and the next line tries again.
            let _ = self.turn_over();
        }
    }

    /// Begins a new file, and forgets the oldest.
    fn turn_over(&mut self) -> io::Result<()> {
        let files: Vec<PathBuf> = files(&self.path, self.limits.max_files().into()).collect();
        if let [only] = &files[..] {
            fs::remove_file(only)?;
        }
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
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            for piece in piece.chunks(MAX_LINE) {
                let pending = match stream {
                    Stream::Stdout => &mut self.stdout,
                    Stream::Stderr => &mut self.stderr,
                };
                if pending.line.is_empty() {
                    pending.since = now;
                }
                pending.line.extend_from_slice(piece);
                let whole = pending.line.ends_with(b"\n");
                if whole || pending.line.len() >= MAX_LINE {
                    pending.flush(stream, !whole, &mut text);
                }
                // As soon as a file is full: many lines may have come at once.
                if self.length + text.len() as u64 >= self.limits.max_size().octets() {
                    self.append(&text);
                    text.clear();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_read_across_its_files() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log.jsonl");
        let mut writer = LogWriter::open(&path, limits(2000, 3)).expect("opens");
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
        let sizes: u64 = files(&path, 3).filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum();
        assert!((2000..3 * 2100).contains(&sizes), "{sizes}");
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 3);
        let kept: Vec<String> = everything(path).map(|line| line.log).collect();
        assert_eq!(kept, (500 - kept.len()..500).map(line).collect::<Vec<_>>(), "the newest lines, in order");
        assert!(kept.len() > 30);
    }

    /// What a reader finds until it finds no more.
    fn everything(path: PathBuf) -> impl Iterator<Item = LogLine> {
        let mut reader = LogReader::new(path);
        std::iter::repeat_with(move || reader.read().expect("reads")).take_while(|lines| !lines.is_empty()).flatten()
    }

    fn limits(max_size: u64, max_files: u8) -> LogLimits {
        LogLimits::new(model::ByteSize::from_octets(max_size), max_files).expect("literal")
    }

    #[test]
    fn a_log_has_as_many_files_as_it_may() {
        for count in [1, 2, 7] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let path = directory.path().join("log.jsonl");
            let mut writer = LogWriter::open(&path, limits(1024, count)).expect("opens");
            for number in 0..200 {
                writer.write(Stream::Stdout, format!("{number}\n").as_bytes(), Timestamp::UNIX_EPOCH);
            }
            let at_once: String = (200..300).map(|number| format!("{number}\n")).collect();
            writer.write(Stream::Stdout, at_once.as_bytes(), Timestamp::UNIX_EPOCH);
            let entries = fs::read_dir(directory.path()).expect("lists").map(|entry| entry.expect("lists"));
            let sizes: Vec<u64> = entries.map(|entry| entry.metadata().expect("is there").len()).collect();
            assert_eq!(sizes.len(), usize::from(count), "{count}: {sizes:?}");
            assert!(sizes.iter().all(|size| *size < 1200), "{count}: {sizes:?}");
            let kept: Vec<usize> = everything(path).map(|line| line.log.trim().parse().expect("a number")).collect();
            assert_eq!(kept, (300 - kept.len()..300).collect::<Vec<_>>(), "{count}: the newest, in order");
        }
    }

    #[test]
    fn who_reads_what_is_there_comes_to_an_end_however_much_is_written_meanwhile() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log.jsonl");
        let mut writer = LogWriter::open(&path, limits(1024, 3)).expect("opens");
        let mut write = |numbers: std::ops::Range<usize>| {
            for number in numbers {
                writer.write(Stream::Stdout, format!("{number}\n").as_bytes(), Timestamp::UNIX_EPOCH);
            }
        };
        write(0..100);
        let there: Vec<String> = everything(path.clone()).map(|line| line.log).collect();
        let mut reader = LogReader::new(path.clone());
        let mut read = Vec::new();
        while !reader.has_caught_up() {
            read.extend(reader.read().expect("reads").into_iter().map(|line| line.log));
            let next = 100 + read.len() * 10;
            write(next..next + 10);
        }
        assert_eq!(read, there);
        assert!(!reader.read().expect("reads").is_empty(), "it can be followed on");
        let mut missing = LogReader::new(directory.path().join("none"));
        assert_eq!(missing.read().expect("a missing log is empty"), []);
        assert!(missing.has_caught_up());
    }

    fn log_of(pieces: &[(Stream, &[u8])]) -> Vec<(Stream, String, bool)> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log.jsonl");
        let mut reader = LogReader::new(path.clone());
        assert_eq!(reader.read().expect("a missing log is empty"), []);
        let mut writer = LogWriter::open(&path, LogLimits::default()).expect("opens");
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
