//! One measure each: what is measured, of whom, and what Fabric is to reach.

pub(crate) mod attach;
pub(crate) mod crowd;
pub(crate) mod dns;
pub(crate) mod full;
pub(crate) mod memory;
pub(crate) mod policy;
pub(crate) mod publish;
pub(crate) mod repair;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod throughput;

use serde::Serialize;

use crate::{
    peer::Absence,
    sample::{Sample, Unit},
};

/// A line of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured, in a few words.
    pub(crate) measure: String,
    pub(crate) unit: Unit,
    /// What was promised; none for context.
    pub(crate) targets: Vec<Target>,
    /// Fabric first.
    pub(crate) results: Vec<Outcome>,
}

/// A promise, and whether this run kept it.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) text: String,
    /// What was reached, as a multiple of the limit; none where one side of a comparison could not be measured.
    pub(crate) of_limit: Option<f64>,
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

impl Outcome {
    /// One value, or why there is none.
    pub(crate) fn once(who: impl Into<String>, value: Result<f64, Absence>) -> Self {
        let result = value.map_or_else(Measured::NotRun, |value| Measured::Values(Sample::new(vec![value])));
        Self { who: who.into(), result }
    }
}

impl Row {
    pub(crate) fn new(measure: impl Into<String>, unit: Unit, results: Vec<Outcome>) -> Self {
        Self { measure: measure.into(), unit, targets: Vec::new(), results }
    }

    /// The median of a competitor; none if it did not take part.
    pub(crate) fn median(&self, who: &str) -> Option<f64> {
        self.sample(who).map(Sample::median)
    }

    fn sample(&self, who: &str) -> Option<&Sample> {
        self.results.iter().find(|outcome| outcome.who == who).and_then(|outcome| match &outcome.result {
            Measured::Values(sample) => Some(sample),
            Measured::NotRun(_) => None,
        })
    }

    /// The values of all as hundredths of what `other` reached in the same turn.
    pub(crate) fn as_part_of(&self, other: &str, measure: &str) -> Self {
        let result = |outcome: &Outcome| match (&outcome.result, self.sample(other)) {
            (Measured::Values(own), Some(other)) => Measured::Values(own.percent_of(other)),
            (Measured::Values(_), None) => Measured::NotRun(format!("{other} did not run")),
            (Measured::NotRun(why), _) => Measured::NotRun(why.clone()),
        };
        let results = self.results.iter().map(|outcome| Outcome { who: outcome.who.clone(), result: result(outcome) });
        Self::new(measure, Unit::Percent, results.collect())
    }

    /// Adds a promise about the median of `who` alone.
    pub(crate) fn at_most(&mut self, who: &str, limit: f64) {
        let text = format!("{who} ≤ {limit} {}", self.unit);
        self.promise(text, self.median(who).map(|value| value / limit), |of_limit| of_limit <= 1.0);
    }

    /// Adds a promise that the median of `who` is at most `factor` times that of `other`.
    pub(crate) fn at_most_times(&mut self, who: &str, factor: f64, other: &str) {
        let both = self.median(who).zip(self.median(other));
        let of_limit = both.map(|(value, other)| value / (factor * other));
        self.promise(format!("{who} ≤ {factor:.3} × {other}"), of_limit, |of_limit| of_limit <= 1.0);
    }

    /// Adds the same promise about the 99th percentiles.
    pub(crate) fn p99_at_most_times(&mut self, who: &str, factor: f64, other: &str) {
        let both = self.sample(who).zip(self.sample(other));
        let of_limit = both.map(|(sample, other)| sample.quantile(0.99) / (factor * other.quantile(0.99)));
        self.promise(format!("P99 of {who} ≤ {factor} × {other}"), of_limit, |of_limit| of_limit <= 1.0);
    }

    /// Adds a promise that the median of `who` is at least `factor` times that of `other`.
    pub(crate) fn at_least_times(&mut self, who: &str, factor: f64, other: &str) {
        let both = self.median(who).zip(self.median(other));
        let of_limit = both.map(|(value, other)| value / (factor * other));
        self.promise(format!("{who} ≥ {factor} × {other}"), of_limit, |of_limit| of_limit >= 1.0);
    }

    fn promise(&mut self, text: String, of_limit: Option<f64>, kept: fn(f64) -> bool) {
        self.targets.push(Target { text, of_limit, kept: of_limit.map(kept) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let outcome = |who: &str, value| Outcome::once(who, value);
        let absent = Err("not installed".to_owned());
        Row::new("m", Unit::Milliseconds, vec![outcome("a", Ok(10.0)), outcome("b", Ok(4.0)), outcome("c", absent)])
    }

    #[test]
    fn parts_are_those_of_the_same_turn() {
        let values = |who: &str, values: &[f64]| Outcome {
            who: who.into(),
            result: Measured::Values(Sample::new(values.into())),
        };
        let absent = Outcome::once("c", Err("not installed".to_owned()));
        let row = Row::new("m", Unit::PerSecond, vec![values("a", &[10.0, 30.0]), values("b", &[20.0, 40.0]), absent]);
        let parts = row.as_part_of("b", "of b");
        assert_eq!((parts.median("a"), parts.median("b"), parts.median("c")), (Some(75.0), Some(100.0), None));
        assert_eq!(parts.sample("a").map(Sample::min), Some(50.0));
        assert_eq!(row.as_part_of("c", "of c").median("a"), None);
    }

    #[test]
    fn targets_say_how_much_of_the_limit_was_reached() {
        let mut row = row();
        row.at_most("a", 10.0);
        row.at_most("a", 8.0);
        row.at_most_times("a", 2.0, "b");
        row.at_least_times("a", 2.5, "b");
        row.p99_at_most_times("b", 0.5, "a");
        row.at_most_times("a", 2.0, "c");
        let said: Vec<_> =
            row.targets.iter().map(|target| (target.text.as_str(), target.of_limit, target.kept)).collect();
        let expected = [
            ("a ≤ 10 ms", Some(1.0), Some(true)),
            ("a ≤ 8 ms", Some(1.25), Some(false)),
            ("a ≤ 2.000 × b", Some(1.25), Some(false)),
            ("a ≥ 2.5 × b", Some(1.0), Some(true)),
            ("P99 of b ≤ 0.5 × a", Some(0.8), Some(true)),
            ("a ≤ 2.000 × c", None, None),
        ];
        assert_eq!(said, expected);
    }
}
