//! Measured values and what is said of them.

use std::{fmt, time::Duration};

use serde::Serialize;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Thousandths of a second; less is better.
    Milliseconds,
    /// Thousands of millions of bits in a second; more is better.
    GigabitsPerSecond,
    /// Requests answered in a second; more is better.
    PerSecond,
    /// 1024 × 1024 octets; less is better.
    Mebibytes,
    /// 1024 octets; less is better.
    Kibibytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milliseconds => "ms",
            Self::GigabitsPerSecond => "Gbit/s",
            Self::PerSecond => "/s",
            Self::Mebibytes => "MiB",
            Self::Kibibytes => "KiB",
        })
    }
}

/// The values one competitor reached, in the order in which they were measured; never empty.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// # Panics
    /// If there is no value: nothing was measured then.
    pub(crate) fn new(values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a sample has values");
        Self(values)
    }

    pub(crate) fn of_times(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(times.into_iter().map(|time| time.as_secs_f64() * 1000.0).collect())
    }

    /// The smallest value that is not less than this part of all values.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (part * (sorted.len() - 1) as f64).round() as usize;
        sorted[index]
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let sample = Sample::new(vec![3.0, 1.0, 2.0, 5.0, 4.0]);
        assert_eq!((sample.min(), sample.median(), sample.quantile(0.99), sample.max()), (1.0, 3.0, 5.0, 5.0));
        assert_eq!(Sample::of_times([Duration::from_micros(1500)]).median(), 1.5);
    }
}
