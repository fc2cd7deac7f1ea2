//! What policies can say and nobody enforces yet: refused, so that nobody relies on it.

use policy::{Document, DocumentError, Peer, Policy, Rule};

use crate::rulebook::told;

/// What of a document would not be enforced, each where it stands.
pub(crate) fn unenforced(document: &Document) -> Vec<DocumentError> {
    match document {
        Document::Policy(policy) => policy.rules.iter().flat_map(|rule| of_rule(policy, rule)).collect(),
        Document::Stance(_) => Vec::new(),
    }
}

fn of_rule(policy: &Policy, rule: &Rule) -> Vec<DocumentError> {
    let found = [(rule.peers.iter().any(|peer| matches!(peer, Peer::Names(_))), "`dns`")];
    let title = policy.title();
    let problem = |what| format!("policy `{title}`: {what} is not enforced yet, so the policy cannot be applied");
    found.into_iter().filter(|(is_there, _)| *is_there).map(|(_, what)| told(&rule.place, problem(what))).collect()
}
