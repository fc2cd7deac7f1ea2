//! The fields of native documents, as they are written. `docs/policy.md` says of each what it means.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelectorRequirement, util::intstr::IntOrString};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::rule;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policy {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    pub(super) metadata: Metadata,
    pub(super) networks: Vec<String>,
    pub(super) subject: Option<Subject>,
    pub(super) tier: Option<u16>,
    pub(super) order: Option<u16>,
    #[serde(default)]
    pub(super) ingress: Vec<Rule>,
    #[serde(default)]
    pub(super) egress: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Stance {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    pub(super) metadata: Metadata,
    pub(super) networks: Vec<String>,
    pub(super) ingress: Option<Effect>,
    pub(super) egress: Option<Effect>,
    pub(super) log: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Subject {
    pub(super) names: Option<Vec<String>>,
    pub(super) labels: Option<LabelMap>,
    pub(super) expressions: Option<Vec<LabelSelectorRequirement>>,
    pub(super) identity: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    pub(super) action: Action,
    pub(super) order: Option<u16>,
    pub(super) from: Option<Vec<Peer>>,
    pub(super) to: Option<Vec<Peer>>,
    pub(super) ports: Option<Vec<IntOrString>>,
    pub(super) icmp: Option<Vec<IntOrString>>,
    pub(super) icmpv6: Option<Vec<IntOrString>>,
    pub(super) log: Option<bool>,
    pub(super) rate: Option<String>,
    pub(super) connections: Option<u32>,
    pub(super) expires: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Peer {
    pub(super) names: Option<Vec<String>>,
    pub(super) labels: Option<LabelMap>,
    pub(super) expressions: Option<Vec<LabelSelectorRequirement>>,
    pub(super) identity: Option<BTreeMap<String, String>>,
    pub(super) networks: Option<Vec<String>>,
    pub(super) network_labels: Option<LabelMap>,
    pub(super) cidr: Option<String>,
    pub(super) except: Option<Vec<String>>,
    pub(super) entity: Option<Entity>,
    pub(super) dns: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Allow,
    Deny,
    Audit,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Entity {
    Host,
    World,
}

/// Labels by key, each with the values it may have.
#[derive(Debug, Deserialize)]
pub(super) struct LabelMap(pub(super) BTreeMap<String, OneOrSeveral>);

/// A text, or a list of texts.
#[derive(Debug)]
pub(super) struct OneOrSeveral(pub(super) Vec<String>);

impl From<Action> for rule::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Allow => Self::Allow,
            Action::Deny => Self::Deny,
            Action::Audit => Self::Audit,
        }
    }
}

impl From<Effect> for rule::Effect {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Allow => Self::Allow,
            Effect::Deny => Self::Deny,
        }
    }
}

impl<'de> Deserialize<'de> for OneOrSeveral {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrSeveral;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, which may need quotes, or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrSeveral, E> {
                Ok(OneOrSeveral(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrSeveral, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrSeveral(texts))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}
