//! How a container is removed with everything that belongs to it, at once or when that becomes possible.

use std::{path::Path, sync::Arc};

use api::EventAction;
use model::{Container, ContainerId};
use store::Durability;

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    images::blocking,
    lifecycle::runtime_failure,
    record::{self, Goal},
    retry,
};

impl Daemon {
    /// Removes everything that belongs to the container. With [`Durability::Relaxed`] the intent may be lost in a
    /// crash, because the next start would draw the same conclusion again.
    pub(crate) async fn take_down(self: &Arc<Self>, id: &ContainerId, durability: Durability) -> Result<(), Failure> {
        self.intend_removal(id, durability).await?;
        let Some(record) = self.world().record(id).cloned() else { return Ok(()) };
        let container = &record.container;
        self.withdraw_names(container);
        self.withdraw_endpoints(&record.leaving);
        self.stop_listening_inside(container).await;
        let delete = async {
            let deleted = self.runtime.delete(id).await;
            deleted.map_err(|source| runtime_failure("remove", container, source))?;
            self.steps.after("container deleted");
            Ok(())
        };
        // Neither waits for the other: who is being removed needs no network.
        let (deleted, cleared) = tokio::join!(delete, self.attach(container));
        deleted.and(cleared)?;
        self.remove_files(&self.directories.containers().join(id.as_str())).await?;
        self.steps.after("files removed");
        let forgotten = self.world().release(record::delete_container(container), record.held(), &container.name);
        let freed = self.commit(format!("forget container `{}`", container.name), forgotten).await?;
        self.steps.after("container forgotten");
        self.tell_container(container, EventAction::Remove, None);
        self.world().forget_container(id, Some(freed));
        self.forget_judged();
        self.tidy_image_of(container).await;
        Ok(())
    }

    /// Commits that nothing of the container is to be left, before the first effect of that.
    pub(crate) async fn intend_removal(&self, id: &ContainerId, durability: Durability) -> Result<(), Failure> {
        let Some(mut record) = self.world().record(id).filter(|record| record.goal != Goal::Removed).cloned() else {
            return Ok(());
        };
        record.goal = Goal::Removed;
        let doing = format!("remove container `{}`", record.container.name);
        self.commit(doing, record::update_container(&record, durability).making_room()).await?;
        self.world().change_container(id, |record| record.goal = Goal::Removed);
        self.steps.after("removal intended");
        Ok(())
    }

    /// Takes back the intent of a container that could not be made.
    pub(crate) async fn withdraw(self: &Arc<Self>, id: &ContainerId) {
        if let Err(failure) = self.take_down(id, Durability::Durable).await {
            tracing::error!(container = id.short(), failure = chain(&failure), "it is removed as soon as it can be");
            self.take_down_later(id.clone());
        }
    }

    /// Takes back what the kernel has of a container whose record could not be written, now or as soon as that can be:
    /// until then it keeps its addresses.
    pub(crate) async fn take_back(self: &Arc<Self>, container: &Container) {
        self.world().change_container(&container.id, |record| record.goal = Goal::Removed);
        if let Err(failure) = self.clear_kernel(container).await {
            tracing::error!(container = %container.name, failure = chain(&failure), "some of it is left in the kernel");
            let (daemon, container) = (self.clone(), container.clone());
            retry::until_it_succeeds(container.id.clone(), "is still in the kernel", move |_| {
                let (daemon, container) = (daemon.clone(), container.clone());
                async move { daemon.clear_kernel(&container).await }
            });
        }
    }

    async fn clear_kernel(self: &Arc<Self>, container: &Container) -> Result<(), Failure> {
        let scope = self.world().scope_of(container);
        if let Some(scope) = scope {
            self.reconcile(format!("take back container `{}`", container.name), scope).await?;
        }
        self.world().forget_container(&container.id, None);
        self.forget_judged();
        Ok(())
    }

    /// Tries in the background until a container that is to go is gone: nobody who could ask for it again knows of it.
    pub(crate) fn take_down_later(self: &Arc<Self>, id: ContainerId) {
        let daemon = self.clone();
        retry::until_it_succeeds(id, "cannot be removed yet", move |id| {
            let daemon = daemon.clone();
            async move {
                let Some(life) = daemon.world().life(&id).cloned() else { return Ok(()) };
                let _work = life.work().await;
                daemon.take_down(&id, Durability::Relaxed).await
            }
        });
    }

    pub(crate) async fn remove_files(&self, path: &Path) -> Result<(), Failure> {
        let owned = path.to_owned();
        Ok(blocking(move || image::remove_tree(&owned)).await?)
    }
}
