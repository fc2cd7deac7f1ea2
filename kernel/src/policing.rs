//! What judges connections by policies: `table inet fabric-policy`, which is there as long as policies judge anybody.
//!
//! What endpoints come and go with are elements, added and deleted over netlink in process, and so are ports that rules
//! are about. All else changes when policies do, or when the first endpoint of a kind comes; that is one run of `nft`.
//! Either is one transaction, apart from sets that no rule asks yet: they come ahead.
//!
//! A table that is made anew comes in two transactions, of which the first lets nobody open a connection who is judged:
//! the elements of some sets are there a little after the rules that ask them.
//!
//! The table says of itself what it was made of (`structure/marker.rs`): a hash of the commands that make all but the
//! elements of endpoints, and one of what the kernel made of them, the elements of all other sets included. Elements of
//! endpoints are read and compared one by one. So what is remembered here of the last change is believed only as long
//! as the kernel tells of no change by others, or if the table itself says the same.

pub(crate) mod counters;
mod element;
mod sums;

use std::{collections::BTreeSet, sync::Arc};

use model::{
    Change, DataPath, Family, Policing,
    data_path::{Difference, SetName, TABLE},
};
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::nftables::{NfTablesMessage, SetElementMessage};

use crate::{
    KernelError,
    element::{TableFamily, message, transaction},
    judges::Trust,
    netlink::{Request, Socket},
    structure::{Hash, Runs, Told, Vigil, marker, of_table, refused, run_nft},
    sysctl::Setting,
    watch::concerns_policing,
};
use sums::Sums;

/// As many elements are one message each in one transaction, as the socket's buffers have room for; more are for `nft`.
const FEW: usize = 250;

/// What keeps the table as it should be, in the namespace of the thread that works with it.
pub(crate) struct Police {
    vigil: Vigil,
    /// What the table held when it was last looked at or changed.
    known: Option<Arc<DataPath>>,
    /// What was found when all of it was looked at last, with what was changed since.
    sums: Option<Sums>,
    runs: Runs,
}

impl Police {
    /// `runs` notes what `nft` is run for.
    pub(crate) fn new(runs: Runs) -> Self {
        Self { vigil: Vigil::over(concerns_policing), known: None, sums: None, runs }
    }

    /// What the table holds. `desired` is what it may hold, if nothing else is known.
    pub(crate) fn observe(
        &mut self,
        socket: &mut Socket,
        desired: &Policing,
        trust: Trust,
    ) -> Result<Policing, KernelError> {
        let Policing::Holds(desired) = desired else { return Ok(Policing::Altered) };
        if trust == Trust::Undisturbed
            && let Some(known) = &self.known
        {
            // A host without policies pays for nothing. What others make there is found by the look at everything.
            let is_unused = known.is_empty() && desired.is_empty();
            if is_unused || self.vigil.holds(socket)? {
                return Ok(Policing::Holds(known.clone()));
            }
        }
        if !desired.is_empty() {
            // What was told so far is looked at below.
            self.vigil.holds(socket)?;
        }
        let candidates = [Some(desired), self.known.as_ref()];
        let (found, sums) = examine(socket, candidates.into_iter().flatten())?;
        self.sums = sums;
        self.known = found.as_ref().map(|found| match found {
            // So that two that are equal are one.
            found if found == &**desired => desired.clone(),
            found => Arc::new(found.clone()),
        });
        self.vigil.begin();
        Ok(self.known.clone().map_or(Policing::Altered, Policing::Holds))
    }

    /// Applies one of the changes that are about the table. What one that fails has left of it is found by the next
    /// look.
    pub(crate) fn apply(&mut self, socket: &mut Socket, change: &Change) -> Result<(), KernelError> {
        let before = self.known.take();
        let applied = match change {
            Change::InstallPolicing(to) => self.install(socket, to).map(|()| to),
            Change::ChangePolicing { difference, to } if is_small(difference) => {
                self.change_elements(socket, difference, to).map(|()| to)
            }
            Change::ChangePolicing { difference, to } => self.change(socket, difference, to).map(|()| to),
            _ => return Ok(()),
        };
        match applied {
            Ok(to) => {
                self.known = Some(to.clone());
                Ok(())
            }
            Err(error) => {
                // It may be as it was: believed once it was looked at.
                self.known = before;
                self.sums = None;
                self.vigil.end();
                Err(error)
            }
        }
    }

    fn install(&mut self, socket: &mut Socket, path: &DataPath) -> Result<(), KernelError> {
        let closed = path.closed();
        run_nft(&self.runs, &[], &whole(&closed))?;
        if path.is_empty() {
            return Ok(());
        }
        run_nft(&self.runs, &[], &closed.difference(path).commands(TABLE))?;
        self.mark(socket, path)
    }

    /// Changes more than elements. What that makes of the parts that change is looked at; the rest is as it was, as
    /// long as nobody else does anything meanwhile.
    fn change(&mut self, socket: &mut Socket, difference: &Difference, to: &DataPath) -> Result<(), KernelError> {
        let mut told = self.vigil.told(socket, |_| false)?;
        let (ahead, rest) = difference.clone().divided();
        for part in [ahead, rest].iter().filter(|part| !part.is_empty()) {
            run_nft(&self.runs, &[], &part.commands(TABLE))?;
            // After each of them: whose it was is not remembered for long.
            told = told.max(self.vigil.told(socket, |port| self.runs.have(port))?);
        }
        match told {
            Told::OfOthers => Err(KernelError::Unlike { object: format!("table inet {TABLE}") }),
            Told::Unknown => self.mark(socket, to),
            Told::Nothing => match self.sums.take() {
                Some(sums) => {
                    let sums = sums.after(socket, difference, to)?;
                    self.note(socket, sums)
                }
                None => self.mark(socket, to),
            },
        }
    }

