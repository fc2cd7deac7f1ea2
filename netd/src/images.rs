//! What can be asked of images.

use std::{collections::BTreeSet, sync::Arc};

use api::EventAction;
use axum::body::Body;
use futures_util::TryStreamExt;
use image::Image;
use jiff::Timestamp;
use model::{Digest, ImageName};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{
    daemon::Daemon,
    events,
    failure::{Failure, Noun},
};

impl Daemon {
    /// Imports the tar stream that a request's body is.
    pub(crate) async fn import_image(self: Arc<Self>, name: ImageName, body: Body) -> Result<Image, Failure> {
        let stream = body.into_data_stream().map_err(std::io::Error::other);
        let reader = SyncIoBridge::new(StreamReader::new(stream));
        let images = self.images.clone();
        let image = blocking(move || images.import(reader, &name, Timestamp::now())).await?;
        self.events.tell(events::of_image(&image, EventAction::Import));
        Ok(image)
    }

    /// Every image, by name.
    pub(crate) async fn list_images(&self) -> Result<Vec<Image>, Failure> {
        let images = self.images.clone();
        Ok(blocking(move || images.list()).await?)
    }

    /// The image of that name.
    pub(crate) async fn find_image(&self, name: &ImageName) -> Result<Image, Failure> {
        let (images, wanted) = (self.images.clone(), name.clone());
        if let Some(image) = blocking(move || images.find(&wanted)).await? {
            return Ok(image);
        }
        let known = self.list_images().await?;
        Err(Failure::unknown(Noun::Image, name.as_str(), known.iter().map(|image| image.name.as_str())))
    }

    /// Removes the name, and the image with it if that was its last and no container was made from it.
    pub(crate) async fn remove_image(self: Arc<Self>, name: ImageName) -> Result<(), Failure> {
        let image = self.find_image(&name).await?;
        let _removing = self.image_use.write().await;
        let in_use: BTreeSet<Digest> = self.world().image_digests().cloned().collect();
        let images = self.images.clone();
        blocking(move || images.remove(&name, &in_use)).await?;
        self.events.tell(events::of_image(&image, EventAction::Remove));
        Ok(())
    }
}

/// Runs work on the disk where it holds up no request.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("work on the image store does not panic and is never aborted")
}
