//! Connections to addresses that names outside had when they were opened. That an answer is over is no change of
//! policies: what it allowed goes on, whatever else has those looked at that are open.

use std::{
    cell::OnceCell,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use model::Tracked;
use policy::{Effect, Flow, evaluate};

use crate::{learned::Learned, policies::asked, rulebook::Rulebook, world::World};

/// What policies say as if names had the addresses that have lapsed. Looked up with the first connection that this is
/// asked of: mostly there is none.
pub(crate) struct Lapsed {
    world: Arc<Mutex<World>>,
    learned: Arc<Learned>,
    scene: OnceCell<Scene>,
}

struct Scene {
    world: policy::World,
    rulebook: Arc<Rulebook>,
    now: Timestamp,
}

impl Lapsed {
    pub(crate) fn new(world: &Arc<Mutex<World>>, learned: &Arc<Learned>) -> Self {
        Self { world: world.clone(), learned: learned.clone(), scene: OnceCell::new() }
    }

    /// Whether a connection was opened to such an address, and is allowed for that. One that may have been opened by
    /// either end is not: from outside nobody is allowed in by a name.
    pub(crate) fn allows(&self, tracked: &Tracked) -> bool {
        if tracked.picked_up || !self.learned.table().has_lapsed(tracked.destination) {
            return false;
        }
        let Scene { world, rulebook, now } = self.scene.get_or_init(|| {
            let world = self.world.lock().expect("no holder of the world panics");
            let lapsed = self.learned.table().lapsed();
            let (rulebook, now) = (world.rulebook().clone(), world.now());
            Scene { world: world.as_judged().with_names(lapsed), rulebook, now }
        });
        let [from, to] = [tracked.source, tracked.destination].map(|address| world.party_with(address));
        let flow = Flow { from, to, asks: asked(tracked) };
        evaluate(rulebook.policies(), world, &flow, *now).effect() == Effect::Allow
    }
}
