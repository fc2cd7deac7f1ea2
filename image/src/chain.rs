//! Chain identifiers: what a stack of layers is called.

use model::Digest;

use crate::store::digest_of;

/// The chain identifier of every layer, bottom first: the first is its diff identifier, each further one the digest
/// of the one below and its own diff identifier (OCI image specification, config, "Layer ChainID").
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chains.push(match chains.last() {
            None => diff_id.clone(),
            Some(below) => digest_of(format!("{below} {diff_id}").as_bytes()),
        });
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_digests_of_two_digests() {
        let (a, b) = (digest_of(b"a"), digest_of(b"b"));
        assert_eq!(chain_ids(&[]), []);
        assert_eq!(chain_ids(std::slice::from_ref(&a)), std::slice::from_ref(&a));
        let both = digest_of(format!("{a} {b}").as_bytes());
        assert_eq!(chain_ids(&[a.clone(), b]), [a, both]);
    }
}
