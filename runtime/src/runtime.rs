//! What the daemon does to containers.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use model::{Command, ContainerId};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::OnceCell;

use crate::{
    ContainerSpec, Created, Directories, ExecStreams, Exit, LogReader, Observed, RuntimeError, Zygote, cgroup,
    client::{self, Connection},
    exit::Draft,
    protocol::{CreateRequest, Reply, Request},
    unreachable,
};

/// How long making a container may take, which may wait for a disk.
const CREATE_PATIENCE: Duration = Duration::from_secs(60);
/// The containers below one pair of directories. Everything it knows is on disk and in the shims, so a new one, of
/// another process, continues where the last one ended. All methods may be dropped at any await point; what a
/// dropped [`Runtime::create`] leaves behind is for [`Runtime::delete`] to remove.
#[derive(Debug)]
pub struct Runtime {
    zygote: Zygote,
    orders: OnceCell<Connection>,
    pub(crate) directories: Directories,
}

impl Runtime {
    /// Containers below `directories`, the new ones made by `zygote`.
    pub fn new(zygote: Zygote, directories: Directories) -> Self {
        Self { zygote, orders: OnceCell::new(), directories }
    }

    /// Where its containers are.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Whether the zygote, without which no container can be made, has ended. What runs goes on; only another process
    /// with a zygote of its own can make more.
    pub fn has_lost_zygote(&self) -> bool {
        self.zygote.has_ended()
    }

    /// Whether the container could be made now, as far as that depends on the zygote.
    ///
    /// # Errors
    /// [`RuntimeError::ZygoteGone`] when it has ended.
    pub fn check_zygote(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        if self.has_lost_zygote() {
            return Err(RuntimeError::ZygoteGone { id: id.clone(), source: io::ErrorKind::BrokenPipe.into() });
        }
        Ok(())
    }

    /// Has the kernel do ahead what a creation would wait for. Returns at once, and is of use when something else, of
    /// some milliseconds, is to be done before [`Runtime::create`]; must be called within a tokio runtime.
    pub fn expect_create(&self) {
        // In the legacy layout nobody waits: see `cgroup::Stay`.
        if matches!(cgroup::Layout::detect(), Ok(cgroup::Layout::Unified)) {
            drop(tokio::task::spawn_blocking(cgroup::expect_move));
        }
    }

