//! What is probably not meant in a question: labels that no policy asks for.

use std::collections::{BTreeMap, BTreeSet};

use model::nearest;

use crate::{
    label::shown,
    mention::{Mention, Question},
    peer::{EndpointSelector, Peer},
    policies::Policies,
    selector::{Identity, Requirement},
};

/// The labels of the ends that no policy asks for: an end is described by them, so they may be misspelt. A value is
/// told of where it is nearly one that is asked for: most endpoints have values that no policy is about.
pub fn doubts(policies: &Policies, question: &Question) -> Vec<String> {
    let asked = asked_for(policies);
    let labels = [&question.from, &question.to].into_iter().filter_map(|end| match end {
        Mention::Labelled(_, labels) => Some(labels),
        _ => None,
    });
    let mut doubts: Vec<String> = labels.flatten().filter_map(|(key, value)| doubt(&asked, key, value)).collect();
    doubts.dedup();
    doubts
}

fn doubt(asked: &BTreeMap<&str, BTreeSet<&str>>, key: &str, value: &str) -> Option<String> {
    match asked.get(key) {
        None => {
            let near = nearest(key, asked.keys().copied()).map(|near| format!("; did you mean `{near}`?"));
            Some(format!("no policy asks for a label `{key}`{}", near.unwrap_or_default()))
        }
        Some(values) if values.contains(value) => None,
        Some(values) => nearest(value, values.iter().copied()).map(|near| {
            format!("no policy asks for label `{key}={}`; did you mean `{key}={}`?", shown(value), shown(near))
        }),
    }
}

/// The labels of endpoints that selectors name, with the values that they name.
fn asked_for(policies: &Policies) -> BTreeMap<&str, BTreeSet<&str>> {
    let peers = policies.policies().iter().flat_map(|policy| &policy.rules).flat_map(|rule| &rule.peers);
    let peers = peers.filter_map(|peer| match peer {
        Peer::Endpoints(_, selector) => Some(selector),
        _ => None,
    });
    let mut asked = BTreeMap::<&str, BTreeSet<&str>>::new();
    for EndpointSelector { labels, identity, .. } in
        policies.policies().iter().map(|policy| &policy.subject).chain(peers)
    {
        for requirement in labels.requirements() {
            match requirement {
                Requirement::In(key, values) | Requirement::NotIn(key, values) => {
                    asked.entry(key.as_str()).or_default().extend(values.iter().map(|value| value.as_str()));
                }
                Requirement::Exists(key) | Requirement::DoesNotExist(key) => {
                    asked.entry(key.as_str()).or_default();
                }
            }
        }
        for (key, value) in identity.iter().flat_map(|Identity(labels)| labels) {
            asked.entry(key.as_str()).or_default().insert(value.as_str());
        }
    }
    asked
}
