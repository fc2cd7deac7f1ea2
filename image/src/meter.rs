//! A stream read through: decompressed, counted against the limits, and hashed on both sides of the decompression.

use std::{
    cell::{Cell, RefCell},
    io::{self, BufReader, Read},
    rc::Rc,
};

use model::Digest;
use sha2::{Digest as _, Sha256};

use crate::{ImageError, Limit, Limits};

/// From how many unpacked octets on [`Limits::expansion`] is looked at: below, a bomb does no harm and small files
/// of zeros would be taken for one.
const EXPANSION_FLOOR: u64 = 256 << 20;

/// What one import may still unpack, over all its streams.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<u64>,
    limits: Limits,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { left: Cell::new(limits.unpacked), limits }
    }
}

/// Length and digest of what has gone by.
#[derive(Debug, Default)]
struct Tally {
    hasher: Sha256,
    octets: u64,
}

/// Counts and hashes what is read from the compressed side.
struct Tap<R> {
    inner: R,
    tally: Rc<RefCell<Tally>>,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let mut tally = self.tally.borrow_mut();
        tally.hasher.update(&buffer[..count]);
        tally.octets += count as u64;
        Ok(count)
    }
}

/// The decompressed side of a stream.
pub(crate) struct Meter<'a> {
    object: String,
    inner: Box<dyn Read + 'a>,
    /// Absent where nothing was compressed: both sides are one.
    compressed: Option<Rc<RefCell<Tally>>>,
    plain: Tally,
    budget: &'a Budget,
}

/// A stream that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Of what was decompressed.
    pub(crate) plain: Digest,
    pub(crate) plain_octets: u64,
    /// Of what came in.
    pub(crate) stored: Digest,
    pub(crate) stored_octets: u64,
}

impl<'a> Meter<'a> {
    /// Opens a stream, whose compression is told from its first octets. `object` is what errors call it.
    pub(crate) fn open(object: &str, mut stream: impl Read + 'a, budget: &'a Budget) -> Result<Self, ImageError> {
        let fail = |cause| ImageError::read(object, cause);
        let mut head = Vec::new();
        stream.by_ref().take(6).read_to_end(&mut head).map_err(fail)?;
        let tally = Rc::new(RefCell::new(Tally::default()));
        let whole = io::Cursor::new(head.clone()).chain(stream);
        let tap = |inner| Tap { inner, tally: tally.clone() };
        let unsupported = |format, command| Err(ImageError::Compression { format, command });
        let (inner, compressed): (Box<dyn Read + 'a>, _) = match head.as_slice() {
            [0x1f, 0x8b, ..] => {
                let decoder = flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, tap(whole)));
                (Box::new(decoder), Some(tally.clone()))
            }
            // RFC 8878: a frame, or a skippable frame before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                (Box::new(zstd::stream::read::Decoder::new(tap(whole)).map_err(fail)?), Some(tally.clone()))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0] => return unsupported("xz", "xz --decompress"),
            [b'B', b'Z', b'h', ..] => return unsupported("bzip2", "bzip2 --decompress"),
            _ => (Box::new(whole), None),
        };
        Ok(Self { object: object.to_owned(), inner, compressed, plain: Tally::default(), budget })
    }

    /// Reads what is left, because digests are those of the whole stream.
    pub(crate) fn finish(mut self) -> Result<Measured, ImageError> {
        io::copy(&mut self, &mut io::sink()).map_err(|cause| ImageError::read(&self.object, cause))?;
        // Its decoder may hold the other owner of the tally.
        drop(self.inner);
        let digest = |tally: Tally| (Digest::sha256(tally.hasher.finalize().into()), tally.octets);
        let (plain, plain_octets) = digest(self.plain);
        let (stored, stored_octets) = match self.compressed {
            None => (plain.clone(), plain_octets),
            Some(tally) => digest(tally.take()),
        };
        Ok(Measured { plain, plain_octets, stored, stored_octets })
    }

    fn limit(&self, limit: Limit) -> io::Error {
        io::Error::other(ImageError::Limit { object: self.object.clone(), limit })
    }
}

impl Read for Meter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.plain.hasher.update(&buffer[..count]);
        self.plain.octets += count as u64;
        let limits = &self.budget.limits;
        let Some(left) = self.budget.left.get().checked_sub(count as u64) else {
            return Err(self.limit(Limit::Unpacked(limits.unpacked)));
        };
        self.budget.left.set(left);
        if let Some(compressed) = &self.compressed
            && self.plain.octets > EXPANSION_FLOOR
            && self.plain.octets / limits.expansion.max(1) > compressed.borrow().octets
        {
            return Err(self.limit(Limit::Expansion(limits.expansion)));
        }
        Ok(count)
    }
}
