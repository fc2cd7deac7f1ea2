//! `fabric rename`.

use api::{Client, Rename};

use crate::{arguments::RenameArguments, failure::Failure, output::Output};

pub(super) async fn rename(client: &Client, output: Output, arguments: RenameArguments) -> Result<(), Failure> {
    let container = client.rename_container(&arguments.container, &Rename { name: arguments.name }).await?;
    output.print(&container, || format!("{}\n", container.name))
}
