//! `fabric version`.

use api::{API_VERSION, Client};
use serde::Serialize;

use crate::{
    failure::Failure,
    output::Output,
    table::{NOTHING, table},
};

/// The versions of both sides; the daemon's are null when it cannot be reached.
#[derive(Debug, Serialize)]
struct Versions {
    client: api::Version,
    server: Option<api::Version>,
}

pub(super) async fn version(client: &Client, output: Output) -> Result<(), Failure> {
    let own = api::Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: API_VERSION.to_owned() };
    let (server, failure) = match client.version().await {
        Ok(server) => (Some(server), None),
        Err(error) => (None, Some(error)),
    };
    let versions = Versions { client: own, server };
    output.print(&versions, || render(&versions))?;
    failure.map_or(Ok(()), |error| Err(error.into()))
}

fn render(versions: &Versions) -> String {
    let row = |name: &str, version: Option<&api::Version>| {
        let part = |text: Option<&String>| text.map_or_else(|| NOTHING.to_owned(), Clone::clone);
        [name.to_owned(), part(version.map(|version| &version.version)), part(version.map(|version| &version.api))]
    };
    table(["PROGRAM", "VERSION", "API"], [row("fabric", Some(&versions.client)), row("netd", versions.server.as_ref())])
}

#[cfg(test)]
mod tests;
