//! `fabric image`.

use std::{
    fs::File,
    io::{self, BufRead, ErrorKind},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use api::{Client, Image, UploadWriter, upload};
use jiff::Timestamp;

use super::several::each;
use crate::{
    arguments::{ImageCommand, ImportArguments, ListImagesArguments, RemoveImagesArguments},
    failure::Failure,
    filter::passes,
    output::Output,
    table::{age, octets, table},
    tarball,
};

/// What is read and sent at a time, in octets.
const PIECE: usize = 256 << 10;

pub(super) async fn image(client: &Client, output: Output, command: ImageCommand) -> Result<(), Failure> {
    match command {
        ImageCommand::Import(arguments) => import(client, output, arguments).await,
        ImageCommand::Ls(arguments) => list(client, output, arguments).await,
        ImageCommand::Rm(arguments) => remove(client, output, arguments).await,
    }
}

async fn import(client: &Client, output: Output, arguments: ImportArguments) -> Result<(), Failure> {
    let unreadable = |source| Failure::Import { path: arguments.path.clone(), source };
    let source = Source::open(&arguments.path).map_err(unreadable)?;
    source.await_start().map_err(unreadable)?;
    let (writer, body) = upload();
    let (reason, reasons) = mpsc::channel();
    thread::spawn(move || source.send(writer, &reason));
    let image = client.import_image(&arguments.name, body).await.map_err(|error| {
        // What cannot be read breaks the request off; that it was broken off is then not the reason.
        reasons.try_recv().map_or_else(|_| error.into(), unreadable)
    })?;
    output.print(&image, || format!("{} {}\n", image.name, image.digest))
}

/// Where an image is read from.
enum Source {
    Stdin,
    File(File),
    Directory(PathBuf),
}

impl Source {
    fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdin);
        }
        let file = File::open(path)?;
        Ok(if file.metadata()?.is_dir() { Self::Directory(path.to_owned()) } else { Self::File(file) })
    }

    /// Waits until there is something to read: whoever writes an archive to a pipe may have much to do before, and the
    /// daemon does not wait for long.
    fn await_start(&self) -> io::Result<()> {
        match self {
            Self::Stdin => io::stdin().lock().fill_buf().map(drop),
            Self::File(_) | Self::Directory(_) => Ok(()),
        }
    }

    /// Writes all of it as a tar stream. Why it cannot be read goes to `reason` before the request is broken off.
    fn send(self, mut writer: UploadWriter, reason: &mpsc::Sender<io::Error>) {
        let mut pieces = io::BufWriter::with_capacity(PIECE, &mut writer);
        let result = match self {
            Self::Stdin => copy(io::stdin().lock(), &mut pieces),
            Self::File(file) => copy(file, &mut pieces),
            Self::Directory(path) => tarball::write_directory(&path, &mut pieces),
        };
        let result = result.and_then(|()| io::Write::flush(&mut pieces));
        drop(pieces.into_parts());
        match result {
            Ok(()) => writer.finish(),
            // The daemon wants no more, and its answer says why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => {
                let _ = reason.send(error);
                writer.fail(io::Error::other("what was to be sent could not be read"));
            }
        }
    }
}

fn copy(mut reader: impl io::Read, writer: &mut impl io::Write) -> io::Result<()> {
    io::copy(&mut reader, writer).map(drop)
}

async fn list(client: &Client, output: Output, arguments: ListImagesArguments) -> Result<(), Failure> {
    let mut images = client.images().await?;
    images.retain(|image| passes(image, &arguments.filters));
    let names = || images.iter().map(|image| format!("{}\n", image.name)).collect();
    let table = || render(&images, Timestamp::now());
    output.print(&images, || if arguments.quiet { names() } else { table() })
}

async fn remove(client: &Client, output: Output, arguments: RemoveImagesArguments) -> Result<(), Failure> {
    each(output, &arguments.names, async |name| {
        client.remove_image(name).await?;
        Ok((name.to_string(), name))
    })
    .await
}

fn render(images: &[Image], now: Timestamp) -> String {
    table(
        ["NAME", "DIGEST", "SIZE", "CREATED"],
        images.iter().map(|image| {
            [
                image.name.to_string(),
                format!("sha256:{}", &image.digest.hex()[..12]),
                octets(image.size),
                age(image.created_at, now),
            ]
        }),
    )
}

#[cfg(test)]
mod tests;
