//! What becomes of expectations.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    course::Course,
    evaluate::evaluate,
    explanation::Explanation,
    mention::MentionError,
    place::Place,
    policies::Policies,
    rule::Effect,
    suite::{Expectation, Suite},
    world::World,
};

/// What became of an expectation, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Where the expectation stands: `FILE:LINE:COLUMN`.
    pub place: String,
    /// `allow` or `deny`.
    pub expected: String,
    /// Whether that is what becomes of every connection it is about, whatever it is that nobody said of the ends.
    pub holds: bool,
    /// What becomes of each: of one for each family of addresses that both ends have.
    pub explanations: Vec<Explanation>,
}

/// An expectation that is about nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct OutcomeError {
    /// Where the expectation stands.
    pub place: Place,
    /// Why nobody is meant.
    pub reason: MentionError,
}

impl Suite {
    /// What becomes of each expectation at a moment: at the one that the file names, if it does.
    pub fn outcomes(&self, policies: &Policies, now: Timestamp) -> Result<Vec<Outcome>, OutcomeError> {
        let now = self.now.unwrap_or(now);
        self.expectations.iter().map(|expectation| expectation.outcome(policies, &self.world, now)).collect()
    }
}

impl Expectation {
    fn outcome(&self, policies: &Policies, world: &World, now: Timestamp) -> Result<Outcome, OutcomeError> {
        let judge = |course: &Course<'_>| {
            let verdict = evaluate(policies, world, &course.judged, now);
            (verdict.effect(), Explanation::new(course, &verdict))
        };
        let judged = self
            .question
            .each_flow(world, judge)
            .map_err(|reason| OutcomeError { place: self.place.clone(), reason })?;
        let (effects, explanations): (Vec<Effect>, Vec<Explanation>) = judged.into_iter().unzip();
        Ok(Outcome {
            place: self.place.to_string(),
            expected: self.expected.to_string(),
            holds: effects.iter().all(|effect| *effect == self.expected)
                && explanations.iter().all(|explanation| explanation.doubts.is_empty()),
            explanations,
        })
    }
}

impl Outcome {
    /// What is not as expected; nothing where all is.
    pub fn wrong(&self) -> impl Iterator<Item = &Explanation> {
        self.explanations.iter().filter(|it| it.verdict != self.expected || !it.doubts.is_empty())
    }
}

/// What is not as expected, in lines; nothing where all is.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wrong().try_for_each(|explanation| write!(f, "{}: expected {}: {explanation}", self.place, self.expected))
    }
}
