//! From a tree to types, through serde: whatever a type says it has no field for is an error, and every error has a
//! place.

use std::fmt;

use serde::{
    de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{Key, Node, Value};
use crate::place::Position;

/// What is wrong in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defect {
    /// Nobody knows yet while it is told upwards from the innermost value.
    position: Option<Position>,
    pub(crate) problem: Problem,
}

/// What is wrong at a place of a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing has this field.
    #[error("unknown field `{}`", .name.escape_debug())]
    UnknownField {
        /// As it stands there.
        name: String,
        /// What may have been meant: the nearest known one, or all that there are.
        hint: String,
    },
    /// A value that cannot be, and why.
    #[error("{0}")]
    Invalid(String),
}

impl Defect {
    pub(crate) fn invalid(position: Position, what: impl ToString) -> Self {
        Self { position: Some(position), problem: Problem::Invalid(printable(&what.to_string())) }
    }

    pub(crate) fn position(&self) -> Position {
        self.position.unwrap_or(Position::START)
    }

    fn or_at(self, position: Position) -> Self {
        Self { position: self.position.or(Some(position)), ..self }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for Defect {}

impl de::Error for Defect {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { position: None, problem: Problem::Invalid(printable(&what.to_string())) }
    }
}

/// What a person is told, of which libraries made parts with text of the document in them: without characters that act
/// on a terminal, and not all of what is long.
fn printable(told: &str) -> String {
    const SHOWN: usize = 600;
    let mut text = String::new();
    for character in told.chars().take(SHOWN) {
        match character {
            '\'' | '"' | '\\' => text.push(character),
            _ => text.extend(character.escape_debug()),
        }
    }
    if told.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

/// Reads a type from a tree.
pub(crate) fn read<'n, T: de::Deserialize<'n>>(node: &'n Node) -> Result<T, Defect> {
    T::deserialize(node)
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Defect;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Defect> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(fields) => visitor.visit_map(Entries { rest: fields.iter(), value: None }),
        }
        .map_err(|defect| defect.or_at(self.position))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Defect> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Defect> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Defect> {
        if let Value::Map(fields) = &self.value
            && let Some((key, _)) = fields.iter().find(|(key, _)| !known.contains(&key.name.as_str()))
        {
            let hint = match model::nearest(&key.name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there is: {}", known.join(", ")),
            };
            let name = key.name.chars().take(80).collect();
            return Err(Defect { position: Some(key.position), problem: Problem::UnknownField { name, hint } });
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Defect> {
        let Value::Text(text) = &self.value else {
            return Err(self.invalid(format!("expected one of: {}", known.join(", "))));
        };
        visitor.visit_enum(text.as_str().into_deserializer()).map_err(|defect: Defect| defect.or_at(self.position))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Defect> {
        match &self.value {
            Value::Boolean(found) => Err(self.invalid(not_text(&format!("`{found}`")))),
            Value::Integer(found) => Err(self.invalid(not_text(&format!("the number {found}")))),
            Value::Float(found) => Err(self.invalid(not_text(&format!("the number {found}")))),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Defect> {
        self.deserialize_str(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

fn not_text(found: &str) -> String {
    format!("expected a text, found {found}: put it in quotes")
}

struct Items<'n>(std::slice::Iter<'n, Node>);

impl<'n> SeqAccess<'n> for Items<'n> {
    type Error = Defect;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>, Defect> {
        self.0.next().map(|node| seed.deserialize(node)).transpose()
    }
}

struct Entries<'n> {
    rest: std::slice::Iter<'n, (Key, Node)>,
    value: Option<&'n Node>,
}

impl<'n> MapAccess<'n> for Entries<'n> {
    type Error = Defect;

    fn next_key_seed<K: DeserializeSeed<'n>>(&mut self, seed: K) -> Result<Option<K::Value>, Defect> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let name: de::value::StrDeserializer<'n, Defect> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|defect| defect.or_at(key.position))
    }

    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value, Defect> {
        let value = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(value)
    }
}
