//! Blocks of addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::{doubt::Fit, label::shown};

/// The addresses of a range, without those of some ranges inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressBlock {
    range: IpNet,
    except: Vec<IpNet>,
}

/// Why something is not a block of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressBlockError {
    /// Not a range.
    #[error("`{}` is not a range of addresses such as `10.1.0.0/16` or `fd00:1::/64`", shown(.0))]
    Range(String),
    /// An address without the length of a prefix.
    #[error("`{0}` is one address: write `{0}/{prefix}`", prefix = if .0.is_ipv4() { 32 } else { 128 })]
    Address(IpAddr),
    /// An exception that is not part of the range, or all of it.
    #[error("`{except}` is not a smaller range inside `{range}`, from which it is to be left out")]
    Outside {
        /// The whole range.
        range: IpNet,
        /// What is to be left out.
        except: IpNet,
    },
}

impl AddressBlock {
    /// The addresses of `range`, without those of `except`. Each of these must be a smaller range inside it, as in the
    /// API of Kubernetes. Bits of an address after its prefix do not count.
    pub fn new(range: IpNet, except: impl IntoIterator<Item = IpNet>) -> Result<Self, AddressBlockError> {
        let range = range.trunc();
        let mut except: Vec<IpNet> = except.into_iter().map(|range| range.trunc()).collect();
        except.sort();
        except.dedup();
        match except.iter().find(|except| !range.contains(*except) || range.prefix_len() == except.prefix_len()) {
            Some(except) => Err(AddressBlockError::Outside { range, except: *except }),
            None => Ok(Self { range, except }),
        }
    }

    /// A range, as it is written.
    pub fn range_of(text: &str) -> Result<IpNet, AddressBlockError> {
        if let Ok(address) = IpAddr::from_str(text) {
            return Err(AddressBlockError::Address(address));
        }
        text.parse().map_err(|_| AddressBlockError::Range(text.to_owned()))
    }

    /// The range, with what is left out of it.
    pub(crate) fn range(&self) -> IpNet {
        self.range
    }

    /// What is left out of it.
    pub(crate) fn exceptions(&self) -> impl Iterator<Item = IpNet> {
        self.except.iter().copied()
    }

    /// Whether it has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.range.contains(&address) && !self.except.iter().any(|except| except.contains(&address))
    }

    /// Whether it has the address of somebody of whom nothing but a range is known in which he is.
    pub(crate) fn has_one_of(&self, range: IpNet) -> Fit {
        let is_without = |except: &IpNet| except.contains(&range);
        let is_apart = |other: &IpNet| !other.contains(&range) && !range.contains(other);
        if is_apart(&self.range) || self.except.iter().any(is_without) {
            Fit::No
        } else if self.range.contains(&range) && self.except.iter().all(is_apart) {
            Fit::Yes
        } else {
            Fit::Unknown
        }
    }

    /// Whether it has every address of `other`, as far as can be told at a look.
    pub(crate) fn is_at_least(&self, other: &Self) -> bool {
        let left_out_there = |except: &IpNet| other.except.iter().any(|there| there.contains(except));
        self.range.contains(&other.range) && self.except.iter().all(left_out_there)
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.range)?;
        self.except.iter().try_for_each(|except| write!(f, " without {except}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(range: &str, except: &[&str]) -> Result<AddressBlock, String> {
        let except = except.iter().map(|text| text.parse::<IpNet>().expect("literal"));
        let range = AddressBlock::range_of(range).map_err(|error| error.to_string())?;
        AddressBlock::new(range, except).map_err(|error| error.to_string())
    }

    #[test]
    fn exceptions_are_left_out() {
        let v4 = block("10.0.0.0/8", &["10.1.0.0/16"]).expect("valid");
        let v6 = block("fd00::/16", &["fd00:1::/32"]).expect("valid");
        for (block, address, expected) in [
            (&v4, "10.0.0.1", true),
            (&v4, "10.1.0.1", false),
            (&v4, "10.2.0.1", true),
            (&v4, "11.0.0.1", false),
            (&v4, "fd00::1", false),
            (&v6, "fd00::1", true),
            (&v6, "fd00:1::1", false),
            (&v6, "10.0.0.1", false),
        ] {
            assert_eq!(block.contains(address.parse().expect("literal")), expected, "{block} {address}");
        }
    }

    #[test]
    fn of_a_range_it_is_known_where_all_or_nothing_is_had() {
        for (range, except, subnet, expected) in [
            ("10.1.0.0/16", &[][..], "10.1.2.0/24", Fit::Yes),
            ("10.1.2.0/24", &[], "10.1.2.0/24", Fit::Yes),
            ("10.1.2.0/25", &[], "10.1.2.0/24", Fit::Unknown),
            ("10.2.0.0/16", &[], "10.1.2.0/24", Fit::No),
            ("0.0.0.0/0", &[], "fd00::/64", Fit::No),
            ("0.0.0.0/0", &["10.2.0.0/16"], "10.1.2.0/24", Fit::Yes),
            ("0.0.0.0/0", &["10.1.2.7/32"], "10.1.2.0/24", Fit::Unknown),
            ("0.0.0.0/0", &["10.1.0.0/16"], "10.1.2.0/24", Fit::No),
            ("10.1.2.0/25", &["10.1.2.0/26"], "10.1.2.0/26", Fit::No),
        ] {
            let found = block(range, except).expect("valid").has_one_of(subnet.parse().expect("literal"));
            assert_eq!(found, expected, "{range} {except:?} {subnet}");
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for (range, except, told) in [
            ("10.0.0.1", &[][..], "`10.0.0.1` is one address: write `10.0.0.1/32`"),
            ("::1", &[], "`::1` is one address: write `::1/128`"),
            ("10.0.0.0/33", &[], "`10.0.0.0/33` is not a range of addresses"),
            ("", &[], "`` is not a range of addresses"),
            ("10.0.0.0/8", &["11.0.0.0/16"], "`11.0.0.0/16` is not a smaller range inside `10.0.0.0/8`"),
            ("10.0.0.0/8", &["10.0.0.0/8"], "`10.0.0.0/8` is not a smaller range inside"),
            ("10.0.0.0/8", &["0.0.0.0/0"], "`0.0.0.0/0` is not a smaller range inside"),
            ("10.0.0.0/8", &["fd00::/16"], "`fd00::/16` is not a smaller range inside"),
        ] {
            let error = block(range, except).expect_err(range);
            assert!(error.starts_with(told), "{error}");
        }
        assert_eq!(block("10.1.2.3/8", &[]), block("10.0.0.0/8", &[]), "host bits do not count");
    }
}
