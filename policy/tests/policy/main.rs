//! The crate as its callers see it: documents and a world in, verdicts and messages out.

mod big;
mod compiled;
mod documentation;
mod errors;
mod following;
mod forms;
mod host;
mod kubernetes;
mod matrix;
mod native;
mod properties;
mod rig;
mod scene;
mod shape;
mod told;
mod unsaid;