    /// Creates a container as far as the moment before its own program: namespaces, mounts and cgroup exist, and its
    /// first process waits for [`Runtime::start`].
    ///
    /// # Errors
    /// When a step fails. Whatever was made until then is removed by [`Runtime::delete`], and only by it.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<Created, RuntimeError> {
        let silent = |_| Err(RuntimeError::ShimSilent { id: spec.id.clone(), step: "create it" });
        tokio::time::timeout(CREATE_PATIENCE, self.make(spec)).await.unwrap_or_else(silent)
    }

    async fn make(&self, spec: &ContainerSpec) -> Result<Created, RuntimeError> {
        self.expect_create();
        let id = &spec.id;
        let run = self.directories.run_of(id);
        let data = self.directories.data_of(id);
        make_directory(&self.directories.run)?;
        make_directory(&data)?;
        // Not created when it exists: two shims for one container must not be.
        builder().create(&run).map_err(|source| RuntimeError::path("create", &run, source))?;
        let shim = |source: io::Error| RuntimeError::Shim { id: id.clone(), step: "create it", source };
        let listener = client::listen(&run).map_err(|source| shim(source.into()))?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
                .map_err(|source| shim(source.into()))?;
        let request = CreateRequest { spec: spec.clone(), directories: self.directories.clone() };
        self.orders()
            .await
            .map_err(shim)?
            .send(&request, &[theirs.as_fd(), listener.as_fd()])
            .await
            .map_err(|source| RuntimeError::ZygoteGone { id: id.clone(), source })?;
        drop((theirs, listener));
        match Connection::new(ours).map_err(shim)?.receive().await.map_err(shim)? {
            Some(Reply::Created(created)) => Ok(created),
            failed => {
                // The kernel chooses whom it kills: the shim, or one of those who tell it that they failed.
                let limit =
                    spec.confinement.memory.filter(|_| cgroup::was_out_of_memory(&self.directories.cgroup_of(id)));
                Err(match (failed, limit) {
                    (_, Some(limit)) => RuntimeError::OutOfMemory { id: id.clone(), limit },
                    (Some(Reply::Failed(failure)), None) => RuntimeError::container(id, failure),
                    _ => RuntimeError::ShimGone { id: id.clone(), step: "create it" },
                })
            }
        }
    }

    /// Executes the container's program.
    ///
    /// # Errors
    /// [`RuntimeError::Container`] when the program cannot be executed; [`RuntimeError::exit_code`] tells 126 and 127
    /// apart. The container has then ended with that exit code.
    pub async fn start(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.order(id, "start it", &Request::Start, &[]).await
    }

    /// What the container's first process does; none if there is no such container.
    ///
    /// # Errors
    /// When the shim or the disk cannot be read.
    pub async fn state(&self, id: &ContainerId) -> Result<Option<Observed>, RuntimeError> {
        match self.ask(id, "tell its state", &Request::State, &[]).await? {
            Some(Reply::State(observed)) => Ok(Some(observed)),
            Some(_) | None => Ok(self.ended(id)?.map(Observed::Exited)),
        }
    }

    /// Sends a signal, by its Linux number, to the container's first process.
    ///
    /// # Errors
    /// [`RuntimeError::NotRunning`] when it has ended.
    pub async fn kill(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        match self.order(id, "send it a signal", &Request::Kill { signal }, &[]).await {
            Err(RuntimeError::Unreachable { .. }) => unreachable::signal(&self.directories, id, signal),
            sent => sent,
        }
    }

    /// Connects a client to the container's standard streams, on which it speaks [`model::Frame`]s; `already_read` is
    /// what was received from it so far. From then on this process has no part in it.
    ///
    /// # Errors
    /// [`RuntimeError::NotRunning`] when the container has ended.
    pub async fn attach(&self, id: &ContainerId, client: OwnedFd, already_read: Vec<u8>) -> Result<(), RuntimeError> {
        self.order(id, "attach a client", &Request::Attach { already_read }, &[client]).await
    }

    /// Runs another program in the container. Its streams, exit code and the failure to start it go to `client` as
    /// [`model::Frame`]s.
    ///
    /// # Errors
    /// [`RuntimeError::NotRunning`] when the container does not run.
    pub async fn exec(
        &self,
        id: &ContainerId,
        command: &Command,
        streams: ExecStreams,
        client: OwnedFd,
        already_read: Vec<u8>,
    ) -> Result<(), RuntimeError> {
        let request = Request::Exec { command: command.clone(), streams, already_read };
        self.order(id, "run a program in it", &request, &[client]).await
    }

    /// Waits until the container's first process has ended, and its log is complete.
    ///
    /// # Errors
    /// [`RuntimeError::NotRunning`] when there is no such container.
    pub async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        match self.ask(id, "wait for it", &Request::Wait, &[]).await? {
            Some(Reply::Exited(exit)) => Ok(exit),
            Some(_) | None => self.ended(id)?.ok_or_else(|| RuntimeError::NotRunning { id: id.clone() }),
        }
    }

    /// Every container of which something exists, ended ones included, for recovery and garbage collection.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn list(&self) -> Result<Vec<ContainerId>, RuntimeError> {
        let mut ids = BTreeSet::new();
        for directory in [&self.directories.run, &self.directories.data] {
            let entries = match fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(RuntimeError::path("list", directory, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| RuntimeError::path("list", directory, error))?;
                ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<ContainerId>().ok()));
            }
        }
        ids.extend(cgroup::names(&self.directories.cgroup_parent)?.iter().filter_map(|name| name.parse().ok()));
        Ok(ids.into_iter().collect())
    }

    /// What there is of the container outside its processes: directories and cgroups. Not to be relied on while it is
    /// being created or removed.
    ///
    /// # Errors
    /// When the hierarchies of cgroups cannot be listed.
    pub fn remains(&self, id: &ContainerId) -> Result<Vec<PathBuf>, RuntimeError> {
        let directories = [self.directories.run_of(id), self.directories.data_of(id)];
        let cgroups = cgroup::directories(&self.directories.cgroup_of(id))?;
        Ok(directories.into_iter().chain(cgroups).filter(|path| path.exists()).collect())
    }

    /// The container's log, from its beginning.
    pub fn read_log(&self, id: &ContainerId) -> LogReader {
        LogReader::new(self.directories.log_of(id))
    }

    /// Removes the cgroup that holds the containers' cgroups, in every hierarchy where it is empty. Not to be called
    /// while a container is being created.
    ///
    /// # Errors
    /// When it cannot be removed for another reason than that containers are left.
    pub fn remove_cgroup_parent(&self) -> Result<(), RuntimeError> {
        cgroup::remove_parent(&self.directories.cgroup_parent)
    }

    async fn orders(&self) -> io::Result<&Connection> {
        // Registered with tokio late, because the zygote is made before tokio is.
        self.orders.get_or_try_init(async || Connection::new(self.zygote.socket()?)).await
    }

    async fn order(
        &self,
        id: &ContainerId,
        step: &'static str,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> Result<(), RuntimeError> {
        match self.ask(id, step, request, descriptors).await? {
            Some(Reply::Done) => Ok(()),
            Some(_) => Err(RuntimeError::ShimGone { id: id.clone(), step }),
            None => {
                unreachable::check(&self.directories, id)?;
                Err(RuntimeError::NotRunning { id: id.clone() })
            }
        }
    }

    /// Asks the shim; none if there is none, or it ended meanwhile.
    async fn ask(
        &self,
        id: &ContainerId,
        step: &'static str,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> Result<Option<Reply>, RuntimeError> {
        let conversation = self.converse(id, step, request, descriptors);
        match request.patience() {
            Some(patience) => tokio::time::timeout(patience, conversation)
                .await
                .unwrap_or_else(|_| Err(RuntimeError::ShimSilent { id: id.clone(), step })),
            None => conversation.await,
        }
    }

    async fn converse(
        &self,
        id: &ContainerId,
        step: &'static str,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> Result<Option<Reply>, RuntimeError> {
        let shim = |source| RuntimeError::Shim { id: id.clone(), step, source };
        let Some(connection) = Connection::to_shim(&self.directories.run_of(id)).await.map_err(shim)? else {
            return Ok(None);
        };
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        match connection.send(request, &descriptors).await {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                return Ok(None);
            }
            sent => sent.map_err(shim)?,
        }
        match connection.receive().await.map_err(shim)? {
            Some(Reply::Failed(failure)) => Err(RuntimeError::container(id, failure)),
            reply => Ok(reply),
        }
    }

    /// How a container without a shim ended; none if there never was one. One that nobody saw end is recorded as lost.
    fn ended(&self, id: &ContainerId) -> Result<Option<Exit>, RuntimeError> {
        let path = self.directories.exit_of(id);
        if let Some(exit) = Exit::read(&path).map_err(|source| RuntimeError::path("read", &path, source))? {
            return Ok(Some(exit));
        }
        unreachable::check(&self.directories, id)?;
        if !self.directories.run_of(id).exists() && !self.directories.log_of(id).exists() {
            return Ok(None);
        }
        self.abandon(id).map(Some)
    }

    /// Ends the container without its shim, and records it as lost.
    ///
    /// # Errors
    /// When that cannot be written, or the hierarchies of cgroups cannot be listed.
    pub fn abandon(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let path = self.directories.exit_of(id);
        // The container ends with its shim, unless its first program changed its credentials by being executed (a
        // setuid program), which clears the parent's death signal. What counts as ended must not run.
        cgroup::kill(&self.directories.cgroup_of(id))?;
        let lost = Exit { exit_code: Exit::LOST, started_at: None, finished_at: Timestamp::now() };
        make_directory(&self.directories.data_of(id))?;
        lost.write(&path, Draft::Absent).map_err(|source| RuntimeError::path("write", &path, source))?;
        Ok(lost)
    }
}

fn builder() -> fs::DirBuilder {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn make_directory(path: &Path) -> Result<(), RuntimeError> {
    builder().recursive(true).create(path).map_err(|source| RuntimeError::path("create", path, source))
}
