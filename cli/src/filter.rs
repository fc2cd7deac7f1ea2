//! Which of several objects are shown: `--filter KEY=VALUE`.
//!
//! Of one key, one filter must hold; of different keys, each; every label must be there. `*` in a value stands for any
//! text. What is filtered is the answer, which holds everything there is to filter by.

use std::{fmt, marker::PhantomData, str::FromStr};

use api::{Container, Event, EventAction, EventKind, Image, Network, State};
use model::{Driver, nearest};

/// What can be filtered.
pub(crate) trait Filterable {
    /// The keys there are.
    const KEYS: &'static [&'static str];

    /// The values that there are for `key`; none if there can be any.
    fn words(_key: &str) -> Vec<String> {
        Vec::new()
    }

    /// Whether `pattern` holds for `key`, one of [`Filterable::KEYS`].
    fn has(&self, key: &str, pattern: &Pattern) -> bool;
}

/// One filter for objects of type `T`.
pub(crate) struct Filter<T> {
    key: &'static str,
    pattern: Pattern,
    object: PhantomData<fn(T)>,
}

// By hand, because a derived one would ask it of `T`, too.
impl<T> Clone for Filter<T> {
    fn clone(&self) -> Self {
        Self { key: self.key, pattern: self.pattern.clone(), object: PhantomData }
    }
}

impl<T> fmt::Debug for Filter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.pattern.0)
    }
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseFilterError {
    #[error("expected KEY=VALUE, with one of the keys {0}")]
    Form(String),
    #[error("there is no key `{}`: expected one of {known}", .key.escape_debug())]
    Key { key: String, known: String },
    #[error("there is no {key} `{}`: expected one of {}{}", .value.escape_debug(), .known.join(", "), meant(.value, .known))]
    Value { key: &'static str, value: String, known: Vec<String> },
}

fn meant(value: &str, known: &[String]) -> String {
    let near = nearest(value, known.iter().map(String::as_str));
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

impl<T: Filterable> FromStr for Filter<T> {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, ParseFilterError> {
        let known = || T::KEYS.join(", ");
        let (key, value) = text.split_once('=').ok_or_else(|| ParseFilterError::Form(known()))?;
        let Some(key) = T::KEYS.iter().find(|known| **known == key) else {
            return Err(ParseFilterError::Key { key: key.chars().take(80).collect(), known: known() });
        };
        let (pattern, words) = (Pattern(value.to_owned()), T::words(key));
        if !words.is_empty() && !words.iter().any(|word| pattern.matches(word)) {
            return Err(ParseFilterError::Value { key, value: value.chars().take(80).collect(), known: words });
        }
        Ok(Self { key, pattern, object: PhantomData })
    }
}

/// Whether the filters let `object` pass.
pub(crate) fn passes<T: Filterable>(object: &T, filters: &[Filter<T>]) -> bool {
    T::KEYS.iter().all(|key| {
        let mut own = filters.iter().filter(|filter| filter.key == *key).peekable();
        let holds = |filter: &Filter<T>| object.has(key, &filter.pattern);
        own.peek().is_none() || if *key == "label" { own.all(holds) } else { own.any(holds) }
    })
}

/// Whether there is a filter by `key`.
pub(crate) fn mentions<T>(filters: &[Filter<T>], key: &str) -> bool {
    filters.iter().any(|filter| filter.key == key)
}

/// A text in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }

    fn begins(&self, text: &str) -> bool {
        !self.0.is_empty() && text.starts_with(&self.0) || self.matches(text)
    }

    /// `KEY` is there, or `KEY=VALUE`.
    fn labels(&self, labels: &model::Labels) -> bool {
        match self.0.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|own| Self(value.to_owned()).matches(own)),
            None => labels.keys().any(|key| self.matches(key)),
        }
    }
}

impl Filterable for Container {
    const KEYS: &'static [&'static str] = &["id", "image", "label", "name", "network", "state"];

    fn words(key: &str) -> Vec<String> {
        if key == "state" { State::ALL.map(|state| state.as_str().to_owned()).into() } else { Vec::new() }
    }

    fn has(&self, key: &str, pattern: &Pattern) -> bool {
        match key {
            "id" => pattern.begins(self.id.as_str()),
            "image" => pattern.matches(self.image.as_str()),
            "label" => pattern.labels(&self.labels),
            "name" => pattern.matches(self.name.as_str()),
            "network" => self.endpoints.iter().any(|endpoint| pattern.matches(endpoint.network.as_str())),
            _ => pattern.matches(self.state.as_str()),
        }
    }
}

