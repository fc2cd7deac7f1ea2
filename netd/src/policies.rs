//! What can be asked of policies, and what keeps the kernel judging by them.
//!
//! ```text
//! read and checked -> asked of the kernel -> committed -> in force -> connections that are denied now are forgotten
//! ```
//!
//! What the kernel refuses is never committed; where only elements change, it is not asked. Should it refuse afterwards
//! all the same, the old policies are committed again. A crash in between leaves what the next start completes: it
//! reconciles everything.

use std::{
    collections::BTreeSet,
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use api::{PolicyApply, PolicyChanges, PolicyRequest};
use jiff::Timestamp;
use model::{Network, NetworkId, Protocol, Scope, Tracked, data_path::Difference};
use policy::{Asked, Judge, Packet, warnings};

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    history::History,
    images::blocking,
    lapsed::Lapsed,
    record,
    rulebook::{FileId, PolicyFile, Rulebook},
    world::{Compiled, is_judged},
};

/// One change of the policies.
pub(crate) struct Ruling {
    /// In words.
    pub(crate) doing: String,
    pub(crate) request: PolicyRequest,
    pub(crate) old: Arc<Rulebook>,
    pub(crate) new: Arc<Rulebook>,
}

impl Daemon {
    /// Puts policies in force, all or none; of a trial, only says what would change.
    pub(crate) async fn apply_policies(self: Arc<Self>, request: PolicyApply) -> Result<PolicyChanges, Failure> {
        let mut history = self.ruling.lock().await;
        self.look_at_host().await?;
        let now = self.note_time();
        let old = self.world().rulebook().clone();
        let daemon = self.clone();
        let given: BTreeSet<String> = request.files.iter().map(|file| file.name.clone()).collect();
        let given_files = request.files.iter().map(|file| file.name.clone()).collect();
        let PolicyApply { files, network, dry_run } = request;
        let planned = blocking(move || -> Result<_, Failure> {
            let file = |file: api::PolicyFile| PolicyFile {
                name: file.name,
                network: network.clone(),
                text: file.text,
                documents: Default::default(),
            };
            let (new, changes) = old.with(files.into_iter().map(file).collect(), || daemon.new_file_id())?;
            let world = daemon.world().as_judged();
            daemon.check_reach(&new, &changes)?;
            let told = warnings(new.policies(), Some(&world), now).into_iter();
            let told = told.filter(|warning| given.contains(&*warning.place.file));
            let told = told.map(|warning| warning.to_string()).chain(daemon.beyond_reach(&new, &changes)).collect();
            Ok((old, Arc::new(new), PolicyChanges { changes, warnings: told }))
        });
        let (old, new, changes) = planned.await?;
        let doing = "apply policies".to_owned();
        let compiled = self.require_policing(&doing, &old, new.clone()).await?;
        if !dry_run {
            let request = PolicyRequest::Apply { files: given_files };
            self.enact(&mut history, Ruling { doing, request, old, new }, compiled).await?;
        }
        Ok(changes)
    }

    /// Takes one policy, or a stance, out of force.
    pub(crate) async fn remove_policy(self: Arc<Self>, name: String) -> Result<(), Failure> {
        let mut history = self.ruling.lock().await;
        self.look_at_host().await?;
        self.note_time();
        let old = self.world().rulebook().clone();
        let new = Arc::new(old.without(&name)?);
        let (compiled, _) = self.compile(new.clone()).await?;
        let doing = format!("remove policy `{name}`");
        self.enact(&mut history, Ruling { doing, request: PolicyRequest::Remove { name }, old, new }, compiled).await
    }

    /// Compiles policies, and asks the kernel whether it takes what they come to. Where only elements change, it has
    /// taken all that these could be refused for.
    pub(crate) async fn require_policing(
        &self,
        doing: &str,
        old: &Rulebook,
        new: Arc<Rulebook>,
    ) -> Result<Compiled, Failure> {
        let bridged = |rulebook: &Rulebook| -> BTreeSet<NetworkId> {
            let world = self.world();
            let judged = world.networks().filter(|it| !it.driver.sits_on_parent() && is_judged(rulebook, it));
            judged.map(|network| network.id.clone()).collect()
        };
        let (before, after) = (bridged(old), bridged(&new));
        let judges_ports = !after.is_empty();
        let (compiled, difference) = self.compile(new).await?;
        if !difference.is_of_elements() || !after.is_subset(&before) {
            let fail = |source: kernel::KernelError| Failure::Kernel { doing: doing.to_owned(), source: source.into() };
            self.kernel.would_police(compiled.path().clone(), judges_ports).await.map_err(fail)?;
        }
        Ok(compiled)
    }

