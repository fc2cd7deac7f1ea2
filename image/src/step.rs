//! The points of an import or a removal after which a crash must leave nothing half done.

use std::fmt;

/// What has just happened to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All that came in is unpacked and checked, in a directory of its own.
    Unpacked,
    /// A layer has its place, and no record yet.
    LayerPlaced,
    /// A layer has its record.
    LayerRecorded,
    /// Configuration and manifest are there.
    DocumentsWritten,
    /// The image has its record.
    Recorded,
    /// The name means the image.
    Named,
    /// The name means nothing any more.
    Unnamed,
    /// The record of an image that nothing needs is gone.
    Forgotten,
    /// The record of a layer that nothing needs is gone.
    LayerForgotten,
    /// A document that nothing needs is gone.
    DocumentRemoved,
    /// A layer without a record is on its way out.
    LayerTaken,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unpacked => "image unpacked",
            Self::LayerPlaced => "image layer placed",
            Self::LayerRecorded => "image layer recorded",
            Self::DocumentsWritten => "image documents written",
            Self::Recorded => "image recorded",
            Self::Named => "image named",
            Self::Unnamed => "image unnamed",
            Self::Forgotten => "image forgotten",
            Self::LayerForgotten => "image layer forgotten",
            Self::DocumentRemoved => "image document removed",
            Self::LayerTaken => "image layer taken",
        })
    }
}

/// Who is told of each step.
pub(crate) struct Observer(pub(crate) Box<dyn Fn(Step) + Send + Sync>);

impl Default for Observer {
    fn default() -> Self {
        Self(Box::new(|_| {}))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
