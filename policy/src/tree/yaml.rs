//! Trees from YAML.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Options, Spanned, alias_limits, budget, options};

use super::{Defect, FILE_LIMIT, Key, Node, Value};
use crate::place::Position;

/// How deep lists and maps may be nested: a policy needs 10.
const DEPTH_LIMIT: usize = 32;

/// How many values, and ends of lists and maps, the aliases of a text may repeat.
const REPEATED_LIMIT: usize = 50_000;

pub(super) fn documents(text: &str) -> Result<Vec<Node>, Defect> {
    serde_saphyr::from_multiple_with_options(text, limits()).map_err(|error| {
        let error = error.without_snippet();
        let position = error.location().map_or(Position::START, position);
        // The library says the position again, in words of its own.
        let told = error.to_string();
        let told = told.split(" at line ").next().unwrap_or(&told).lines().next().unwrap_or_default();
        // What its caller could set is nothing to whoever wrote the text.
        let told = told.split(", set ").next().unwrap_or(told);
        Defect::invalid(position, format!("not YAML: {told}"))
    })
}

/// What the size of the text does not bound: nesting, and what aliases repeat.
fn limits() -> Options {
    options! {
        budget: budget! {
            max_depth: DEPTH_LIMIT,
            flow_nesting_limit: DEPTH_LIMIT,
            max_events: FILE_LIMIT,
            max_nodes: FILE_LIMIT,
            max_documents: FILE_LIMIT,
            max_aliases: 10_000,
            max_anchors: 10_000,
        },
        alias_limits: alias_limits! { max_total_replayed_events: REPEATED_LIMIT },
        with_snippet: false,
    }
}

fn position(location: Location) -> Position {
    let saturated = |number| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Position { line: saturated(location.line()), column: saturated(location.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { position: position(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Integer).map_err(|_| E::custom(format!("the number {number} is too large")))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((name, node)) = fields.next_entry::<Spanned<String>, Node>()? {
            map.push((Key { position: position(name.referenced), name: name.value }, node));
        }
        Ok(Value::Map(map.into_iter().collect()))
    }
}
