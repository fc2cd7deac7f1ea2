//! Hashes of what the table was made of and of what the kernel made of that, part by part: who changes one of ten
//! thousand sets looks at no other.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    DataPath,
    data_path::{Difference, Elements, SetName, TABLE},
};

use super::{element, missing};
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
    /// Those of the table that this was made of; none if there is no table, or not with these sets.
    pub(super) fn of(socket: &mut Socket, path: &DataPath) -> Result<Option<Self>, KernelError> {
        let Some(frame) = of_table(socket, Hash::EMPTY, TableFamily::Inet, TABLE)? else { return Ok(None) };
        let mut sums = Self { frame: (of_frame(path), frame), constants: BTreeMap::new() };
        for (name, elements) in constants(path) {
            let Some(made) = element::raw(socket, name)? else { return Ok(None) };
            sums.add(name, elements, made);
        }
        Ok(Some(sums))
    }

    /// Those of the table after this change, of which nothing else has changed.
    pub(super) fn after(
        mut self,
        socket: &mut Socket,
        difference: &Difference,
        to: &DataPath,
    ) -> Result<Self, KernelError> {
        let frame = of_table(socket, Hash::EMPTY, TableFamily::Inet, TABLE)?.ok_or_else(missing)?;
        self.frame = (of_frame(to), frame);
        self.constants.retain(|name, _| !difference.old_sets.contains(name));
        let changed = difference.new_sets.iter().chain(difference.sets());
        let constants = changed.filter(|name| !name.kind.is_of_endpoints()).collect();
        self.look_at(socket, constants, to)?;
        Ok(self)
    }

    /// Looks at some sets that endpoints do not come and go with.
    ///
    /// # Errors
    /// When one has not the elements that it is to have, as far as those can be told from what the kernel has.
    pub(super) fn look_at(
        &mut self,
        socket: &mut Socket,
        constants: BTreeSet<&SetName>,
        to: &DataPath,
    ) -> Result<(), KernelError> {
        for name in constants {
            let elements = to.sets.get(name).cloned().unwrap_or_default();
            let is_unlike = |made: &Vec<Vec<u8>>| {
                element::are_simple(name.kind) && element::read(name, made).as_ref() != Some(&elements)
            };
            match element::raw(socket, name)? {
                Some(made) if !is_unlike(&made) => self.add(name, &elements, made),
                _ => return Err(KernelError::Unlike { object: format!("set {name} of table inet {TABLE}") }),
            }
        }
        Ok(())
    }

    /// Adds a set that is to have these elements, as the kernel has them.
    fn add(&mut self, name: &SetName, elements: &Elements, mut made: Vec<Vec<u8>>) {
        // In the order in which the kernel has them there is no meaning.
        made.sort();
        let hash = Hash::EMPTY.with(name.to_string().as_bytes());
        let made = made.iter().fold(hash, |hash, element| hash.with(&element.len().to_ne_bytes()).with(element));
        self.constants.insert(name.clone(), (of_constant(name, elements), made));
    }

    /// Has the table say so of itself.
    pub(super) fn mark(&self, socket: &mut Socket) -> Result<(), KernelError> {
        let (commands, made) = self.total();
        marker::write(socket, TABLE, commands, made)
    }

    pub(super) fn total(&self) -> Pair {
        let add = |sum: Pair, part: &Pair| (sum.0.then(part.0), sum.1.then(part.1));
        self.constants.values().fold(self.frame, add)
    }
}

/// The hash of all commands that make a data path, elements of endpoints apart.
pub(super) fn of_commands(path: &DataPath) -> Hash {
    constants(path).map(|(name, elements)| of_constant(name, elements)).fold(of_frame(path), Hash::then)
}

fn of_frame(path: &DataPath) -> Hash {
    let sets = path.sets.keys().map(|name| (name.clone(), Elements::default())).collect();
    let frame = DataPath { sets, ..path.clone() };
    Hash::EMPTY.with(frame.commands(TABLE).as_bytes())
}

fn of_constant(name: &SetName, elements: &Elements) -> Hash {
    let alone = DataPath { sets: [(name.clone(), elements.clone())].into(), ..DataPath::default() };
    Hash::EMPTY.with(alone.commands(TABLE).as_bytes())
}

fn constants(path: &DataPath) -> impl Iterator<Item = (&SetName, &Elements)> {
    path.sets.iter().filter(|(name, _)| !name.kind.is_of_endpoints())
}

#[cfg(test)]
mod tests {
    use model::{
        Protocol,
        data_path::{Key, SetKind},
    };

    use super::*;

    #[test]
    fn rules_that_swap_their_ports_are_not_what_they_were() {
        let of = |ports: [u16; 2]| {
            let set = |name: &str, port: u16| {
                (SetName::new(SetKind::Ports, name), [(Key::Ports(Protocol::Tcp, port, port), None)].into())
            };
            let sets = [set("ports_3bfd89b403221f61", ports[0]), set("ports_3bfd87b403221bfb", ports[1])].into();
            of_commands(&DataPath { sets, ..DataPath::default() })
        };
        // The sum of the hashes of these two sets' commands is the same either way.
        assert_ne!(of([80, 81]), of([81, 80]));
    }
}
