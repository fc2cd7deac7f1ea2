//! What shells complete names with: those that `netd` knows.
//!
//! Whoever presses a key waits for it, and is shown nothing but names: where there is no `netd`, or it does not answer
//! soon, there are none.

use std::{path::PathBuf, time::Duration};

use api::{Client, ClientError, ContainersQuery};
use clap_complete::{ArgValueCandidates, CompletionCandidate};

/// How long somebody who pressed a key is kept waiting at most.
const PATIENCE: Duration = Duration::from_millis(500);

/// A name, and what is shown beside it where a shell can.
type Named = (String, String);

/// Names of all containers.
pub(crate) fn containers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(async |client| containers_of(client, true).await))
}

/// Names of containers that run.
pub(crate) fn running() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(async |client| containers_of(client, false).await))
}

async fn containers_of(client: Client, all: bool) -> Result<Vec<Named>, ClientError> {
    let containers = client.containers(ContainersQuery { all }).await?;
    Ok(containers.into_iter().map(|it| (it.name.to_string(), it.image.to_string())).collect())
}

/// Names of networks.
pub(crate) fn networks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(networks_of))
}

/// Names of networks, and what a container can have instead.
pub(crate) fn networks_of_containers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let others = [("none", "only the loopback interface"), ("host", "the host's own")];
        let others = others.map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into())));
        candidates(networks_of).into_iter().chain(others).collect()
    })
}

async fn networks_of(client: Client) -> Result<Vec<Named>, ClientError> {
    Ok(client.networks().await?.into_iter().map(|it| (it.name.to_string(), it.driver.to_string())).collect())
}

/// Names of images, as people write them.
pub(crate) fn images() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        candidates(async |client| {
            let images = client.images().await?;
            let named = images.into_iter().map(|it| {
                let name = it.name.as_str();
                (name.strip_suffix(":latest").unwrap_or(name).to_owned(), it.digest.to_string())
            });
            Ok(named.collect())
        })
    })
}

/// Names of policies and stances that are in force.
pub(crate) fn policies() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        candidates(async |client| Ok(client.policies().await?.into_iter().map(|it| (it.name, it.kind)).collect()))
    })
}

fn candidates(ask: impl AsyncFnOnce(Client) -> Result<Vec<Named>, ClientError>) -> Vec<CompletionCandidate> {
    let client = Client::new(socket(std::env::args_os().map(|word| word.to_string_lossy().into_owned())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
    let answer = runtime.and_then(|runtime| {
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(client)).await });
        runtime.shutdown_background();
        answer.ok()?.ok()
    });
    let candidate = |(name, help): Named| CompletionCandidate::new(name).help(Some(help.into()));
    answer.unwrap_or_default().into_iter().map(candidate).collect()
}

/// Where `netd` listens: as was typed in the line that is to be completed, or as ever.
fn socket(words: impl Iterator<Item = String>) -> PathBuf {
    let mut words = words.skip_while(|word| word != "--socket" && !word.starts_with("--socket="));
    let typed = words.next().and_then(|word| match word.strip_prefix("--socket=") {
        Some(path) => Some(path.to_owned()),
        None => words.next(),
    });
    crate::arguments::socket(typed.map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_that_was_typed_is_asked() {
        for line in ["fabric --socket /a/b rm", "fabric rm --socket=/a/b x"] {
            assert_eq!(socket(line.split(' ').map(str::to_owned)), PathBuf::from("/a/b"), "{line}");
        }
    }
}
