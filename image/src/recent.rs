//! Images as they were read, for as long as none of the files they were read from has changed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use model::ImageName;

use crate::Image;

/// How many are remembered. A host that starts containers of more than that reads again.
const MOST: usize = 256;

/// What was read before, by name with its tag.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<BTreeMap<ImageName, Arc<Known>>>);

#[derive(Debug)]
struct Known {
    image: Image,
    sources: Vec<Source>,
}

/// A file as it was right before it was read: one that changes afterwards is told from it.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// None of one that was not there.
    stamp: Option<Stamp>,
}

impl Source {
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { stamp: Stamp::of(&path), path }
    }
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
        let images = || self.0.lock().expect("nobody panics with it");
        let known = images().get(name)?.clone();
        if known.sources.iter().all(|source| source.stamp.is_some() && Stamp::of(&source.path) == source.stamp) {
            return Some(known.image.clone());
        }
        let mut images = images();
        if images.get(name).is_some_and(|now| Arc::ptr_eq(now, &known)) {
            images.remove(name);
        }
        None
    }

    /// Remembers an image that has just been read from these files.
    pub(crate) fn note(&self, name: ImageName, image: &Image, sources: Vec<Source>) {
        let mut images = self.0.lock().expect("nobody panics with it");
        if images.len() >= MOST {
            images.clear();
        }
        images.insert(name, Arc::new(Known { image: image.clone(), sources }));
    }
}
