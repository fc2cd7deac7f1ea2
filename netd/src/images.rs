//! What can be asked of images.

use std::{collections::BTreeSet, io, pin::Pin, sync::Arc, time::Duration};

use api::EventAction;
use axum::body::{Body, Bytes};
use futures_util::{Stream, StreamExt, stream};
use image::{Image, ImageError};
use jiff::Timestamp;
use model::{Container, Digest, ImageName};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{
    daemon::{Daemon, chain},
    events,
    failure::{Failure, Noun},
};

/// How long a client may send nothing of an image. Each that does holds a thread and a half-made image.
const PATIENCE: Duration = Duration::from_secs(30);

impl Daemon {
    /// Imports the tar stream that a request's body is.
    pub(crate) async fn import_image(self: Arc<Self>, name: ImageName, body: Body) -> Result<Image, Failure> {
        let reader = SyncIoBridge::new(StreamReader::new(unless_it_stalls(body, PATIENCE)));
        let (images, wanted) = (self.images.clone(), name.clone());
        let before = blocking(move || images.meaning(&wanted)).await?;
        let images = self.images.clone();
        let image = blocking(move || images.import(reader, &name, Timestamp::now())).await?;
        self.events.tell(events::of_image(&image, EventAction::Import));
        if before.is_some_and(|before| before != image.digest) {
            self.tidy_images_if_possible().await;
        }
        Ok(image)
    }

    /// Removes what no name means and no container was made from.
    pub(crate) async fn tidy_images(self: &Arc<Self>) -> Result<(), Failure> {
        let _removing = self.image_use.write().await;
        let daemon = self.clone();
        let tidied = blocking(move || {
            let in_use: BTreeSet<Digest> = daemon.world().image_digests().cloned().collect();
            daemon.images.tidy(&in_use)
        });
        Ok(tidied.await?)
    }

    /// The same where what was asked for is done whether or not this can be; the next chance is the next start.
    pub(crate) async fn tidy_images_if_possible(self: &Arc<Self>) {
        if let Err(failure) = self.tidy_images().await {
            tracing::warn!(failure = chain(&failure), "what is left of images that nobody needs stays for now");
        }
    }

    /// Removes the image of a container that is gone, if it was the last of it, and its name means another one by now.
    pub(crate) async fn tidy_image_of(self: &Arc<Self>, container: &Container) {
        if self.world().image_digests().any(|digest| *digest == container.image_digest) {
            return;
        }
        let (images, name) = (self.images.clone(), container.image.clone());
        match blocking(move || images.meaning(&name)).await {
            Ok(Some(digest)) if digest == container.image_digest => {}
            _ => self.tidy_images_if_possible().await,
        }
    }

    /// Every image, by name.
    pub(crate) async fn list_images(&self) -> Result<Vec<Image>, Failure> {
        let images = self.images.clone();
        Ok(blocking(move || images.list()).await?)
    }

    /// The image that a person means by its name, its digest, or a beginning of the digest that no other has; by
    /// digest, it has the first of its names.
    pub(crate) async fn find_image(&self, reference: &ImageName) -> Result<Image, Failure> {
        if let Some(image) = self.images.recall(reference) {
            return Ok(image);
        }
        let (images, wanted) = (self.images.clone(), reference.clone());
        if let Some(image) = blocking(move || images.find(&wanted)).await? {
            return Ok(image);
        }
        let known = self.image_names().await?;
        if let Some(beginning) = beginning_of_digest(reference.as_str()) {
            let mut found = known.iter().filter(|(_, digest)| digest.hex().starts_with(beginning));
            if let Some((name, digest)) = found.next() {
                if found.any(|(_, other)| other != digest) {
                    return Err(Failure::Ambiguous { noun: Noun::Image, reference: reference.to_string() });
                }
                let (images, name) = (self.images.clone(), name.clone());
                if let Some(image) = blocking(move || images.find(&name)).await? {
                    return Ok(image);
                }
            }
        }
        let known = known.iter().map(|(name, _)| as_written(name.as_str(), reference.as_str()));
        Err(Failure::unknown(Noun::Image, reference.as_str(), known))
    }

    async fn image_names(&self) -> Result<Vec<(ImageName, Digest)>, Failure> {
        let images = self.images.clone();
        Ok(blocking(move || images.names()).await?)
    }

    /// Removes the name, and the image with it if that was its last and no container was made from it.
    pub(crate) async fn remove_image(self: Arc<Self>, reference: ImageName) -> Result<(), Failure> {
        let mut image = self.find_image(&reference).await?;
        let name = image.name.clone();
        let is_called = is_called(&name, &reference);
        if !is_called {
            // A digest does not say which of several names is to be taken away.
            let all = self.image_names().await?;
            let own = all.iter().filter(|(_, digest)| *digest == image.digest);
            let names: Vec<String> = own.map(|(name, _)| name.to_string()).collect();
            if names.len() > 1 {
                return Err(Failure::ImageWithNames { reference, names });
            }
        }
        let _removing = self.image_use.write().await;
        let in_use: BTreeSet<Digest> = self.world().image_digests().cloned().collect();
        // What was asked for by its digest may have lost its name to another image meanwhile.
        let (images, of) = (self.images.clone(), (!is_called).then(|| image.digest.clone()));
        let removed = match blocking(move || images.remove(&name, of.as_ref(), &in_use)).await {
            Err(ImageError::InUse { name, digest }) => {
                let containers = self.world().containers_of(&digest);
                return Err(Failure::ImageInUse { name, containers });
            }
            Err(ImageError::NotFound { .. }) if !is_called => {
                return Err(Failure::unknown(Noun::Image, reference.as_str(), std::iter::empty()));
            }
            removed => removed?,
        };
        image.digest = removed.digest;
        self.events.tell(events::of_image(&image, EventAction::Remove));
        Ok(())
    }
}

