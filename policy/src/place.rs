//! Where in which file something stands.

use std::{fmt, sync::Arc};

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl Position {
    /// Where a text begins.
    pub const START: Self = Self { line: 1, column: 1 };

    /// Where the octet of this number stands in a text.
    pub(crate) fn of_octet(text: &str, octet: usize) -> Self {
        let before = &text.as_bytes()[..octet.min(text.len())];
        let line_start = before.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|octet| **octet == b'\n').count();
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count();
        Self { line: saturated(line + 1), column: saturated(column + 1) }
    }
}

pub(crate) fn saturated(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Where in it.
    pub position: Position,
}

impl Place {
    /// This position of a file.
    pub fn new(file: &Arc<str>, position: Position) -> Self {
        Self { file: Arc::clone(file), position }
    }
}

/// `FILE:LINE:COLUMN`, as compilers have it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "{}:{line}:{column}", self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters() {
        for (octet, expected) in [(0, (1, 1)), (3, (1, 3)), (4, (2, 1)), (6, (2, 3)), (99, (2, 3))] {
            let Position { line, column } = Position::of_octet("aé\nbc", octet);
            assert_eq!((line, column), expected, "octet {octet}");
        }
    }
}
