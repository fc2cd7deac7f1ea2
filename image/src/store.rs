//! The content store: what is in it by name and by digest, and what goes when nothing needs it.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io::Read,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use model::{Digest, ImageName};
use rustix::fs::{FlockOperation, flock};
use sha2::Sha256;

use crate::{
    Image, ImageError, Limits,
    chain::chain_ids,
    files::{self, LayerRecord, NameRecord},
    recent::{Recent, Source},
    shape,
    spool::{self, Spool},
    step::{Observer, Step},
    wire::{Configuration, Manifest},
};

/// The images of one host, in one directory that only root may enter.
///
/// Every method blocks on the disk. All take `&self` and may run at once, in one process or in several.
#[derive(Debug)]
pub struct Images {
    pub(crate) directory: PathBuf,
    pub(crate) limits: Limits,
    observer: Observer,
    recent: Recent,
}

/// What [`Images::remove`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The manifest the name meant.
    pub digest: Digest,
    /// Images that went with it: this one where it had no other name, and any that lost its name earlier.
    pub images: Vec<Digest>,
    /// Unpacked layers that no image needs any more.
    pub layers: usize,
    /// Octets of the files in those layers.
    pub octets: u64,
}

impl Images {
    /// Opens the store in `directory`, made where it does not exist, and sweeps away what interrupted imports left.
    pub fn open(directory: &Path, limits: Limits) -> Result<Self, ImageError> {
        let directory = directory.to_owned();
        let images = Self { directory, limits, observer: Observer::default(), recent: Recent::default() };
        for part in shape::DIRECTORIES {
            let path = images.directory.join(part);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|cause| ImageError::storage("make", &path, cause))?;
        }
        images.sweep()?;
        Ok(images)
    }

    /// The same store, whose imports and removals tell `observer` of each step right after it.
    pub fn observed(self, observer: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self { observer: Observer(Box::new(observer)), ..self }
    }

    /// Tells that this has just happened.
    pub(crate) fn after(&self, step: Step) {
        (self.observer.0)(step);
    }

    /// Imports a whole tar stream under `name`, which then means the new image alone: plain or compressed with gzip
    /// or zstd; a root file system, an OCI image layout, or a docker-archive, told apart by content.
    ///
    /// The image is visible when this returns, and not before. The same content imported twice is one image with
    /// one digest.
    pub fn import(&self, stream: impl Read, name: &ImageName, now: Timestamp) -> Result<Image, ImageError> {
        crate::import::import(self, stream, &with_tag(name), now)
    }

    /// Every name with its image, in order of names.
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let _lock = self.lock(FlockOperation::LockShared)?;
        let mut images = Vec::new();
        for (_, record) in files::records::<NameRecord>(&self.directory, "names")? {
            images.push(self.load(&record)?);
        }
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// Every name with the manifest that it means, in order of names, those of damaged images included.
    pub fn names(&self) -> Result<Vec<(ImageName, Digest)>, ImageError> {
        let _lock = self.lock(FlockOperation::LockShared)?;
        let records = files::records::<NameRecord>(&self.directory, "names")?;
        let mut names: Vec<_> = records.into_iter().map(|(_, record)| (record.name, record.digest)).collect();
        names.sort();
        Ok(names)
    }

    /// The image that `name` means; `busybox` is `busybox:latest`.
    pub fn find(&self, name: &ImageName) -> Result<Option<Image>, ImageError> {
        let name = with_tag(name);
        let _lock = self.lock(FlockOperation::LockShared)?;
        let path = self.name_path(&name);
        let mut sources = vec![Source::of(path.clone())];
        let Some(record) = files::read_record::<NameRecord>(&path)? else { return Ok(None) };
        let image = self.read(&record, &mut sources)?;
        self.recent.note(name, &image, sources);
        Ok(Some(image))
    }

    /// The image that `name` means as [`Images::find`] found it, if none of the files it was read from has changed
    /// since. Reads none of them, and waits for no import.
    pub fn recall(&self, name: &ImageName) -> Option<Image> {
        self.recent.find(&with_tag(name))
    }

    /// The manifest that `name` means, of an image that may be damaged.
    pub fn meaning(&self, name: &ImageName) -> Result<Option<Digest>, ImageError> {
        let _lock = self.lock(FlockOperation::LockShared)?;
        let record: Option<NameRecord> = files::read_record(&self.name_path(&with_tag(name)))?;
        Ok(record.map(|record| record.digest))
    }

    /// The image with this manifest, named or not.
    pub fn by_digest(&self, digest: &Digest) -> Result<Option<Image>, ImageError> {
        let _lock = self.lock(FlockOperation::LockShared)?;
        let record: Option<NameRecord> = files::read_record(&self.image_path(digest))?;
        record.map(|record| self.load(&record)).transpose()
    }

    /// Takes `name` away, then every image that has no name and is not among `in_use`, and what only those needed. With
    /// `of`, only if the name means that manifest still ([`ImageError::NotFound`] otherwise).
    ///
    /// `in_use` holds the manifests of all containers. The last name of an image in use is refused
    /// ([`ImageError::InUse`]); one of several names goes.
    pub fn remove(
        &self,
        name: &ImageName,
        of: Option<&Digest>,
        in_use: &BTreeSet<Digest>,
    ) -> Result<Removed, ImageError> {
        let name = with_tag(name);
        // Dropped after the lock, with the layers that were moved into it.
        let spool = Spool::new(&self.directory)?;
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        let path = self.name_path(&name);
        let record = files::read_record::<NameRecord>(&path)?;
        let Some(record) = record.filter(|record| of.is_none_or(|of| *of == record.digest)) else {
            return Err(ImageError::NotFound { name });
        };
        let names = files::records::<NameRecord>(&self.directory, "names")?;
        let only = !names.iter().any(|(_, other)| other.digest == record.digest && other.name != name);
        if only && in_use.contains(&record.digest) {
            return Err(ImageError::InUse { name, digest: record.digest });
        }
        files::remove(&path)?;
        files::sync_directory(&self.directory.join("names"))?;
        self.after(Step::Unnamed);
        crate::collect::collect(self, &spool, record.digest, in_use)
    }

    /// The unpacked layers of `image`, topmost first, as overlayfs `lowerdir` wants them. Never empty.
    pub fn layers(&self, image: &Image) -> Vec<PathBuf> {
        image.layers.clone()
    }

    /// The image of a record, with everything it needs read and found to be there.
    pub(crate) fn load(&self, record: &NameRecord) -> Result<Image, ImageError> {
        self.read(record, &mut Vec::new())
    }

    /// The same, which tells as well what was read besides the record.
    fn read(&self, record: &NameRecord, sources: &mut Vec<Source>) -> Result<Image, ImageError> {
        sources.push(Source::of(self.blob_path(&record.digest)));
        let (manifest, configuration) = self.documents(&record.digest)?;
        // What is called by its digest is what it was, or damaged: read a moment before, it was not.
        sources.push(Source::of(self.blob_path(&manifest.config.digest)));
        if manifest.layers.len() != configuration.rootfs.diff_ids.len() {
            return Err(self.damaged(&manifest.config.digest, "it lists another number of layers than its manifest"));
        }
        let mut layers = Vec::new();
        let mut size = 0;
        for chain in chain_ids(&configuration.rootfs.diff_ids) {
            let path = self.layer_path(&chain);
            sources.push(Source::of(path.clone()));
            let Some(layer) = files::read_record::<LayerRecord>(&path)? else {
                return Err(ImageError::Damaged { path, reason: "the layer is missing".to_owned() });
            };
            size += layer.size;
            if layer.opaque {
                layers.clear();
            }
            layers.push(self.directory.join("l").join(&layer.directory));
        }
        layers.reverse();
        Ok(Image {
            name: record.name.clone(),
            digest: record.digest.clone(),
            created_at: configuration.created_at(),
            config: configuration.config.into(),
            size,
            imported_at: record.imported_at,
            layers,
        })
    }

    /// The manifest with this digest, and its configuration.
    pub(crate) fn documents(&self, digest: &Digest) -> Result<(Manifest, Configuration), ImageError> {
        let manifest: Manifest = self.document(digest)?;
        let configuration = self.document(&manifest.config.digest)?;
        Ok((manifest, configuration))
    }

    fn document<T: serde::de::DeserializeOwned>(&self, digest: &Digest) -> Result<T, ImageError> {
        let path = self.blob_path(digest);
        let content = fs::read(&path).map_err(|cause| ImageError::storage("read", &path, cause))?;
        if digest_of(&content) != *digest {
            return Err(self.damaged(digest, "its content does not match its digest"));
        }
        serde_json::from_slice(&content).map_err(|cause| self.damaged(digest, &cause.to_string()))
    }

    fn damaged(&self, digest: &Digest, reason: &str) -> ImageError {
        ImageError::Damaged { path: self.blob_path(digest), reason: reason.to_owned() }
    }

    /// Waits for the store's lock and holds it until the returned file is dropped.
    pub(crate) fn lock(&self, operation: FlockOperation) -> Result<File, ImageError> {
        let path = self.directory.join("lock");
        let fail = |cause| ImageError::storage("lock", &path, cause);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(fail)?;
        flock(&file, operation).map_err(|cause| fail(cause.into()))?;
        Ok(file)
    }

    pub(crate) fn name_path(&self, name: &ImageName) -> PathBuf {
        self.record_path("names", &digest_of(name.as_str().as_bytes()))
    }

    pub(crate) fn image_path(&self, digest: &Digest) -> PathBuf {
        self.record_path("images", digest)
    }

    pub(crate) fn layer_path(&self, chain: &Digest) -> PathBuf {
        self.record_path("layers", chain)
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    fn record_path(&self, directory: &str, digest: &Digest) -> PathBuf {
        self.directory.join(directory).join(format!("{}.json", digest.hex()))
    }

    /// Removes what no living import holds, and directories of layers that never got their record.
    fn sweep(&self) -> Result<(), ImageError> {
        spool::sweep(&self.directory)?;
        let spool = Spool::new(&self.directory)?;
        // While an import runs elsewhere, a layer without its record may be about to get one: leave them be.
        match self.lock(FlockOperation::NonBlockingLockExclusive) {
            Ok(_lock) => match crate::collect::strays(self, &spool) {
                // One bad file must not keep the others from use; whoever needs it hears of it.
                Err(ImageError::Damaged { path, reason }) => {
                    tracing::warn!(path = %path.display(), reason, "the image store is damaged; nothing is collected");
                    Ok(())
                }
                result => result,
            },
            Err(ImageError::Storage { source, .. }) if source.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(other) => Err(other),
        }
    }
}

/// The name with `:latest` where it has no tag.
fn with_tag(name: &ImageName) -> ImageName {
    if name.as_str().contains(':') {
        return name.clone();
    }
    format!("{name}:latest").parse().expect("a name without a tag stays valid with one")
}

/// The SHA-256 of `content`.
pub(crate) fn digest_of(content: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::sha256(Sha256::digest(content).into())
}
