//! An OCI image layout (OCI image specification, image layout) that was unpacked into a directory.

use model::Digest;

use crate::{
    ImageError, Limits,
    content::{Content, Layer, blob, blob_path, diff_ids, parse},
    tree::Tree,
    wire::{CONTAINERD_NAME, Descriptor, Manifest, ManifestOrIndex, Platform, REF_NAME},
};

/// Indexes within indexes: more than anyone needs, few enough to end.
const DEPTH: usize = 4;

/// Reads the one image of the layout in `tree` that runs on this host; none where `tree` is no layout.
pub(crate) fn read(tree: &Tree, limits: &Limits) -> Result<Option<Content>, ImageError> {
    if tree.file("oci-layout")?.is_none() {
        return Ok(None);
    }
    let Some(index) = tree.document("index.json", limits)? else { return Ok(None) };
    let index: ManifestOrIndex = parse("`index.json`", &index)?;
    let roots = index.manifests.ok_or_else(|| ImageError::Document {
        object: "`index.json`".to_owned(),
        reason: "it has no `manifests`".to_owned(),
    })?;
    let mut found = Found { tree, limits, platforms: Vec::new() };
    let mut images: Vec<(String, Digest, Manifest, Vec<u8>)> = Vec::new();
    for root in &roots {
        if let Some((digest, manifest, content)) = found.first(root, DEPTH)?
            && !images.iter().any(|(_, other, ..)| *other == digest)
        {
            let annotation = root.annotations.get(CONTAINERD_NAME).or_else(|| root.annotations.get(REF_NAME));
            let name = annotation.map_or_else(|| digest.to_string(), |name| name.escape_debug().to_string());
            images.push((name, digest, manifest, content));
        }
    }
    if images.len() > 1 {
        return Err(ImageError::Several { names: images.into_iter().map(|(name, ..)| name).collect() });
    }
    let Some((_, _, manifest, content)) = images.pop() else {
        let mut platforms = found.platforms;
        platforms.sort();
        platforms.dedup();
        if platforms.is_empty() {
            platforms.push("nothing that is an image".to_owned());
        }
        return Err(ImageError::Platform { wanted: Platform::host().text(), found: platforms });
    };
    image(tree, manifest, content, limits).map(Some)
}

struct Found<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    /// What was passed over.
    platforms: Vec<String>,
}

impl Found<'_> {
    /// The first manifest for this host at `descriptor` or, where that is an index, below it, in the index's order.
    fn first(
        &mut self,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<Option<(Digest, Manifest, Vec<u8>)>, ImageError> {
        if let Some(platform) = &descriptor.platform
            && !platform.runs_here()
        {
            self.platforms.push(platform.text());
            return Ok(None);
        }
        let object = format!("manifest {}", descriptor.digest);
        let unusable = |reason: &str| ImageError::Document { object: object.clone(), reason: reason.to_owned() };
        let content = blob(self.tree, descriptor, &object, self.limits)?;
        let either: ManifestOrIndex = parse(&object, &content)?;
        match (either.config, either.layers, either.manifests) {
            (Some(_), Some(_), None) => {
                let manifest: Manifest = parse(&object, &content)?;
                // Where no index names a platform, the configuration does.
                if descriptor.platform.is_none()
                    && let Some(platform) = self.platform(&manifest)?
                {
                    self.platforms.push(platform.text());
                    return Ok(None);
                }
                Ok(Some((descriptor.digest.clone(), manifest, content)))
            }
            (None, None, Some(manifests)) => {
                let deeper = depth.checked_sub(1).ok_or_else(|| unusable("its indexes are nested too deep"))?;
                for inner in &manifests {
                    if let Some(found) = self.first(inner, deeper)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            // Content that is both would be one image here and another elsewhere.
            _ => Err(unusable("it is neither a manifest nor an index")),
        }
    }

    /// The platform of a manifest's configuration, where that is another than this host's.
    fn platform(&self, manifest: &Manifest) -> Result<Option<Platform>, ImageError> {
        let object = format!("configuration {}", manifest.config.digest);
        let content = blob(self.tree, &manifest.config, &object, self.limits)?;
        let platform: Platform = parse(&object, &content)?;
        Ok((!platform.runs_here()).then_some(platform))
    }
}

fn image(tree: &Tree, manifest: Manifest, content: Vec<u8>, limits: &Limits) -> Result<Content, ImageError> {
    let object = format!("configuration {}", manifest.config.digest);
    let configuration = blob(tree, &manifest.config, &object, limits)?;
    let diff_ids = diff_ids(&object, &configuration, manifest.layers.len(), limits)?;
    let mut layers = Vec::new();
    for (descriptor, diff_id) in manifest.layers.into_iter().zip(diff_ids) {
        let object = format!("layer {}", descriptor.digest);
        let file = tree.file(&blob_path(&descriptor.digest))?;
        let file = file.ok_or_else(|| ImageError::Missing { object: object.clone() })?;
        layers.push(Layer { object, file, stored: Some(descriptor), diff_id });
    }
    Ok(Content { configuration, manifest: Some(content), layers })
}
