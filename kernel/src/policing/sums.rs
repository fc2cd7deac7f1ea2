//! Hashes of what the table was made of and of what the kernel made of that, part by part: who changes one of ten
//! thousand sets looks at no other.

use std::collections::BTreeMap;

use model::{
    DataPath,
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
            sums.add(name, elements, element::raw(socket, name)?);
        }
        Ok(Some(sums))
    }

    /// Adds a set that is to have these elements, as the kernel has them.
    pub(super) fn add(&mut self, name: &SetName, elements: &Elements, mut made: Vec<Vec<u8>>) {
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
