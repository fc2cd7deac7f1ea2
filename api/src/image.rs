//! Images on the wire.

use jiff::Timestamp;
use model::{Digest, ImageName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// An image of the local content store, under one of its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// The name.
    #[schema(value_type = String)]
    pub name: ImageName,
    /// Its manifest.
    #[schema(value_type = schema::Sha256)]
    pub digest: Digest,
    /// Octets of its layers as they are stored.
    pub size: u64,
    /// When the name was given to it.
    pub created_at: Timestamp,
}

/// How `POST /v1/images` names what it imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// The name; if an image has it, the name moves to the new one.
    #[schema(value_type = String)]
    pub name: ImageName,
}
