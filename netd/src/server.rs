//! The API on its socket: which request leads where.

mod containers;
mod host;
mod images;
mod networks;
mod policies;
mod request;

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use api::route;
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{Method, Uri},
    routing::{delete, get, post},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::{UnixListener, UnixStream};

pub(crate) use host::metrics;

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
};

/// A request's body is an order, not a file: images are streams and exempt.
const BODY_LIMIT: usize = 1 << 20;

/// Policies are files, of which there may be several.
const POLICIES_LIMIT: usize = 4 * policy::FILE_LIMIT;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

type Shared = State<Arc<Daemon>>;

/// All routes of [`api::route`].
fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route(route::VERSION, get(host::version))
        .route(route::STATUS, get(host::status))
        .route(route::DOCTOR, get(host::doctor).post(host::mend))
        .route(route::METRICS, get(host::metrics))
        .route(route::OPENAPI, get(host::openapi))
        .route(route::EVENTS, get(host::events))
        .route(route::DNS_QUERY, get(host::query_dns))
        .route(route::DNS_LOG, get(host::dns_log))
        .route(route::NETWORKS, get(networks::list).post(networks::create))
        .route(route::NETWORK, get(networks::show).patch(networks::update).delete(networks::remove))
        .route(route::CONTAINERS, get(containers::list).post(containers::create))
        .route(route::CONTAINER, get(containers::show).delete(containers::remove))
        .route(route::CONTAINER_ENDPOINTS, post(containers::connect).delete(containers::disconnect))
        .route(route::CONTAINER_START, post(containers::start))
        .route(route::CONTAINER_STOP, post(containers::stop))
        .route(route::CONTAINER_RESTART, post(containers::restart))
        .route(route::CONTAINER_RENAME, post(containers::rename))
        .route(route::CONTAINER_TOP, get(containers::top))
        .route(route::CONTAINERS_PRUNE, post(containers::prune))
        .route(route::NETWORKS_PRUNE, post(networks::prune))
        .route(route::CONTAINER_KILL, post(containers::kill))
        .route(route::CONTAINER_WAIT, get(containers::wait))
        .route(route::CONTAINER_LOGS, get(containers::logs))
        .route(route::CONTAINER_ATTACH, post(containers::attach))
        .route(route::CONTAINER_EXEC, post(containers::exec))
        .route(route::IMAGES, get(images::list).post(images::import).layer(DefaultBodyLimit::disable()))
        .route(route::IMAGE, delete(images::remove))
        .route(route::POLICIES, get(policies::list).post(policies::apply).layer(DefaultBodyLimit::max(POLICIES_LIMIT)))
        .route(route::POLICY, get(policies::show).delete(policies::remove))
        .route(route::POLICY_WORLD, get(policies::world))
        .route(route::POLICY_HISTORY, get(policies::history))
        .route(route::POLICY_REVISION, get(policies::revision))
        .route(route::POLICY_ROLLBACK, post(policies::roll_back))
        .route(route::POLICY_FLOWS, get(policies::flows))
        .fallback(async |uri: Uri| Failure::no_route(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| Failure::no_method(method.as_str(), uri.path()))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(daemon)
}

/// Listens on `path`, replacing a socket that a dead daemon left: mode 0660, group `group` where there is one.
pub(crate) fn listen(path: &Path, group: Option<u32>) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Bound under another name, because between bind(2) and chmod(2) everybody might connect.
    let unfinished = path.with_extension("sock.new");
    let _ = std::fs::remove_file(&unfinished);
    let listener = UnixListener::bind(&unfinished)?;
    std::os::unix::fs::chown(&unfinished, Some(0), Some(group.unwrap_or(0)))?;
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o660))?;
    std::fs::rename(&unfinished, path)?;
    Ok(listener)
}

/// Serves the API until the process ends.
pub(crate) async fn serve(daemon: Arc<Daemon>, listener: UnixListener) {
    let router = router(daemon);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, router.clone()));
            }
            Err(error) => {
                // Out of descriptors, as a rule: waiting lets others finish theirs.
                tracing::warn!(%error, "cannot accept a connection to the API");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, router: Router) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(error = chain(&error), "a connection to the API broke off");
    }
}

/// Does the work to its end even if the client goes away: hyper drops the future of a request whose connection closed.
async fn undisturbed<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(output) => output,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
