//! Policies that are in force, or are to be: what the daemon is asked.

use api::{
    Client, Policy, PolicyAction, PolicyApply, PolicyChange, PolicyChanges, PolicyFile, PolicyInForce, RuleCounter,
};

use super::history;
use crate::{
    arguments::{ApplyArguments, ListPoliciesArguments, PolicyNames},
    commands::several::{each, show},
    failure::Failure,
    output::Output,
    policy_files,
    table::{NOTHING, fields, joined, table},
};

pub(super) async fn apply(client: &Client, output: Output, arguments: ApplyArguments) -> Result<(), Failure> {
    let ApplyArguments { files, network } = arguments;
    // What is wrong in a file is told here as well, without the daemon.
    let files = policy_files::texts(&files, network.as_ref())?;
    let applied = client.apply_policies(&PolicyApply { files, network, dry_run: false }).await?;
    tell(output, &applied)
}

/// What would change, line by line.
pub(super) async fn diff(client: &Client, output: Output, arguments: ApplyArguments) -> Result<(), Failure> {
    let ApplyArguments { files, network } = arguments;
    let given = policy_files::in_force(&files, network.as_ref())?;
    let file = |file: &PolicyInForce| PolicyFile { name: file.name.clone(), text: file.text.clone() };
    let files = given.iter().map(file).collect();
    let changes = client.apply_policies(&PolicyApply { files, network, dry_run: true }).await?;
    let (old, new) = (history::texts(&client.policy_world().await?.in_force)?, history::texts(&given)?);
    for warning in &changes.warnings {
        Failure::warn(warning);
    }
    output.print(&changes, || {
        let differs = |change: &PolicyChange| change.action != PolicyAction::Unchanged;
        let lines = |change| match differs(change) {
            true => line(change) + &history::difference(&change.name, &old, &new),
            false => line(change),
        };
        changes.changes.iter().map(lines).collect()
    })
}

/// What changes, or would.
pub(super) fn tell(output: Output, changes: &PolicyChanges) -> Result<(), Failure> {
    for warning in &changes.warnings {
        Failure::warn(warning);
    }
    output.print(changes, || changes.changes.iter().map(line).collect())
}

pub(super) fn line(PolicyChange { name, kind, action }: &PolicyChange) -> String {
    format!("{kind} {name} {}\n", action.as_str())
}

pub(super) async fn list(client: &Client, output: Output, arguments: ListPoliciesArguments) -> Result<(), Failure> {
    let policies = client.policies().await?;
    let names = || policies.iter().map(|policy| format!("{}\n", policy.name)).collect();
    let row = |policy: &Policy| {
        [
            policy.name.clone(),
            policy.kind.clone(),
            joined(&policy.networks),
            policy.endpoints.to_string(),
            state(policy),
            policy.place.clone(),
        ]
    };
    let headings = ["NAME", "KIND", "NETWORKS", "ENDPOINTS", "STATE", "PLACE"];
    let rows = || table(headings, policies.iter().map(row));
    output.print(&policies, || if arguments.quiet { names() } else { rows() })
}

/// Whether it waits for a network, and until when it says what it says.
fn state(policy: &Policy) -> String {
    let Policy { networks, pending, unenforced, .. } = policy;
    let mut text = match (&pending[..], &unenforced[..]) {
        ([], []) => "in force".to_owned(),
        ([], _) if unenforced.len() < networks.len() => format!("in force, but not on {}", joined(unenforced)),
        ([], _) => format!("not enforced on {}", joined(unenforced)),
        (_, []) => format!("pending: {}", joined(pending)),
        _ => format!("pending: {}, not enforced on {}", joined(pending), joined(unenforced)),
    };
    match policy.expired {
        0 => {}
        1 => text.push_str(", 1 rule expired"),
        number => text.push_str(&format!(", {number} rules expired")),
    }
    if let Some(expires) = policy.expires {
        text.push_str(&format!(", expires {expires}"));
    }
    text
}

pub(super) async fn inspect(client: &Client, output: Output, names: PolicyNames) -> Result<(), Failure> {
    show(output, &names.policies, async |name| client.policy(name).await, described).await
}

fn described(policy: &Policy) -> String {
    let rows = [
        ["name", &policy.name],
        ["kind", &policy.kind],
        ["networks", &joined(&policy.networks)],
        ["endpoints", &policy.endpoints.to_string()],
        ["state", &state(policy)],
        ["place", &policy.place],
    ];
    let own = |[name, value]: [&str; 2]| [name.to_owned(), value.to_owned()];
    let warnings = policy.warnings.iter().map(|warning| own(["warning", warning]));
    let counter = |RuleCounter { rule, action, packets, octets }: &RuleCounter| {
        [rule.clone(), format!("{action}: {packets} packets, {octets} octets")]
    };
    let counters = policy.counters.iter().map(counter);
    let named = policy.names.iter().map(|(name, addresses)| [name.clone(), joined(addresses)]);
    let mut text = fields(rows.into_iter().map(own).chain(warnings).chain(counters).chain(named));
    text.push('\n');
    text.push_str(policy.source.as_deref().unwrap_or(NOTHING));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

pub(super) async fn remove(client: &Client, output: Output, names: PolicyNames) -> Result<(), Failure> {
    each(output, &names.policies, async |name: &String| {
        client.remove_policy(name).await?;
        Ok((name.clone(), name.clone()))
    })
    .await
}
