//! The keys that end an attachment, and not the container.

use std::{fmt, str::FromStr};

/// A sequence of keys, written `ctrl-p,ctrl-q`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

/// Why a text is no sequence of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no sequence of keys: expected characters and ctrl-LETTER, with commas between them", .0.escape_debug())]
pub(crate) struct ParseDetachKeysError(String);

impl Default for DetachKeys {
    fn default() -> Self {
        const CTRL_P: u8 = 0x10;
        const CTRL_Q: u8 = 0x11;
        Self(vec![CTRL_P, CTRL_Q])
    }
}

impl FromStr for DetachKeys {
    type Err = ParseDetachKeysError;

    fn from_str(text: &str) -> Result<Self, ParseDetachKeysError> {
        let key = |text: &str| match (text.strip_prefix("ctrl-").map(str::as_bytes), text.as_bytes()) {
            // ASCII makes a control character of the 32 from `@` on by taking 64 away.
            (Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]), _) => {
                Some(letter.to_ascii_uppercase() - b'@')
            }
            (None, [character @ 0x20..=0x7e]) => Some(*character),
            _ => None,
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.map(Self).ok_or_else(|| ParseDetachKeysError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match key {
                0..=0x1f => write!(f, "{comma}ctrl-{}", char::from(key + b'@').to_ascii_lowercase())?,
                _ => write!(f, "{comma}{}", char::from(*key))?,
            }
        }
        Ok(())
    }
}

/// Watches what is typed for the keys.
#[derive(Debug)]
pub(crate) struct Watch {
    keys: DetachKeys,
    /// How many of the keys were typed last.
    matched: usize,
}

impl Watch {
    pub(crate) fn new(keys: DetachKeys) -> Self {
        Self { keys, matched: 0 }
    }

    /// What of `typed` is to be passed on, and whether the keys are complete. A beginning of the keys is held back
    /// until it is known not to be one.
    pub(crate) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for octet in typed {
            while self.matched > 0 && self.keys.0[self.matched] != *octet {
                self.give_up(&mut passed);
            }
            if self.keys.0[self.matched] != *octet {
                passed.push(*octet);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.0.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }

    /// Passes on the first keys of those held back, up to where the rest is a beginning again.
    fn give_up(&mut self, passed: &mut Vec<u8>) {
        let held = &self.keys.0[..self.matched];
        let kept = (0..self.matched).rev().find(|kept| held.ends_with(&self.keys.0[..*kept])).unwrap_or(0);
        passed.extend(&held[..self.matched - kept]);
        self.matched = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for (text, octets) in [("ctrl-p,ctrl-q", &[16, 17][..]), ("x", b"x"), ("ctrl-],ctrl-@,a", &[29, 0, b'a'])] {
            let keys: DetachKeys = text.parse().expect("keys");
            assert_eq!((keys.0.as_slice(), keys.to_string().as_str()), (octets, text));
        }
        assert_eq!(DetachKeys::default().to_string(), "ctrl-p,ctrl-q");
        for text in ["", "ctrl-", "ctrl-pp", "ctrl-p,", "xy", "ctrl-1", "\u{e4}", "\n"] {
            assert!(text.parse::<DetachKeys>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_the_keys_themselves_are_kept_from_the_process() {
        for (keys, typed, passed, detached) in [
            ("a,b", &["xyz"][..], "xyz", false),
            ("a,b", &["xab"], "x", true),
            ("a,b", &["xa", "b"], "x", true),
            ("a,b", &["xa", "c", "a"], "xac", false),
            ("a,b", &["aab"], "a", true),
            ("a,b", &["ab", "c"], "", true),
            ("a,a,b", &["aaaab"], "aa", true),
            ("a,b,a,c", &["ababac"], "ab", true),
            ("a", &["xa"], "x", true),
        ] {
            let mut watch = Watch::new(keys.parse().expect("keys"));
            let mut seen = (String::new(), false);
            for piece in typed {
                let (through, complete) = watch.pass(piece.as_bytes());
                seen.0.push_str(std::str::from_utf8(&through).expect("ASCII"));
                seen.1 = complete;
                if complete {
                    break;
                }
            }
            assert_eq!(seen, (passed.to_owned(), detached), "{keys} {typed:?}");
        }
    }
}
