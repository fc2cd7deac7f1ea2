//! A document as a tree whose every node knows where it stands, whatever it was written in.

mod reading;
mod toml;
mod yaml;

use crate::place::Position;

pub use reading::Problem;
pub(crate) use reading::{Defect, read};

/// A value, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) value: Value,
}

/// What YAML, JSON and TOML have in common.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Fields),
}

/// The fields of a map, as they stand in the text, each of which is found by its name without looking at all others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fields {
    in_order: Vec<(Key, Node)>,
    /// Where in the order each field is, by name.
    by_name: Vec<usize>,
}

/// The name of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) position: Position,
    pub(crate) name: String,
}

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// YAML, several documents in a file; JSON is YAML.
    Yaml,
    /// TOML, one document in a file.
    Toml,
}

impl Syntax {
    /// What a file of this name is written in: TOML if it ends in `.toml`, YAML otherwise.
    pub fn of(file: &str) -> Self {
        if file.to_ascii_lowercase().ends_with(".toml") { Self::Toml } else { Self::Yaml }
    }
}

/// How much text one file may hold, in octets: a document for each of 10,000 endpoints takes a quarter of it.
pub const FILE_LIMIT: usize = 16 << 20;

impl Node {
    /// The documents of a text, without empty ones. What can be made of one text is bounded: its size, the depth of its
    /// nesting, and how much its aliases may repeat.
    pub(crate) fn documents(syntax: Syntax, text: &str) -> Result<Vec<Self>, Defect> {
        if text.len() > FILE_LIMIT {
            return Err(Defect::invalid(Position::START, format!("the file is larger than {} MiB", FILE_LIMIT >> 20)));
        }
        match syntax {
            Syntax::Yaml => yaml::documents(text),
            Syntax::Toml => toml::document(text).map(|node| vec![node]),
        }
    }

    /// A field's value; none if this is not a map or has no such field.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(fields) => fields.of_name(name),
            _ => None,
        }
    }

    /// The same without a field of this name.
    pub(crate) fn without(&self, name: &str) -> Self {
        let value = match &self.value {
            Value::Map(fields) => Value::Map(fields.iter().filter(|(key, _)| key.name != name).cloned().collect()),
            other => other.clone(),
        };
        Self { position: self.position, value }
    }

    /// A field's value, or this node, to tell where something is missing.
    pub(crate) fn nearest_to_field(&self, name: &str) -> &Self {
        self.field(name).unwrap_or(self)
    }

    /// An element of a list, or this node.
    pub(crate) fn nearest_to_item(&self, index: usize) -> &Self {
        self.items().get(index).unwrap_or(self)
    }

    /// The elements of a list; none of what is not a list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Something that is wrong with this value.
    pub(crate) fn invalid(&self, what: impl ToString) -> Defect {
        Defect::invalid(self.position, what)
    }
}

impl Fields {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (Key, Node)> {
        self.in_order.iter()
    }

    /// The first field of this name.
    fn of_name(&self, name: &str) -> Option<&Node> {
        let at = self.by_name.partition_point(|at| self.in_order[*at].0.name.as_str() < name);
        let (key, node) = &self.in_order[*self.by_name.get(at)?];
        (key.name == name).then_some(node)
    }
}

impl FromIterator<(Key, Node)> for Fields {
    fn from_iter<I: IntoIterator<Item = (Key, Node)>>(fields: I) -> Self {
        let in_order: Vec<(Key, Node)> = fields.into_iter().collect();
        let mut by_name: Vec<usize> = (0..in_order.len()).collect();
        by_name.sort_by(|one, other| in_order[*one].0.name.cmp(&in_order[*other].0.name));
        Self { in_order, by_name }
    }
}
