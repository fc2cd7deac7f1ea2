//! `fabric logs`.

use api::{Client, LogsQuery};

use crate::{arguments::LogsArguments, failure::Failure, output::Output};

pub(super) async fn logs(client: &Client, output: Output, arguments: LogsArguments) -> Result<(), Failure> {
    let query = LogsQuery { follow: arguments.follow, tail: arguments.tail };
    let mut lines = client.logs(&arguments.container, query).await?;
    while let Some(line) = lines.next().await? {
        output.stream(&line, line.stream, &line.log)?;
    }
    Ok(())
}
