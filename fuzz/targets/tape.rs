//! Tars as far as they have to be understood to be mutated: where their headers are.

use tar::Header;

const BLOCK: usize = 512;

/// Calls `visit` with where each header of the tars in `octets` stands, and tells what [`Part`] it is. Data is skipped
/// as its header has it.
fn walk(octets: &mut [u8], mut visit: impl FnMut(&mut [u8], usize, Part)) {
    let mut at = 0;
    while let Some(block) = octets.get(at..at + BLOCK) {
        if block.iter().all(|octet| *octet == 0) {
            visit(octets, at, Part::End);
            at += BLOCK;
            continue;
        }
        let size = Header::from_byte_slice(block).entry_size().unwrap_or(0);
        visit(octets, at, Part::Header);
        let size = usize::try_from(size).ok().and_then(|size| size.checked_next_multiple_of(BLOCK));
        let Some(next) = size.and_then(|size| size.checked_add(at + BLOCK)) else { break };
        at = next;
    }
}

/// What stands at the beginning of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    /// One of the empty blocks that end an archive.
    End,
}

/// Gives every header the checksum that it must have, so that mutations are read and not refused for their sum.
pub fn repair(octets: &mut [u8]) {
    walk(octets, |octets, at, part| {
        if part == Part::Header {
            let block = &mut octets[at..at + BLOCK];
            let mut header = Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    });
}

/// The tars that follow one another in `octets`, each with its end.
pub fn tars(octets: &[u8]) -> Vec<Vec<u8>> {
    let mut starts = vec![0];
    let mut ended = false;
    walk(&mut octets.to_vec(), |_, at, part| {
        if ended && part == Part::Header {
            starts.push(at);
        }
        ended = part == Part::End;
    });
    let ends = starts[1..].iter().copied().chain([octets.len()]);
    starts.iter().zip(ends).map(|(start, end)| octets[*start..end].to_vec()).collect()
}
