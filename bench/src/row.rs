//! One measure each: what is measured, of whom, and what Fabric is to reach.

pub(crate) mod attach;
pub(crate) mod memory;
pub(crate) mod run;
pub(crate) mod throughput;

use serde::Serialize;

use crate::sample::{Sample, Unit};

/// A line of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured, in a few words.
    pub(crate) measure: String,
    pub(crate) unit: Unit,
    /// What was promised, in words; none for context.
    pub(crate) targets: Vec<Target>,
    /// Fabric first.
    pub(crate) results: Vec<Outcome>,
}

/// A promise, and whether this run kept it.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) text: String,
    /// None where the other side of a comparison could not be measured.
    pub(crate) kept: Option<bool>,
}

/// What one competitor reached, or why it could not take part.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) who: String,
    #[serde(flatten)]
    pub(crate) result: Measured,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measured {
    Values(Sample),
    NotRun(String),
}

impl Row {
    /// The median of a competitor; none if it did not take part.
    pub(crate) fn median(&self, who: &str) -> Option<f64> {
        self.results.iter().find(|outcome| outcome.who == who).and_then(|outcome| match &outcome.result {
            Measured::Values(sample) => Some(sample.median()),
            Measured::NotRun(_) => None,
        })
    }

    /// Adds a promise about Fabric's median, `who`, alone.
    pub(crate) fn at_most(&mut self, who: &str, limit: f64) {
        let kept = self.median(who).map(|value| value <= limit);
        self.targets.push(Target { text: format!("{who} ≤ {limit} {}", self.unit), kept });
    }

    /// Adds a promise that `who` takes at most `factor` times what `other` takes.
    pub(crate) fn at_most_times(&mut self, who: &str, factor: f64, other: &str) {
        let kept = self.median(who).zip(self.median(other)).map(|(value, other)| value <= factor * other);
        self.targets.push(Target { text: format!("{who} ≤ {factor:.3} × {other}"), kept });
    }

    /// Adds a promise that `who` reaches at least `factor` times what `other` reaches.
    pub(crate) fn at_least_times(&mut self, who: &str, factor: f64, other: &str) {
        let kept = self.median(who).zip(self.median(other)).map(|(value, other)| value >= factor * other);
        self.targets.push(Target { text: format!("{who} ≥ {factor} × {other}"), kept });
    }
}
