//! Claiming an address against others who do the same.

use model::EndpointId;
use store::{CommitError, Revision, Store, Transaction};

use crate::{IpamError, Lease, LeaseTable, Request};

/// Why an endpoint did not get an address.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// There is none for it.
    #[error(transparent)]
    Ipam(#[from] IpamError),
    /// The transaction that should have recorded it failed, for another reason than that the address was taken.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Chooses an address for `endpoint` and commits its lease together with what `record` makes of it.
///
/// If somebody else takes the address first, the table is read again and the next one is tried; each such turn means
/// that another endpoint got an address, so it ends at the latest when none is left. The table knows the lease then.
///
/// # Errors
/// [`ClaimError::Ipam`] when there is no such address, [`ClaimError::Commit`] when the record's own guards fail
/// or the store does. Nothing is leased then.
pub async fn claim(
    store: &dyn Store,
    table: &mut LeaseTable,
    request: Request<'_>,
    endpoint: &EndpointId,
    mut record: impl FnMut(&Lease) -> Transaction + Send,
) -> Result<(Lease, Revision), ClaimError> {
    loop {
        let address = table.choose(request)?;
        let lease = Lease { network: table.network().clone(), address, endpoint: endpoint.clone() };
        match store.commit(record(&lease).guarded(lease.claim())).await {
            Ok(revision) => {
                table.insert(&lease, revision);
                return Ok((lease, revision));
            }
            Err(CommitError::Conflict { key }) if key == lease.key() => table.refresh(store).await?,
            Err(error) => return Err(error.into()),
        }
    }
}
