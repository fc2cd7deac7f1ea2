//! Arguments about flows.

use std::{net::IpAddr, str::FromStr};

use api::{Flow, FlowEnd};
use clap::{Args, ValueEnum};

/// `fabric flows`.
#[derive(Debug, Args)]
pub(crate) struct FlowsArguments {
    /// Go on printing what is logged from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only those that this container sends (NAME or NETWORK/NAME), or whoever has this address.
    #[arg(long, value_name = "WHO")]
    pub(crate) from: Option<Party>,
    /// Only those that this container receives, or whoever has this address.
    #[arg(long, value_name = "WHO")]
    pub(crate) to: Option<Party>,
    /// Only those that a rule lets through, drops or audits.
    #[arg(long)]
    pub(crate) verdict: Option<FlowVerdict>,
    /// Only those that this policy decides or audits.
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
}

/// What a rule does with what it logs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FlowVerdict {
    /// It lets it through.
    Allow,
    /// It drops it.
    Deny,
    /// It leaves it to the next rule.
    Audit,
}

/// One end of a flow, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Party {
    Address(IpAddr),
    Container { network: Option<String>, name: String },
}

impl FromStr for Party {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (network, name) = match text.split_once('/') {
            Some((network, name)) => (Some(network.to_owned()), name),
            None => (None, text),
        };
        match name.is_empty() || network.as_deref() == Some("") {
            true => Err("expected a container's NAME or NETWORK/NAME, or an address"),
            false => Ok(Self::Container { network, name: name.to_owned() }),
        }
    }
}

impl Party {
    fn is(&self, end: &FlowEnd) -> bool {
        match self {
            Self::Address(address) => end.address == *address,
            Self::Container { network, name } => {
                let is_there = |network: &String| end.network.as_ref().is_some_and(|own| own.as_str() == network);
                end.container.as_ref().is_some_and(|own| own.as_str() == name) && network.as_ref().is_none_or(is_there)
            }
        }
    }
}

impl FlowsArguments {
    /// Whether a flow is one of those that are asked for.
    pub(crate) fn include(&self, flow: &Flow) -> bool {
        let verdict = self.verdict.map(|verdict| match verdict {
            FlowVerdict::Allow => "allow",
            FlowVerdict::Deny => "deny",
            FlowVerdict::Audit => "audit",
        });
        self.from.as_ref().is_none_or(|party| party.is(&flow.source))
            && self.to.as_ref().is_none_or(|party| party.is(&flow.destination))
            && verdict.is_none_or(|verdict| flow.verdict == verdict)
            && self.policy.as_ref().is_none_or(|policy| flow.policy == *policy)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flows_are_asked_for_by_who_and_what() {
        let flow: Flow = serde_json::from_value(json!({
            "sequence": 1, "time": "2026-11-22T08:00:00.123456Z", "verdict": "deny", "policy": "shop",
            "rule": "ingress rule 1", "place": "shop.yaml:7:3", "protocol": "tcp",
            "source": {"address": "10.208.0.3", "port": 40000, "container": "client", "network": "web"},
            "destination": {"address": "10.208.0.2", "port": 80, "container": "server", "network": "web"},
        }))
        .expect("the literal is a flow");
        let party = |text: &str| text.parse::<Party>().expect("literal");
        let of = |from: Option<&str>, to: Option<&str>, verdict, policy: Option<&str>| FlowsArguments {
            follow: false,
            from: from.map(party),
            to: to.map(party),
            verdict,
            policy: policy.map(str::to_owned),
        };
        for (arguments, expected) in [
            (of(None, None, None, None), true),
            (of(Some("client"), Some("web/server"), Some(FlowVerdict::Deny), Some("shop")), true),
            (of(Some("10.208.0.3"), None, None, None), true),
            (of(Some("10.208.0.2"), None, None, None), false),
            (of(None, Some("ops/server"), None, None), false),
            (of(None, Some("client"), None, None), false),
            (of(None, None, Some(FlowVerdict::Allow), None), false),
            (of(None, None, None, Some("sho")), false),
        ] {
            assert_eq!(arguments.include(&flow), expected, "{arguments:?}");
        }
        for text in ["", "web/", "/server"] {
            assert!(text.parse::<Party>().is_err(), "{text}");
        }
    }
}
