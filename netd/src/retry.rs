//! Trying again in the background what could not be done for a container.

use std::time::Duration;

use model::ContainerId;

use crate::{daemon::chain, failure::Failure};

/// How long to wait before something that failed in the background is tried again.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Makes an attempt after each pause, until one succeeds: what is in the way now, such as too few descriptors, may be
/// out of it soon. `failed` is what is told of one that does not.
pub(crate) fn until_it_succeeds<Attempt>(
    id: ContainerId,
    failed: &'static str,
    attempt: impl Fn(ContainerId) -> Attempt + Send + 'static,
) where
    Attempt: Future<Output = Result<(), Failure>> + Send + 'static,
{
    tokio::spawn(async move {
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            // Boxed: this waits for as long as something is in the way, and is as large as the largest future in it.
            match Box::pin(attempt(id.clone())).await {
                Ok(()) => return,
                Err(failure) => tracing::warn!(container = id.short(), failure = chain(&failure), "{failed}"),
            }
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    });
}
