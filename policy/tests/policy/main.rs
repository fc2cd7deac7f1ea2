//! The crate as its callers see it: documents and a world in, verdicts and messages out.

mod big;
mod documentation;
mod errors;
mod forms;
mod host;
mod kubernetes;
mod native;
mod properties;
mod rig;
mod told;
