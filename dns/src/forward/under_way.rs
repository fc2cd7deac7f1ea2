//! Questions that an upstream is being asked: who asks the same meanwhile waits for the same answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::OnceCell;

use super::{Answer, Question, locked};
use crate::error::Transport;

/// Questions under way, and where their answers will be.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<Asked, Arc<OnceCell<Answer>>>>);

/// A question and how it is asked: what comes by TCP is never cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) transport: Transport,
}

impl UnderWay {
    /// The answer that `ask` brings, or that of who asks already. If that one gives up, because its client's connection
    /// ended, the next goes on.
    pub(super) async fn join(&self, asked: Asked, ask: impl Future<Output = Answer>) -> Answer {
        let cell = locked(&self.0).entry(asked.clone()).or_default().clone();
        // Also if this is dropped while it waits.
        let place = Place { under_way: self, asked, cell };
        place.cell.get_or_init(|| ask).await.clone()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        locked(&self.0).is_empty()
    }
}

/// A question under way, which is forgotten when this is dropped.
struct Place<'a> {
    under_way: &'a UnderWay,
    asked: Asked,
    cell: Arc<OnceCell<Answer>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = locked(&self.under_way.0);
        if under_way.get(&self.asked).is_some_and(|known| Arc::ptr_eq(known, &self.cell)) {
            under_way.remove(&self.asked);
        }
    }
}
