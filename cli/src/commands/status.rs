//! `fabric status`.

use api::{Client, Status};
use jiff::Timestamp;

use crate::{
    failure::Failure,
    output::Output,
    table::{age, fields},
};

pub(super) async fn status(client: &Client, output: Output) -> Result<(), Failure> {
    let status = client.status().await?;
    output.print(&status, || render(&status, Timestamp::now()))
}

fn render(status: &Status, now: Timestamp) -> String {
    fields(
        [
            ["netd", &status.version],
            ["pid", &status.pid.to_string()],
            ["started", &age(status.started_at, now)],
            ["data directory", &status.data_dir.to_string_lossy()],
            ["run directory", &status.run_dir.to_string_lossy()],
            ["networks", &status.networks.to_string()],
            ["containers", &format!("{}, of which {} run", status.containers, status.running)],
            ["images", &status.images.to_string()],
        ]
        .map(|row| row.map(str::to_owned)),
    )
}

#[cfg(test)]
mod tests;
