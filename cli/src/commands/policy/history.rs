//! What was in force when, and how it is put back.

use std::collections::BTreeMap;

use api::{Client, PolicyAction, PolicyInForce, PolicyRequest, PolicyRevision, PolicyRollback};
use policy::Document;
use similar::TextDiff;

use super::{enforced, live};
use crate::{
    arguments::{HistoryArguments, RollbackArguments},
    failure::Failure,
    output::Output,
    table::table,
};

pub(super) async fn history(client: &Client, output: Output, arguments: HistoryArguments) -> Result<(), Failure> {
    match arguments.revision {
        None => list(client, output).await,
        Some(number) => show(client, output, number).await,
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let revisions = client.policy_history().await?;
    let row = |revision: &PolicyRevision| {
        let PolicyRevision { revision: number, at, .. } = revision;
        [number.to_string(), format!("{at:.0}"), request(revision), counts(revision)]
    };
    let headings = ["REVISION", "WHEN", "REQUEST", "CHANGES"];
    output.print(&revisions, || table(headings, revisions.iter().map(row)))
}

/// One revision, and how it differs from the one before it.
async fn show(client: &Client, output: Output, number: u64) -> Result<(), Failure> {
    let revision = client.policy_revision(number).await?;
    let is_kept = client.policy_history().await?.iter().any(|other| other.revision + 1 == number);
    let before = if is_kept { client.policy_revision(number - 1).await?.in_force } else { None };
    let (old, new) = (texts(&before.unwrap_or_default())?, texts(revision.in_force.as_deref().unwrap_or_default())?);
    output.print(&revision, || {
        let mut text = format!("revision  {number}\nwhen      {:.0}\nrequest   {}\n", revision.at, request(&revision));
        for change in &revision.changes {
            text.push('\n');
            text.push_str(&enforced::line(change));
            // Of one before it that is kept no more nobody knows what it said.
            if is_kept || number == 1 {
                text.push_str(&difference(&change.name, &old, &new));
            }
        }
        text
    })
}

/// The lines in which the document of this name differs.
pub(super) fn difference(name: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> String {
    let [old, new] = [old, new].map(|texts| texts.get(name).map(String::as_str).unwrap_or_default());
    TextDiff::from_lines(old, new).unified_diff().to_string()
}

/// The text of each document, by its name: from where it begins to where the next one does.
pub(super) fn texts(files: &[PolicyInForce]) -> Result<BTreeMap<String, String>, Failure> {
    let mut texts = BTreeMap::new();
    for file in files {
        let all = live::documents(std::slice::from_ref(file))?;
        let lines: Vec<&str> = file.text.lines().collect();
        let mut starts: Vec<(usize, String)> = all.iter().map(|it| (line_of(it), it.title())).collect();
        starts.sort();
        let ends = starts.iter().skip(1).map(|(next, _)| *next).chain([lines.len()]);
        for ((first, title), end) in starts.iter().zip(ends) {
            let own = lines.get(*first..end).unwrap_or_default().iter().take_while(|line| !line.starts_with("---"));
            texts.insert(title.clone(), own.map(|line| format!("{line}\n")).collect());
        }
    }
    Ok(texts)
}

/// The line at which a document begins, from 0.
fn line_of(document: &Document) -> usize {
    usize::try_from(document.place().position.line.saturating_sub(1)).unwrap_or(usize::MAX)
}

fn request(revision: &PolicyRevision) -> String {
    match &revision.request {
        PolicyRequest::Apply { files } => {
            const SHOWN: usize = 3;
            let mut text = format!("apply {}", files[..files.len().min(SHOWN)].join(", "));
            if files.len() > SHOWN {
                text.push_str(&format!(" and {} more", files.len() - SHOWN));
            }
            text
        }
        PolicyRequest::Remove { name } => format!("rm {name}"),
        PolicyRequest::Rollback { revision } => format!("rollback {revision}"),
        PolicyRequest::Refused { revision } => format!("the kernel refused {revision}"),
    }
}

fn counts(revision: &PolicyRevision) -> String {
    let count = |action: PolicyAction| {
        let number = revision.changes.iter().filter(|change| change.action == action).count();
        (number > 0).then(|| format!("{number} {}", action.as_str()))
    };
    let counts = [PolicyAction::Created, PolicyAction::Changed, PolicyAction::Removed].into_iter().filter_map(count);
    let text = counts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none".to_owned() } else { text }
}

pub(super) async fn roll_back(client: &Client, output: Output, arguments: RollbackArguments) -> Result<(), Failure> {
    let RollbackArguments { revision, dry_run } = arguments;
    let changes = client.roll_policies_back(&PolicyRollback { revision, dry_run }).await?;
    enforced::tell(output, &changes)
}
