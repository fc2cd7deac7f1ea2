//! From a stream to an image.
//!
//! The stream is unpacked once, as if it were a root file system. If what comes out is an OCI layout or a
//! docker-archive, its layers are unpacked from there; otherwise it *is* the layer, and nothing was written twice.
//!
//! Everything happens in a [`Spool`] until all of it is known to be right. Then it is made durable, moved to its
//! place, and named, in this order.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use model::{Digest, ImageName};
use rustix::fs::{FlockOperation, OFlags};

use crate::{
    Image, ImageError, Images, Limits, Mismatch,
    chain::chain_ids,
    content::{self, Content},
    docker,
    files::{self, LayerRecord, NameRecord},
    layout,
    meter::{Budget, Measured, Meter},
    spool::Spool,
    step::Step,
    store::digest_of,
    tree::{self, Tree},
    unpack::{Unpacked, unpack},
    wire::{Configuration, Execution, Platform, RootFs},
};

/// What errors call what comes in.
const STREAM: &str = "the archive";
/// What a shell finds its programs by where an image does not say; the same as other builders give.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that an image is, checked, but not yet in its place.
struct Complete {
    /// Bottom first.
    layers: Vec<Ready>,
    configuration: Vec<u8>,
    manifest: Vec<u8>,
}

/// A layer that is in the store, or ready to go there.
struct Ready {
    chain: Digest,
    new: Option<New>,
}

struct New {
    path: PathBuf,
    record: LayerRecord,
}

/// Imports `stream` as `name`, which has its tag.
pub(crate) fn import(
    images: &Images,
    stream: impl Read,
    name: &ImageName,
    now: Timestamp,
) -> Result<Image, ImageError> {
    attempt(images, stream, name, now).map_err(|error| match error {
        // The spool, where it happened, is gone by now.
        ImageError::Full { source, .. } => ImageError::Full { directory: images.directory.clone(), source },
        other => other,
    })
}

fn attempt(images: &Images, stream: impl Read, name: &ImageName, now: Timestamp) -> Result<Image, ImageError> {
    let limits = images.limits;
    let spool = Spool::new(&images.directory)?;
    let budget = Budget::new(limits);
    let tree = spool.layer()?;
    let whole = unpack(STREAM, Meter::open(STREAM, stream, &budget)?, &tree, &[], limits)?;
    if whole.is_empty {
        return Err(ImageError::Empty);
    }
    if !whole.has_trailer {
        return Err(ImageError::Malformed {
            archive: STREAM.to_owned(),
            entry: "after the last".to_owned(),
            reason: "it ends without the end-of-archive block, so it was cut off".to_owned(),
        });
    }
    let content = match layout::read(&tree, &limits)? {
        Some(content) => Some(content),
        None => docker::read(&tree, &limits)?,
    };
    // From here on nothing that is reused may be collected.
    let _lock = images.lock(FlockOperation::LockShared)?;
    let complete = match content {
        Some(content) => layers(images, &spool, content, &budget, limits)?,
        None => root_file_system(images, &tree, whole)?,
    };
    images.after(Step::Unpacked);
    commit(images, &spool, complete, name, now)?;
    images.find(name)?.ok_or_else(|| ImageError::NotFound { name: name.clone() })
}

/// Unpacks the layers that are not in the store yet, and holds all of them against their descriptions.
fn layers(
    images: &Images,
    spool: &Spool,
    content: Content,
    budget: &Budget,
    limits: Limits,
) -> Result<Complete, ImageError> {
    let diff_ids: Vec<Digest> = content.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let mut ready = Vec::new();
    let mut stored = Vec::new();
    // Topmost first.
    let mut lower: Vec<Tree> = Vec::new();
    for (layer, chain) in content.layers.into_iter().zip(chain_ids(&diff_ids)) {
        let meter = Meter::open(&layer.object, layer.file, budget)?;
        let (measured, new, tree) = match present(images, &chain)? {
            Some(path) => (meter.finish()?, None, Tree::open(&path)?),
            None => {
                let tree = spool.layer()?;
                let unpacked = unpack(&layer.object, meter, &tree, &lower, limits)?;
                let new = New { path: tree.path.clone(), record: record(&layer.diff_id, &unpacked) };
                (unpacked.measured, Some(new), tree)
            }
        };
        if let Some(descriptor) = &layer.stored {
            let Measured { stored, stored_octets, .. } = &measured;
            content::verify(&layer.object, &descriptor.digest, descriptor.size, stored, *stored_octets)?;
        }
        if measured.plain != layer.diff_id {
            let mismatch = Mismatch::Digest { expected: layer.diff_id, found: measured.plain };
            return Err(ImageError::Mismatch { object: format!("{}, decompressed,", layer.object), mismatch });
        }
        stored.push((measured.stored, measured.stored_octets));
        ready.push(Ready { chain, new });
        lower.insert(0, tree);
    }
    let manifest = content.manifest.unwrap_or_else(|| content::manifest(&content.configuration, stored.into_iter()));
    Ok(Complete { layers: ready, configuration: content.configuration, manifest })
}

