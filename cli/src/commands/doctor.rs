//! `fabric doctor`.

use std::process::ExitCode;

use api::{Check, Client, Doctor};
use model::Printable;

use crate::{arguments::DoctorArguments, failure::Failure, output::Output, table::table};

pub(super) async fn doctor(client: &Client, output: Output, arguments: DoctorArguments) -> Result<ExitCode, Failure> {
    let doctor = if arguments.fix { client.mend().await? } else { client.doctor().await? };
    output.print(&doctor, || render(&doctor))?;
    Ok(if doctor.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(doctor: &Doctor) -> String {
    let mut text = String::new();
    for mended in &doctor.mended {
        let line = format!("mended: {}: {}", mended.object, mended.difference);
        text.push_str(&Printable(&line).to_string());
        text.push('\n');
    }
    text + &table(["CHECK", "RESULT", "MESSAGE"], doctor.checks.iter().flat_map(rows))
}

/// One row for the check, one for each difference, and each remedy once.
fn rows(check: &Check) -> Vec<[String; 3]> {
    let below = |text: String| [String::new(), String::new(), text];
    let mut rows = vec![[check.name.clone(), check.result.as_str().to_owned(), check.message.clone()]];
    rows.extend(check.differences.iter().map(|it| below(format!("{}: {}", it.object, it.difference))));
    let mut remedies: Vec<&String> = check.hint.iter().collect();
    for difference in &check.differences {
        if !remedies.contains(&&difference.remedy) {
            remedies.push(&difference.remedy);
        }
    }
    rows.extend(remedies.into_iter().map(|remedy| below(format!("hint: {remedy}"))));
    rows
}

#[cfg(test)]
mod tests;
