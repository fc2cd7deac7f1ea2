//! A tar stream, entry by entry: v7, ustar, GNU and pax, with long names, big numbers and sparse files.
//!
//! The header's fields are read by the tar crate. The sequence of headers is read here, because every length in it is
//! an attacker's: names and extended headers are bounded, and the meaning of each entry is settled before its data.

use std::io::{self, Read};

use model::Printable;
use tar::{EntryType, Header};

use crate::{
    ImageError, Limit, Limits,
    pax::Pax,
    sparse::{self, Segment},
};

pub(crate) const BLOCK: usize = 512;

/// One file system object, as the archive describes it. Nothing in it is trusted yet.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions with setuid, setgid and sticky: 12 bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) modified: (i64, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Kind {
    File {
        /// Octets, holes included.
        size: u64,
        /// Where its data belongs; what is not covered is a hole.
        segments: Vec<Segment>,
    },
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Fifo,
    /// Character or block.
    Device,
}

/// A tar stream being read.
pub(crate) struct Archive<R> {
    stream: R,
    /// What errors call it.
    object: String,
    limits: Limits,
    /// Data of the current entry not read yet, then its padding.
    left: u64,
    padding: u64,
    entries: u64,
    global: Pax,
    trailer: bool,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(object: &str, stream: R, limits: Limits) -> Self {
        let global = Pax::default();
        Self { stream, object: object.to_owned(), limits, left: 0, padding: 0, entries: 0, global, trailer: false }
    }

