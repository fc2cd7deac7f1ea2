//! Rows as a table for people and as JSON for programs.

use std::{fmt::Write, path::Path};

use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};

use crate::row::{Measured, Row};

/// Below each measure one line for each competitor and one for each target; below all, why who did not take part.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["MEASURE", "MEDIAN", "MIN", "P99", "MAX", "N", "RATIO"]);
    let mut reasons: Vec<&str> = Vec::new();
    for row in rows {
        let own = row.results.first().and_then(|outcome| row.median(&outcome.who));
        table.add_row([format!("{} ({})", row.measure, row.unit)]);
        for outcome in &row.results {
            let mut cells = vec![Cell::new(format!("  {}", outcome.who))];
            match &outcome.result {
                Measured::Values(sample) => {
                    let values = [sample.median(), sample.min(), sample.quantile(0.99), sample.max()];
                    cells.extend(values.map(number).map(right));
                    cells.push(right(sample.count().to_string()));
                    cells.push(right(own.map(|own| number(sample.median() / own)).unwrap_or_default()));
                }
                Measured::NotRun(why) => {
                    let place = reasons.iter().position(|known| known == why).unwrap_or_else(|| {
                        reasons.push(why);
                        reasons.len() - 1
                    });
                    cells.push(right(format!("not run [{}]", place + 1)));
                }
            }
            table.add_row(cells);
        }
        for target in &row.targets {
            let verdict = match target.kept {
                Some(true) => "kept",
                Some(false) => "MISSED",
                None => "not known",
            };
            let mut cells = vec![Cell::new(format!("  target: {}", target.text)), right(verdict.to_owned())];
            cells.extend([(); 4].map(|()| Cell::new("")));
            cells.push(right(target.of_limit.map(number).unwrap_or_default()));
            table.add_row(cells);
        }
    }
    let mut text = format!("{}\n\n", table.trim_fmt());
    text.push_str("RATIO: to the first of the measure; of a target, what was reached to the limit.\n");
    for (index, reason) in reasons.iter().enumerate() {
        writeln!(text, "[{}] {reason}", index + 1).expect("a String takes all");
    }
    text
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn number(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

pub(crate) fn write(path: &Path, rows: &[Row]) -> std::io::Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(rows).expect("rows are texts and numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        row::Outcome,
        sample::{Sample, Unit},
    };

    #[test]
    fn a_table_names_targets_and_who_did_not_run() {
        let values = Outcome { who: "fabric".into(), result: Measured::Values(Sample::new(vec![20.0, 40.0, 30.0])) };
        let absent = |who| Outcome::once(who, Err("not installed".to_owned()));
        let results = vec![values, Outcome::once("docker", Ok(1200.0)), absent("podman"), absent("runc")];
        let mut row = Row::new("start", Unit::Milliseconds, results);
        row.at_most("fabric", 25.0);
        row.at_most_times("fabric", 0.5, "podman");
        let expected = "
 MEASURE                            MEDIAN       MIN    P99    MAX    N  RATIO
 start (ms)
   fabric                                 30.00  20.00  40.00  40.00  3   1.00
   docker                                  1200   1200   1200   1200  1  40.00
   podman                           not run [1]
   runc                             not run [1]
   target: fabric ≤ 25 ms                MISSED                           1.20
   target: fabric ≤ 0.500 × podman    not known

RATIO: to the first of the measure; of a target, what was reached to the limit.
[1] not installed
";
        assert_eq!(format!("\n{}", table(&[row])), expected);
    }
}
