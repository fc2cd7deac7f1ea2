//! What people are shown of texts and errors that come from anywhere.

use std::{
    error::Error,
    fmt::{self, Write as _},
    iter::successors,
};

/// A text that does nothing to a terminal: every control character is escaped, line feeds included.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if character.is_control() { write!(f, "{}", character.escape_debug()) } else { f.write_char(character) }
        })
    }
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
