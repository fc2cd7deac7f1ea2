//! A docker-archive, what `docker save` and `podman save` write, that was unpacked into a directory.
//!
//! `manifest.json` names a configuration and the layers' archives, bottom first; archives may be links to others.

use std::path::Path;

use crate::{
    ImageError, Limits,
    content::{Content, Layer, diff_ids, verify},
    store::digest_of,
    tree::Tree,
    wire::DockerImage,
};

/// Reads the one image of the archive in `tree`; none where `tree` is no docker-archive.
pub(crate) fn read(tree: &Tree, limits: &Limits) -> Result<Option<Content>, ImageError> {
    // A root file system may hold a file of that name: only what reads as one is one.
    let Some(content) = tree.document("manifest.json", limits).ok().flatten() else { return Ok(None) };
    let Ok(mut images) = serde_json::from_slice::<Vec<DockerImage>>(&content) else { return Ok(None) };
    if images.len() > 1 {
        let name =
            |image: DockerImage| image.repo_tags.into_iter().next().unwrap_or(image.config).escape_debug().to_string();
        return Err(ImageError::Several { names: images.into_iter().map(name).collect() });
    }
    let Some(image) = images.pop() else { return Ok(None) };
    let object = format!("configuration `{}`", image.config.escape_debug());
    let configuration = tree
        .document(&image.config, limits)?
        .ok_or_else(|| ImageError::Missing { object: format!("{object}, which `manifest.json` names,") })?;
    // Its name is its digest, unless the writer was an unusual one.
    let stem = Path::new(&image.config).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if let Ok(digest) = format!("sha256:{stem}").parse() {
        let length = configuration.len() as u64;
        verify(&object, &digest, length, &digest_of(&configuration), length)?;
    }
    let diff_ids = diff_ids(&object, &configuration, image.layers.len(), limits)?;
    let mut layers = Vec::new();
    for (path, diff_id) in image.layers.iter().zip(diff_ids) {
        let object = format!("layer `{}`", path.escape_debug());
        let file = tree.file(path)?;
        let file =
            file.ok_or_else(|| ImageError::Missing { object: format!("{object}, which `manifest.json` names,") })?;
        layers.push(Layer { object, file, stored: None, diff_id });
    }
    Ok(Some(Content { configuration, manifest: None, layers }))
}
