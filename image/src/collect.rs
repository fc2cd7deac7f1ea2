//! What goes when nothing needs it any more. Runs under the exclusive lock.

use std::{collections::BTreeSet, fs};

use model::Digest;

use crate::{
    ImageError, Images, Removed,
    chain::chain_ids,
    files::{self, LayerRecord, NameRecord},
    spool::Spool,
};

/// Removes images without a name that are not `in_use`, then blobs, layers and directories that no image needs.
/// `untagged` is only reported. Unpacked layers are moved to `spool`, whose removal takes its time without the lock.
///
/// Records go before what they describe, so that an interruption leaves strays and never a record of nothing.
pub(crate) fn collect(
    images: &Images,
    spool: &Spool,
    untagged: Digest,
    in_use: &BTreeSet<Digest>,
) -> Result<Removed, ImageError> {
    let mut removed = Removed { digest: untagged, images: Vec::new(), layers: 0, octets: 0 };
    let named: BTreeSet<Digest> = files::records::<NameRecord>(&images.directory.join("names"))?
        .into_iter()
        .map(|(_, name)| name.digest)
        .collect();
    let mut blobs = BTreeSet::new();
    let mut chains = BTreeSet::new();
    for (path, record) in files::records::<NameRecord>(&images.directory.join("images"))? {
        if !named.contains(&record.digest) && !in_use.contains(&record.digest) {
            files::remove(&path)?;
            removed.images.push(record.digest);
            continue;
        }
        // An image too damaged to be read keeps nothing alive but itself.
        blobs.insert(images.blob_path(&record.digest));
        if let Ok((manifest, configuration)) = images.documents(&record.digest) {
            blobs.insert(images.blob_path(&manifest.config.digest));
            chains.extend(chain_ids(&configuration.rootfs.diff_ids).iter().map(|chain| images.layer_path(chain)));
        }
    }
    for (path, record) in files::records::<LayerRecord>(&images.directory.join("layers"))? {
        if !chains.contains(&path) {
            files::remove(&path)?;
            removed.layers += 1;
            removed.octets += record.size;
        }
    }
    for path in files::entries(&images.directory.join("blobs/sha256"))? {
        if !blobs.contains(&path) {
            files::remove(&path)?;
        }
    }
    strays(images, spool)?;
    Ok(removed)
}

/// Moves directories of layers that have no record to `spool`.
pub(crate) fn strays(images: &Images, spool: &Spool) -> Result<(), ImageError> {
    let kept: BTreeSet<String> = files::records::<LayerRecord>(&images.directory.join("layers"))?
        .into_iter()
        .map(|(_, layer)| layer.directory)
        .collect();
    for path in files::entries(&images.directory.join("l"))? {
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| kept.contains(name)) {
            let target = spool.fresh();
            fs::rename(&path, &target).map_err(|cause| ImageError::storage("remove", &path, cause))?;
        }
    }
    Ok(())
}
