//! Arguments about images.

use std::path::PathBuf;

use api::Image;
use clap::{Args, Subcommand};
use model::ImageName;

use crate::{filter::Filter, objects};

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Import an image from a file or a directory.
    Import(ImportArguments),
    /// List images.
    Ls(ListImagesArguments),
    /// Take names away from images; an image goes with its last name, which it keeps while a container is made from it.
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

/// `fabric image ls`.
#[derive(Debug, Args)]
pub(crate) struct ListImagesArguments {
    /// Print names only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only those with this digest or name; can be repeated.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<Filter<Image>>,
}

/// `fabric image rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveImagesArguments {
    /// The images' names, or their digests or the beginnings of those.
    #[arg(required = true, value_name = "NAME", add = objects::images())]
    pub(crate) names: Vec<ImageName>,
}
