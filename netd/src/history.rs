//! Revisions of the policies: which were in force after each change, so that they can be put back.
//!
//! A revision names the files that were in force then, and the store keeps a file for as long as one names it: what is
//! committed with a change is the change itself, its revision, and what goes with the oldest.

use std::collections::{BTreeMap, BTreeSet};

use api::{PolicyAction, PolicyChange, PolicyRequest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    rulebook::{FileId, PolicyFile, Rulebook},
};

/// How many revisions are kept.
const KEPT: usize = 100;
/// How many octets the files may have that are kept for them; more than that only where one change alone needs it.
const OCTETS: usize = 64 << 20;

/// Which of a file's documents were in force; none means all.
type InForce = Option<BTreeSet<String>>;

/// What was in force from one change to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revision {
    /// One more than that of the one before it.
    pub(crate) number: u64,
    /// When it was put in force.
    pub(crate) at: Timestamp,
    /// By what.
    pub(crate) request: PolicyRequest,
    /// What that changed.
    pub(crate) changes: Vec<PolicyChange>,
    /// What was in force.
    pub(crate) files: BTreeMap<FileId, InForce>,
}

/// The revisions that are kept, the last of which is in force.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The files that each of them names.
    revisions: BTreeMap<u64, BTreeSet<FileId>>,
    /// How many octets each of these has.
    sizes: BTreeMap<FileId, usize>,
}

/// What one change does to the history, to be committed with it.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) revision: Revision,
    /// Revisions that are kept no more.
    pub(crate) forgotten: Vec<u64>,
    /// Files that are no longer in force, which a revision names.
    pub(crate) archived: Vec<(FileId, PolicyFile)>,
    /// Files that no revision names any more.
    pub(crate) dropped: Vec<FileId>,
    sizes: BTreeMap<FileId, usize>,
}

impl History {
    /// Takes a revision that the store holds.
    pub(crate) fn insert(&mut self, revision: &Revision) {
        self.revisions.insert(revision.number, revision.files.keys().cloned().collect());
    }

    /// Takes the size of a file that the store holds.
    pub(crate) fn insert_file(&mut self, id: &FileId, file: &PolicyFile) {
        self.sizes.insert(id.clone(), file.text.len());
    }

    /// The number of what is in force; 0 if nothing ever was.
    pub(crate) fn last(&self) -> u64 {
        self.revisions.keys().next_back().copied().unwrap_or(0)
    }

    /// The revision that is meant by this number, or by none: the one before what is in force. 0 is before everything,
    /// where nothing was in force.
    pub(crate) fn find(&self, asked: Option<u64>) -> Result<u64, Failure> {
        let number = asked.or(self.last().checked_sub(1)).unwrap_or(0);
        let known = self.revisions.keys().next().copied().zip(self.revisions.keys().next_back().copied());
        let is_known = self.revisions.contains_key(&number) || number == 0 && known.is_some();
        if is_known { Ok(number) } else { Err(Failure::UnknownRevision { asked: number, known }) }
    }

    /// What a change from `old` to `new` does to the history; nothing where it changes nothing.
    pub(crate) fn turn(
        &self,
        (at, request): (Timestamp, PolicyRequest),
        old: &Rulebook,
        new: &Rulebook,
    ) -> Option<Turn> {
        let (news, gone) = new.news(old);
        if news.is_empty() && gone.is_empty() {
            return None;
        }
        let changes = new.changes_from(old).into_iter().filter(|it| it.action != PolicyAction::Unchanged).collect();
        let files = new.in_force();
        let mut sizes = self.sizes.clone();
        sizes.extend(news.iter().map(|(id, file)| ((*id).clone(), file.text.len())));
        let named: BTreeSet<FileId> = files.keys().cloned().collect();
        let mut kept: Vec<(u64, &BTreeSet<FileId>)> =
            self.revisions.iter().map(|(number, ids)| (*number, ids)).collect();
        let mut forgotten = Vec::new();
        let total = |kept: &[(u64, &BTreeSet<FileId>)]| -> usize {
            let ids: BTreeSet<&FileId> = kept.iter().flat_map(|(_, ids)| *ids).chain(&named).collect();
            ids.into_iter().filter_map(|id| sizes.get(id)).sum()
        };
        // The one before can always be put back.
        while kept.len() > 1 && (kept.len() >= KEPT || total(&kept) > OCTETS) {
            forgotten.push(kept.remove(0).0);
        }
        let wanted: BTreeSet<&FileId> = kept.iter().flat_map(|(_, ids)| *ids).chain(&named).collect();
        let dropped: Vec<FileId> = sizes.keys().filter(|id| !wanted.contains(id)).cloned().collect();
        let archived = gone.into_iter().filter(|id| wanted.contains(id));
        let archived = archived.filter_map(|id| {
            let file = PolicyFile { documents: BTreeSet::new(), ..old.file(id)?.clone() };
            Some((id.clone(), file))
        });
        let archived = archived.collect();
        sizes.retain(|id, _| !dropped.contains(id));
        let revision = Revision { number: self.last() + 1, at, request, changes, files };
        Some(Turn { revision, forgotten, archived, dropped, sizes })
    }

