//! What an archive says an image is made of: the common end of every form of import.

use std::fs::File;

use model::Digest;

use crate::{
    ImageError, Limit, Limits, Mismatch,
    store::digest_of,
    tree::Tree,
    wire::{CONFIG, Configuration, Descriptor, LAYER, MANIFEST, Manifest, Platform},
};

/// One image of an archive, its documents read and checked, its layers not yet.
#[derive(Debug)]
pub(crate) struct Content {
    /// Verbatim.
    pub(crate) configuration: Vec<u8>,
    /// Verbatim; none where the archive has none and one is made from what the layers turn out to be.
    pub(crate) manifest: Option<Vec<u8>>,
    /// Bottom first.
    pub(crate) layers: Vec<Layer>,
}

/// A layer's archive, ready to be read.
#[derive(Debug)]
pub(crate) struct Layer {
    /// What errors call it.
    pub(crate) object: String,
    pub(crate) file: File,
    /// Of the archive as it is stored, where a manifest says so.
    pub(crate) stored: Option<Descriptor>,
    /// Of the archive decompressed.
    pub(crate) diff_id: Digest,
}

/// Reads a configuration and holds it against the number of layers and this host. Gives the layers' diff identifiers.
pub(crate) fn diff_ids(
    object: &str,
    configuration: &[u8],
    layers: usize,
    limits: &Limits,
) -> Result<Vec<Digest>, ImageError> {
    let unusable = |reason: String| ImageError::Document { object: object.to_owned(), reason };
    let configuration: Configuration = parse(object, configuration)?;
    if !configuration.platform.runs_here() {
        let found = vec![configuration.platform.text()];
        return Err(ImageError::Platform { wanted: Platform::host().text(), found });
    }
    if configuration.rootfs.kind != "layers" {
        return Err(unusable(format!(
            "its root file system is of type `{}`",
            configuration.rootfs.kind.escape_debug()
        )));
    }
    let found = configuration.rootfs.diff_ids;
    if found.len() != layers {
        let mismatch = Mismatch::Layers { expected: layers, found: found.len() };
        return Err(ImageError::Mismatch { object: object.to_owned(), mismatch });
    }
    if found.is_empty() {
        return Err(unusable("the image has no layers, so there is no file system to run in".to_owned()));
    }
    if found.len() > limits.layers {
        return Err(ImageError::Limit { object: "the image".to_owned(), limit: Limit::Layers(limits.layers) });
    }
    Ok(found)
}

/// The manifest of an image whose archive had none. The same layers and configuration give the same manifest.
pub(crate) fn manifest(configuration: &[u8], layers: impl Iterator<Item = (Digest, u64)>) -> Vec<u8> {
    let descriptor = |media_type: &str, digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: descriptor(CONFIG, digest_of(configuration), configuration.len() as u64),
        layers: layers.map(|(digest, size)| descriptor(LAYER, digest, size)).collect(),
    };
    serde_json::to_vec(&manifest).expect("a manifest is plain data with string keys")
}

/// The content of a blob that is a document, held against its descriptor. `object` says what it is.
pub(crate) fn blob(tree: &Tree, descriptor: &Descriptor, object: &str, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    let content = tree
        .document(&blob_path(&descriptor.digest), limits)?
        .ok_or_else(|| ImageError::Missing { object: object.to_owned() })?;
    verify(object, &descriptor.digest, descriptor.size, &digest_of(&content), content.len() as u64)?;
    Ok(content)
}

/// Where an OCI layout keeps a blob (OCI image specification, image layout).
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Holds length and digest of some content against its description.
pub(crate) fn verify(
    object: &str,
    expected: &Digest,
    expected_size: u64,
    found: &Digest,
    found_size: u64,
) -> Result<(), ImageError> {
    let mismatch = if expected_size != found_size {
        Mismatch::Size { expected: expected_size, found: found_size }
    } else if expected != found {
        Mismatch::Digest { expected: expected.clone(), found: found.clone() }
    } else {
        return Ok(());
    };
    Err(ImageError::Mismatch { object: object.to_owned(), mismatch })
}

/// Reads a JSON document.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(object: &str, content: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(content)
        .map_err(|cause| ImageError::Document { object: object.to_owned(), reason: cause.to_string() })
}
