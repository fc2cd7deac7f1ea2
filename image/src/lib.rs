//! The local content store of images: import, unpack, and the directories a container's root file system is made of.
//!
//! Owns everything below its directory, and what it writes there:
//!
//! ```text
//! lock                    flock: shared while content is added, exclusive while it is collected
//! blobs/sha256/HEX        manifests and configurations, verbatim, by digest
//! images/HEX.json         one record per manifest: complete images, named or not
//! names/HEX.json          one record per name: which manifest it means; HEX is the SHA-256 of the name
//! layers/HEX.json         one record per unpacked layer, by chain identifier: its directory, its size
//! l/24-HEX                unpacked layers in overlayfs form, shared between images
//! tmp/…                   imports under way, each held by an flock; what is not held is swept away by `open`
//! ```
//!
//! A layer is unpacked once and its archive is not kept: half the disk, at the price that an image can be exported
//! only with layers archived anew (its manifest tells the original digests). Layers are keyed by chain identifier
//! (OCI image specification, config, "Layer ChainID") and not by diff identifier, because a directory that a layer
//! implies without describing it takes its attributes from the layers below.
//!
//! Does not own: mounting (the runtime), who uses an image (the daemon says so to [`Images::remove`]), registries.
//! A registry pull will hand blobs to the same verification and unpacking that an OCI layout goes through.

mod archive;
mod audit;
mod chain;
mod collect;
mod content;
mod docker;
mod error;
mod files;
mod image;
mod import;
mod layout;
mod limits;
mod meter;
mod parents;
mod pax;
mod recent;
mod remove;
mod shape;
mod snapshot;
mod sparse;
mod spool;
mod step;
mod store;
mod tree;
mod unpack;
mod whiteout;
mod wire;

pub use audit::Audit;
pub use error::{ImageError, Mismatch};
pub use image::{Image, ImageConfig};
pub use limits::{Limit, Limits};
pub use remove::remove_tree;
pub use snapshot::Snapshot;
pub use step::Step;
pub use store::{Images, Removed};
