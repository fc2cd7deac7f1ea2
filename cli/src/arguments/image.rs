//! Arguments about images.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::ImageName;

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Import an image from a file or a directory.
    Import(ImportArguments),
    /// List images.
    Ls,
    /// Remove images.
    Rm(RemoveImagesArguments),
}

/// `fabric image import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// A tar or a directory: a root file system, an OCI layout, or what `docker save` writes; `-` reads a tar from
    /// standard input.
    pub(crate) path: PathBuf,
    /// The name to give it, such as busybox or team/app:1.2.
    pub(crate) name: ImageName,
}

/// `fabric image rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveImagesArguments {
    /// The images' names.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<ImageName>,
}
