//! Hashes of what the table was made of and of what the kernel made of that, part by part: who changes one of ten thousand
//! sets looks at no other.

use std::collections::BTreeMap;

use model::{
    DataPath, SharedMap,
    data_path::{Elements, SetName, TABLE},
};

use super::element;
use crate::{
    KernelError,
    element::TableFamily,
    netlink::Socket,
    structure::{Hash, marker, of_table},
};

/// A hash of commands, and one of what the kernel made of them.
type Pair = (Hash, Hash);

/// Of a table as it was looked at.
pub(super) struct Sums {
    /// Of all but elements.
    frame: Pair,
    /// Of the elements of each set that endpoints do not come and go with.
    constants: BTreeMap<SetName, Pair>,
}

impl Sums {
    /// Those of the table that this was made of; none if there is no table.
    pub(super) fn of(socket: &mut Socket, path: &DataPath) -> Result<Option<Self>, KernelError> {
        let Some(frame) = of_table(socket, Hash::EMPTY, TableFamily::Inet, TABLE)? else { return Ok(None) };
        let mut sums = Self { frame: (of_frame(path), frame), constants: BTreeMap::new() };
        for (name, elements) in constants(path) {
            sums.look_at(socket, name, elements)?;
        }
        Ok(Some(sums))
    }

    /// Looks at a set again, which is to have these elements.
    pub(super) fn look_at(
        &mut self,
        socket: &mut Socket,
        name: &SetName,
        elements: &Elements,
    ) -> Result<(), KernelError> {
        // In the order in which the kernel has them there is no meaning.
        let mut made = element::raw(socket, name)?;
        made.sort();
        let hash = Hash::EMPTY.with(name.to_string().as_bytes());
        let made = made.iter().fold(hash, |hash, element| hash.with(&element.len().to_ne_bytes()).with(element));
        self.constants.insert(name.clone(), (of_constant(name, elements), made));
        Ok(())
    }

    /// Has the table say so of itself.
    pub(super) fn mark(&self, socket: &mut Socket) -> Result<(), KernelError> {
        let (commands, made) = self.total();
        marker::write(socket, TABLE, commands, made)
    }

    pub(super) fn total(&self) -> Pair {
        let add = |sum: Pair, part: &Pair| (sum.0.plus(part.0), sum.1.plus(part.1));
        self.constants.values().fold(self.frame, add)
    }
}

/// The hash of all commands that make a data path, elements of endpoints apart.
pub(super) fn of_commands(path: &DataPath) -> Hash {
    constants(path).map(|(name, elements)| of_constant(name, elements)).fold(of_frame(path), Hash::plus)
}

fn of_frame(path: &DataPath) -> Hash {
    let sets = path.sets.keys().map(|name| (name.clone(), Elements::default())).collect();
    let frame = DataPath { sets, chains: path.chains.clone() };
    Hash::EMPTY.with(frame.commands(TABLE).as_bytes())
}

fn of_constant(name: &SetName, elements: &Elements) -> Hash {
    let alone = DataPath { sets: [(name.clone(), elements.clone())].into(), chains: SharedMap::default() };
    Hash::EMPTY.with(alone.commands(TABLE).as_bytes())
}

fn constants(path: &DataPath) -> impl Iterator<Item = (&SetName, &Elements)> {
    path.sets.iter().filter(|(name, _)| !name.kind.is_of_endpoints())
}
