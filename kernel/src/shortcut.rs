//! The shortcut from port to port: an eBPF program in front of the ports of bridges, which hands frames between
//! containers of one network straight to the other container's interface (`bpf_redirect_peer`), past the bridge, its
//! rules, and what `br_netfilter` calls for bridged frames.
//!
//! The same program answers questions for names that containers ask their gateway: [`answer`].
//!
//! What the program holds of ports, addresses and names it holds in maps. They are found again by way of the filter
//! that is the program, so nothing has to be remembered, nor a file kept: [`filter`]. Whether frames may go past other
//! programs' rules is [`crate::judges`]' to say.

mod answer;
mod assembler;
mod bpf;
mod entry;
mod filter;
mod names;
mod program;
mod standing;
mod terms;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use model::{Attachment, Barrier, Change, Gate, IfName, Passage, Questions, Shortcut};
use netlink_sys::constants::NETLINK_ROUTE;

pub use self::names::{Fact, Names, Withheld};
pub(crate) use self::terms::Terms;
use self::{
    filter::Found,
    standing::{Standing, failed},
};
use crate::{
    KernelError,
    judges::{First, Judges, Trust},
    link::{self, Link},
    netlink::Socket,
};

/// What the filter is called: which program it is. A name tells accidents apart, such as another version's.
static NAME: LazyLock<String> = LazyLock::new(|| {
    let hash = program::program(program::Maps::default())
        .iter()
        .fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193));
    format!("fabric-{hash:08x}")
});

/// What works on the shortcut in the namespace of the thread that opened it.
pub(crate) struct Splice {
    terms: Terms,
    judges: Judges,
    route: Socket,
    standing: Option<Arc<Standing>>,
}

impl Splice {
    /// Opens a socket in the namespace of the calling thread.
    pub(crate) fn open(terms: Terms) -> Result<Self, KernelError> {
        let route = Socket::open(NETLINK_ROUTE)?;
        Ok(Self { terms, judges: Judges::default(), route, standing: None })
    }

    /// Why nothing may take it.
    pub(crate) fn barrier(&mut self, netfilter: &mut Socket, trust: Trust) -> Option<Barrier> {
        self.look_for_judges(netfilter, trust).barrier
    }

    /// What rules of others have to say about it.
    fn look_for_judges(&mut self, netfilter: &mut Socket, trust: Trust) -> Shortcut {
        if let Some(forbidden) = self.terms.barrier() {
            return Shortcut { barrier: Some(forbidden), ..Shortcut::default() };
        }
        let judges = self.judges.first(netfilter, trust).unwrap_or_else(|error| {
            tracing::debug!(%error, "who cannot be seen counts");
            self.terms.postpone(&error);
            let unseen = || Some("somebody whose rules cannot be read".to_owned());
            First { of_passing: unseen(), of_questions: unseen() }
        });
        let questions = Questions { judged: judges.of_questions.is_some(), left: self.terms.names.are_judged() };
        Shortcut { barrier: judges.of_passing.map(|by| Barrier::Judged { by }), questions, ..Shortcut::default() }
    }

    /// Looks which program stands, and remembers how to reach it.
    fn find(&mut self) -> Result<model::Program, KernelError> {
        match filter::find(&mut self.route)? {
            Found::Nothing => {
                self.standing = None;
                Ok(model::Program::Missing)
            }
            Found::Program { name, id } if name == *NAME => {
                if self.standing.as_ref().is_none_or(|standing| standing.program.id != id) {
                    self.standing = self.terms.reach(id)?;
                }
                Ok(if self.standing.is_some() { model::Program::Current } else { model::Program::Altered })
            }
            Found::Program { .. } | Found::Other => {
                self.standing = None;
                Ok(model::Program::Altered)
            }
        }
    }

    /// What there is without its ports. Where nothing may take it and nothing stands, there is no more to look at.
    /// What cannot be looked at is given up, and keeps nobody from looking at the rest.
    pub(crate) fn look(&mut self, netfilter: &mut Socket, trust: Trust) -> Result<Shortcut, KernelError> {
        let seen = self.look_for_judges(netfilter, trust);
        match self.find() {
            Ok(program) => Ok(Shortcut { program, ..seen }),
            Err(error) => {
                let barrier = Some(self.terms.give_up(&error));
                Ok(Shortcut { program: model::Program::Altered, barrier, ..seen })
            }
        }
    }

    /// Looks at one endpoint's port.
    pub(crate) fn look_at(
        &mut self,
        seen: &mut Shortcut,
        attachment: &Attachment,
        link: &Link,
    ) -> Result<(), KernelError> {
        if seen.barrier.is_none()
            && let Err(error) = self.try_look_at(seen, attachment, link)
        {
            seen.barrier = Some(self.terms.give_up(&error));
        }
        Ok(())
    }

    fn try_look_at(&mut self, seen: &mut Shortcut, attachment: &Attachment, link: &Link) -> Result<(), KernelError> {
        let gate = if link.is_plain_port { filter::gate(&mut self.route, link.index)? } else { Gate::Taken };
        let mut passage = Passage::none(gate);
        if let Some(standing) = &self.standing {
            let endpoint = &attachment.endpoint;
            passage.sender = standing.sender(link.index)?;
            let others = endpoint.addresses().map(|address| (endpoint.network.clone(), address));
            passage.found_at = standing.found_at(link.index, passage.sender.as_ref(), others)?;
        }
        seen.passages.insert(attachment.endpoint.host_interface(), passage);
        Ok(())
    }

