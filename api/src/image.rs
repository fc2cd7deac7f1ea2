//! Images on the wire.

use jiff::Timestamp;
use model::{Digest, ImageName};
use serde::{Deserialize, Serialize};

/// An image of the local content store, under one of its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The name.
    pub name: ImageName,
    /// Its manifest.
    pub digest: Digest,
    /// Octets of its layers as they are stored.
    pub size: u64,
    /// When the name was given to it.
    pub created_at: Timestamp,
}

/// How `POST /v1/images` names what it imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// The name; if an image has it, the name moves to the new one.
    pub name: ImageName,
}