    fn mark(&mut self, socket: &mut Socket, path: &DataPath) -> Result<(), KernelError> {
        // What nft has just done was told, too, and nothing of it is news.
        self.vigil.holds(socket)?;
        let sums = Sums::of(socket, path)?;
        self.note(socket, sums.ok_or_else(missing)?)
    }

    /// The table was looked at, and says so of itself from now on.
    fn note(&mut self, socket: &mut Socket, sums: Sums) -> Result<(), KernelError> {
        sums.mark(socket)?;
        self.sums = Some(sums);
        self.vigil.begin();
        Ok(())
    }

    /// Adds and deletes elements, all in one transaction, and looks at the sets that are as constant as rules
    /// otherwise.
    fn change_elements(
        &mut self,
        socket: &mut Socket,
        difference: &Difference,
        to: &DataPath,
    ) -> Result<(), KernelError> {
        change_elements(socket, difference)?;
        let constants: BTreeSet<&SetName> = difference.sets().filter(|name| !name.kind.is_of_endpoints()).collect();
        if constants.is_empty() {
            return Ok(());
        }
        let Some(mut sums) = self.sums.take() else { return self.mark(socket, to) };
        sums.look_at(socket, constants, to)?;
        sums.mark(socket)?;
        self.sums = Some(sums);
        Ok(())
    }
}

/// Asks the kernel whether it would take this. Nothing changes.
pub(crate) fn check(path: &DataPath, bridged: bool) -> Result<(), KernelError> {
    if bridged && Setting::BridgesCall(Family::Ipv4).read()?.is_none() {
        return Err(KernelError::NoBridgeFilter { bridge: None });
    }
    run_nft(&Runs::default(), &["--check"], &whole(path))
}

/// The commands that replace the table by this, or remove it if it is to hold nothing.
fn whole(path: &DataPath) -> String {
    // Declaring it first lets the deletion succeed where there is no table.
    let replace = format!("add table inet {TABLE}\ndelete table inet {TABLE}\n");
    if path.is_empty() {
        return replace;
    }
    let marker = marker::MARKER;
    format!("{replace}{}add map inet {TABLE} {marker} {{ type mark : mark; }}\n", path.commands(TABLE))
}

fn missing() -> KernelError {
    KernelError::Missing { object: format!("table inet {TABLE}") }
}

fn is_small(difference: &Difference) -> bool {
    let count = difference.old_elements.len() + difference.new_elements.len();
    difference.is_of_elements() && count <= FEW && difference.sets().all(|name| element::are_simple(name.kind))
}

/// What the table holds, if it is one of these but for elements of endpoints, and its sums; none if nobody can say.
fn examine<'p>(
    socket: &mut Socket,
    candidates: impl Iterator<Item = &'p Arc<DataPath>>,
) -> Result<(Option<DataPath>, Option<Sums>), KernelError> {
    if of_table(socket, Hash::EMPTY, TableFamily::Inet, TABLE)?.is_none() {
        return Ok((Some(DataPath::default()), None));
    }
    let Some(marked) = marker::read(socket, TABLE)? else { return Ok((None, None)) };
    for path in candidates.filter(|path| !path.is_empty()) {
        if !marked.contains(&marker::first(sums::of_commands(path))) {
            continue;
        }
        let Some(sums) = Sums::of(socket, path)? else { continue };
        let (commands, made) = sums.total();
        if marked == marker::entries(commands, made) {
            return Ok((with_endpoints(socket, path.structure())?, Some(sums)));
        }
    }
    Ok((None, None))
}

/// Fills in the elements of endpoints as the table has them.
fn with_endpoints(socket: &mut Socket, mut structure: DataPath) -> Result<Option<DataPath>, KernelError> {
    let names: Vec<SetName> = structure.sets.keys().filter(|name| name.kind.is_of_endpoints()).cloned().collect();
    for name in names {
        let found = element::raw(socket, &name)?.and_then(|raw| element::read(&name, &raw));
        let Some(found) = found else { return Ok(None) };
        structure.sets.insert(name, found);
    }
    Ok(Some(structure))
}

/// Adds and deletes elements, all in one transaction.
fn change_elements(socket: &mut Socket, difference: &Difference) -> Result<(), KernelError> {
    let old = difference.old_elements.iter().map(|(name, key)| delete(element::of(name, key, None)));
    let new = difference.new_elements.iter().map(|((name, key), verdict)| {
        let message = element::of(name, key, verdict.as_ref());
        Request::new(message_of(NfTablesMessage::NewSetElement(message)), NLM_F_CREATE)
    });
    let requests = old.chain(new).collect();
    transaction(socket, requests)
        .into_iter()
        .try_for_each(|answer| answer.map_err(refused("change who is judged by policies")))
}

fn delete(element: SetElementMessage) -> Request {
    Request::new(message_of(NfTablesMessage::DeleteSetElement(element)), 0)
}

fn message_of(inner: NfTablesMessage) -> netlink_packet_netfilter::NetfilterMessage {
    message(TableFamily::Inet, inner)
}