/// Whether somebody who writes `reference` writes an image's name, which always has its tag, and not its digest.
pub(crate) fn is_called(name: &ImageName, reference: &ImageName) -> bool {
    as_written(name.as_str(), reference.as_str()) == reference.as_str()
}

/// The hexadecimal digits that a digest is to begin with, written with or without the name of the hash.
fn beginning_of_digest(reference: &str) -> Option<&str> {
    // Shorter beginnings are more often a name that was mistyped or is gone.
    const LEAST: usize = 4;
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    let are_digits = digits.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
    (are_digits && digits.len() >= LEAST).then_some(digits)
}

/// The known name as somebody writes it who writes `wanted`: `latest` is what names without a tag are stored with, and
/// seven characters that nobody typed are no slip of the finger.
fn as_written<'a>(known: &'a str, wanted: &str) -> &'a str {
    match known.strip_suffix(":latest") {
        Some(short) if !wanted.ends_with(":latest") => short,
        _ => known,
    }
}

/// Runs work on the disk where it holds up no request.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("work on the image store does not panic and is never aborted")
}

/// The octets of a request's body; an error once nothing has come for `patience`.
fn unless_it_stalls(body: Body, patience: Duration) -> Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> {
    Box::pin(stream::try_unfold(body.into_data_stream(), move |mut octets| async move {
        match tokio::time::timeout(patience, octets.next()).await {
            Ok(Some(Ok(some))) => Ok(Some((some, octets))),
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Ok(None) => Ok(None),
            Err(_) => {
                let reason = format!("the client sent nothing for {patience:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, reason))
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::TryStreamExt;

    use super::*;

    #[test]
    fn a_name_without_a_tag_is_compared_with_names_without_one() {
        for (wanted, meant) in [
            ("bussybox", Some("busybox")),
            ("bussybox:latest", Some("busybox:latest")),
            ("team/ap:1.2", Some("team/app:1.2")),
            ("nope", None),
            ("nope:latest", None),
        ] {
            let known = ["busybox:latest", "team/app:1.2"].map(|known| as_written(known, wanted));
            let failure = Failure::unknown(Noun::Image, wanted, known.into_iter());
            let told = failure.problem().hint.filter(|hint| hint.starts_with("did you mean"));
            assert_eq!(told, meant.map(|name| format!("did you mean `{name}`?")), "{wanted}");
        }
    }

    #[test]
    fn a_digest_is_told_from_a_name() {
        for (reference, digits) in [
            ("0a1b", Some("0a1b")),
            ("sha256:0a1b2c", Some("0a1b2c")),
            ("sha256:0a1", None),
            ("0a1", None),
            ("busybox", None),
            ("beef", Some("beef")),
            ("beef:latest", None),
            ("team/0a1b", None),
        ] {
            assert_eq!(beginning_of_digest(reference), digits, "{reference}");
        }
        for (name, reference, is) in [
            ("busybox:latest", "busybox", true),
            ("busybox:latest", "busybox:latest", true),
            ("busybox:1", "busybox:1", true),
            ("busybox:latest", "0a1b", false),
            ("busybox:latest", "sha256:0a1b", false),
        ] {
            let [name, reference] = [name, reference].map(|text| text.parse().expect("a name"));
            assert_eq!(is_called(&name, &reference), is, "{name} {reference}");
        }
    }

    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn an_upload_that_stalls_ends_with_an_error() {
        let some = stream::once(async { io::Result::Ok(Bytes::from_static(b"some")) });
        let mut octets = unless_it_stalls(Body::from_stream(some.chain(stream::pending())), SHORT);
        assert_eq!(octets.next().await.expect("what came is passed on").expect("reads"), "some");
        let error = octets.next().await.expect("it does not hang").expect_err("it stalls");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "the client sent nothing for 100ms");
    }

    #[tokio::test]
    async fn an_upload_may_take_long_while_something_comes() {
        let patience = 20 * SHORT;
        let begin = Instant::now();
        let slow = stream::iter(0..=20_u8).then(|number| async move {
            tokio::time::sleep(SHORT).await;
            io::Result::Ok(Bytes::copy_from_slice(&[number]))
        });
        let octets: Vec<Bytes> =
            unless_it_stalls(Body::from_stream(slow), patience).try_collect().await.expect("never stalls for so long");
        assert_eq!(octets.concat(), (0..=20).collect::<Vec<u8>>());
        assert!(begin.elapsed() > patience, "all together it took longer");
    }
}
