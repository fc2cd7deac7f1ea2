//! The chains, rules, sets and maps of `table inet fabric` and `table bridge fabric`: each put in place by one run of
//! `nft`, both checked in process.
//!
//! The second is written in nft's own language (`structure/ports.nft`), because in JSON no set can be declared whose
//! key holds a raw part of a packet, or that rules add to. So is the limit of connections
//! (`structure/connections.nft`), which a third run adds to the first: a kernel may lack what it takes, and everything
//! else is to hold there all the same.

mod fingerprint;
mod limit;
pub(crate) mod marker;
mod rules;
mod runs;
mod vigil;
mod words;

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Write},
    process::{Child, Command, Stdio},
};

use model::{Element, Structure};
use nftables::{
    schema::{self, NfCmd, NfListObject, NfObject},
    types::NfFamily,
};
use serde_json::{Value, json};

use crate::{
    KernelError,
    element::{self, TABLE, TableFamily},
    netlink::{Refusal, Socket},
};

pub(crate) use fingerprint::{Hash, of_table};
pub use limit::ConnectionLimit;
pub(crate) use limit::Unlimited;
pub(crate) use runs::Runs;
pub(crate) use vigil::{Told, Vigil};

/// What makes `table bridge fabric`, elements apart.
const PORTS: &str = include_str!("structure/ports.nft");

/// What is to be in the tables, elements apart.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The commands of nft that limit connections.
    limit: String,
    /// A hash of all commands that make the tables.
    hash: Hash,
    /// One of those without the limit.
    unlimited_hash: Hash,
    unlimited: Unlimited,
    runs: Runs,
}

impl Rules {
    /// `netfilter` is asked how large the host's table of connections is; `runs` notes what `nft` is run for.
    pub(crate) fn new(
        limit: ConnectionLimit,
        unlimited: Unlimited,
        runs: Runs,
        netfilter: &mut Socket,
    ) -> Result<Self, KernelError> {
        let limit = limit.commands(netfilter)?;
        let hash = Hash::EMPTY.with(json!(rules::commands()).to_string().as_bytes()).with(PORTS.as_bytes());
        Ok(Self { hash: hash.with(limit.as_bytes()), unlimited_hash: hash, limit, unlimited, runs })
    }
}

pub(crate) fn refused(action: &'static str) -> impl FnOnce(Refusal) -> KernelError {
    move |source| KernelError::Netlink { action: action.into(), source }
}

/// Whether the tables are as this version wants them.
///
/// They say so themselves: a marker in the first holds a hash of the commands they were made with, and one of what the
/// kernel made of them. Neither is remembered elsewhere, so any `netd` can check the work of any other.
pub(crate) fn examine(socket: &mut Socket, rules: &Rules) -> Result<Structure, KernelError> {
    let Some(fingerprint) = fingerprint(socket)? else {
        return Ok(Structure::Missing);
    };
    let Some(found) = marker::read(socket, TABLE)? else { return Ok(Structure::Altered) };
    let is_made_by = |hash| found == marker::entries(hash, fingerprint);
    // Without the limit only as long as the kernel cannot do it: it may have learnt since another `netd` tried.
    let is_current = is_made_by(rules.hash) || is_made_by(rules.unlimited_hash) && !can_limit(rules)?;
    Ok(if is_current { Structure::Current } else { Structure::Altered })
}

/// The same, by what the kernel has told since the tables were last examined.
pub(crate) fn observe(socket: &mut Socket, rules: &Rules, vigil: &mut Vigil) -> Result<Structure, KernelError> {
    if vigil.holds(socket)? {
        return Ok(Structure::Current);
    }
    let structure = examine(socket, rules)?;
    if structure == Structure::Current {
        vigil.begin();
    }
    Ok(structure)
}

