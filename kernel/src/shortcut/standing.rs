//! The program as it stands in the kernel, with its maps: who is in them, and how one enters and leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::IpAddr,
};

use model::{Gate, IfName, NetworkId, Passage, Sender, Stray};
use rustix::io::Errno;

use super::{
    bpf::{Map, Program},
    entry,
    names::Names,
    program::{self, Maps},
};
use crate::KernelError;

/// A program with its maps.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) program: Program,
    ports: Map,
    holders: Map,
}

/// What goes wrong with a map or program, on which object.
pub(super) fn failed(action: impl fmt::Display) -> impl FnOnce(io::Error) -> KernelError {
    move |source| KernelError::System { action: action.to_string(), source }
}

impl Standing {
    /// The program anew, with empty maps but for what is known of names.
    pub(super) fn new(names: &Names) -> Result<Self, KernelError> {
        if names.maps().is_none() {
            names.open().map_err(failed("make a map for names"))?;
        }
        let about_names = names.maps().expect("they are made above");
        let map = |key, value| Map::new(key, value).map_err(failed("make a map for the shortcut"));
        let ports = map(entry::PORT_KEY_LENGTH, entry::SENDER_LENGTH)?;
        let holders = map(entry::HOLDER_KEY_LENGTH, entry::HOLDER_LENGTH)?;
        let program = program::program(Maps {
            ports: ports.descriptor(),
            names: about_names.names.descriptor(),
            counts: about_names.counts.descriptor(),
            holders: holders.descriptor(),
        });
        let program = Program::load(&program, c"fabric").map_err(failed("load the program of the shortcut"))?;
        Ok(Self { program, ports, holders })
    }

    /// The program that the kernel calls so, unless it is another, or one that knows other names.
    pub(super) fn with_id(id: u32, names: &Names) -> Result<Option<Self>, KernelError> {
        let (program, maps) = match Program::with_id(id).and_then(|program| Ok((Maps::of(&program)?, program))) {
            Ok((Some(maps), program)) => (program, maps),
            Ok((None, _)) => return Ok(None),
            // Somebody took it away meanwhile.
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => return Ok(None),
            Err(error) => return Err(failed("look at the program of the shortcut")(error)),
        };
        let is_own = names.maps().is_some_and(|own| own.names.id == maps.names.id);
        Ok(is_own.then_some(Self { program, ports: maps.ports, holders: maps.holders }))
    }

    pub(super) fn sender(&self, port: u32) -> Result<Option<Sender>, KernelError> {
        let value = self.ports.value(&entry::port_key(port)).map_err(failed("look up a port of the shortcut"))?;
        Ok(value.and_then(|value| entry::parse_sender(&value)))
    }

    /// The addresses of a sender that lead to this port, and those of an endpoint.
    pub(super) fn found_at(
        &self,
        port: u32,
        sender: Option<&Sender>,
        others: impl Iterator<Item = (NetworkId, IpAddr)>,
    ) -> Result<BTreeSet<IpAddr>, KernelError> {
        let own = sender.iter().flat_map(|it| it.addresses().map(|address| (it.network.clone(), address)));
        let mut found = BTreeSet::new();
        for (network, address) in own.chain(others) {
            let key = entry::holder_key(&network, address);
            let value = self.holders.value(&key).map_err(failed(format_args!("look for {address} in the shortcut")))?;
            if value.is_some_and(|value| entry::holders_port(&value) == Some(port)) {
                found.insert(address);
            }
        }
        Ok(found)
    }

    /// Lets a port in.
    pub(super) fn insert(&self, port: u32, passage: &Passage) -> Result<(), KernelError> {
        let Some(sender) = &passage.sender else { return Ok(()) };
        let ports = self.ports.insert(&entry::port_key(port), &entry::sender(sender));
        ports.map_err(failed("let a port send by the shortcut"))?;
        for address in &passage.found_at {
            let key = entry::holder_key(&sender.network, *address);
            let holders = self.holders.insert(&key, &entry::holder(sender.mac, port));
            holders.map_err(failed(format_args!("lead {address} by the shortcut")))?;
        }
        Ok(())
    }

    /// Lets a port out: first nothing comes to it any more, then nothing from it.
    pub(super) fn remove(&self, port: u32) -> Result<(), KernelError> {
        let sender = self.sender(port)?;
        for address in self.found_at(port, sender.as_ref(), std::iter::empty())? {
            let network = &sender.as_ref().expect("only its addresses are looked for").network;
            let removed = self.holders.remove(&entry::holder_key(network, address));
            removed.map_err(failed(format_args!("lead {address} no longer by the shortcut")))?;
        }
        let removed = self.ports.remove(&entry::port_key(port));
        removed.map_err(failed("let a port no longer send by the shortcut"))
    }

    /// All that is in the maps, as far as it belongs to these ports, and what does not.
    pub(super) fn contents(
        &self,
        ports: &BTreeMap<u32, IfName>,
    ) -> Result<(BTreeMap<u32, Passage>, BTreeSet<Stray>), KernelError> {
        let (mut passages, mut strays) = (BTreeMap::new(), BTreeSet::new());
        let listed = |map: &Map| map.entries().map_err(failed("list what takes the shortcut"));
        for (key, value) in listed(&self.ports)? {
            let Some(port) = entry::interface(&key) else { continue };
            match entry::parse_sender(&value).filter(|_| ports.contains_key(&port)) {
                Some(sender) => {
                    let passage = Passage { sender: Some(sender), ..Passage::none(Gate::Closed) };
                    passages.insert(port, passage);
                }
                None => drop(strays.insert(Stray::Port(port))),
            }
        }
        for (key, value) in listed(&self.holders)? {
            let Some((network, address)) = entry::parse_holder_key(&key) else { continue };
            let passage = entry::holders_port(&value).and_then(|port| passages.get_mut(&port));
            let is_its = |sender: &Sender| {
                sender.network == network
                    && sender.addresses().any(|own| own == address)
                    && value.starts_with(&sender.mac.octets())
            };
            match passage.filter(|passage| passage.sender.as_ref().is_some_and(is_its)) {
                Some(passage) => drop(passage.found_at.insert(address)),
                None => drop(strays.insert(Stray::Holder { network, address })),
            }
        }
        Ok((passages, strays))
    }

    pub(super) fn remove_stray(&self, stray: &Stray) -> Result<(), KernelError> {
        let removed = match stray {
            Stray::Port(index) => self.ports.remove(&entry::port_key(*index)),
            Stray::Holder { network, address } => self.holders.remove(&entry::holder_key(network, *address)),
        };
        removed.map_err(failed(format_args!("clear the shortcut of {stray}")))
    }
}
