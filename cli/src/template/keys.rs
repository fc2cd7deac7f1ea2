//! Which keys a template can ask for: those that the document of the API has for what a command shows.

use serde_json::{Value, json};

use super::{Part, Template};

/// What a command shows one of, as a schema of JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown(Value);

/// Why a template cannot be filled, whatever is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownKeyError {
    #[error("`--format` asks for `{{{{.{path}}}}}`, which is not among what is shown")]
    Unknown {
        path: String,
        /// Those there are in its place, the nearest first.
        known: Vec<String>,
    },
    #[error("`--format` asks for `{{{{.{path}}}}}`, and `{list}` is a list")]
    List { path: String, list: String },
}

impl UnknownKeyError {
    /// What a person can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unknown { known, .. } if known.is_empty() => "what is shown has no keys: `{{.}}`".to_owned(),
            Self::Unknown { known, .. } => format!("there is: {}", known.join(", ")),
            Self::List { list, .. } => {
                format!("ask for one of it by number, `{{{{.{list}.0}}}}`, or for all, `{{{{.{list}}}}}`")
            }
        }
    }
}

impl Shown {
    /// One of the API's answers.
    pub(crate) fn answer(name: &str) -> Self {
        Self(json!({ "$ref": format!("{REFERENCE}{name}") }))
    }

    /// An object with these keys, each of which is one of the API's answers or a text or a number.
    pub(crate) fn object(keys: &[(&str, Option<&str>)]) -> Self {
        let key = |(name, answer): &(&str, Option<&str>)| {
            (name.to_string(), answer.map_or_else(|| json!({ "type": "string" }), |answer| Self::answer(answer).0))
        };
        Self(json!({ "properties": keys.iter().map(key).collect::<serde_json::Map<_, _>>() }))
    }

    /// The same object with one more key.
    pub(crate) fn with(mut self, key: &str, value: Self) -> Self {
        self.0["properties"][key] = value.0;
        self
    }

    /// A list of these.
    pub(crate) fn list(self) -> Self {
        Self(json!({ "items": self.0 }))
    }

    /// A text.
    pub(crate) fn text() -> Self {
        Self(json!({ "type": "string" }))
    }
}

const REFERENCE: &str = "#/components/schemas/";

impl Template {
    /// Whether all that it asks for is among what is shown. A key that is there now and then counts.
    pub(crate) fn check(&self, shown: &Shown) -> Result<(), UnknownKeyError> {
        let document = api::openapi();
        let paths = self.0.iter().filter_map(|part| match part {
            Part::Place(path) => Some(path),
            Part::Text(_) => None,
        });
        paths.into_iter().try_for_each(|path| follow(&document["components"]["schemas"], &shown.0, path))
    }
}

fn follow(schemas: &Value, shown: &Value, path: &[String]) -> Result<(), UnknownKeyError> {
    let mut found = Vec::new();
    alternatives(schemas, shown, &mut found);
    for (depth, name) in path.iter().enumerate() {
        // A map, whose keys are whoever's made it.
        if found.iter().any(|schema| schema.get("additionalProperties").is_some_and(|allowed| *allowed != json!(false)))
        {
            return Ok(());
        }
        let lists: Vec<&Value> = found.iter().filter_map(|schema| schema.get("items")).collect();
        let next: Vec<&Value> = if lists.is_empty() {
            found.iter().filter_map(|schema| schema.get("properties")?.get(name)).collect()
        } else if name.parse::<usize>().is_ok() {
            lists
        } else {
            return Err(UnknownKeyError::List { path: path.join("."), list: path[..depth].join(".") });
        };
        if next.is_empty() {
            let properties = found.iter().filter_map(|schema| schema.get("properties")?.as_object());
            let mut known: Vec<String> = properties.flat_map(|properties| properties.keys().cloned()).collect();
            known.sort_by_cached_key(|key| (strsim::damerau_levenshtein(key, name), key.clone()));
            known.dedup();
            return Err(UnknownKeyError::Unknown { path: path.join("."), known });
        }
        found.clear();
        for schema in next {
            alternatives(schemas, schema, &mut found);
        }
    }
    Ok(())
}

/// The schemas that one stands for: what it refers to, and each of those that it is one of.
fn alternatives<'a>(schemas: &'a Value, schema: &'a Value, found: &mut Vec<&'a Value>) {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(REFERENCE)) {
        return alternatives(schemas, &schemas[name], found);
    }
    let several = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|kind| schema.get(kind)?.as_array());
    let several: Vec<&Value> = several.flatten().collect();
    if several.is_empty() {
        found.push(schema);
    }
    for one in several {
        alternatives(schemas, one, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, shown: &Shown) -> Result<(), String> {
        let template: Template = template.parse().expect("a template");
        template.check(shown).map_err(|error| format!("{error}; {}", error.hint()))
    }

    #[test]
    fn what_is_shown_now_and_then_can_be_asked_for() {
        for (answer, template) in [
            ("Container", "{{.}} {{.name}} {{.pid}} {{.endpoints}} {{.endpoints.0.ipv4}} {{.endpoints.7}}"),
            ("Container", "{{.labels.anything}} {{.confinement.memory}}"),
            ("Event", "{{.name}} {{.exit_code}} {{.labels.tier}}"),
            ("Network", "{{.parent.interface}} {{.subnets.0.range}} {{.subnets.0.ip_range}} {{.usage.used}}"),
            ("Doctor", "{{.checks.0.hint}} {{.checks.0.differences.0.remedy}}"),
            ("Image", "{{.name}}"),
            ("LogLine", "{{.stream}}"),
            ("DnsAnswer", "{{.code}}"),
        ] {
            assert_eq!(check(template, &Shown::answer(answer)), Ok(()), "{template}");
        }
        let versions = Shown::object(&[("client", Some("Version")), ("count", None)]);
        assert_eq!(check("{{.client.api}} {{.count}}", &versions), Ok(()));
        let nested = Shown::object(&[("a", None)]).with("b", Shown::object(&[("c", None)]).list());
        assert_eq!(check("{{.a}} {{.b}} {{.b.0.c}}", &nested), Ok(()));
        assert!(check("{{.b.0.d}}", &nested).is_err());
    }

    #[test]
    fn what_is_never_shown_is_refused_and_the_nearest_named_first() {
        let container = Shown::answer("Container");
        let told = check("{{.nmae}}", &container).expect_err("no such key");
        assert!(
            told.starts_with("`--format` asks for `{{.nmae}}`, which is not among what is shown; there is: name, "),
            "{told}"
        );
        let told = check("{{.id}} {{.endpoints.0.ipv5}}", &container).expect_err("no such key");
        assert!(told.contains("`{{.endpoints.0.ipv5}}`") && told.contains("there is: ipv4, ipv6, "), "{told}");
        let told = check("{{.endpoints.ipv4}}", &container).expect_err("a list");
        assert!(told.contains("`endpoints` is a list; ask for one of it by number, `{{.endpoints.0}}`"), "{told}");
        for shown in [&container, &Shown::text()] {
            let told = check(if *shown == container { "{{.name.first}}" } else { "{{.name}}" }, shown);
            assert!(told.expect_err("a text").ends_with("what is shown has no keys: `{{.}}`"));
        }
    }
}
