//! What was learned, for the next daemon: containers go on with the addresses that they know. It lies in the run
//! directory, which ends with all containers; so nobody waits for a disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::Duration,
};

use policy::DnsName;

use super::Moment;

/// Lines beyond twice as many as are needed, before the file is written anew.
const WASTE: usize = 1024;

/// One line: until when, which name, which address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) until: Moment,
    pub(crate) name: DnsName,
    pub(crate) address: IpAddr,
}

/// The file. Of two lines about an address of a name the later one counts.
#[derive(Debug)]
pub(crate) struct LearnedFile {
    path: PathBuf,
    file: Option<File>,
    lines: usize,
}

impl LearnedFile {
    /// The file at `path`, and what it says. A line that was cut by a crash says nothing.
    pub(crate) fn open(path: PathBuf) -> (Self, Vec<Entry>) {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "addresses of names have to be learned anew");
                String::new()
            }
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let entries: Vec<Entry> = whole.lines().filter_map(read).collect();
        // What is appended begins a line of its own.
        let lines = if whole.len() + 1 < text.len() { usize::MAX } else { whole.lines().count() };
        (Self { path, file: None, lines }, entries)
    }

    /// Notes these. A file that cannot be written costs nobody an answer.
    pub(crate) fn note(&mut self, entries: &[Entry], all: impl FnOnce() -> Vec<Entry>) {
        if let Err(error) = self.write(entries, all) {
            tracing::warn!(path = %self.path.display(), %error, "the next netd has to learn addresses of names anew");
        }
    }

    fn write(&mut self, entries: &[Entry], all: impl FnOnce() -> Vec<Entry>) -> io::Result<()> {
        if self.lines.saturating_add(entries.len()) > WASTE {
            let all = all();
            if self.lines > 2 * all.len() + WASTE {
                return self.write_anew(&all);
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(private().append(true).open(&self.path)?),
        };
        self.lines += entries.len();
        file.write_all(lines(entries).as_bytes())
    }

    fn write_anew(&mut self, all: &[Entry]) -> io::Result<()> {
        self.file = None;
        let new = self.path.with_extension("new");
        private().write(true).truncate(true).open(&new)?.write_all(lines(all).as_bytes())?;
        fs::rename(&new, &self.path)?;
        self.lines = all.len();
        Ok(())
    }
}

/// Who asks for what is nobody else's business.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

fn lines(entries: &[Entry]) -> String {
    let line = |Entry { until, name, address }: &Entry| format!("{} {name} {address}\n", until.as_millis());
    entries.iter().map(line).collect()
}

fn read(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let until = Duration::from_millis(words.next()?.parse().ok()?);
    Some(Entry { until, name: words.next()?.parse().ok()?, address: words.next()?.parse().ok()? })
}