    /// What policies come to, and what changes by that.
    async fn compile(&self, rulebook: Arc<Rulebook>) -> Result<(Compiled, Difference), Failure> {
        let population = self.world().population();
        blocking(move || Ok(population.under(rulebook))).await
    }

    /// Has the policies changed, which is one more revision of them.
    pub(crate) async fn enact(
        self: &Arc<Self>,
        history: &mut History,
        ruling: Ruling,
        compiled: Compiled,
    ) -> Result<(), Failure> {
        let Ruling { doing, old, new, .. } = &ruling;
        self.intend(history, &ruling, compiled).await?;
        self.steps.after("policies intended");
        let enforced = self.enforce(doing, old, new).await;
        if enforced.is_err() {
            self.reinstate(history, ruling).await;
        }
        enforced
    }

    /// Commits policies, which are those of this host from then on. `compiled` is what they come to.
    async fn intend(&self, history: &mut History, ruling: &Ruling, compiled: Compiled) -> Result<(), Failure> {
        let Ruling { doing, request, old, new } = ruling;
        if let Some(turn) = history.turn((self.clock.now(), request.clone()), old, new) {
            self.commit(doing.clone(), record::change_policies(old, new, &turn)).await?;
            history.take(turn);
        }
        self.world().set_compiled(compiled);
        self.ruled.notify_one();
        Ok(())
    }

    /// Has the kernel judge by `new`, and no longer by `old`.
    async fn enforce(&self, doing: &str, old: &Rulebook, new: &Rulebook) -> Result<(), Failure> {
        let is_concerned = |network: &&Network| is_judged(old, network) != is_judged(new, network);
        let concerned: Vec<NetworkId> =
            self.world().networks().filter(is_concerned).map(|network| network.id.clone()).collect();
        if !concerned.is_empty() {
            // What has gone past the bridge has to go by it before it can be judged there. Who opened what goes on is
            // known before, and of what was opened meanwhile after.
            let fail = |source: kernel::KernelError| Failure::Kernel { doing: doing.to_owned(), source: source.into() };
            self.remember_allowed(&concerned).await.map_err(fail)?;
            self.reconcile(doing, Scope::Shortcut).await?;
            self.remember_allowed(&concerned).await.map_err(fail)?;
        }
        self.reconcile(doing, Scope::Policing).await?;
        for network in concerned {
            self.reconcile(doing, Scope::Network(network)).await?;
        }
        self.cut_denied(doing).await
    }

    /// Has the kernel know by whom the connections between containers of these networks were opened which the policies
    /// allow. Of those it does not know, nothing is let through any more.
    async fn remember_allowed(&self, networks: &[NetworkId]) -> Result<(), kernel::KernelError> {
        let (judge, of, namespaces) = {
            let world = self.world();
            let judged = networks.iter().filter(|id| world.network(id).is_some_and(|network| world.is_judged(network)));
            let records = judged.flat_map(|id| world.on_network(id)).filter(|record| record.is_live());
            let namespaces: BTreeSet<_> = records.filter_map(|it| it.container.mode.namespace().cloned()).collect();
            (world.judge(), world.as_judged(), namespaces)
        };
        let is_allowed = move |tracked: &Tracked| {
            let [from, to] = [tracked.source, tracked.destination].map(|address| of.party_with(address));
            let networks = [from, to].map(|party| party.endpoint().map(|endpoint| &endpoint.network));
            // All others come by where conntrack sees them.
            let is_within = networks[0].is_some() && networks[0] == networks[1];
            is_within && !is_denied(&judge, tracked)
        };
        self.kernel.remember_connections(namespaces.into_iter().collect(), is_allowed).await?;
        self.steps.after("allowed flows remembered");
        Ok(())
    }

    /// The table of policies was put in place as a whole: there was none, or another. What is allowed and was not seen
    /// to begin goes on, and what is denied and came about meanwhile does not.
    pub(crate) async fn settle_connections(&self) -> Result<(), kernel::KernelError> {
        self.remember_allowed(&self.all_networks()).await?;
        self.forget_denied().await
    }

    fn all_networks(&self) -> Vec<NetworkId> {
        self.world().networks().map(|network| network.id.clone()).collect()
    }

    /// The kernel has refused what was committed: what was in force before is so again.
    async fn reinstate(&self, history: &mut History, refused: Ruling) {
        let request = PolicyRequest::Refused { revision: history.last() };
        let doing = format!("take back: {}", refused.doing);
        let ruling = Ruling { doing, request, old: refused.new, new: refused.old };
        let taken_back = async {
            let (compiled, _) = self.compile(ruling.new.clone()).await?;
            self.intend(history, &ruling, compiled).await?;
            self.enforce(&ruling.doing, &ruling.old, &ruling.new).await
        };
        if let Err(failure) = taken_back.await {
            tracing::error!(failure = chain(&failure), "the next look at this host tries again");
        }
    }