    /// Looks at every port of these links.
    pub(crate) fn look_at_all(&mut self, seen: &mut Shortcut, links: &[Link]) -> Result<(), KernelError> {
        if seen.barrier.is_none()
            && let Err(error) = self.try_look_at_all(seen, links)
        {
            seen.barrier = Some(self.terms.give_up(&error));
        }
        Ok(())
    }

    fn try_look_at_all(&mut self, seen: &mut Shortcut, links: &[Link]) -> Result<(), KernelError> {
        let own = || links.iter().filter(|link| link.ours && link.kind == "veth");
        let ports: BTreeMap<u32, IfName> =
            own().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
        let gates = filter::gates(&mut self.route)?;
        let (mut passages, strays) = match &self.standing {
            Some(standing) => standing.contents(&ports)?,
            None => (BTreeMap::new(), BTreeSet::new()),
        };
        seen.strays = strays;
        for link in own() {
            let Some(name) = ports.get(&link.index) else { continue };
            let gate = gates.get(&link.index).copied().filter(|_| link.is_plain_port);
            let gate = gate.unwrap_or(if link.is_plain_port { Gate::Closed } else { Gate::Taken });
            let passage = passages.remove(&link.index).unwrap_or_else(|| Passage::none(Gate::Closed));
            if passage.holds_anything() || gate != Gate::Closed {
                seen.passages.insert(name.clone(), Passage { gate, ..passage });
            }
        }
        Ok(())
    }

    /// Opens a port that was made just now. A port that is up already loses what it should send for some milliseconds,
    /// because the kernel changes a queueing discipline while no frame leaves (`qdisc_graft` in net/sched/sch_api.c).
    ///
    /// Nothing is let in by that, and without it the port is opened when its container is let in.
    pub(crate) fn prepare(&mut self, port: &IfName) {
        if self.terms.barrier().is_some() {
            return;
        }
        let opened = link::find_ours(&mut self.route, port).and_then(|link| filter::open(&mut self.route, link.index));
        if let Err(error) = opened {
            tracing::debug!(%port, %error, "it is opened to the shortcut later, if at all");
        }
    }

    /// Applies a change that is about the shortcut.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<(), KernelError> {
        match change {
            Change::InstallShortcut { passages } => self.install(passages),
            Change::RemoveShortcut => self.remove(),
            Change::OpenPassage { port, passage } => self.install(&BTreeMap::from([(port.clone(), passage.clone())])),
            Change::ClosePassage(port) => match link::find(&mut self.route, port)? {
                Some(link) => self.current()?.map_or(Ok(()), |standing| standing.remove(link.index)),
                // What was left by it is a stray.
                None => Ok(()),
            },
            Change::RemoveStrays(strays) => {
                let Some(standing) = self.current()? else { return Ok(()) };
                strays.iter().try_for_each(|stray| standing.remove_stray(stray))
            }
            Change::LeaveQuestions => {
                self.terms.names.set_judged(true);
                Ok(())
            }
            Change::TakeQuestions => {
                self.terms.names.set_judged(false);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes the program away from all ports.
    pub(crate) fn remove(&mut self) -> Result<(), KernelError> {
        self.standing = None;
        filter::clear(&mut self.route)
    }

    /// Puts the program in front of ports: who may take it first, then the ports, then a new program unless this one
    /// stands. It may have come since somebody looked, with others whom it is to keep, or have gone with the last port
    /// that kept it.
    fn install(&mut self, passages: &BTreeMap<IfName, Passage>) -> Result<(), KernelError> {
        let installed = self.try_install(passages);
        if let Err(error) = &installed
            && self.standing.is_none()
        {
            self.terms.give_up(error);
        }
        installed
    }

    fn try_install(&mut self, passages: &BTreeMap<IfName, Passage>) -> Result<(), KernelError> {
        let mut ports = Vec::new();
        for (port, passage) in passages {
            // One that is gone again needs no passage.
            if let Some(link) = link::find(&mut self.route, port)?.filter(|link| link.ours) {
                ports.push((link.index, passage));
            }
        }
        if ports.is_empty() {
            return Ok(());
        }
        if self.find()? != model::Program::Current {
            self.standing = None;
        }
        let new = if self.standing.is_none() { Some(Standing::new(&self.terms.names)?) } else { None };
        let standing = new.as_ref().or(self.standing.as_deref()).expect("one of them is there");
        for (index, passage) in &ports {
            standing.insert(*index, passage)?;
        }
        for (index, _) in ports {
            filter::open(&mut self.route, index)?;
        }
        if let Some(standing) = new {
            filter::put(&mut self.route, standing.program.descriptor(), &NAME)?;
            self.standing = Some(self.terms.remember(standing));
        }
        Ok(())
    }

    /// The program that stands now, which another thread may have put there; none if none does, or another.
    fn current(&mut self) -> Result<Option<&Standing>, KernelError> {
        let program = self.find()?;
        Ok(self.standing.as_deref().filter(|_| program == model::Program::Current))
    }

    /// Whether a frame that comes in by a port would take it.
    pub(crate) fn takes(&mut self, port: &IfName, frame: &[u8]) -> Result<bool, KernelError> {
        let index = link::find_ours(&mut self.route, port)?.index;
        let Some(standing) = self.current()? else { return Ok(false) };
        let verdict = standing.program.verdict(index, frame).map_err(failed("ask the program of the shortcut"))?;
        Ok(verdict == program::SHORTCUT)
    }
}
