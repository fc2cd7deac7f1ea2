//! The policies of this host: files as they were given, and which of their documents are in force.
//!
//! A file is kept whole, so that a rule can be told by its place. A document that is given anew, by whatever file,
//! takes the place of the one of its name; a file goes with the last of its documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{PolicyAction, PolicyChange};
use model::NetworkName;
use policy::{Document, DocumentError, Place, Policies, Problem, Syntax};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Noun};

/// A file of policies, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyFile {
    /// Its name, which also says what it is written in.
    pub(crate) name: String,
    /// The network of its documents of Kubernetes that name none.
    pub(crate) network: Option<NetworkName>,
    /// What it holds.
    pub(crate) text: String,
    /// The names of those of its documents that are in force.
    pub(crate) documents: BTreeSet<String>,
}

/// A file and what it says.
#[derive(Debug, Clone)]
struct Parsed {
    file: Arc<PolicyFile>,
    /// All documents of it.
    documents: Arc<[Document]>,
}

/// Identifies a file: drawn at random, never reused.
pub(crate) type FileId = String;

/// Every file that has a document in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rulebook {
    files: BTreeMap<FileId, Parsed>,
    /// The documents in force by their names: in which file, and the how manieth of it, from 0.
    by_name: Vec<(String, FileId, usize)>,
    policies: Policies,
}

impl Rulebook {
    /// Of the files that the store holds, those that have documents in force.
    pub(crate) fn new(files: impl IntoIterator<Item = (FileId, PolicyFile)>) -> Result<Self, Failure> {
        let files = files.into_iter().filter(|(_, file)| !file.documents.is_empty());
        let parsed = files.map(|(id, file)| Ok((id, Parsed::new(file)?)));
        Self::of(parsed.collect::<Result<_, Failure>>()?)
    }

    fn of(files: BTreeMap<FileId, Parsed>) -> Result<Self, Failure> {
        let documents: Vec<Document> = files.values().flat_map(Parsed::in_force).cloned().collect();
        let mut kinds: BTreeMap<String, &Document> = BTreeMap::new();
        for document in &documents {
            // What is named is one thing.
            if let Some(other) = kinds.insert(document.title(), document).filter(|it| it.kind() != document.kind()) {
                let name = document.title();
                return Err(Failure::PolicyNames { name, kinds: [other.kind(), document.kind()] });
            }
        }
        let policies = Policies::new(documents.iter().cloned());
        let policies = policies.map_err(|source| Failure::Policies { source: Box::new(source) })?;
        let of_file = |(id, parsed): (&FileId, &Parsed)| -> Vec<(String, FileId, usize)> {
            let documents = parsed.documents.iter().map(Document::title).enumerate();
            let in_force = documents.filter(|(_, name)| parsed.file.documents.contains(name));
            in_force.map(|(at, name)| (name, id.clone(), at)).collect()
        };
        let mut by_name: Vec<_> = files.iter().flat_map(of_file).collect();
        by_name.sort();
        Ok(Self { files, by_name, policies })
    }

