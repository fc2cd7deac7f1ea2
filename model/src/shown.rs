//! What people are shown of texts and errors that come from anywhere.

use std::{
    error::Error,
    fmt::{self, Write as _},
    iter::successors,
    ops::RangeInclusive,
};

/// A text that does nothing to a terminal: every control character is escaped, line feeds included, and so is what is
/// not seen and changes the order or the look of what is (Unicode's line and paragraph separators, and its format
/// characters for direction and joining: UAX #9, "Trojan Source", CVE-2021-42574).
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            _ if is_unseen(character) => write!(f, "{}", character.escape_unicode()),
            _ if character.is_control() => write!(f, "{}", character.escape_debug()),
            _ => f.write_char(character),
        })
    }
}

/// Whether it is not seen itself.
fn is_unseen(character: char) -> bool {
    const UNSEEN: [RangeInclusive<char>; 5] = [
        '\u{61c}'..='\u{61c}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
    ];
    UNSEEN.iter().any(|range| range.contains(&character))
}

/// Why an error happened, from the nearest cause to the farthest.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(error.source(), |cause| (*cause).source())
}

/// An error and its causes on one line, joined by colons.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        causes(self.0).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn what_would_act_on_a_terminal_is_escaped_and_nothing_else() {
        for (text, expected) in [
            ("é `a` \"b\" \\", "é `a` \"b\" \\"),
            ("\u{1b}[2J\r\n\t\0", "\\u{1b}[2J\\r\\n\\t\\0"),
            ("\u{85}\u{9b}1m", "\\u{85}\\u{9b}1m"),
            ("a\u{202e}b\u{2066}c\u{200b}\u{2028}", "a\\u{202e}b\\u{2066}c\\u{200b}\\u{2028}"),
        ] {
            assert_eq!(Printable(text).to_string(), expected);
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let layer = |text, source: Option<Layer>| Layer { text, source: source.map(Box::new) };
        let error = layer("outer", Some(layer("middle", Some(layer("inner", None)))));
        assert_eq!(Chain(&error).to_string(), "outer: middle: inner");
        assert_eq!(causes(&error).map(ToString::to_string).collect::<Vec<_>>(), ["middle", "inner"]);
        assert_eq!(Chain(&layer("alone", None)).to_string(), "alone");
    }
}
