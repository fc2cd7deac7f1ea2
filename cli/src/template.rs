//! `--format '{{.name}} {{.endpoints.0.ipv4}}'`: text with places for what `--format json` shows.

mod keys;

use std::str::FromStr;

use serde_json::Value;

pub(crate) use self::keys::{Shown, UnknownKeyError};
use crate::table::NOTHING;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A field of a field of …, or the number of a list's member; with none, the whole.
    Place(Vec<String>),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseTemplateError {
    #[error("`{}` is not closed: expected `}}}}`", .0.escape_debug())]
    Open(String),
    #[error("`{{{{{}}}}}` is not understood: expected a field such as `{{{{.name}}}}` or `{{{{.endpoints.0.ipv4}}}}`", .0.escape_debug())]
    Place(String),
}

impl FromStr for Template {
    type Err = ParseTemplateError;

    /// `\t` and `\n` stand for what they stand for in C, because they are hard to type.
    fn from_str(text: &str) -> Result<Self, ParseTemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (place, after) =
                after.split_once("}}").ok_or_else(|| ParseTemplateError::Open(after.chars().take(80).collect()))?;
            parts.push(Part::Text(unescaped(before)));
            parts.push(Part::Place(path(place.trim())?));
            rest = after;
        }
        parts.push(Part::Text(unescaped(rest)));
        Ok(Self(parts))
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

fn path(place: &str) -> Result<Vec<String>, ParseTemplateError> {
    let wrong = || ParseTemplateError::Place(place.chars().take(80).collect());
    let names = place.strip_prefix('.').ok_or_else(wrong)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let valid = |name: &str| !name.is_empty() && name.bytes().all(|octet| !octet.is_ascii_whitespace());
    names.split('.').map(|name| if valid(name) { Ok(name.to_owned()) } else { Err(wrong()) }).collect()
}

impl Template {
    /// One line for each member of a list, one for anything else.
    pub(crate) fn render(&self, value: &Value) -> String {
        match value {
            Value::Array(members) => members.iter().map(|member| self.line(member)).collect(),
            one => self.line(one),
        }
    }

    fn line(&self, value: &Value) -> String {
        let mut line: String = self.0.iter().map(|part| part.text(value)).collect();
        line.push('\n');
        line
    }
}

impl Part {
    fn text(&self, value: &Value) -> String {
        let path = match self {
            Self::Text(text) => return text.clone(),
            Self::Place(path) => path,
        };
        let found = path.iter().try_fold(value, |value, name| match value {
            Value::Array(members) => members.get(name.parse::<usize>().ok()?),
            other => other.get(name),
        });
        match found {
            None | Some(Value::Null) => NOTHING.to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_filled_with_fields() {
        let value = json!({"name": "api", "pid": 7, "exit_code": null, "endpoints": [{"ipv4": "10.0.0.2"}], "labels": {"a": "b"}});
        for (template, expected) in [
            ("", "\n"),
            ("x", "x\n"),
            ("{{.name}}", "api\n"),
            ("{{ .name }}\\t{{.pid}}", "api\t7\n"),
            ("{{.endpoints.0.ipv4}}", "10.0.0.2\n"),
            ("{{.endpoints.1.ipv4}}", "-\n"),
            ("{{.exit_code}}", "-\n"),
            ("{{.labels}} }", "{\"a\":\"b\"} }\n"),
        ] {
            let parsed: Template = template.parse().unwrap_or_else(|error| panic!("{template}: {error}"));
            assert_eq!(parsed.render(&value), expected, "{template}");
        }
        let names: Template = "{{.name}}".parse().expect("literal");
        assert_eq!(names.render(&json!([value, {"name": "db"}])), "api\ndb\n");
        let whole: Template = "{{.}}".parse().expect("literal");
        assert_eq!(whole.render(&json!({"a": 1})), "{\"a\":1}\n");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (template, expected) in [
            ("{{.name", "`.name` is not closed: expected `}}`"),
            (
                "{{name}}",
                "`{{name}}` is not understood: expected a field such as `{{.name}}` or `{{.endpoints.0.ipv4}}`",
            ),
            (
                "{{.a..b}}",
                "`{{.a..b}}` is not understood: expected a field such as `{{.name}}` or `{{.endpoints.0.ipv4}}`",
            ),
        ] {
            assert_eq!(template.parse::<Template>().expect_err("no template").to_string(), expected);
        }
    }
}
