//! Rows as a table for people and as JSON for programs.

use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};

use crate::row::{Measured, Row};

/// One line for each competitor, and one for each promise.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["MEASURE", "WHO", "MEDIAN", "MIN", "P99", "MAX", "N", "RATIO"]);
    for row in rows {
        let own = row.results.first().and_then(|outcome| row.median(&outcome.who));
        for (index, outcome) in row.results.iter().enumerate() {
            let first = if index == 0 { format!("{} ({})", row.measure, row.unit) } else { String::new() };
            match &outcome.result {
                Measured::Values(sample) => {
                    let ratio = own.map(|own| format!("{:.2}", sample.median() / own));
                    let values = [sample.median(), sample.min(), sample.quantile(0.99), sample.max()];
                    let mut cells = vec![Cell::new(first), Cell::new(&outcome.who)];
                    cells.extend(values.map(number).map(Cell::new));
                    cells.push(Cell::new(sample.count()));
                    cells.push(Cell::new(ratio.unwrap_or_default()));
                    let aligned = cells
                        .into_iter()
                        .enumerate()
                        .map(|(column, cell)| if column < 2 { cell } else { cell.set_alignment(CellAlignment::Right) });
                    table.add_row(aligned.collect::<Vec<_>>());
                }
                Measured::NotRun(why) => {
                    table.add_row([first, outcome.who.clone(), format!("not run: {why}")]);
                }
            }
        }
        for target in &row.targets {
            let verdict = match target.kept {
                Some(true) => "kept",
                Some(false) => "MISSED",
                None => "not known",
            };
            table.add_row([String::new(), format!("target {}", target.text), verdict.to_owned()]);
        }
    }
    table
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

pub(crate) fn write(path: &Path, rows: &[Row]) -> std::io::Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(rows).expect("rows are texts and numbers"))
}
