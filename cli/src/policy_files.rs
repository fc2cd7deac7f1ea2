//! Files of policies and of their tests.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
};

use api::{PolicyFile, PolicyInForce};
use model::{ContainerName, NetworkName};
use policy::{
    Document, DocumentError, FILE_LIMIT, MentionError, OutcomeError, Policies, PoliciesError, Suite, Syntax,
    WorldError, parse,
};

use crate::failure::Failure;

/// How the files in a directory end that are read.
const ENDINGS: [&str; 4] = ["yaml", "yml", "json", "toml"];
/// What stands for standard input.
const STDIN: &str = "-";

/// Why policies, or tests of them, cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyFailure {
    /// Not a file that can be read as text.
    #[error("cannot read `{}`", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A directory without policies.
    #[error("there are no policies in `{}`", .0.display())]
    Empty(PathBuf),
    /// Something is wrong in a file.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Several documents contradict each other.
    #[error(transparent)]
    Policies(#[from] PoliciesError),
    /// A file of tests that expects nothing.
    #[error("`{}` expects nothing", .0.display())]
    NothingExpected(PathBuf),
    /// An expectation about nobody.
    #[error(transparent)]
    Outcome(#[from] OutcomeError),
    /// A question about nobody.
    #[error("{reason}")]
    Question { reason: MentionError, asked: Asked },
    /// Two ids begin like this.
    #[error("`{0}` begins the id of more than one container")]
    ManyIds(String),
    /// Nothing is sent to it or by it.
    #[error("container `{0}` is on no network, so no policy is about it")]
    Nowhere(ContainerName),
    /// Nobody says whom policies are about.
    #[error("nothing says which endpoints there are")]
    NoWorld,
    /// There are two worlds.
    #[error("`{}` says which endpoints there are, and --live asks netd for them", .0.display())]
    TwoWorlds(PathBuf),
    /// What the daemon says contradicts itself.
    #[error(transparent)]
    World(#[from] WorldError),
}

/// Where endpoints and names are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Nobody,
    File,
    Daemon,
}

impl PolicyFailure {
    /// What a person can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Empty(_) => Some(format!("their names end in .{}", ENDINGS.join(", ."))),
            Self::Document(error) => error.hint().map(str::to_owned),
            Self::NothingExpected(_) => Some(
                "write what should become of connections below `expect`, each with `from`, `to` and `verdict`"
                    .to_owned(),
            ),
            Self::Question { reason: MentionError::Unknown { .. } | MentionError::NoAddress(_), asked: Asked::Nobody } => {
                Some(
                    "say which endpoints and names there are: --world FILE, or --live; or describe an endpoint: NETWORK/KEY=VALUE"
                        .to_owned(),
                )
            }
            Self::Question { reason: MentionError::Unknown { .. }, asked: Asked::Daemon } => {
                Some("`fabric ps` lists containers; or describe an endpoint: NETWORK/KEY=VALUE".to_owned())
            }
            Self::Question { reason: MentionError::NoAddress(name), asked: Asked::Daemon } => {
                Some(format!("see what DNS answers: fabric dns query {name}"))
            }
            Self::Question { reason: MentionError::NoAddress(_), asked: Asked::File } => {
                Some("give it below `names`".to_owned())
            }
            Self::NoWorld => Some("give them with --world FILE, or ask netd with --live".to_owned()),
            Self::TwoWorlds(_) => Some("leave out --live, or `networks`, `endpoints`, `names` and `host`".to_owned()),
            _ => None,
        }
    }
}

/// The policies in these files, and in the files of these directories.
pub(crate) fn policies(paths: &[PathBuf], network: Option<&NetworkName>) -> Result<Policies, Failure> {
    Ok(Policies::new(documents(paths, network)?).map_err(PolicyFailure::Policies)?)
}

/// The documents of these files, and of the files of these directories.
pub(crate) fn documents(paths: &[PathBuf], network: Option<&NetworkName>) -> Result<Vec<Document>, Failure> {
    read(paths, network).map(|(documents, _)| documents)
}

/// The files themselves, once it is clear that they can be read.
pub(crate) fn texts(paths: &[PathBuf], network: Option<&NetworkName>) -> Result<Vec<PolicyFile>, Failure> {
    let (documents, texts) = read(paths, network)?;
    Policies::new(documents).map_err(PolicyFailure::Policies)?;
    Ok(texts)
}

/// The same as they would be in force.
pub(crate) fn in_force(paths: &[PathBuf], network: Option<&NetworkName>) -> Result<Vec<PolicyInForce>, Failure> {
    let files = texts(paths, network)?.into_iter().map(|PolicyFile { name, text }| {
        let documents = parse(&name, Syntax::of(&name), &text, network).unwrap_or_default();
        let documents = documents.iter().map(Document::title).collect();
        PolicyInForce { name, network: network.cloned(), text, documents }
    });
    Ok(files.collect())
}

fn read(paths: &[PathBuf], network: Option<&NetworkName>) -> Result<(Vec<Document>, Vec<PolicyFile>), Failure> {
    let (mut texts, mut documents, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let mut is_empty = true;
        for file in files(path)? {
            let (name, text) = (file.display().to_string(), text(&file)?);
            match parse(&name, Syntax::of(&name), &text, network) {
                Ok(found) => {
                    is_empty &= found.is_empty();
                    documents.extend(found);
                }
                Err(errors) => {
                    is_empty = false;
                    failures.extend(errors.into_iter().map(|error| PolicyFailure::Document(error).into()));
                }
            }
            let name = if name == STDIN { name_of_input(&text) } else { name };
            texts.push(PolicyFile { name, text });
        }
        if is_empty {
            Failure::warn(&format!("there is no policy in `{}`", path.display()));
        }
    }
    Failure::from_several(failures)?;
    Ok((documents, texts))
}

/// What standard input is called where it is remembered: by what it says, so that one is told from another.
fn name_of_input(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("stdin-{:08x}", hasher.finish() >> 32)
}

/// The tests, or the world, of a file.
pub(crate) fn suite(path: &Path) -> Result<Suite, PolicyFailure> {
    let name = path.display().to_string();
    Ok(Suite::parse(&name, Syntax::of(&name), &text(path)?)?)
}

/// The file, or those of the directory that hold policies, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, PolicyFailure> {
    let unreadable = |source| PolicyFailure::Unreadable { path: path.to_owned(), source };
    if path == Path::new(STDIN) || !path.metadata().map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = path.read_dir().and_then(|entries| entries.collect::<Result<Vec<_>, _>>()).map_err(unreadable)?;
    let is_read = |file: &PathBuf| {
        let ending = file.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ENDINGS.contains(&ending)) && !file.is_dir()
    };
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_read).collect();
    files.sort();
    if files.is_empty() { Err(PolicyFailure::Empty(path.to_owned())) } else { Ok(files) }
}

/// A file's text, and no more of it than the parser takes.
fn text(path: &Path) -> Result<String, PolicyFailure> {
    let limit = FILE_LIMIT as u64 + 1;
    let mut text = String::new();
    let read = match path == Path::new(STDIN) {
        true => io::stdin().take(limit).read_to_string(&mut text),
        false => File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)),
    };
    match read {
        Ok(_) => Ok(text),
        Err(source) => Err(PolicyFailure::Unreadable { path: path.to_owned(), source }),
    }
}