impl Filterable for Network {
    const KEYS: &'static [&'static str] = &["driver", "id", "label", "name"];

    fn words(key: &str) -> Vec<String> {
        if key == "driver" { Driver::ALL.map(|driver| driver.to_string()).into() } else { Vec::new() }
    }

    fn has(&self, key: &str, pattern: &Pattern) -> bool {
        match key {
            "driver" => pattern.matches(&self.driver.to_string()),
            "id" => pattern.begins(self.id.as_str()),
            "label" => pattern.labels(&self.labels),
            _ => pattern.matches(self.name.as_str()),
        }
    }
}

impl Filterable for Image {
    const KEYS: &'static [&'static str] = &["digest", "name"];

    fn has(&self, key: &str, pattern: &Pattern) -> bool {
        match key {
            "digest" => pattern.begins(self.digest.hex()) || pattern.begins(&self.digest.to_string()),
            _ => pattern.matches(self.name.as_str()),
        }
    }
}

impl Filterable for Event {
    const KEYS: &'static [&'static str] = &["action", "id", "image", "kind", "label", "name", "network"];

    fn words(key: &str) -> Vec<String> {
        match key {
            "action" => EventAction::ALL.iter().map(ToString::to_string).collect(),
            "kind" => EventKind::ALL.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    fn has(&self, key: &str, pattern: &Pattern) -> bool {
        let is_network = self.kind == EventKind::Network;
        match key {
            "action" => pattern.matches(self.action.as_str()),
            "id" => pattern.begins(&self.id),
            "image" => self.image.as_deref().is_some_and(|image| pattern.matches(image)),
            "kind" => pattern.matches(self.kind.as_str()),
            "label" => pattern.labels(&self.labels),
            "network" => {
                self.networks.iter().any(|network| pattern.matches(network))
                    || is_network && pattern.matches(&self.name)
            }
            _ => pattern.matches(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::samples;

    fn shown(filters: &[&str]) -> Vec<String> {
        let filters: Vec<Filter<Container>> = filters.iter().map(|text| text.parse().expect("a filter")).collect();
        let containers = samples::containers();
        containers.iter().filter(|container| passes(*container, &filters)).map(|it| it.name.to_string()).collect()
    }

    #[test]
    fn filters_of_one_key_are_alternatives_and_of_several_all_hold() {
        for (filters, expected) in [
            (&[][..], "api job idle"),
            (&["name=api"], "api"),
            (&["name=ap"], ""),
            (&["name=a*"], "api"),
            (&["name=*"], "api job idle"),
            (&["name=api", "name=job"], "api job"),
            (&["name=api", "state=exited"], ""),
            (&["state=exited", "state=created"], "job idle"),
            (&["id=b2b2"], "job"),
            (&["network=web"], "api"),
            (&["image=busybox:*"], "api job idle"),
            (&["label=team"], "api"),
            (&["label=team=a"], "api"),
            (&["label=team=b"], ""),
            (&["label=team=a", "label=tier=db"], ""),
        ] {
            assert_eq!(shown(filters).join(" "), expected, "{filters:?}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("*b*", "abc", true),
            ("*b*d", "abcd", true),
            ("*b*b", "ab", false),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_wrong_filter_says_which_keys_there_are() {
        let error = |text: &str| text.parse::<Filter<Image>>().expect_err("no filter").to_string();
        assert_eq!(error("name"), "expected KEY=VALUE, with one of the keys digest, name");
        assert_eq!(error("size=1"), "there is no key `size`: expected one of digest, name");
    }

    #[test]
    fn a_value_that_nothing_can_have_is_refused() {
        fn error<T: Filterable>(text: &str) -> String {
            text.parse::<Filter<T>>().expect_err(text).to_string()
        }
        assert_eq!(
            error::<Container>("state=runing"),
            "there is no state `runing`: expected one of created, running, restarting, exited; did you mean `running`?"
        );
        assert_eq!(error::<Network>("driver=foo"), "there is no driver `foo`: expected one of bridge, ipvlan, macvlan");
        assert!(error::<Event>("kind=images").ends_with("; did you mean `image`?"));
        assert!(error::<Event>("action=x*").starts_with("there is no action `x*`: expected one of create, "));
        for text in ["state=r*", "state=*", "name=runing", "label=state"] {
            assert!(text.parse::<Filter<Container>>().is_ok(), "{text}");
        }
    }
}
