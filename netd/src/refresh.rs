//! The files of `/etc` of containers that exist already: whether they fit their endpoints, and how they come to.

use std::{io, path::Path};

use model::{Container, NetworkMode};

use crate::{daemon::Daemon, failure::Failure, files::Surroundings, images::blocking};

impl Daemon {
    /// Brings the container's files up to date with its endpoints. What it wrote into them itself goes.
    pub(crate) async fn refresh_files(&self, container: &Container) -> Result<(), Failure> {
        self.with_files(container, "write", |surroundings, directory| surroundings.refresh(directory)).await?;
        self.steps.after("files refreshed");
        Ok(())
    }

    /// Whether the container's files are of before its endpoints or networks were changed.
    pub(crate) async fn has_outdated_files(&self, container: &Container) -> Result<bool, Failure> {
        // Others have files that no endpoint is in.
        if !matches!(container.mode, NetworkMode::Own { .. }) {
            return Ok(false);
        }
        self.with_files(container, "read", |surroundings, directory| surroundings.are_outdated(directory)).await
    }

    async fn with_files<T: Send + 'static>(
        &self,
        container: &Container,
        doing: &'static str,
        act: impl FnOnce(&Surroundings<'_>, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let directory = self.directories.containers().join(container.id.as_str());
        let attachments = self.world().surroundings(container);
        let (hostname, settings) = (container.hostname.clone(), container.resolver.clone());
        let resolver = self.host_resolver.clone();
        let acted = blocking(move || {
            let search = &resolver.current().search;
            let surroundings = Surroundings {
                hostname: &hostname,
                host: None,
                attachments: &attachments,
                search,
                settings: &settings,
            };
            act(&surroundings, &directory).map_err(|source| Failure::File { doing, path: directory.clone(), source })
        });
        acted.await
    }
}
