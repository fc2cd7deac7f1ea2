//! What goes when nothing needs it any more. Runs under the exclusive lock.

use std::{collections::BTreeSet, fs, path::PathBuf};

use model::Digest;

use crate::{
    ImageError, Images, Removed,
    chain::chain_ids,
    files::{self, LayerRecord, NameRecord},
    shape,
    spool::{self, Spool},
    step::Step,
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
    let Needed { unnamed, blobs, chains } = Needed::of(images, in_use)?;
    for (path, digest) in unnamed {
        files::remove(&path)?;
        images.after(Step::Forgotten);
        removed.images.push(digest);
    }
    for (path, record) in files::records::<LayerRecord>(&images.directory, "layers")? {
        if !chains.contains(&path) {
            files::remove(&path)?;
            images.after(Step::LayerForgotten);
            removed.layers += 1;
            removed.octets += record.size;
        }
    }
    for path in shape::own(&images.directory, "blobs/sha256")? {
        if !blobs.contains(&path) {
            files::remove(&path)?;
            images.after(Step::DocumentRemoved);
        }
    }
    strays(images, spool)?;
    Ok(removed)
}

/// What names and containers need, and the records that neither does.
struct Needed {
    unnamed: Vec<(PathBuf, Digest)>,
    blobs: BTreeSet<PathBuf>,
    chains: BTreeSet<PathBuf>,
}

impl Needed {
    fn of(images: &Images, in_use: &BTreeSet<Digest>) -> Result<Self, ImageError> {
        let named: BTreeSet<Digest> = files::records::<NameRecord>(&images.directory, "names")?
            .into_iter()
            .map(|(_, name)| name.digest)
            .collect();
        let mut needed = Self { unnamed: Vec::new(), blobs: BTreeSet::new(), chains: BTreeSet::new() };
        for (path, record) in files::records::<NameRecord>(&images.directory, "images")? {
            if !named.contains(&record.digest) && !in_use.contains(&record.digest) {
                needed.unnamed.push((path, record.digest));
                continue;
            }
            // An image too damaged to be read keeps nothing alive but itself.
            needed.blobs.insert(images.blob_path(&record.digest));
            if let Ok((manifest, configuration)) = images.documents(&record.digest) {
                needed.blobs.insert(images.blob_path(&manifest.config.digest));
                let chains = chain_ids(&configuration.rootfs.diff_ids);
                needed.chains.extend(chains.iter().map(|chain| images.layer_path(chain)));
            }
        }
        Ok(needed)
    }
}

/// What [`Images::tidy`] would remove.
pub(crate) fn unneeded(images: &Images, in_use: &BTreeSet<Digest>) -> Result<Vec<PathBuf>, ImageError> {
    let Needed { unnamed, blobs, chains } = Needed::of(images, in_use)?;
    let mut found: Vec<PathBuf> = unnamed.into_iter().map(|(path, _)| path).collect();
    let mut kept = BTreeSet::new();
    for (path, record) in files::records::<LayerRecord>(&images.directory, "layers")? {
        kept.insert(images.directory.join("l").join(record.directory));
        if !chains.contains(&path) {
            found.push(path);
        }
    }
    for (directory, needed) in [("blobs/sha256", &blobs), ("l", &kept)] {
        let entries = shape::own(&images.directory, directory)?;
        found.extend(entries.into_iter().filter(|path| !needed.contains(path)));
    }
    found.extend(spool::abandoned(&images.directory)?);
    Ok(found)
}

/// Moves directories of layers that have no record to `spool`.
pub(crate) fn strays(images: &Images, spool: &Spool) -> Result<(), ImageError> {
    let kept: BTreeSet<String> = files::records::<LayerRecord>(&images.directory, "layers")?
        .into_iter()
        .map(|(_, layer)| layer.directory)
        .collect();
    for path in shape::own(&images.directory, "l")? {
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| kept.contains(name)) {
            let target = spool.fresh();
            fs::rename(&path, &target).map_err(|cause| ImageError::storage("remove", &path, cause))?;
            images.after(Step::LayerTaken);
        }
    }
    Ok(())
}
