//! Addresses of a network that no container is given.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// An address that no container is given, and why. Text form: `ADDRESS[=WHY]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reservation {
    address: IpAddr,
    why: String,
}

/// Why a text reserves no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` reserves no address: {reason}; expected ADDRESS or ADDRESS=WHY", .text.escape_debug())]
pub struct ParseReservationError {
    text: String,
    reason: &'static str,
}

/// The longest reason, in octets.
const LONGEST: usize = 200;

impl Reservation {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// What it is reserved for, in a person's words; empty if nobody said.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl FromStr for Reservation {
    type Err = ParseReservationError;

    fn from_str(text: &str) -> Result<Self, ParseReservationError> {
        let fail = |reason| ParseReservationError { text: text.chars().take(80).collect(), reason };
        let (address, why) = text.split_once('=').unwrap_or((text, ""));
        if why.len() > LONGEST || why.chars().any(char::is_control) {
            return Err(fail("the reason must be one line of at most 200 characters"));
        }
        let address = address.parse().map_err(|_| fail("that is no IP address"))?;
        Ok(Self { address, why: why.to_owned() })
    }
}

impl TryFrom<String> for Reservation {
    type Error = ParseReservationError;

    fn try_from(text: String) -> Result<Self, ParseReservationError> {
        text.parse()
    }
}

impl From<Reservation> for String {
    fn from(reservation: Reservation) -> String {
        reservation.to_string()
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.why.is_empty() { self.address.fmt(f) } else { write!(f, "{}={}", self.address, self.why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_read_as_people_write_them() {
        for (text, shown) in [
            ("10.1.0.9", Some("10.1.0.9")),
            ("10.1.0.9=the printer", Some("10.1.0.9=the printer")),
            ("fd00::9=a=b", Some("fd00::9=a=b")),
            ("10.1.0.9=", Some("10.1.0.9")),
            ("", None),
            ("=why", None),
            ("10.1.0.0/24", None),
            ("10.1.0.9=two\nlines", None),
        ] {
            assert_eq!(text.parse::<Reservation>().ok().map(|it| it.to_string()).as_deref(), shown, "{text:?}");
        }
        assert!(format!("10.1.0.9={}", "x".repeat(201)).parse::<Reservation>().is_err());
    }
}
