//! Has the kernel judge by the addresses that containers are answered for names that rules are about, before the
//! answers leave.
//!
//! ```text
//! upstream or cache -> told -> noted for the next daemon -> elements in force -> the container has its answer
//! ```
//!
//! Answers that teach nothing new go at once. Those that wait at one time are learned together, in one batch of
//! elements. What the kernel refuses, and what there is no room for, is answered with a failure: nobody is given an
//! address that is closed.
//!
//! Who may teach is a container that a rule about the name is for: nobody else's name server has a say.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use dns::{Answered, Noted, Withheld, Witness};
use model::Scope;
use policy::DnsName;
use tokio::sync::{mpsc, oneshot};

use crate::{
    clock::Clock,
    daemon::{Daemon, chain},
    learned::{Entry, Learned, LearnedFile, Moment, NoRoom},
    world::World,
};

/// How many answers are learned in one go.
const BATCH: usize = 256;
/// How soon it is noticed that an address has lapsed.
const GLANCE: Duration = Duration::from_secs(1);
/// How seldom it is told that there is no room.
const QUIET: Duration = Duration::from_secs(60);
const REFUSED: Withheld = Withheld("policies are about this name, and the kernel did not take its addresses");
const FULL: Withheld = Withheld("policies are about this name, and it has too many addresses");

/// An answer that waits.
#[derive(Debug)]
pub(crate) struct Lesson {
    answer: Answered,
    name: DnsName,
    told: oneshot::Sender<Result<(), Withheld>>,
}

/// Answers that wait, and where what was learned is noted.
#[derive(Debug)]
pub(crate) struct School {
    lessons: mpsc::UnboundedReceiver<Lesson>,
    file: LearnedFile,
    /// When it was told that there is no room.
    warned: Option<Moment>,
}

/// What the DNS server tells.
#[derive(Debug)]
pub(crate) struct Learner {
    world: Arc<Mutex<World>>,
    learned: Arc<Learned>,
    clock: Clock,
    lessons: mpsc::UnboundedSender<Lesson>,
}

impl School {
    /// Learns what `world` is to know, which begins with what the last daemon noted at `path`.
    pub(crate) fn open(world: &Arc<Mutex<World>>, clock: &Clock, path: &Path) -> (Self, Learner) {
        let (sender, lessons) = mpsc::unbounded_channel();
        let learned = world.lock().expect("no holder of the world panics").learned().clone();
        let (file, noted) = LearnedFile::open(path.to_owned());
        {
            let (about, mut table) = (learned.about(), learned.table());
            let now = clock.uptime();
            table.restore(&about, noted, now);
            table.expire(&about, now);
        }
        let learner = Learner { world: world.clone(), learned, clock: clock.clone(), lessons: sender };
        (Self { lessons, file, warned: None }, learner)
    }
}

impl Witness for Learner {
    fn is_concerned(&self, name: &str) -> bool {
        self.learned.is_concerned(name)
    }

    fn tell(&self, mut answer: Answered) -> Option<Noted> {
        let name: DnsName = answer.name.parse().ok()?;
        answer.addresses.retain(|(address, _)| is_somebody(*address));
        if self.learned.table().knows(&name, &answer.addresses, self.clock.uptime()) {
            return None;
        }
        // Whoever no rule is for teaches nothing. Where that cannot be seen at once, the answer waits for it.
        if self.world.try_lock().is_ok_and(|world| !world.may_teach(&answer.container, &name)) {
            return None;
        }
        let (told, outcome) = oneshot::channel();
        self.lessons.send(Lesson { answer, name, told }).ok()?;
        Some(Box::pin(async { outcome.await.unwrap_or(Err(REFUSED)) }))
    }
}

/// Whether an address can be one machine's outside.
fn is_somebody(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_broadcast)
}

/// Learns, and lets lapse, until the daemon ends.
pub(crate) async fn attend(daemon: Arc<Daemon>, mut school: School) {
    let learned = daemon.world().learned().clone();
    loop {
        let mut lessons = Vec::new();
        let may_lapse = !learned.table().is_empty();
        tokio::select! {
            count = school.lessons.recv_many(&mut lessons, BATCH) => if count == 0 { return },
            () = tokio::time::sleep(GLANCE), if may_lapse => {}
        }
        daemon.learn(&mut school, &learned, lessons).await;
        daemon.forget_lapsed(&learned).await;
    }
}

impl Daemon {
    /// Learns what these answers say, and lets lapse what is over.
    async fn learn(&self, school: &mut School, learned: &Learned, lessons: Vec<Lesson>) {
        let now = self.clock.uptime();
        let (mut news, mut waiting): (Vec<Entry>, _) = (Vec::new(), Vec::new());
        let (have_lapsed, have_come) = {
            let world = self.world();
            let (about, mut table) = (learned.about(), learned.table());
            let have_lapsed = table.expire(&about, now);
            for Lesson { answer, name, told } in lessons {
                let taught = match world.may_teach(&answer.container, &name) {
                    true => table.learn(&about, &name, &answer.addresses, now),
                    false => Ok(Vec::new()),
                };
                match taught {
                    Ok(entries) => {
                        news.extend(entries);
                        waiting.push(told);
                    }
                    Err(full) => {
                        school.warn(&full, now);
                        // Who hung up needs no answer, here and below.
                        let _ = told.send(Err(FULL));
                    }
                }
            }
            (have_lapsed, table.awaits_kernel(&news))
        };
        if have_lapsed || !news.is_empty() {
            // First, so that the next daemon knows all that this one may answer.
            school.file.note(&news, || learned.table().entries().collect());
            self.steps.after("addresses of names noted");
        }
        let mut outcome = Ok(());
        if have_lapsed || have_come {
            if let Err(failure) = self.reconcile("learn the addresses of names", Scope::Policing).await {
                tracing::warn!(failure = chain(&failure), "names that policies are about cannot be answered");
                outcome = Err(REFUSED);
            }
            self.steps.after("addresses of names learned");
        }
        {
            let _world = self.world();
            match outcome {
                Ok(()) => learned.table().confirm(&news),
                Err(_) => learned.table().withdraw(&learned.about(), &news),
            }
        }
        for told in waiting {
            let _ = told.send(outcome);
        }
    }

    /// Of many addresses that have lapsed, remembers those that have connections.
    async fn forget_lapsed(&self, learned: &Learned) {
        if !learned.table().has_many_lapsed() {
            return;
        }
        let seen: Arc<Mutex<BTreeSet<IpAddr>>> = Arc::default();
        let sees = seen.clone();
        let looked = self.kernel.forget_denied(move |tracked| {
            sees.lock().expect("nobody panics with it").insert(tracked.destination);
            false
        });
        if let Err(error) = looked.await {
            tracing::warn!(error = chain(&error), "cannot see which addresses of names have connections");
            return;
        }
        let seen = seen.lock().expect("nobody panics with it");
        learned.table().forget_lapsed(&learned.about(), |address| seen.contains(address));
    }
}

impl School {
    fn warn(&mut self, full: &NoRoom, now: Moment) {
        if self.warned.is_none_or(|warned| now.saturating_sub(warned) >= QUIET) {
            self.warned = Some(now);
            tracing::warn!(reason = chain(full), "names that policies are about are not answered");
        }
    }
}
