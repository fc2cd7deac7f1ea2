//! `fabric doctor`.

use std::process::ExitCode;

use api::{Client, Doctor};

use crate::{failure::Failure, output::Output, table::table};

pub(super) async fn doctor(client: &Client, output: Output) -> Result<ExitCode, Failure> {
    let doctor = client.doctor().await?;
    output.print(&doctor, || render(&doctor))?;
    Ok(if doctor.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(doctor: &Doctor) -> String {
    table(
        ["CHECK", "RESULT", "MESSAGE"],
        doctor.checks.iter().flat_map(|check| {
            let row = [check.name.clone(), check.result.as_str().to_owned(), check.message.clone()];
            let hint = check.hint.as_ref().map(|hint| [String::new(), String::new(), format!("hint: {hint}")]);
            std::iter::once(row).chain(hint)
        }),
    )
}

#[cfg(test)]
mod tests;
