//! What judges connections by policies: in force before the links come up that it judges.

use crate::{Change, Policing, State};

/// What makes the table what it should be: the whole where nobody can say what it is, or where there is none.
pub(super) fn change(desired: &State, observed: &State, changes: &mut Vec<Change>) {
    // A wish always says what.
    let Policing::Holds(to) = &desired.policing else { return };
    let from = match &observed.policing {
        Policing::Holds(from) if from == to => return,
        Policing::Holds(from) if !from.is_empty() && !to.is_empty() => from,
        Policing::Holds(_) | Policing::Altered => return changes.push(Change::InstallPolicing(to.clone())),
    };
    changes.push(Change::ChangePolicing { difference: Box::new(from.difference(to)), to: to.clone() });
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{
        DataPath, Observed,
        data_path::{Chain, ChainName, Key, SetKind, SetName},
        diff,
    };

    fn path(chains: &[&str], addresses: &[u8]) -> Policing {
        let chain = |name: &&str| (ChainName::new(name), Chain { about: String::new(), hook: None, rules: Vec::new() });
        let set = SetName::new(SetKind::Addresses(crate::Family::Ipv4), "some");
        let elements = addresses.iter().map(|last| (Key::Address([10, 0, 0, *last].into()), None)).collect();
        let path = DataPath {
            sets: [(set, elements)].into(),
            chains: chains.iter().map(chain).collect(),
            ..DataPath::default()
        };
        Policing::Holds(Arc::new(path))
    }

    #[test]
    fn it_is_changed_where_it_is_known_and_made_anew_where_it_is_not() {
        let nothing = Policing::default;
        for (desired, observed, expected) in [
            (nothing(), nothing(), None),
            (path(&["a"], &[2]), path(&["a"], &[2]), None),
            (path(&["a"], &[2]), nothing(), Some("install table inet fabric-policy with 1 chains")),
            (path(&["a"], &[2]), Policing::Altered, Some("install table inet fabric-policy with 1 chains")),
            (nothing(), Policing::Altered, Some("remove table inet fabric-policy")),
            (nothing(), path(&["a"], &[2]), Some("remove table inet fabric-policy")),
            (
                path(&["a"], &[2, 3]),
                path(&["a"], &[2, 4]),
                Some("change table inet fabric-policy: 1 elements come, 1 elements go"),
            ),
            (
                path(&["b"], &[2]),
                path(&["a"], &[2]),
                Some("change table inet fabric-policy: 1 chains come, 1 chains go"),
            ),
        ] {
            let state = |policing| State { policing, ..State::empty() };
            let observed =
                Observed { state: state(observed), elements_beyond: BTreeSet::new(), unreadable: BTreeSet::new() };
            let changes: Vec<String> = diff(&state(desired), &observed).iter().map(ToString::to_string).collect();
            assert_eq!(changes, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
