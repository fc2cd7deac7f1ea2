//! How many connections an address of a container may have open at once.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    KernelError, conntrack,
    netlink::{Refusal, Socket},
    sysctl::Setting,
};

/// The rules, as nft reads them, for a limit that is yet to be filled in.
const CONNECTIONS: &str = include_str!("connections.nft");

/// How many connections, at least, a part of the limit is for: so few are counted in a few microseconds, and so many
/// are spread over the parts evenly enough.
const PART: u32 = 256;
/// How many parts there are at most: with a thousand addresses at their limits, the set holds that many times more.
const MOST_PARTS: u32 = 128;
/// The part of the host's table that one address may fill.
const SHARE: u32 = 8;
/// The size of the table on a host that does not tell it: what Linux has on one with little memory.
const TABLE: u32 = 65_536;

/// How many connections an address of a container may have open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionLimit {
    /// An eighth of what the host's connection table holds (`net.netfilter.nf_conntrack_max`).
    #[default]
    Share,
    /// So many.
    AtMost(NonZeroU32),
    /// Any number.
    None,
}

/// Why connections are not limited although they are to be. All who put rules in place share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unlimited(Arc<Mutex<Option<String>>>);

impl Unlimited {
    /// What nft said when it was asked last; none if it did what it was asked for, or was not asked.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// What a setting says: 0 is any number, and none the share.
impl From<Option<u32>> for ConnectionLimit {
    fn from(setting: Option<u32>) -> Self {
        match setting.map(NonZeroU32::new) {
            None => Self::Share,
            Some(None) => Self::None,
            Some(Some(number)) => Self::AtMost(number),
        }
    }
}

impl ConnectionLimit {
    /// The limit as a number, none where there is none; `netfilter` is asked for what the module shows that it loads.
    fn number(self, netfilter: &mut Socket) -> Result<Option<u32>, KernelError> {
        match self {
            Self::None => Ok(None),
            Self::AtMost(number) => Ok(Some(number.get())),
            Self::Share => {
                let mut size = table_size()?;
                if size.is_none() {
                    let failed = |source: Refusal| KernelError::Netlink { action: "count connections".into(), source };
                    conntrack::entries(netfilter).map_err(failed)?;
                    size = table_size()?;
                }
                Ok(Some((size.unwrap_or(TABLE) / SHARE).max(1)))
            }
        }
    }

    /// The commands of nft, in its own language, that put the limit in force in `table inet fabric`.
    pub(super) fn commands(self, netfilter: &mut Socket) -> Result<String, KernelError> {
        Ok(self.number(netfilter)?.map(commands).unwrap_or_default())
    }
}

fn table_size() -> Result<Option<u32>, KernelError> {
    let words = Setting::ConnectionTable.read()?.unwrap_or_default();
    Ok(words.first().and_then(|word| word.parse().ok()))
}

fn commands(limit: u32) -> String {
    let parts = (limit / PART).clamp(1, MOST_PARTS);
    let part = limit / parts;
    // The longer word first: it begins with the other.
    CONNECTIONS.replace("PARTS", &parts.to_string()).replace("PART", &part.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_number_any_number_or_the_share() {
        let five = NonZeroU32::new(5).expect("it is not zero");
        let limits = [None, Some(0), Some(5)].map(ConnectionLimit::from);
        assert_eq!(limits, [ConnectionLimit::Share, ConnectionLimit::None, ConnectionLimit::AtMost(five)]);
    }

    #[test]
    fn the_parts_make_no_more_than_the_limit() {
        for (limit, parts, part) in
            [(1, 1, 1), (255, 1, 255), (512, 2, 256), (600, 2, 300), (32_768, 128, 256), (1 << 20, 128, 8192)]
        {
            let text = commands(limit);
            assert!(parts * part <= limit);
            assert!(text.contains(&format!("mod {parts} ct count over {part} ")), "{limit}:\n{text}");
            assert!(!text.contains("PART"), "{text}");
        }
    }
}
