//! Policies of an earlier time: which there were, and how they are put back in force.

use std::{collections::BTreeSet, sync::Arc};

use api::{PolicyChanges, PolicyInForce, PolicyRequest, PolicyRevision, PolicyRollback};
use policy::warnings;
use serde::de::DeserializeOwned;
use store::Key;

use crate::{
    daemon::Daemon,
    failure::Failure,
    history::Revision,
    images::blocking,
    policies::Ruling,
    record,
    rulebook::{FileId, PolicyFile, Rulebook},
};

/// A file of an earlier time, and which of its documents were in force; none means all.
type Kept = (FileId, PolicyFile, Option<BTreeSet<String>>);

impl Daemon {
    /// Puts exactly what was in force in an earlier revision back in force; of a trial, only says what would change.
    pub(crate) async fn roll_policies_back(
        self: Arc<Self>,
        PolicyRollback { revision, dry_run }: PolicyRollback,
    ) -> Result<PolicyChanges, Failure> {
        let mut history = self.ruling.lock().await;
        self.look_at_host().await?;
        self.note_time();
        let revision = history.find(revision)?;
        let kept = self.files_of(revision).await?;
        let (daemon, old) = (self.clone(), self.world().rulebook().clone());
        let planned = blocking(move || -> Result<_, Failure> {
            let new = Rulebook::of_earlier(kept)?;
            let changes = new.changes_from(&old);
            daemon.check_reach(&new, &changes)?;
            let (world, now) = daemon.scene();
            let told = warnings(new.policies(), Some(&world), now).into_iter().map(|warning| warning.to_string());
            let warnings = told.chain(daemon.beyond_reach(&new, &changes)).collect();
            Ok((old, Arc::new(new), PolicyChanges { changes, warnings }))
        });
        let (old, new, changes) = planned.await?;
        let doing = format!("put revision {revision} of the policies back in force");
        let compiled = self.require_policing(&doing, &old, new.clone()).await?;
        if !dry_run {
            let request = PolicyRequest::Rollback { revision };
            self.enact(&mut history, Ruling { doing, request, old, new }, compiled).await?;
        }
        Ok(changes)
    }

    /// All revisions that are kept, the last first.
    pub(crate) async fn policy_history(&self) -> Result<Vec<PolicyRevision>, Failure> {
        let _unchanging = self.ruling.lock().await;
        let listing = self.store.list(record::REVISIONS).await.map_err(|source| stored(source.into()))?;
        let entries = listing.entries.iter().rev();
        entries.map(|(key, entry)| Ok(shown(parse(key, &entry.value)?, None))).collect()
    }

    /// One revision, with what was in force.
    pub(crate) async fn policy_revision(&self, number: u64) -> Result<PolicyRevision, Failure> {
        let history = self.ruling.lock().await;
        let number = history.find(Some(number))?;
        let key = record::revision_key(number);
        let revision: Revision =
            self.stored(&key).await?.ok_or(Failure::UnknownRevision { asked: number, known: None })?;
        let in_force = self.files_of(number).await?.into_iter().map(in_force).collect::<Result<_, _>>()?;
        Ok(shown(revision, Some(in_force)))
    }

    /// The files that were in force in a revision that is kept.
    async fn files_of(&self, revision: u64) -> Result<Vec<Kept>, Failure> {
        let revision: Option<Revision> = self.stored(&record::revision_key(revision)).await?;
        let mut kept = Vec::new();
        for (id, documents) in revision.map(|revision| revision.files).unwrap_or_default() {
            if let Some(file) = self.stored(&record::policy_key(&id)).await? {
                kept.push((id, file, documents));
            }
        }
        Ok(kept)
    }

    async fn stored<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Failure> {
        let entry = self.store.entry(key).await.map_err(|source| stored(source.into()))?;
        entry.map(|entry| parse(key, &entry.value)).transpose()
    }
}

fn parse<T: DeserializeOwned>(key: &Key, value: &[u8]) -> Result<T, Failure> {
    record::parse(key, value).map_err(|source| Failure::Record { source: source.into() })
}

fn stored(source: store::CommitError) -> Failure {
    Failure::commit("read earlier policies", source)
}

fn in_force((id, file, documents): Kept) -> Result<PolicyInForce, Failure> {
    let rulebook = Rulebook::of_earlier(vec![(id.clone(), file.clone(), documents)])?;
    let documents = rulebook.file(&id).map(|file| file.documents.clone()).unwrap_or_default();
    Ok(PolicyInForce { name: file.name, network: file.network, text: file.text, documents })
}

fn shown(
    Revision { number, at, request, changes, .. }: Revision,
    in_force: Option<Vec<PolicyInForce>>,
) -> PolicyRevision {
    PolicyRevision { revision: number, at, request, changes, in_force }
}
