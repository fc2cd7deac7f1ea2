//! Sparse files: where their data belongs (GNU tar manual, "Storing Sparse Files").

use std::io::{self, Read};

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::{archive::BLOCK, pax::number};

/// A stretch of data within a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// In our words: the tar crate's repeat the octets that they met, and take them for a failure to read.
fn no_number(field: io::Result<u64>) -> io::Result<u64> {
    field.map_err(|_| invalid("its map of data holds no number"))
}

/// The old GNU form: in the header and in blocks behind it, read from `stream`, up to `most` octets.
/// Gives the file's size too.
pub(crate) fn from_header(
    header: &Header,
    stream: &mut impl Read,
    most: u64,
) -> io::Result<(Option<u64>, Vec<Segment>)> {
    let header = header.as_gnu().ok_or_else(|| invalid("it is sparse without a GNU header"))?;
    let mut segments = Vec::new();
    let mut add = |fields: &[GnuSparseHeader]| -> io::Result<()> {
        for field in fields.iter().filter(|field| !field.is_empty()) {
            let (offset, length) = (no_number(field.offset())?, no_number(field.length())?);
            segments.push(Segment { offset, length });
        }
        Ok(())
    };
    add(&header.sparse)?;
    let mut more = header.is_extended();
    let mut used = 0;
    while more {
        used += BLOCK as u64;
        if used > most {
            return Err(invalid("its map of data is too long"));
        }
        let mut block = GnuExtSparseHeader::new();
        stream.read_exact(block.as_mut_bytes())?;
        add(&block.sparse)?;
        more = block.is_extended();
    }
    Ok((Some(no_number(header.real_size())?), segments))
}

/// The pax form 1.0: decimal lines before the data, padded to a block. Gives the octets they take of the `stored`.
pub(crate) fn from_data(stream: &mut impl Read, stored: u64, most: u64) -> io::Result<(Vec<Segment>, u64)> {
    let mut block = [0; BLOCK];
    let mut used = 0;
    let mut line = Vec::new();
    let mut numbers = Vec::new();
    let mut wanted = None;
    while wanted.is_none_or(|wanted| (numbers.len() as u64) < wanted) {
        used += BLOCK as u64;
        if used > stored || used > most {
            return Err(invalid("its map of data is too long"));
        }
        stream.read_exact(&mut block)?;
        for octet in block {
            if octet != b'\n' {
                line.push(octet);
                continue;
            }
            let value = number(&line).ok_or_else(|| invalid("its map of data holds no number"))?;
            line.clear();
            match wanted {
                None => wanted = Some(value.checked_mul(2).ok_or_else(|| invalid("its map of data is too long"))?),
                Some(_) => numbers.push(value),
            }
            if wanted.is_some_and(|wanted| numbers.len() as u64 == wanted) {
                break;
            }
        }
    }
    Ok((from_numbers(&numbers)?, used))
}

/// The pax forms 0.0 and 0.1: offset, length, offset, length …
pub(crate) fn from_numbers(numbers: &[u64]) -> io::Result<Vec<Segment>> {
    let pairs = numbers.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(invalid("its map of data has an odd number of fields"));
    }
    Ok(pairs.map(|pair| Segment { offset: pair[0], length: pair[1] }).collect())
}

/// Segments must be in order, apart, within `size`, and together as long as what is `stored`.
pub(crate) fn check(segments: &[Segment], size: u64, stored: u64) -> Result<(), &'static str> {
    let mut end = 0;
    let mut sum = 0u64;
    for segment in segments {
        if segment.offset < end {
            return Err("its map of data overlaps itself");
        }
        end = segment.offset.checked_add(segment.length).ok_or("its map of data is longer than any file")?;
        sum += segment.length;
    }
    if end > size {
        return Err("its map of data reaches behind its end");
    }
    if sum != stored {
        return Err("its map of data does not cover its data");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_fit_their_file() {
        let segment = |offset, length| Segment { offset, length };
        for (segments, size, stored, ok) in [
            (vec![], 0, 0, true),
            (vec![], 10, 0, true),
            (vec![segment(0, 5), segment(10, 5)], 15, 10, true),
            (vec![segment(0, 5), segment(4, 5)], 15, 10, false),
            (vec![segment(10, 5), segment(0, 5)], 15, 10, false),
            (vec![segment(0, 16)], 15, 16, false),
            (vec![segment(0, 5)], 15, 6, false),
            (vec![segment(u64::MAX, 2)], u64::MAX, 2, false),
            (vec![segment(0, u64::MAX), segment(u64::MAX, 0)], u64::MAX, u64::MAX, true),
        ] {
            assert_eq!(check(&segments, size, stored).is_ok(), ok, "{segments:?} {size} {stored}");
        }
    }

    #[test]
    fn a_map_before_the_data_ends_with_its_block() {
        let mut stream = vec![0; 1024];
        stream[..14].copy_from_slice(b"2\n0\n3\n100\n44\n\0");
        let (segments, used) = from_data(&mut stream.as_slice(), 1024, 4096).expect("valid");
        assert_eq!(segments, [Segment { offset: 0, length: 3 }, Segment { offset: 100, length: 44 }]);
        assert_eq!(used, 512);
        for text in ["x\n", "-1\n", "1\n0\n", "9999999999999\n1\n"] {
            let mut stream = vec![0; 1024];
            stream[..text.len()].copy_from_slice(text.as_bytes());
            assert!(from_data(&mut stream.as_slice(), 1024, 4096).is_err(), "{text:?}");
        }
    }
}
