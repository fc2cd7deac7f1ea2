//! Columns of text.

use comfy_table::{ContentArrangement, Table, presets};
use jiff::{SignedDuration, Timestamp};
use model::Printable;

/// What stands where there is nothing to show.
pub(crate) const NOTHING: &str = "-";

/// Rows under upper-case headings, three spaces between columns, as wide as their content.
pub(crate) fn table<const COLUMNS: usize>(
    headings: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    lines(Some(headings), rows)
}

/// Rows of a name and a value, without headings.
pub(crate) fn fields(rows: impl IntoIterator<Item = [String; 2]>) -> String {
    lines(None, rows)
}

fn lines<const COLUMNS: usize>(
    headings: Option<[&str; COLUMNS]>,
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if let Some(headings) = headings {
        table.set_header(headings);
    }
    for row in rows {
        table.add_row(row.map(|cell| Printable(&cell).to_string()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago `then` was, in the largest unit that fits: `5 minutes ago`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).max(SignedDuration::ZERO).as_secs();
    let units = [("year", 31_536_000), ("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60)];
    let (unit, count) = units
        .into_iter()
        .find(|(_, length)| seconds >= *length)
        .map_or(("second", seconds), |(unit, length)| (unit, seconds / length));
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// Octets in the largest decimal unit that fits: `4.2 MB`.
pub(crate) fn octets(count: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
        None => format!("{count} B"),
    }
}

/// Texts joined by commas, or [`NOTHING`].
pub(crate) fn joined(texts: impl IntoIterator<Item = impl ToString>) -> String {
    let joined = texts.into_iter().map(|text| text.to_string()).collect::<Vec<_>>().join(", ");
    if joined.is_empty() { NOTHING.to_owned() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_use_the_largest_unit_that_fits() {
        let then: Timestamp = "2026-01-01T00:00:00Z".parse().expect("literal");
        for (seconds, shown) in [
            (-5, "0 seconds ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (7_200, "2 hours ago"),
            (86_400, "1 day ago"),
            (15 * 86_400, "2 weeks ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            assert_eq!(age(then, then + SignedDuration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn sizes_use_the_largest_unit_that_fits() {
        for (count, shown) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (4_260_000, "4.2 MB"), (12_000_000_000, "12.0 GB")]
        {
            assert_eq!(octets(count), shown);
        }
    }

    #[test]
    fn a_cell_stays_in_its_row() {
        let text = table(["A", "B"], [["x\ny\x1b[31m".to_owned(), "z".to_owned()]]);
        assert_eq!(text, "A                B\nx\\ny\\u{1b}[31m   z\n");
    }
}
