//! The durable copy: a redb database with a format record.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError,
};

use crate::{Cause, Entry, Key, OpenError, ParseKeyError, Revision, StoreError};

/// Numbers about the file itself: [`FORMAT`] and [`CEILING`].
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("fabric_meta");
/// Key to number of the creating revision, number of the last writing revision, and value. Keys are octets here,
/// because redb panics on a text that damage has made invalid.
const ENTRIES: TableDefinition<'static, &[u8], (u64, u64, &[u8])> = TableDefinition::new("fabric_entries");

/// The format of the two tables.
const FORMAT: &str = "format";
const FORMAT_VERSION: u64 = 1;
/// No revision above this was ever given out; whoever opens the file goes on from here.
const CEILING: &str = "ceiling";

/// The image in memory serves the reads, so redb needs no more than the pages it is changing.
const CACHE_OCTETS: usize = 1 << 18;
/// How long the locks of a killed process may outlive it.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// An open state file.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    /// None after a failed write: redb answers nothing then until the file is opened again.
    database: Option<Database>,
}

/// What a state file holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) ceiling: Revision,
    pub(super) entries: BTreeMap<Key, Entry>,
}

impl StateFile {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), OpenError> {
        let database = match open_existing(path) {
            Err(OpenError::Io { cause, .. }) if cause_kind(&cause) == Some(ErrorKind::NotFound) => create(path)?,
            other => other?,
        };
        let contents = guard_panics(path, || load(path, &database))?;
        Ok((Self { path: path.to_owned(), database: Some(database) }, contents))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a write failed and the file has to be opened again.
    pub(super) fn is_failed(&self) -> bool {
        self.database.is_none()
    }

    /// Opens the file again after a failed write; what it holds may lack what was written last, or have it.
    pub(super) fn reopen(&mut self) -> Result<Contents, StoreError> {
        let reopened = open_existing(&self.path)
            .and_then(|database| guard_panics(&self.path, || load(&self.path, &database)).map(|it| (database, it)));
        match reopened {
            Ok((database, contents)) => {
                self.database = Some(database);
                Ok(contents)
            }
            Err(OpenError::Full { path, cause }) => Err(StoreError::Full { path, cause }),
            Err(OpenError::ReadOnly { path, cause }) => Err(StoreError::ReadOnly { path, cause }),
            Err(cause) => Err(StoreError::Reopen { path: self.path.clone(), cause }),
        }
    }

    /// Writes entries (none: removes them) and the ceiling, and returns when all of it is on the disk.
    pub(super) fn write<'a>(
        &mut self,
        changes: impl Iterator<Item = (&'a Key, Option<&'a Entry>)>,
        ceiling: Revision,
    ) -> Result<(), StoreError> {
        let Some(database) = &self.database else {
            return Err(StoreError::Closed { path: self.path.clone() });
        };
        write(database, changes, ceiling).map_err(|error| {
            self.database = None;
            write_error(&self.path, error)
        })
    }
}

fn write<'a>(
    database: &Database,
    changes: impl Iterator<Item = (&'a Key, Option<&'a Entry>)>,
    ceiling: Revision,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        for (key, entry) in changes {
            match entry {
                Some(Entry { value, modified, created }) => {
                    entries.insert(key.as_str().as_bytes(), (created.number(), modified.number(), &**value))?;
                }
                None => {
                    entries.remove(key.as_str().as_bytes())?;
                }
            }
        }
        transaction.open_table(META)?.insert(CEILING, ceiling.number())?;
    }
    transaction.commit()?;
    Ok(())
}

fn open_existing(path: &Path) -> Result<Database, OpenError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let opened = guard_panics(path, || {
            identify(path)?;
            redb::Builder::new().set_cache_size(CACHE_OCTETS).open(path).map_err(|error| database_error(path, error))
        });
        match opened {
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
}

/// Looks whether the file can be used before it is opened for writing, which alone makes redb change its housekeeping.
///
/// A file that was not closed cleanly cannot be looked at like that. redb repairs it first, which keeps its contents.
fn identify(path: &Path) -> Result<(), OpenError> {
    let database = match redb::Builder::new().set_cache_size(CACHE_OCTETS).open_read_only(path) {
        Err(DatabaseError::RepairAborted) => return Ok(()),
        other => other.map_err(|error| database_error(path, error))?,
    };
    load(path, &database).map(drop)
}

