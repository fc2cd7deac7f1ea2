//! The content store against archives of every kind, honest and hostile, and real file system effects.
//! Runs as root, as the store does.

mod archives;
mod concurrency;
mod confinement;
mod hostile;
mod overlay;
mod removal;
mod root_file_system;
mod tape;
