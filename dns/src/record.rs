//! Types of records, as numbers with names.

use std::{fmt, str::FromStr};

/// The type of a record (RFC 1035 §3.2.2 and IANA's registry "DNS Resource Record Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

/// Declares the types that have a name here, as constants and for reading and writing.
macro_rules! types {
    ($($name:ident = $number:literal),* $(,)?) => {
        impl RecordType {
            $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: Self = Self($number);)*

            const NAMES: &[(&str, u16)] = &[$((stringify!($name), $number)),*];
        }
    };
}

types! {
    A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, HINFO = 13, MX = 15, TXT = 16, AAAA = 28, SRV = 33, NAPTR = 35,
    OPT = 41, DS = 43, SSHFP = 44, RRSIG = 46, NSEC = 47, DNSKEY = 48, TLSA = 52, SVCB = 64, HTTPS = 65, AXFR = 252,
    ANY = 255, CAA = 257,
}

impl RecordType {
    /// Whether it is no data that could be looked up: OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA (RFC 6895 §3.1).
    pub(crate) fn is_no_data(self) -> bool {
        matches!(self.0, 41 | 249..=254)
    }
}

/// Why a text is not a type of records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a type of DNS records: expected a name such as A, AAAA or SRV, or TYPE and a number", .0.escape_debug())]
pub struct ParseRecordTypeError(String);

impl FromStr for RecordType {
    type Err = ParseRecordTypeError;

    /// A name in upper or lower case, or `TYPE123` (RFC 3597 §5).
    fn from_str(text: &str) -> Result<Self, ParseRecordTypeError> {
        let upper = text.to_ascii_uppercase();
        if let Some((_, number)) = Self::NAMES.iter().find(|(name, _)| *name == upper) {
            return Ok(Self(*number));
        }
        let number = upper.strip_prefix("TYPE").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|digits| digits.parse().ok());
        number.map(Self).ok_or_else(|| ParseRecordTypeError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_or_numbers() {
        for (text, number, shown) in
            [("a", 1, "A"), ("AAAA", 28, "AAAA"), ("TYPE33", 33, "SRV"), ("type65280", 65280, "TYPE65280")]
        {
            let kind: RecordType = text.parse().expect("a type");
            assert_eq!((kind.0, kind.to_string().as_str()), (number, shown));
        }
        for text in ["", "B", "TYPE", "TYPE65536", "TYPE+1", "A\n"] {
            assert!(text.parse::<RecordType>().is_err(), "{text:?}");
        }
    }
}
