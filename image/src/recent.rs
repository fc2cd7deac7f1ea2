//! Images as they were read, for as long as none of the files they were read from has changed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use model::ImageName;

use crate::Image;

/// How many are remembered. A host that starts containers of more than that reads again.
const MOST: usize = 256;

/// What was read before, by name with its tag.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<BTreeMap<ImageName, Known>>);

#[derive(Debug)]
struct Known {
    image: Image,
    sources: Vec<(PathBuf, Stamp)>,
}

/// By what a file is told from what it was. The store writes files by renaming, so that one with new content is another
/// one; of one that somebody else wrote to, the time of its change is later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    octets: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self { device: metadata.dev(), inode: metadata.ino(), octets: metadata.size(), changed })
    }
}

impl Recent {
    /// The image of that name, if every file it was read from is as it was.
    pub(crate) fn find(&self, name: &ImageName) -> Option<Image> {
        let mut images = self.0.lock().expect("nobody panics with it");
        let known = images.get(name)?;
        if known.sources.iter().all(|(path, stamp)| Stamp::of(path) == Some(*stamp)) {
            return Some(known.image.clone());
        }
        images.remove(name);
        None
    }

    /// Remembers an image that has just been read from these files.
    pub(crate) fn note(&self, name: ImageName, image: &Image, sources: Vec<PathBuf>) {
        let stamped = |path: PathBuf| Stamp::of(&path).map(|stamp| (path, stamp));
        let Some(sources) = sources.into_iter().map(stamped).collect() else { return };
        let mut images = self.0.lock().expect("nobody panics with it");
        if images.len() >= MOST {
            images.clear();
        }
        images.insert(name, Known { image: image.clone(), sources });
    }
}