    /// Whether there are no policies.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What they say together.
    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Each document that is in force, with its file, by its name.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&PolicyFile, &Document)> {
        self.by_name.iter().map(|(_, id, at)| self.at(id, *at))
    }

    /// The document of this name.
    pub(crate) fn document(&self, name: &str) -> Result<(&PolicyFile, &Document), Failure> {
        let names = || self.by_name.iter().map(|(name, ..)| name.as_str());
        let first = self.by_name.partition_point(|(other, ..)| other.as_str() < name);
        let found = self.by_name.get(first).filter(|(found, ..)| found == name);
        found.map(|(_, id, at)| self.at(id, *at)).ok_or_else(|| Failure::unknown(Noun::Policy, name, names()))
    }

    fn at(&self, id: &FileId, at: usize) -> (&PolicyFile, &Document) {
        let Parsed { file, documents } = &self.files[id];
        (file, &documents[at])
    }

    /// The same with these files, and what that changes. `draw` makes identifiers.
    pub(crate) fn with(
        &self,
        files: Vec<PolicyFile>,
        mut draw: impl FnMut() -> FileId,
    ) -> Result<(Self, Vec<PolicyChange>), Failure> {
        let (mut parsed, mut errors) = (Vec::new(), Vec::new());
        for file in files {
            match parse(&file) {
                Ok(documents) => parsed.push((file, documents)),
                Err(found) => errors.extend(found),
            }
        }
        if !errors.is_empty() {
            return Err(Failure::PolicyDocuments { errors });
        }
        let all: Vec<&Document> = parsed.iter().flat_map(|(_, documents)| documents).collect();
        // Two of one name in what is given contradict each other; one that is given anew does not.
        Policies::new(all.iter().map(|document| (*document).clone()))
            .map_err(|source| Failure::Policies { source: Box::new(source) })?;
        let old: BTreeMap<String, &Document> = self.documents().map(|(_, it)| (it.title(), it)).collect();
        for document in &all {
            // A policy takes the place of no stance.
            if let Some(old) = old.get(&document.title()).filter(|old| old.kind() != document.kind()) {
                let kinds = [document.kind(), old.kind()];
                return Err(Failure::PolicyNames { name: document.title(), kinds });
            }
        }
        let changes =
            all.iter().map(|document| change(document, action(old.get(&document.title()).copied(), document)));
        let changes: Vec<PolicyChange> = changes.collect();
        let replaced: BTreeSet<String> = all.iter().map(|document| document.title()).collect();
        let mut files = self.without_all(&replaced);
        for (mut file, documents) in parsed.into_iter().filter(|(_, documents)| !documents.is_empty()) {
            file.documents = documents.iter().map(Document::title).collect();
            // What is given once more as it was is the same file.
            let same = self.files.iter().find(|(_, old)| *old.file == file).map(|(id, _)| id.clone());
            let id = same.unwrap_or_else(&mut draw);
            files.insert(id, Parsed { file: Arc::new(file), documents: documents.into() });
        }
        Ok((Self::of(files)?, changes))
    }

    /// The same without the document of this name.
    pub(crate) fn without(&self, name: &str) -> Result<Self, Failure> {
        self.document(name)?;
        Self::of(self.without_all(&[name.to_owned()].into()))
    }

    fn without_all(&self, names: &BTreeSet<String>) -> BTreeMap<FileId, Parsed> {
        let mut files = self.files.clone();
        for parsed in files.values_mut().filter(|parsed| !parsed.file.documents.is_disjoint(names)) {
            let documents = &parsed.file.documents - names;
            parsed.file = Arc::new(PolicyFile { documents, ..(*parsed.file).clone() });
        }
        files.retain(|_, parsed| !parsed.file.documents.is_empty());
        files
    }

    /// The same documents as those of `kept`, whatever is in force: files of an earlier time, each with the names of
    /// its documents that are to be in force, or none for all.
    pub(crate) fn of_earlier(kept: Vec<(FileId, PolicyFile, Option<BTreeSet<String>>)>) -> Result<Self, Failure> {
        let parsed = kept.into_iter().map(|(id, file, documents)| {
            let parsed = Parsed::new(file)?;
            let all = || parsed.documents.iter().map(Document::title).collect();
            let file = PolicyFile { documents: documents.unwrap_or_else(all), ..(*parsed.file).clone() };
            Ok((id, Parsed { file: Arc::new(file), ..parsed }))
        });
        Self::of(parsed.collect::<Result<_, Failure>>()?)
    }

    /// The files there are, each with the names of its documents that are in force, or none if all are.
    pub(crate) fn in_force(&self) -> BTreeMap<FileId, Option<BTreeSet<String>>> {
        let of = |parsed: &Parsed| {
            let is_whole = parsed.in_force().count() == parsed.documents.len();
            (!is_whole).then(|| parsed.file.documents.clone())
        };
        self.files.iter().map(|(id, parsed)| (id.clone(), of(parsed))).collect()
    }

    /// The files there are.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PolicyFile> {
        self.files.values().map(|parsed| &*parsed.file)
    }

    /// A file.
    pub(crate) fn file(&self, id: &FileId) -> Option<&PolicyFile> {
        self.files.get(id).map(|parsed| &*parsed.file)
    }

    /// What becomes of each document by a change from `before` to this.
    pub(crate) fn changes_from(&self, before: &Self) -> Vec<PolicyChange> {
        let by_name = |book: &Self| -> BTreeMap<String, Document> {
            book.documents().map(|(_, document)| (document.title(), document.clone())).collect()
        };
        let (old, new) = (by_name(before), by_name(self));
        let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
        let gone = gone.map(|(_, document)| change(document, PolicyAction::Removed));
        new.values()
            .map(|document| change(document, action(old.get(&document.title()), document)))
            .chain(gone)
            .collect()
    }

    /// The files that this has and `before` has not, or not like this; and those that only `before` has.
    pub(crate) fn news<'r>(&'r self, before: &'r Self) -> (Vec<(&'r FileId, &'r PolicyFile)>, Vec<&'r FileId>) {
        let is_news =
            |(id, parsed): &(&FileId, &Parsed)| before.files.get(*id).is_none_or(|old| old.file != parsed.file);
        let new = self.files.iter().filter(is_news).map(|(id, parsed)| (id, &*parsed.file)).collect();
        (new, before.files.keys().filter(|id| !self.files.contains_key(*id)).collect())
    }
}

impl Parsed {
    fn new(file: PolicyFile) -> Result<Self, Failure> {
        let documents = parse(&file).map_err(|errors| Failure::PolicyDocuments { errors })?;
        Ok(Self { file: Arc::new(file), documents: documents.into() })
    }

    fn in_force(&self) -> impl Iterator<Item = &Document> {
        self.documents.iter().filter(|document| self.file.documents.contains(&document.title()))
    }
}

/// What becomes of a document that takes the place of `old`.
fn action(old: Option<&Document>, new: &Document) -> PolicyAction {
    match old {
        None => PolicyAction::Created,
        Some(old) if old.says_as_much_as(new) => PolicyAction::Unchanged,
        Some(_) => PolicyAction::Changed,
    }
}

fn change(document: &Document, action: PolicyAction) -> PolicyChange {
    PolicyChange { name: document.title(), kind: document.kind().to_owned(), action }
}

fn parse(file: &PolicyFile) -> Result<Vec<Document>, Vec<DocumentError>> {
    policy::parse(&file.name, Syntax::of(&file.name), &file.text, file.network.as_ref())
}

/// What is wrong at a place, in words of the daemon's own.
pub(crate) fn told(place: &Place, problem: String) -> DocumentError {
    DocumentError { place: place.clone(), document: None, problem: Problem::Invalid(problem) }
}

#[cfg(test)]
mod tests;
