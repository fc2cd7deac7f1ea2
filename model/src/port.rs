//! Transport protocols and ranges of their ports.

use std::{fmt, num::NonZeroU16};

use serde::{Deserialize, Serialize};

/// A transport protocol whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The number IANA assigned, as it stands in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol of this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.number() == number)
    }

    /// The protocol of this name, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ports that follow each other; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: NonZeroU16,
    last: NonZeroU16,
}

impl PortRange {
    /// From `first` to `last`, both included; none if that runs backwards.
    pub fn new(first: NonZeroU16, last: NonZeroU16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// One port.
    pub fn single(port: NonZeroU16) -> Self {
        Self { first: port, last: port }
    }

    /// As many ports as this range has, from `first` on; none if there are not so many.
    pub fn moved_to(self, first: NonZeroU16) -> Option<Self> {
        let last = first.checked_add(self.last.get() - self.first.get())?;
        Some(Self { first, last })
    }

    /// The lowest port.
    pub fn first(self) -> NonZeroU16 {
        self.first
    }

    /// The highest port.
    pub fn last(self) -> NonZeroU16 {
        self.last
    }

    /// How many ports it has: 1 to 65,535.
    pub fn count(self) -> u16 {
        self.last.get() - self.first.get() + 1
    }

    /// Whether it has this port.
    pub fn contains(self, port: u16) -> bool {
        (self.first.get()..=self.last.get()).contains(&port)
    }

    /// Whether both have a port in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Every port, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = NonZeroU16> {
        (self.first.get()..=self.last.get()).map(|port| NonZeroU16::new(port).expect("the lowest is not 0"))
    }
}

/// `PORT` or `PORT-PORT`.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        let port = |number| NonZeroU16::new(number).expect("literal");
        PortRange::new(port(first), port(last)).expect("literal")
    }

    #[test]
    fn ranges_overlap_where_they_share_a_port() {
        for (a, b, overlap) in [
            (range(1, 5), range(5, 9), true),
            (range(1, 5), range(6, 9), false),
            (range(1, 65535), range(80, 80), true),
            (range(80, 80), range(81, 81), false),
        ] {
            assert_eq!(a.overlaps(b), overlap, "{a} {b}");
            assert_eq!(b.overlaps(a), overlap, "{b} {a}");
        }
    }

    #[test]
    fn a_range_ends_with_the_last_port_there_is() {
        assert_eq!(range(1, 65535).count(), 65535);
        assert_eq!(range(1, 65535).iter().count(), 65535);
        let high = NonZeroU16::new(65530).expect("literal");
        assert_eq!(range(1, 6).moved_to(high).map(|moved| moved.to_string()).as_deref(), Some("65530-65535"));
        assert_eq!(range(1, 7).moved_to(high), None);
    }
}