/// Puts both tables in place with their elements, each in one transaction: at no time is there half of one, save that
/// the limit of connections comes to the first a moment later. That all is there is told by the marker, which comes
/// last.
pub(crate) fn install(socket: &mut Socket, rules: &Rules, elements: &BTreeSet<Element>) -> Result<(), KernelError> {
    let table = || NfListObject::Table(schema::Table { family: NfFamily::INet, name: TABLE.into(), handle: None });
    // Declaring it first lets the deletion succeed where there is no table.
    let replace = [NfCmd::Add(table()), NfCmd::Delete(table()), NfCmd::Add(table())];
    let mut commands: Vec<Value> = replace.into_iter().map(command).collect();
    commands.extend(rules::commands());
    commands.extend(element::commands(elements).into_iter().map(command));
    run_nft(&rules.runs, &["-j"], &json!({ "nftables": commands }).to_string())?;
    let replace = format!("add table bridge {TABLE}\ndelete table bridge {TABLE}\n");
    run_nft(&rules.runs, &[], &format!("{replace}{PORTS}{}", element::port_commands(elements)))?;
    let hash = if limit(rules, &[])? { rules.hash } else { rules.unlimited_hash };
    let fingerprint = fingerprint(socket)?.ok_or_else(|| KernelError::Missing { object: format!("table {TABLE}") })?;
    marker::write(socket, TABLE, hash, fingerprint)
}

/// Whether the kernel can limit connections, which whoever shares these rules asks it once.
fn can_limit(rules: &Rules) -> Result<bool, KernelError> {
    // nft leaves out the end of the transaction, and the kernel takes it back.
    Ok(rules.unlimited.reason().is_none() && limit(rules, &["--check"])?)
}

/// Has nft limit connections, and notes why if it refuses. An error if it could not be asked.
fn limit(rules: &Rules, options: &[&str]) -> Result<bool, KernelError> {
    if rules.limit.is_empty() {
        return Ok(true);
    }
    let refused = match run_nft(&rules.runs, options, &rules.limit) {
        Ok(()) => None,
        // Such as by a kernel without `nft_connlimit`: everything else holds.
        Err(error @ KernelError::Nft { .. }) => {
            tracing::warn!(%error, "the connections of containers are not limited; connection_limit = 0 says that they need not be");
            Some(error.to_string())
        }
        Err(error) => return Err(error),
    };
    let is_limited = refused.is_none();
    rules.unlimited.note(refused);
    Ok(is_limited)
}

/// A hash of what the kernel holds of the tables, elements apart; none without one of them.
fn fingerprint(socket: &mut Socket) -> Result<Option<Hash>, KernelError> {
    let mut hash = Hash::EMPTY;
    for family in TableFamily::ALL {
        let Some(with_table) = of_table(socket, hash, family, TABLE)? else { return Ok(None) };
        hash = with_table;
    }
    Ok(Some(hash))
}

/// A command in nft's JSON, always the same text for the same command.
fn command(command: NfCmd<'static>) -> Value {
    let mut value = serde_json::to_value(NfObject::CmdObject(command)).expect("the keys of nft's JSON are strings");
    sort_flags(&mut value);
    value
}

/// The crate holds flags in hash sets, whose order differs from run to run.
fn sort_flags(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let ("flags", Value::Array(flags)) = (name.as_str(), &mut *field) {
                    flags.sort_by_key(Value::to_string);
                }
                sort_flags(field);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sort_flags),
        _ => {}
    }
}

/// Where `nft` is. The second is for a root shell whose path lacks the directories of system programs.
pub(crate) const NFT: [&str; 2] = ["nft", "/usr/sbin/nft"];

fn spawn_nft(options: &[&str]) -> Result<Child, KernelError> {
    for program in NFT {
        let mut command = Command::new(program);
        command.args(options).args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            child => {
                return child.map_err(|source| KernelError::System { action: format!("run {program}"), source });
            }
        }
    }
    Err(KernelError::NoNft)
}

/// Gives commands to `nft`, which applies them as one transaction. The crate `nftables` would run it too, but lets
/// go of what it says when it refuses.
pub(crate) fn run_nft(runs: &Runs, options: &[&str], text: &str) -> Result<(), KernelError> {
    let failed = |source| KernelError::System { action: "talk to nft".into(), source };
    let mut child = spawn_nft(options)?;
    // Before it is told what to do, so that nobody is told of it by the kernel who does not know whose it is.
    let _running = runs.begin(child.id());
    let written = child.stdin.take().expect("standard input was asked to be a pipe").write_all(text.as_bytes());
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // One that crashed says nothing.
        let message = if said.is_empty() { output.status.to_string() } else { said };
        return Err(KernelError::Nft { message });
    }
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_says_is_kept() {
        let error = run_nft(&Runs::default(), &[], "nonsense").expect_err("there is no such object");
        assert!(error.to_string().contains("Error:"), "{error}");
    }

    #[test]
    fn the_same_rules_are_the_same_text() {
        for _ in 0..32 {
            assert_eq!(rules::commands(), rules::commands());
        }
    }
}
