//! Paths of the host that are to appear in containers: whether they are there.
//!
//! A file system whose server is away does not answer for as long as that lasts, and no look at it can be called off.
//! So a look has a thread of its own and is given up after a while. Until it ends, the path is not looked at again: who
//! tries again and again, or starts many containers at once, must not use up all threads.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use model::Bind;
use tokio::{sync::Notify, time::timeout};

use crate::{failure::Failure, images::blocking};

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The looks that are under way, and since when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Binds {
    looks: Arc<Mutex<Vec<(PathBuf, Instant)>>>,
    /// Told whenever one ends.
    ended: Arc<Notify>,
}

impl Binds {
    /// Whether there is something on the host to appear inside. Nothing is made there: a mistyped path would become a
    /// directory that root owns.
    pub(crate) async fn check(&self, binds: &[Bind]) -> Result<(), Failure> {
        for bind in binds {
            let found = self.look(&bind.source, PATIENCE, |path| fs::metadata(path).map(drop)).await;
            found.map_err(|source| Failure::HostPath { path: bind.source.clone(), source })?;
        }
        Ok(())
    }

    async fn look(
        &self,
        path: &Path,
        patience: Duration,
        look: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let silent = || io::Error::new(io::ErrorKind::TimedOut, format!("nothing answered there for {patience:?}"));
        loop {
            let ended = self.ended.notified();
            let Err(begun) = self.begin(path) else { break };
            let rest = patience.checked_sub(begun.elapsed()).ok_or_else(silent)?;
            timeout(rest, ended).await.map_err(|_| silent())?;
        }
        let (binds, path) = (self.clone(), path.to_owned());
        let looking = blocking(move || {
            let found = look(&path);
            binds.looks().retain(|(other, _)| *other != path);
            binds.ended.notify_waiters();
            found
        });
        timeout(patience, looking).await.unwrap_or_else(|_| Err(silent()))
    }

    /// Notes that a path is looked at from now on, unless it is already; then since when.
    fn begin(&self, path: &Path) -> Result<(), Instant> {
        let mut looks = self.looks();
        match looks.iter().find(|(other, _)| other == path) {
            Some((_, begun)) => Err(*begun),
            None => {
                looks.push((path.to_owned(), Instant::now()));
                Ok(())
            }
        }
    }

    fn looks(&self) -> MutexGuard<'_, Vec<(PathBuf, Instant)>> {
        self.looks.lock().expect("no holder of the looks panics")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    /// What nothing takes, even where the machine stands still.
    const LONG: Duration = Duration::from_secs(60);

    /// One thread, which a look that blocks it would keep from everything.
    #[tokio::test]
    async fn a_path_that_does_not_answer_is_given_up_and_keeps_one_thread() {
        let binds = Binds::default();
        let (dead, other) = (Path::new("/mnt/dead"), Path::new("/mnt/other"));
        let (server, answer) = mpsc::channel::<()>();
        let waiting = move |_: &Path| answer.recv().map_err(io::Error::other);
        let error = binds.look(dead, SHORT, waiting).await.expect_err("nothing answers");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::TimedOut, "nothing answered there for 50ms")
        );
        let again = binds.look(dead, SHORT, |_| unreachable!("it is still looked at")).await;
        assert_eq!(again.expect_err("nothing has answered").kind(), io::ErrorKind::TimedOut);
        binds.look(other, LONG, |_| Ok(())).await.expect("another path answers");
        server.send(()).expect("it is waited for");
        let back = async {
            while binds.look(dead, SHORT, |_| Ok(())).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, back).await.expect("it answers again");
    }

    #[tokio::test]
    async fn many_who_look_at_one_path_keep_one_thread() {
        let binds = Binds::default();
        let path = Path::new("/mnt/slow");
        let (server, answer) = mpsc::channel::<()>();
        let (first, mut others) = (binds.clone(), tokio::task::JoinSet::new());
        let first =
            tokio::spawn(async move { first.look(path, LONG, move |_| answer.recv().map_err(io::Error::other)).await });
        while binds.looks().is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..8 {
            let binds = binds.clone();
            others.spawn(async move { binds.look(path, LONG, |_| Ok(())).await });
        }
        tokio::time::sleep(SHORT).await;
        assert_eq!(binds.looks().len(), 1, "the others wait");
        let late = binds.look(path, SHORT, |_| unreachable!("it is still looked at")).await;
        assert_eq!(late.expect_err("nothing answers").kind(), io::ErrorKind::TimedOut);
        server.send(()).expect("it is waited for");
        first.await.expect("no panic").expect("it answers");
        others.join_all().await.into_iter().for_each(|found| found.expect("it answers them as well"));
        assert!(binds.looks().is_empty());
    }

    #[tokio::test]
    async fn what_is_not_there_is_told() {
        let bind = |path: &str| Bind { source: path.into(), ..format!("{path}:/in").parse().expect("literal") };
        Binds::default().check(&[bind("/"), bind("/dev/null")]).await.expect("they are there");
        match Binds::default().check(&[bind("/"), bind("/no/such")]).await {
            Err(Failure::HostPath { path, .. }) => assert_eq!(path, Path::new("/no/such")),
            other => panic!("{other:?}"),
        }
    }
}
