//! How far the containers of a network get, and how they can be got at.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How a network's gateway joins it to the rest of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayMode {
    /// The host forwards, and what leaves it has the host's address.
    Nat,
    /// The host forwards, and what leaves it keeps the container's address: somebody must have a route back.
    Routed,
    /// The host has no address on the network.
    Isolated,
}

/// How far the containers of a network get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Everywhere, behind the host's address.
    Nat,
    /// Everywhere, with their own addresses.
    Routed,
    /// To each other, to the host, and to its DNS, which knows them and nobody else.
    Internal,
    /// To each other.
    Isolated,
    /// Everywhere, as neighbours on a LAN whose router is none of the host's business.
    Lan,
}

/// Why a text is not a gateway mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no gateway mode `{}`; known: nat, routed, isolated", .0.escape_debug())]
pub struct ParseGatewayModeError(String);

impl Reach {
    /// Whether the host forwards for the network.
    pub fn is_forwarded(self) -> bool {
        matches!(self, Self::Nat | Self::Routed)
    }

    /// Whether there is a way out, be it by the host or by another router.
    pub fn has_way_out(self) -> bool {
        self.is_forwarded() || self == Self::Lan
    }

    /// Whether the host has the gateways' addresses.
    pub fn has_gateway(self) -> bool {
        !matches!(self, Self::Isolated | Self::Lan)
    }

    /// The mode of its gateway. An internal network's would be `nat`, if anything left it.
    pub fn gateway_mode(self) -> GatewayMode {
        match self {
            Self::Nat | Self::Internal => GatewayMode::Nat,
            Self::Routed | Self::Lan => GatewayMode::Routed,
            Self::Isolated => GatewayMode::Isolated,
        }
    }
}

impl FromStr for GatewayMode {
    type Err = ParseGatewayModeError;

    fn from_str(text: &str) -> Result<Self, ParseGatewayModeError> {
        match text {
            "nat" => Ok(Self::Nat),
            "routed" => Ok(Self::Routed),
            "isolated" => Ok(Self::Isolated),
            _ => Err(ParseGatewayModeError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for GatewayMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "nat",
            Self::Routed => "routed",
            Self::Isolated => "isolated",
        })
    }
}