/// Makes an empty state file under another name first, so that a crash in between leaves no half-made one.
fn create(path: &Path) -> Result<Database, OpenError> {
    let fail = |action| move |error| io_error(path, action, error);
    let draft = path.with_extension("redb.new");
    // Values may hold what containers keep secret in their environment.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&draft)
        .map_err(fail("create"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(io_error(path, "lock", error)),
    }
    // Another process may have finished the draft while this one waited to open it.
    if path.try_exists().map_err(fail("look for"))? {
        return open_existing(path);
    }
    file.set_len(0).map_err(fail("create"))?;
    let database = redb::Builder::new()
        .set_cache_size(CACHE_OCTETS)
        .create_file(file)
        .map_err(|error| database_error(path, error))?;
    initialise(&database).map_err(|error| open_error(path, "create", error))?;
    std::fs::rename(&draft, path).map_err(fail("create"))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail("create"))?;
    Ok(database)
}

fn initialise(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT, FORMAT_VERSION)?;
        meta.insert(CEILING, Revision::ZERO.number())?;
        transaction.open_table(ENTRIES)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The ceiling, if this release may read the rest.
fn ceiling(path: &Path, transaction: &ReadTransaction) -> Result<Revision, OpenError> {
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    let meta = transaction.open_table(META).map_err(|error| match error {
        TableError::Storage(error) => open_error(path, "read", error.into()),
        _ => OpenError::Foreign { path: path.to_owned(), reason: "it is a redb database of another program" },
    })?;
    let number = |name: &str| {
        let value = meta.get(name).map_err(|error| open_error(path, "read", error.into()))?;
        value.map(|number| number.value()).ok_or_else(|| damaged(format!("it has no record `{name}`")))
    };
    match number(FORMAT)? {
        FORMAT_VERSION => Ok(Revision::from_number(number(CEILING)?)),
        found if found > FORMAT_VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, supported: FORMAT_VERSION })
        }
        found => Err(damaged(format!("it says its format is {found}, which never was"))),
    }
}

fn load(path: &Path, database: &impl ReadableDatabase) -> Result<Contents, OpenError> {
    let fail = |error: redb::Error| open_error(path, "read", error);
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    let transaction = database.begin_read().map_err(|error| fail(error.into()))?;
    let ceiling = ceiling(path, &transaction)?;

    let mut entries = BTreeMap::new();
    let table = transaction.open_table(ENTRIES).map_err(|error| fail(error.into()))?;
    for record in table.iter().map_err(|error| fail(error.into()))? {
        let (key, record) = record.map_err(|error| fail(error.into()))?;
        let key = String::from_utf8_lossy(key.value());
        let key: Key = key.parse().map_err(|error: ParseKeyError| damaged(error.to_string()))?;
        let (created, modified, value) = record.value();
        let (created, modified) = (Revision::from_number(created), Revision::from_number(modified));
        if created > modified || modified > ceiling {
            return Err(damaged(format!("the revisions of `{key}` are out of order")));
        }
        entries.insert(key, Entry::new(value.into(), created, modified));
    }
    Ok(Contents { ceiling, entries })
}

/// redb asserts what a damaged file may not hold to; here that is one more way of being damaged.
fn guard_panics<T>(path: &Path, action: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|_| {
        Err(OpenError::Damaged { path: path.to_owned(), reason: "its pages contradict each other".to_owned() })
    })
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            OpenError::Foreign { path: path.to_owned(), reason: "it is not a redb database" }
        }
        DatabaseError::UpgradeRequired(_) => {
            OpenError::Foreign { path: path.to_owned(), reason: "it is a redb database of an older format" }
        }
        other => open_error(path, "open", other.into()),
    }
}

fn open_error(path: &Path, action: &'static str, error: redb::Error) -> OpenError {
    match error {
        redb::Error::Io(error) => io_error(path, action, error),
        other => OpenError::Damaged { path: path.to_owned(), reason: other.to_string() },
    }
}

/// The error for an operation of the system on the file at `path`.
pub(super) fn io_error(path: &Path, action: &'static str, error: io::Error) -> OpenError {
    let (path, kind) = (path.to_owned(), error.kind());
    match kind {
        ErrorKind::UnexpectedEof => OpenError::Damaged { path, reason: "it is cut off".to_owned() },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Full { path, cause: Cause::new(error) },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { path, cause: Cause::new(error) }
        }
        _ => OpenError::Io { path, action, cause: Cause::new(error) },
    }
}

fn write_error(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    let kind = if let redb::Error::Io(error) = &error { Some(error.kind()) } else { None };
    let cause = match error {
        redb::Error::Io(error) => Cause::new(error),
        other => Cause::new(other),
    };
    match kind {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => StoreError::Full { path, cause },
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => StoreError::ReadOnly { path, cause },
        _ => StoreError::Write { path, cause },
    }
}

fn cause_kind(cause: &Cause) -> Option<ErrorKind> {
    cause.downcast_ref::<io::Error>().map(io::Error::kind)
}
