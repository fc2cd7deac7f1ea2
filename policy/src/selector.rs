//! Which labels a selector selects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use model::Labels;

use crate::label::{LabelKey, LabelValue};

/// Requirements of labels, all of which must hold; without any, whatever labels there are are selected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Selector {
    requirements: BTreeSet<Requirement>,
}

/// What one label must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// It is there, with one of these values.
    In(LabelKey, BTreeSet<LabelValue>),
    /// It has none of these values, or is not there.
    NotIn(LabelKey, BTreeSet<LabelValue>),
    /// It is there.
    Exists(LabelKey),
    /// It is not there.
    DoesNotExist(LabelKey),
}

/// A set of labels that policy treats alike: these, and no others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(pub BTreeMap<LabelKey, LabelValue>);

impl Selector {
    /// Selects what all of the requirements hold for.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        Self { requirements: requirements.into_iter().collect() }
    }

    /// Whether it requires nothing.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// What must hold.
    pub(crate) fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.requirements.iter()
    }

    /// Whether these labels are selected.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether whatever `other` selects is selected, as far as can be told from the requirements: those here are among
    /// its.
    pub(crate) fn is_at_least(&self, other: &Self) -> bool {
        self.requirements.is_subset(&other.requirements)
    }
}

impl Requirement {
    /// Whether it holds for these labels.
    pub fn holds(&self, labels: &Labels) -> bool {
        let one_of = |key: &LabelKey, values: &BTreeSet<LabelValue>| {
            labels.get(key.as_str()).is_some_and(|found| values.iter().any(|value| value.as_str() == found))
        };
        match self {
            Self::In(key, values) => one_of(key, values),
            Self::NotIn(key, values) => !one_of(key, values),
            Self::Exists(key) => labels.contains_key(key.as_str()),
            Self::DoesNotExist(key) => !labels.contains_key(key.as_str()),
        }
    }
}

impl Identity {
    /// Whether these are its labels.
    pub fn is(&self, labels: &Labels) -> bool {
        self.0.len() == labels.len()
            && self.0.iter().all(|(key, value)| labels.get(key.as_str()).is_some_and(|found| found == value.as_str()))
    }
}

/// As `kubectl --selector` takes it; `every label` without requirements.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if index == 0 { "" } else { "," })?;
        }
        if self.requirements.is_empty() { f.write_str("any labels") } else { Ok(()) }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed =
            |values: &BTreeSet<LabelValue>| values.iter().map(LabelValue::as_str).collect::<Vec<_>>().join(",");
        match self {
            Self::In(key, values) if values.len() == 1 => write!(f, "{key}={}", listed(values)),
            Self::In(key, values) => write!(f, "{key} in ({})", listed(values)),
            Self::NotIn(key, values) => write!(f, "{key} notin ({})", listed(values)),
            Self::Exists(key) => write!(f, "{key}"),
            Self::DoesNotExist(key) => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> BTreeSet<LabelValue> {
        texts.iter().map(|text| text.parse().expect("literal")).collect()
    }

    #[test]
    fn a_label_that_is_not_there_is_in_nothing_and_not_in_everything() {
        let key = || "tier".parse::<LabelKey>().expect("literal");
        let of = |value: &str| Labels::from([("tier".to_owned(), value.to_owned())]);
        let (web, db, none) = (of("web"), of("db"), Labels::new());
        for (requirement, expected) in [
            (Requirement::In(key(), values(&["web", "api"])), [true, false, false]),
            (Requirement::NotIn(key(), values(&["web", "api"])), [false, true, true]),
            (Requirement::Exists(key()), [true, true, false]),
            (Requirement::DoesNotExist(key()), [false, false, true]),
        ] {
            let held = [&web, &db, &none].map(|labels| requirement.holds(labels));
            assert_eq!(held, expected, "{requirement}");
        }
    }

    #[test]
    fn all_requirements_must_hold_and_none_is_held_by_all() {
        let labels = Labels::from([("a".to_owned(), "1".to_owned())]);
        let exists = |key: &str| Requirement::Exists(key.parse().expect("literal"));
        assert!(Selector::default().selects(&labels) && Selector::default().selects(&Labels::new()));
        assert!(Selector::new([exists("a")]).selects(&labels));
        assert!(!Selector::new([exists("a"), exists("b")]).selects(&labels));
    }

    #[test]
    fn an_identity_is_its_labels_and_no_others() {
        let identity = Identity([("a".parse().expect("literal"), "1".parse().expect("literal"))].into());
        let mut labels = Labels::from([("a".to_owned(), "1".to_owned())]);
        assert!(identity.is(&labels));
        labels.insert("b".to_owned(), "2".to_owned());
        assert!(!identity.is(&labels) && !identity.is(&Labels::new()));
    }
}
