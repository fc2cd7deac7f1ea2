//! Trees from TOML.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Defect, Key, Node, Value};
use crate::place::{Position, saturated};

/// Where each line of a text begins, so that a position is found without reading the text again.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

/// Up to which octet of a line columns are characters; after it they are octets.
const COUNTED: usize = 1_000;

pub(super) fn document(text: &str) -> Result<Node, Defect> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|error| {
        let position = error.span().map_or(Position::START, |span| lines.position(span.start));
        Defect::invalid(position, format!("not TOML: {}", error.message()))
    })?;
    Ok(Node { position: Position::START, value: lines.table(table.into_inner()) })
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let starts = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn position(&self, octet: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= octet).saturating_sub(1);
        let (rest, octets) = (&self.text[self.starts[line]..], octet - self.starts[line]);
        // In a line that is a whole document, counting characters again for each value would take forever.
        let column = match octets {
            0..=COUNTED => Position::of_octet(rest, octets).column,
            _ => saturated(octets + 1),
        };
        Position { line: saturated(line + 1), column }
    }

    fn table(&self, table: DeTable<'_>) -> Value {
        let field = |(key, value): (Spanned<_>, _)| {
            let key = Key { position: self.position(key.span().start), name: String::from(key.into_inner()) };
            (key, self.node(value))
        };
        Value::Map(table.into_iter().map(field).collect())
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let position = self.position(value.span().start);
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Value::Text(number.as_str().to_owned()), Value::Integer),
            DeValue::Float(number) => {
                number.as_str().parse().map_or_else(|_| Value::Text(number.as_str().to_owned()), Value::Float)
            }
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(moment) => Value::Text(moment.to_string()),
            DeValue::Array(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        Node { position, value }
    }
}