    /// The change was committed.
    pub(crate) fn take(&mut self, turn: Turn) {
        self.revisions.retain(|number, _| !turn.forgotten.contains(number));
        self.insert(&turn.revision);
        self.sizes = turn.sizes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(texts: &[(usize, &str)]) -> Rulebook {
        let file = |(id, text): &(usize, &str)| {
            let name = format!("p{id}");
            let head =
                format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: {name}}}\nnetworks: [web]\n# {text}\n");
            let documents = [name].into();
            (format!("{id:04}"), PolicyFile { name: "p.yaml".into(), network: None, text: head, documents })
        };
        Rulebook::new(texts.iter().map(file)).expect("valid")
    }

    fn change(history: &mut History, old: &Rulebook, new: &Rulebook) -> (Vec<u64>, Vec<String>, Vec<String>) {
        let by = (Timestamp::UNIX_EPOCH, PolicyRequest::Remove { name: "x".into() });
        let turn = history.turn(by, old, new).expect("something changes");
        let archived = turn.archived.iter().map(|(id, _)| id.clone()).collect();
        let told = (turn.forgotten.clone(), archived, turn.dropped.clone());
        history.take(turn);
        told
    }

    #[test]
    fn what_a_revision_names_is_kept_as_long_as_the_revision() {
        let mut history = History::default();
        assert!(matches!(history.find(None), Err(Failure::UnknownRevision { asked: 0, known: None })));
        let (empty, nothing) = (book(&[]), (Vec::new(), Vec::new(), Vec::new()));
        let mut last = book(&[(0, "a")]);
        assert_eq!(change(&mut history, &empty, &last), nothing);
        assert_eq!((history.find(None).ok(), history.find(Some(0)).ok(), history.last()), (Some(0), Some(0), 1));
        let same = (Timestamp::UNIX_EPOCH, PolicyRequest::Rollback { revision: 1 });
        assert!(history.turn(same, &last, &last).is_none(), "nothing changes");
        for number in 1..KEPT {
            let next = book(&[(number, "a")]);
            assert_eq!(change(&mut history, &last, &next), (vec![], vec![format!("{:04}", number - 1)], vec![]));
            last = next;
        }
        let next = book(&[(KEPT, "a")]);
        let told = change(&mut history, &last, &next);
        assert_eq!(told, (vec![1], vec![format!("{:04}", KEPT - 1)], vec!["0000".into()]), "the first goes");
        assert_eq!((history.revisions.len(), history.find(None).ok()), (KEPT, Some(KEPT as u64)));
        assert!(matches!(history.find(Some(1)), Err(Failure::UnknownRevision { known: Some((2, 101)), .. })));
        // What was in force before and is so again is one file.
        let back = book(&[(KEPT, "a"), (7, "a")]);
        assert_eq!(change(&mut history, &next, &back), (vec![2], vec![], vec!["0001".into()]));
    }

    #[test]
    fn large_files_are_kept_for_fewer_revisions() {
        let mut history = History::default();
        // As much as a file may hold, nearly.
        let large = "x".repeat(15 << 20);
        let mut last = book(&[(0, &large)]);
        change(&mut history, &book(&[]), &last);
        for number in 1..7 {
            let next = book(&[(number, &large)]);
            change(&mut history, &last, &next);
            last = next;
        }
        assert_eq!(history.revisions.len(), OCTETS / large.len(), "one more would be too much");
        assert_eq!(history.sizes.len(), history.revisions.len());
    }
}