    /// The next entry, or none at the end. Data of the one before that was not read is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ImageError> {
        let mut pax = None;
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(header) = self.header()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(self.malformed(b"", "a header describes a next entry, and none follows"));
                }
                return Ok(None);
            };
            self.charge(1)?;
            let size = number_field(&header.as_old().size, header.entry_size())
                .map_err(|cause| self.malformed(&header.path_bytes(), &cause.to_string()))?;
            self.expect(size);
            match header.entry_type() {
                EntryType::XHeader => {
                    let records = self.extension(size)?;
                    let mut local = self.global.clone();
                    local.read(&records).map_err(|reason| self.malformed(&header.path_bytes(), reason))?;
                    pax = Some(local);
                }
                EntryType::XGlobalHeader => {
                    let records = self.extension(size)?;
                    let mut global = self.global.clone();
                    global.read(&records).map_err(|reason| self.malformed(&header.path_bytes(), reason))?;
                    self.global = global.global();
                }
                EntryType::GNULongName => long_name = Some(until_nul(self.extension(size)?)),
                EntryType::GNULongLink => long_link = Some(until_nul(self.extension(size)?)),
                // A volume label: no file.
                label if label.as_byte() == b'V' => {}
                _ => {
                    let pax = pax.unwrap_or_else(|| self.global.clone());
                    return self.entry(&header, size, pax, long_name, long_link).map(Some);
                }
            }
        }
    }

    /// Reads data of the current entry; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.stream.read(&mut buffer[..most]).map_err(|cause| self.failed(cause))?;
        if count == 0 && most > 0 {
            return Err(self.malformed(b"", "the stream ends in the middle of a file"));
        }
        self.left -= count as u64;
        Ok(count)
    }

    /// Counts entries, or what entries imply, against the limit.
    pub(crate) fn charge(&mut self, entries: u64) -> Result<(), ImageError> {
        self.entries += entries;
        if self.entries > self.limits.entries {
            return Err(self.limit(Limit::Entries(self.limits.entries)));
        }
        Ok(())
    }

    /// Whether the end-of-archive block was there. Without it a stream may have been cut off between two entries.
    pub(crate) fn has_trailer(&self) -> bool {
        self.trailer
    }

    /// Whether there was nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The stream behind the archive.
    pub(crate) fn into_stream(self) -> R {
        self.stream
    }

    /// Reasons that decoders give repeat what they met: they are made fit for a terminal too.
    pub(crate) fn malformed(&self, entry: &[u8], reason: &str) -> ImageError {
        let entry = if entry.is_empty() { format!("number {}", self.entries) } else { quote(entry) };
        ImageError::Malformed { archive: self.object.clone(), entry, reason: printable(reason) }
    }

    pub(crate) fn hostile(&self, entry: &[u8], reason: &'static str) -> ImageError {
        ImageError::Hostile { archive: self.object.clone(), entry: quote(entry), reason }
    }

    fn limit(&self, limit: Limit) -> ImageError {
        ImageError::Limit { object: self.object.clone(), limit }
    }

    fn failed(&self, cause: io::Error) -> ImageError {
        match cause.kind() {
            io::ErrorKind::UnexpectedEof => self.malformed(b"", "the stream ends too early"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => self.malformed(b"", &cause.to_string()),
            _ => ImageError::read(&self.object, cause),
        }
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The next header block, or none at the end-of-archive block or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>, ImageError> {
        let skip = self.left.checked_add(self.padding).ok_or_else(|| self.malformed(b"", "its size is no size"))?;
        let skipped =
            io::copy(&mut (&mut self.stream).take(skip), &mut io::sink()).map_err(|cause| self.failed(cause))?;
        // The last padding is missing in what some tools write, and nothing is lost with it.
        if skipped < self.left {
            return Err(self.malformed(b"", "the stream ends in the middle of a file"));
        }
        (self.left, self.padding) = (0, 0);
        let mut block = Vec::with_capacity(BLOCK);
        (&mut self.stream).take(BLOCK as u64).read_to_end(&mut block).map_err(|cause| self.failed(cause))?;
        if block.is_empty() {
            return Ok(None);
        }
        let header = (block.len() == BLOCK).then(|| Header::from_byte_slice(&block));
        match header {
            Some(_) if block.iter().all(|octet| *octet == 0) => {
                self.trailer = true;
                Ok(None)
            }
            Some(header) if header.cksum().is_ok_and(|sum| sum == checksum(&block)) => Ok(Some(header.clone())),
            _ if self.entries == 0 => Err(ImageError::NotTar { begins: quote(&block[..block.len().min(16)]) }),
            Some(_) => Err(self.malformed(b"", "the checksum behind it is wrong: no header follows")),
            None => Err(self.malformed(b"", "the stream ends in the middle of a header")),
        }
    }

    /// The content of a header that describes another entry.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        if size > self.limits.document {
            return Err(self.limit(Limit::Document(self.limits.document)));
        }
        let mut content = Vec::new();
        (&mut self.stream).take(size).read_to_end(&mut content).map_err(|cause| self.failed(cause))?;
        if (content.len() as u64) < size {
            return Err(self.malformed(b"", "the stream ends in the middle of a header"));
        }
        self.left = 0;
        Ok(content)
    }

    fn entry(
        &mut self,
        header: &Header,
        size: u64,
        pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, ImageError> {
        let name = pax.sparse.name.clone().or_else(|| pax.path.clone()).or(long_name);
        let path = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || {
            let link = pax.link_path.clone().or_else(|| long_link.clone());
            link.or_else(|| header.link_name_bytes().map(|link| link.into_owned())).unwrap_or_default()
        };
        let old = header.as_old();
        let field =
            |raw: &[u8], value| number_field(raw, value).map_err(|cause| self.malformed(&path, &cause.to_string()));
        let id = |pax: Option<u64>, raw: &[u8], value| -> Result<u32, ImageError> {
            let id = pax.map_or_else(|| field(raw, value), Ok)?;
            // The last one means "leave as it is" to chown(2).
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| self.hostile(&path, "has an owner no system has"))
        };
        let (uid, gid) = (id(pax.uid, &old.uid, header.uid())?, id(pax.gid, &old.gid, header.gid())?);
        let mode = field(&old.mode, header.mode().map(u64::from))? as u32 & 0o7777;
        let modified = match pax.modified {
            Some(modified) => modified,
            None => (i64::try_from(field(&old.mtime, header.mtime())?).unwrap_or(i64::MAX), 0),
        };
        let size = pax.size.unwrap_or(size);
        let kind = match header.entry_type() {
            // v7 archives know no directories but by their name.
            EntryType::Regular if path.ends_with(b"/") && header.as_ustar().is_none() && header.as_gnu().is_none() => {
                Kind::Directory
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.expect(size);
                let (size, segments) = self.data(header, &path, size, &pax)?;
                Kind::File { size, segments }
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(link()),
            EntryType::Link => Kind::HardLink(link()),
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => Kind::Device,
            _ => return Err(self.hostile(&path, "is of a type that no file of an image has")),
        };
        if !matches!(kind, Kind::File { .. }) {
            // Links and directories have no data, whatever their size field says; so GNU tar and Go read them.
            self.expect(0);
        }
        let longest = match &kind {
            Kind::Symlink(target) | Kind::HardLink(target) => target.len().max(path.len()),
            _ => path.len(),
        };
        if longest > self.limits.path {
            return Err(self.limit(Limit::Path(self.limits.path)));
        }
        Ok(Entry { path, kind, mode, uid, gid, modified, xattrs: pax.xattrs })
    }

    /// Where the data of a file belongs, with the file's size.
    fn data(
        &mut self,
        header: &Header,
        path: &[u8],
        stored: u64,
        pax: &Pax,
    ) -> Result<(u64, Vec<Segment>), ImageError> {
        let most = self.limits.document;
        let found = if header.entry_type() == EntryType::GNUSparse {
            sparse::from_header(header, &mut self.stream, most)
        } else if pax.sparse.map_in_data {
            sparse::from_data(&mut self.stream, stored, most).map(|(segments, used)| {
                self.left = stored - used;
                (pax.sparse.real_size, segments)
            })
        } else if pax.sparse.real_size.is_some() || !pax.sparse.map.is_empty() {
            sparse::from_numbers(&pax.sparse.map).map(|segments| (pax.sparse.real_size, segments))
        } else {
            return Ok((stored, vec![Segment { offset: 0, length: stored }]));
        };
        let (size, segments) = match found {
            Ok(found) => found,
            Err(cause) => {
                return Err(match cause.kind() {
                    io::ErrorKind::InvalidData => self.malformed(path, &cause.to_string()),
                    _ => self.failed(cause),
                });
            }
        };
        let size = size.ok_or_else(|| self.malformed(path, "it is sparse and does not tell its size"))?;
        if size > self.limits.unpacked {
            return Err(self.limit(Limit::Unpacked(self.limits.unpacked)));
        }
        sparse::check(&segments, size, self.left).map_err(|reason| self.malformed(path, reason))?;
        Ok((size, segments))
    }
}

/// The sum of a header's octets, with blanks in the place of the sum (POSIX.1-2024 pax, "ustar Interchange Format").
fn checksum(block: &[u8]) -> u32 {
    let sum = |octets: &[u8]| octets.iter().map(|octet| u32::from(*octet)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

/// A numeric field of a header; one left blank is zero, as every other reader has it.
fn number_field(raw: &[u8], value: io::Result<u64>) -> io::Result<u64> {
    if raw.iter().all(|octet| matches!(octet, 0 | b' ')) { Ok(0) } else { value }
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(end) = text.iter().position(|octet| *octet == 0) {
        text.truncate(end);
    }
    text
}

/// A text as a terminal may show it, cut to 200 characters.
fn printable(text: &str) -> String {
    Printable(&text.chars().take(200).collect::<String>()).to_string()
}

/// A name from an archive made fit for a terminal: escaped, and cut to 120 octets.
pub(crate) fn quote(text: &[u8]) -> String {
    let more = if text.len() > 120 { "…" } else { "" };
    format!("`{}{more}`", text[..text.len().min(120)].escape_ascii())
}
