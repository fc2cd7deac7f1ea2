//! The host's interface that a network's endpoints sit on, and how.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Driver, IfName};

/// The host's interface that a network's endpoints sit on, of drivers that have no bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its name in the host's namespace.
    pub interface: IfName,
    /// What sits on it.
    #[serde(flatten)]
    pub kind: SubInterfaceKind,
}

/// What kind of interfaces sit on a parent. The modes tell the kinds apart where both are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SubInterfaceKind {
    /// Each has a MAC address of its own.
    Macvlan {
        /// What they are to each other.
        mode: MacvlanMode,
    },
    /// All have the parent's MAC address, and what comes in is told apart by the IP address.
    Ipvlan {
        /// How far the kernel of the host looks into what passes.
        mode: IpvlanMode,
        /// What they are to each other.
        flag: IpvlanFlag,
    },
}

impl SubInterfaceKind {
    /// The driver whose networks are made of them.
    pub fn driver(self) -> Driver {
        match self {
            Self::Macvlan { .. } => Driver::Macvlan,
            Self::Ipvlan { .. } => Driver::Ipvlan,
        }
    }

    /// Whether each has a MAC address of its own.
    pub fn has_own_mac(self) -> bool {
        matches!(self, Self::Macvlan { .. })
    }

    /// Whether there are neighbours, who are asked for their MAC addresses. Otherwise all that a container sends is
    /// routed by the host's kernel, and a gateway would be nobody.
    pub fn has_neighbours(self) -> bool {
        !matches!(self, Self::Ipvlan { mode: IpvlanMode::L3 | IpvlanMode::L3s, .. })
    }

    /// Whether one parent can carry both at once. One receive handler is all that an interface has
    /// (`netdev_rx_handler_register` in `net/core/dev.c`), and of ipvlan mode and flag are the parent's: who comes last
    /// would change them for all (`ipvlan_link_new` in `drivers/net/ipvlan/ipvlan_main.c`).
    pub fn goes_with(self, other: Self) -> bool {
        matches!((self, other), (Self::Macvlan { .. }, Self::Macvlan { .. })) || self == other
    }
}

impl fmt::Display for SubInterfaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Macvlan { mode } => write!(f, "macvlan mode {mode}"),
            Self::Ipvlan { mode, flag } => write!(f, "ipvlan mode {mode} flag {flag}"),
        }
    }
}

/// A closed set of words: an enum with its text, and an error that lists what is known.
macro_rules! words {
    ($kind:ident, $error:ident, $what:literal, { $($variant:ident = $text:literal),+ $(,)? }) => {
        #[doc = concat!("Why a text is not ", $what, ".")]
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[error("there is no {} `{}`; known: {}", $what, .0.escape_debug(), [$($text),+].join(", "))]
        pub struct $error(String);

        impl FromStr for $kind {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($error(text.chars().take(80).collect())),
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text,)+
                })
            }
        }
    };
}

/// What macvlan interfaces on the same parent are to each other (`MACVLAN_MODE_*` of `include/uapi/linux/if_link.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MacvlanMode {
    /// They reach each other.
    #[default]
    Bridge,
    /// They do not, even if the switch outside sends their frames back.
    Private,
    /// They do if the switch outside sends their frames back.
    Vepa,
    /// There is one, which has the parent to itself.
    Passthru,
}

words!(MacvlanMode, ParseMacvlanModeError, "macvlan mode", {
    Bridge = "bridge",
    Private = "private",
    Vepa = "vepa",
    Passthru = "passthru",
});

/// What the host's kernel does with what ipvlan interfaces send (`enum ipvlan_mode` of `include/uapi/linux/if_link.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpvlanMode {
    /// It passes on frames: containers ask for their neighbours' MAC addresses, and send broadcasts.
    #[default]
    L2,
    /// It routes packets by the host's routes: there are no neighbours, and neither broadcast nor multicast.
    L3,
    /// The same, and the host's netfilter sees them.
    L3s,
}

words!(IpvlanMode, ParseIpvlanModeError, "ipvlan mode", {
    L2 = "l2",
    L3 = "l3",
    L3s = "l3s",
});

/// What ipvlan interfaces on the same parent are to each other (`IPVLAN_F_*` of `include/uapi/linux/if_link.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpvlanFlag {
    /// They reach each other.
    #[default]
    Bridge,
    /// They do not.
    Private,
    /// They do if the switch outside sends their frames back.
    Vepa,
}

words!(IpvlanFlag, ParseIpvlanFlagError, "ipvlan flag", {
    Bridge = "bridge",
    Private = "private",
    Vepa = "vepa",
});

#[cfg(test)]
mod tests {
    use super::*;

    fn ipvlan(mode: IpvlanMode, flag: IpvlanFlag) -> SubInterfaceKind {
        SubInterfaceKind::Ipvlan { mode, flag }
    }

    #[test]
    fn what_is_kept_of_a_parent_reads_back_and_is_of_one_kind() {
        let macvlan = SubInterfaceKind::Macvlan { mode: MacvlanMode::Private };
        let cases = [
            (macvlan, r#"{"interface":"lan0","mode":"private"}"#),
            (ipvlan(IpvlanMode::L3s, IpvlanFlag::Private), r#"{"interface":"lan0","mode":"l3s","flag":"private"}"#),
        ];
        for (kind, text) in cases {
            let parent = Parent { interface: "lan0".parse().expect("literal"), kind };
            assert_eq!(serde_json::to_string(&parent).expect("a parent can be written"), text);
            assert_eq!(serde_json::from_str::<Parent>(text).expect("what was written can be read"), parent);
        }
        for text in [r#"{"interface":"lan0","mode":"l2"}"#, r#"{"interface":"lan0","mode":"l4","flag":"bridge"}"#] {
            serde_json::from_str::<Parent>(text).expect_err(text);
        }
    }

    #[test]
    fn a_parent_carries_one_kind_and_of_ipvlan_one_mode_and_flag() {
        use IpvlanFlag::{Bridge, Vepa};
        use IpvlanMode::{L2, L3};
        let macvlan = |mode| SubInterfaceKind::Macvlan { mode };
        let cases = [
            (macvlan(MacvlanMode::Bridge), macvlan(MacvlanMode::Private), true),
            (macvlan(MacvlanMode::Bridge), ipvlan(L2, Bridge), false),
            (ipvlan(L2, Bridge), ipvlan(L2, Bridge), true),
            (ipvlan(L2, Bridge), ipvlan(L3, Bridge), false),
            (ipvlan(L2, Bridge), ipvlan(L2, Vepa), false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(one.goes_with(other), expected, "{one}, {other}");
            assert_eq!(other.goes_with(one), expected, "{other}, {one}");
        }
    }

    #[test]
    fn words_read_as_they_are_written_and_others_are_told_what_is_known() {
        for text in ["l2", "l3", "l3s"] {
            assert_eq!(text.parse::<IpvlanMode>().expect(text).to_string(), text);
        }
        let cases = [
            (
                "l4".parse::<IpvlanMode>().expect_err("no mode").to_string(),
                "there is no ipvlan mode `l4`; known: l2, l3, l3s",
            ),
            (
                "passthru".parse::<IpvlanFlag>().expect_err("no flag").to_string(),
                "there is no ipvlan flag `passthru`; known: bridge, private, vepa",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error, expected);
        }
    }
}