/// The image of one layer that a root file system makes. The same archive always makes the same image: nothing in it
/// tells the time.
fn root_file_system(images: &Images, tree: &Tree, whole: Unpacked) -> Result<Complete, ImageError> {
    let diff_id = whole.measured.plain.clone();
    let shell = tree.resolve(b"bin/sh", OFlags::PATH).is_ok();
    let configuration = Configuration {
        created: None,
        platform: Platform::host(),
        config: Execution {
            env: vec![PATH.to_owned()],
            cmd: if shell { vec!["/bin/sh".to_owned()] } else { Vec::new() },
            ..Execution::default()
        },
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id.clone()] },
    };
    let configuration = serde_json::to_vec(&configuration).expect("a configuration is plain data with string keys");
    let octets = whole.measured.plain_octets;
    let manifest = content::manifest(&configuration, [(diff_id.clone(), octets)].into_iter());
    let new = match present(images, &diff_id)? {
        Some(_) => None,
        None => Some(New { path: tree.path.clone(), record: record(&diff_id, &whole) }),
    };
    Ok(Complete { layers: vec![Ready { chain: diff_id, new }], configuration, manifest })
}

/// The record of a layer that has no place yet.
fn record(diff_id: &Digest, unpacked: &Unpacked) -> LayerRecord {
    LayerRecord { directory: String::new(), diff_id: diff_id.clone(), size: unpacked.size, opaque: unpacked.opaque }
}

/// The directory of an unpacked layer of the store.
fn present(images: &Images, chain: &Digest) -> Result<Option<PathBuf>, ImageError> {
    let record: Option<LayerRecord> = files::read_record(&images.layer_path(chain))?;
    Ok(record.map(|record| images.directory.join("l").join(record.directory)))
}

/// Makes everything durable, then visible.
fn commit(
    images: &Images,
    spool: &Spool,
    complete: Complete,
    name: &ImageName,
    now: Timestamp,
) -> Result<(), ImageError> {
    tree::sync(&spool.path)?;
    let Complete { layers, configuration, manifest } = complete;
    for layer in layers {
        if let Some(new) = layer.new {
            place(images, spool, &layer.chain, new)?;
        }
    }
    let digest = digest_of(&manifest);
    files::write(&images.blob_path(&digest_of(&configuration)), &configuration, &spool.path)?;
    files::write(&images.blob_path(&digest), &manifest, &spool.path)?;
    images.after(Step::DocumentsWritten);
    let record = NameRecord { name: name.clone(), digest: digest.clone(), imported_at: now };
    files::write_record(&images.image_path(&digest), &record, &spool.path)?;
    images.after(Step::Recorded);
    files::write_record(&images.name_path(name), &record, &spool.path)?;
    images.after(Step::Named);
    Ok(())
}

/// Moves an unpacked layer into the store. If another import was first with the same one, that one stays, because a
/// container may be using it already.
fn place(images: &Images, spool: &Spool, chain: &Digest, new: New) -> Result<(), ImageError> {
    let parent = images.directory.join("l");
    let (directory, path) = free_name(&parent)?;
    fs::rename(&new.path, &path).map_err(|cause| ImageError::storage("write", &path, cause))?;
    files::sync_directory(&parent)?;
    images.after(Step::LayerPlaced);
    let record = LayerRecord { directory, ..new.record };
    if !files::write_new_record(&images.layer_path(chain), &record, &spool.path)? {
        fs::rename(&path, spool.fresh()).map_err(|cause| ImageError::storage("remove", &path, cause))?;
        return Ok(());
    }
    images.after(Step::LayerRecorded);
    Ok(())
}

/// A name of 24 random hexadecimal digits: short, because overlayfs takes all paths of a mount on one page, and random,
/// because a name cut from a digest could be met on purpose.
fn free_name(parent: &Path) -> Result<(String, PathBuf), ImageError> {
    let mut octets = [0; 12];
    rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty())
        .map_err(|cause| ImageError::storage("name a layer in", parent, cause))?;
    let name: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let path = parent.join(&name);
    Ok((name, path))
}