    /// Has the kernel judge whoever there is now, where policies can be about what has changed. Connections that they
    /// deny now are cut.
    pub(crate) async fn judge_anew(&self, doing: &str) -> Result<(), Failure> {
        if self.world().rulebook().is_empty() {
            return Ok(());
        }
        self.reconcile(doing, Scope::Policing).await?;
        self.cut_denied(doing).await
    }

    /// Takes whoever is gone out of what judges by policies, in the background: their addresses are nobody's until they
    /// are given to somebody else, who then is in it with them. Of many who go at once most are one change.
    pub(crate) fn forget_judged(self: &Arc<Self>) {
        if self.world().rulebook().is_empty() {
            return;
        }
        if !self.forgetting.ask() {
            return;
        }
        let daemon = self.clone();
        tokio::spawn(async move {
            let _turn = daemon.forgetting.begin().await;
            if let Err(failure) = daemon.reconcile("forget who is gone", Scope::Policing).await {
                tracing::warn!(failure = chain(&failure), "the next look at this host tries again");
            }
        });
    }

    /// Notes the host's addresses, if that matters to anybody.
    pub(crate) async fn follow_host(&self) -> Result<(), Failure> {
        if self.world().rulebook().is_empty() || !self.look_at_host().await? {
            return Ok(());
        }
        self.judge_anew("follow the host's addresses").await
    }

    /// The same, whether it matters or not. Returns whether they are others than before.
    pub(crate) async fn look_at_host(&self) -> Result<bool, Failure> {
        let addresses = self.kernel.addresses().await;
        let addresses = addresses
            .map_err(|source| Failure::Kernel { doing: "read the host's addresses".into(), source: source.into() })?;
        Ok(self.world().note_host(addresses))
    }

    /// Forgets the connections that the policies do not allow as things are: what is sent over them is judged like the
    /// first packet of one, and so dropped.
    pub(crate) async fn cut_denied(&self, doing: &str) -> Result<(), Failure> {
        let cut = self.forget_denied().await;
        cut.map_err(|source| Failure::Kernel { doing: doing.to_owned(), source: source.into() })
    }

    /// The same, in words of the kernel's own.
    pub(crate) async fn forget_denied(&self) -> Result<(), kernel::KernelError> {
        let (judge, lapsed) = {
            let world = self.world();
            if world.rulebook().is_empty() {
                return Ok(());
            }
            (world.judge(), Lapsed::new(&self.world, world.learned()))
        };
        let doubtful = Arc::new(AtomicBool::new(false));
        let doubts = doubtful.clone();
        let is_denied = move |tracked: &Tracked| {
            let is_denied = is_denied(&judge, tracked) && !lapsed.allows(tracked);
            doubts.fetch_or(is_denied && tracked.picked_up, Ordering::Relaxed);
            is_denied
        };
        self.kernel.forget_denied(is_denied).await?;
        self.steps.after("denied flows forgotten");
        // Of some it was not known who opened them, and the sockets may know better.
        if doubtful.load(Ordering::Relaxed) { self.remember_allowed(&self.all_networks()).await } else { Ok(()) }
    }

    /// Whom policies are about, and the moment at which they are asked.
    pub(crate) fn scene(&self) -> (policy::World, Timestamp) {
        let world = self.world();
        (world.as_judged(), world.now())
    }

    fn new_file_id(&self) -> FileId {
        format!("{:016x}", u64::from_ne_bytes(self.random()))
    }
}

/// Whether policies deny a connection. One that the kernel met with in its middle may have been opened by either end,
/// so both have to be allowed to.
fn is_denied(judge: &Judge, tracked: &Tracked) -> bool {
    let denies = |tracked: &Tracked| {
        let packet = Packet { from: tracked.source, to: tracked.destination, asks: asked(tracked) };
        judge.run(&packet).is_dropped
    };
    denies(tracked) || tracked.picked_up && denies(&tracked.reversed())
}

pub(crate) fn asked(tracked: &Tracked) -> Asked {
    let other = Asked::Other(tracked.protocol);
    match (tracked.message, tracked.ports.zip(Protocol::from_number(tracked.protocol))) {
        (Some((family, kind, code)), _) => Asked::Icmp(family, kind, code),
        (None, Some(((_, port), protocol))) => NonZeroU16::new(port).map_or(other, |port| Asked::Port(protocol, port)),
        (None, None) => other,
    }
}
