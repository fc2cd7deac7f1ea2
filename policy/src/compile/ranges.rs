//! Ranges of addresses and of ports, made disjoint: elements of one set of intervals must not overlap.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::Family;

use crate::block::AddressBlock;

/// The addresses of one family, divided where it makes a difference which blocks have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges {
    family: Family,
    /// The first address of each part, its last, and the numbers of the blocks that have it: at least one.
    parts: BTreeMap<u128, (u128, BTreeSet<usize>)>,
}

impl Ranges {
    /// The addresses of these numbered blocks.
    pub(super) fn new<'b>(family: Family, blocks: impl IntoIterator<Item = (usize, &'b AddressBlock)>) -> Self {
        // What begins and what has ended at an address; several blocks may have one number.
        let mut changes: BTreeMap<u128, Vec<(usize, bool)>> = BTreeMap::new();
        let end = last_of(family);
        for (number, block) in blocks.into_iter().filter(|(_, block)| Family::of(block.range().network()) == family) {
            for (first, last) in spans(block) {
                changes.entry(first).or_default().push((number, true));
                if last < end {
                    changes.entry(last + 1).or_default().push((number, false));
                }
            }
        }
        let mut held: BTreeMap<usize, usize> = BTreeMap::new();
        let mut parts: Vec<(u128, BTreeSet<usize>)> = Vec::new();
        for (at, changes) in changes {
            // Beginnings first, so that nothing ends before it began.
            for (number, _) in changes.iter().filter(|(_, begins)| *begins) {
                *held.entry(*number).or_default() += 1;
            }
            for (number, _) in changes.iter().filter(|(_, begins)| !*begins) {
                if let Some(times) = held.get_mut(number) {
                    *times -= 1;
                }
            }
            held.retain(|_, times| *times > 0);
            let numbers: BTreeSet<usize> = held.keys().copied().collect();
            if parts.last().is_none_or(|(_, before)| *before != numbers) {
                parts.push((at, numbers));
            }
        }
        let ends = parts.iter().skip(1).map(|(next, _)| next - 1).chain([end]).collect::<Vec<_>>();
        let parts = parts.into_iter().zip(ends).filter(|((_, numbers), _)| !numbers.is_empty());
        Self { family, parts: parts.map(|((first, numbers), last)| (first, (last, numbers))).collect() }
    }

    /// The numbers of the blocks that have an address.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = usize> {
        let number = number_of(address);
        let is_there = Family::of(address) == self.family;
        let part = self.parts.range(..=number).next_back().filter(|(_, (last, _))| is_there && number <= *last);
        part.into_iter().flat_map(|(_, (_, numbers))| numbers.iter().copied())
    }

    /// Each part: its first address, its last, and the numbers of the blocks that have it.
    pub(super) fn parts(&self) -> impl Iterator<Item = (IpAddr, IpAddr, &BTreeSet<usize>)> {
        let address = |number| address_of(self.family, number);
        self.parts.iter().map(move |(first, (last, numbers))| (address(*first), address(*last), numbers))
    }
}

/// The block's addresses without its exceptions, which may lie in each other.
fn spans(block: &AddressBlock) -> Vec<(u128, u128)> {
    let ends = |range: ipnet::IpNet| (number_of(range.network()), number_of(range.broadcast()));
    let (mut first, last) = ends(block.range());
    let mut left_out: Vec<_> = block.exceptions().map(ends).collect();
    left_out.sort();
    let mut spans = Vec::new();
    for (from, to) in left_out {
        if first < from {
            spans.push((first, from - 1));
        }
        if to >= first {
            // The last address there is has no next one.
            let Some(next) = to.checked_add(1) else { return spans };
            first = next;
        }
    }
    if first <= last {
        spans.push((first, last));
    }
    spans
}

/// The same ports, in as few runs as there can be.
pub(super) fn joined(mut runs: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    runs.sort();
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (first, last) in runs {
        match joined.last_mut().filter(|before| u32::from(first) <= u32::from(before.1) + 1) {
            Some(before) => before.1 = before.1.max(last),
            None => joined.push((first, last)),
        }
    }
    joined
}

fn last_of(family: Family) -> u128 {
    match family {
        Family::Ipv4 => u32::MAX.into(),
        Family::Ipv6 => u128::MAX,
    }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address_of(family: Family, number: u128) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from(u32::try_from(number).expect("it was an IPv4 address")).into(),
        Family::Ipv6 => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(family: Family, blocks: &[(&str, &[&str])]) -> Vec<String> {
        let block = |(range, except): &(&str, &[&str])| {
            let except = except.iter().map(|text| text.parse().expect("literal"));
            AddressBlock::new(range.parse().expect("literal"), except).expect("valid")
        };
        let blocks: Vec<AddressBlock> = blocks.iter().map(block).collect();
        let ranges = Ranges::new(family, blocks.iter().enumerate());
        ranges.parts().map(|(first, last, numbers)| format!("{first}-{last} {numbers:?}")).collect()
    }

    #[test]
    fn ranges_that_lie_in_each_other_become_disjoint() {
        let nested = [("10.0.0.0/8", &["10.1.0.0/16"][..]), ("10.1.2.0/24", &[]), ("10.2.0.0/16", &[])];
        assert_eq!(
            told(Family::Ipv4, &nested),
            [
                "10.0.0.0-10.0.255.255 {0}",
                "10.1.2.0-10.1.2.255 {1}",
                "10.2.0.0-10.2.255.255 {0, 2}",
                "10.3.0.0-10.255.255.255 {0}"
            ]
        );
        assert_eq!(told(Family::Ipv6, &nested), [""; 0]);
    }

    #[test]
    fn the_first_and_the_last_address_are_addresses() {
        let all = [("0.0.0.0/0", &["0.0.0.0/8", "255.0.0.0/8", "255.255.0.0/16"][..]), ("255.255.255.255/32", &[])];
        assert_eq!(told(Family::Ipv4, &all), ["1.0.0.0-254.255.255.255 {0}", "255.255.255.255-255.255.255.255 {1}"]);
        let all = [("::/0", &["8000::/1"][..]), ("::/0", &[])];
        assert_eq!(
            told(Family::Ipv6, &all),
            ["::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff {0, 1}", "8000::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff {1}"]
        );
    }

    #[test]
    fn runs_of_ports_are_joined() {
        let runs = vec![(80, 90), (0, 0), (85, 86), (91, 91), (65535, 65535), (93, 100), (65535, 65535)];
        assert_eq!(joined(runs), [(0, 0), (80, 91), (93, 100), (65535, 65535)]);
    }
}
