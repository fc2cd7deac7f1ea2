//! Whole numbers as people write them.

use std::str::FromStr;

/// A type of whole numbers.
pub trait Whole: FromStr {
    /// The least of them.
    const LEAST: i128;
    /// The greatest of them.
    const GREATEST: i128;
}

macro_rules! whole {
    ($($type:ty),+) => {
        $(impl Whole for $type {
            const LEAST: i128 = <$type>::MIN as i128;
            const GREATEST: i128 = <$type>::MAX as i128;
        })+
    };
}

whole!(i32, u32, u64);

/// Why a text is no number that can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number from {least} to {greatest}")]
pub struct ParseWholeError {
    least: i128,
    greatest: i128,
}

/// The number that `text` says.
///
/// # Errors
/// [`ParseWholeError`] says which numbers there are: the standard library's errors speak of digits.
pub fn whole_number<T: Whole>(text: &str) -> Result<T, ParseWholeError> {
    text.parse().map_err(|_| ParseWholeError { least: T::LEAST, greatest: T::GREATEST })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_told_which_there_are() {
        assert_eq!((whole_number("7"), whole_number("-7")), (Ok(7_u64), Ok(-7_i32)));
        for text in ["", "1.5", "ten", "-1", "4294967296"] {
            let error = whole_number::<u32>(text).expect_err(text);
            assert_eq!(error.to_string(), "expected a whole number from 0 to 4294967295", "{text}");
        }
    }
}
