//! The API on its socket: which request leads where.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use api::{
    ContainerCreate, ContainersQuery, DisconnectQuery, DnsLogQuery, DnsQuery, EndpointCreate, EventsQuery, ExecCreate,
    ImportQuery, KillQuery, LogsQuery, NetworkCreate, RemoveQuery, StartQuery, StopQuery, WaitQuery, Waited, route,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State, rejection},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use model::{ImageName, NetworkName};
use runtime::ExecStreams;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};

use crate::{
    daemon::{Daemon, chain},
    events::Events,
    failure::Failure,
    logs,
    record::Goal,
    streams::{self, Target},
    view,
};

/// A request's body is an order, not a file: images are streams and exempt.
const BODY_LIMIT: usize = 1 << 20;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

type Shared = State<Arc<Daemon>>;

/// All routes of [`api::route`].
fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route(route::VERSION, get(version))
        .route(route::STATUS, get(status))
        .route(route::DOCTOR, get(doctor).post(mend))
        .route(route::METRICS, get(metrics))
        .route(route::EVENTS, get(events))
        .route(route::DNS_QUERY, get(query_dns))
        .route(route::DNS_LOG, get(dns_log))
        .route(route::NETWORKS, get(networks).post(create_network))
        .route(route::NETWORK, get(network).delete(remove_network))
        .route(route::CONTAINERS, get(containers).post(create_container))
        .route(route::CONTAINER, get(container).delete(remove_container))
        .route(route::CONTAINER_ENDPOINTS, post(connect).delete(disconnect))
        .route(route::CONTAINER_START, post(start))
        .route(route::CONTAINER_STOP, post(stop))
        .route(route::CONTAINER_RESTART, post(restart))
        .route(route::CONTAINER_RENAME, post(rename))
        .route(route::CONTAINER_TOP, get(top))
        .route(route::CONTAINERS_PRUNE, post(prune_containers))
        .route(route::CONTAINER_KILL, post(kill))
        .route(route::CONTAINER_WAIT, get(wait))
        .route(route::CONTAINER_LOGS, get(container_logs))
        .route(route::CONTAINER_ATTACH, post(attach))
        .route(route::CONTAINER_EXEC, post(exec))
        .route(route::IMAGES, get(images).post(import_image).layer(DefaultBodyLimit::disable()))
        .route(route::IMAGE, delete(remove_image))
        .fallback(|| async { StatusCode::NOT_FOUND })
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

/// A request's JSON body, parsed; what is wrong with it is told as a [`Failure`].
struct JsonBody<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let parsed = tokio::time::timeout(PATIENCE, Json::<T>::from_request(request, state)).await;
        let parsed = parsed.map_err(|_| Failure::Malformed { reason: "its body did not arrive in time".into() })?;
        parsed.map(|Json(value)| Self(value)).map_err(|rejection| Failure::malformed(&rejection))
    }
}

/// A request's query, parsed.
struct Query<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let parsed = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        parsed
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection: rejection::QueryRejection| Failure::malformed(&rejection))
    }
}

/// The one parameter of a request's path, parsed.
struct Parameter<T>(T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Parameter<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let parsed = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        parsed.map(|axum::extract::Path(value)| Self(value)).map_err(|rejection| Failure::malformed(&rejection))
    }
}

async fn version() -> Json<api::Version> {
    Json(api::Version { version: env!("CARGO_PKG_VERSION").into(), api: api::API_VERSION.into() })
}

async fn status(State(daemon): Shared) -> Result<Json<api::Status>, Failure> {
    daemon.status().await.map(Json)
}

async fn doctor(State(daemon): Shared) -> Json<api::Doctor> {
    Json(daemon.examine().await)
}

async fn mend(State(daemon): Shared) -> Json<api::Doctor> {
    Json(undisturbed(async move { daemon.mend().await }).await)
}

async fn metrics(State(daemon): Shared) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, daemon.metrics_text().await).into_response()
}

async fn events(State(daemon): Shared, Query(query): Query<EventsQuery>) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], Events::body(daemon, query)).into_response()
}

async fn query_dns(State(daemon): Shared, Query(query): Query<DnsQuery>) -> Result<Json<api::DnsAnswer>, Failure> {
    daemon.query_dns(query).await.map(Json)
}

async fn dns_log(State(daemon): Shared, Query(query): Query<DnsLogQuery>) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], daemon.dns_log(query)).into_response()
}

async fn networks(State(daemon): Shared) -> Json<Vec<api::Network>> {
    let world = daemon.world();
    let mut networks: Vec<_> = world.networks().map(|network| view::network(&world, network)).collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Json(networks)
}

async fn create_network(
    State(daemon): Shared,
    JsonBody(request): JsonBody<NetworkCreate>,
) -> Result<(StatusCode, Json<api::Network>), Failure> {
    let network = undisturbed(daemon.clone().create_network(request)).await?;
    let world = daemon.world();
    Ok((StatusCode::CREATED, Json(view::network(&world, &network))))
}

async fn network(
    State(daemon): Shared,
    Parameter(name): Parameter<NetworkName>,
) -> Result<Json<api::Network>, Failure> {
    let world = daemon.world();
    Ok(Json(view::network(&world, world.network_by_name(&name)?)))
}

async fn remove_network(State(daemon): Shared, Parameter(name): Parameter<NetworkName>) -> Result<StatusCode, Failure> {
    undisturbed(daemon.remove_network(name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn containers(State(daemon): Shared, Query(query): Query<ContainersQuery>) -> Json<Vec<api::Container>> {
    let world = daemon.world();
    let mut containers: Vec<_> = world
        .records()
        .map(|record| view::container(&world, record))
        .filter(|container| query.all || container.state == api::State::Running)
        .collect();
    containers.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
    Json(containers)
}

async fn create_container(
    State(daemon): Shared,
    JsonBody(request): JsonBody<ContainerCreate>,
) -> Result<(StatusCode, Json<api::Container>), Failure> {
    let id = undisturbed(daemon.clone().create_container(request)).await?;
    Ok((StatusCode::CREATED, shown(&daemon, id.as_str())?))
}

async fn container(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
) -> Result<Json<api::Container>, Failure> {
    shown(&daemon, reference.as_str())
}

fn shown(daemon: &Daemon, reference: &str) -> Result<Json<api::Container>, Failure> {
    let world = daemon.world();
    let record = world.container_by_reference(reference)?;
    Ok(Json(view::container(&world, record)))
}

async fn remove_container(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<RemoveQuery>,
) -> Result<StatusCode, Failure> {
    undisturbed(async move { daemon.remove_container(reference.as_str(), query.force).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn connect(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    JsonBody(request): JsonBody<EndpointCreate>,
) -> Result<(StatusCode, Json<api::Container>), Failure> {
    let connector = daemon.clone();
    let id = undisturbed(async move { connector.connect_container(reference.as_str(), request).await }).await?;
    Ok((StatusCode::CREATED, shown(&daemon, id.as_str())?))
}

async fn disconnect(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<DisconnectQuery>,
) -> Result<Json<api::Container>, Failure> {
    let connector = daemon.clone();
    let id =
        undisturbed(async move { connector.disconnect_container(reference.as_str(), query.network).await }).await?;
    shown(&daemon, id.as_str())
}

async fn start(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<StartQuery>,
) -> Result<Json<api::Container>, Failure> {
    let starter = daemon.clone();
    // One that ended, and was removed, the moment it was started was started nonetheless.
    let before = shown(&daemon, reference.as_str());
    let goal = if query.prepare { Goal::Created } else { Goal::Running };
    let id = undisturbed(async move { starter.start_container(reference.as_str(), goal).await }).await?;
    shown(&daemon, id.as_str()).or(before)
}

async fn restart(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<StopQuery>,
) -> Result<Json<api::Container>, Failure> {
    let starter = daemon.clone();
    let restarting = async move { starter.restart_container(reference.as_str(), query.timeout_seconds).await };
    let id = undisturbed(restarting).await?;
    shown(&daemon, id.as_str())
}

async fn rename(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    JsonBody(request): JsonBody<api::Rename>,
) -> Result<Json<api::Container>, Failure> {
    let renamer = daemon.clone();
    let id = undisturbed(async move { renamer.rename_container(reference.as_str(), request.name).await }).await?;
    shown(&daemon, id.as_str())
}

async fn top(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
) -> Result<Json<Vec<api::Process>>, Failure> {
    let processes = daemon.processes(reference.as_str()).await?;
    Ok(Json(processes.into_iter().map(view::process).collect()))
}

async fn prune_containers(State(daemon): Shared) -> Result<Json<api::Pruned>, Failure> {
    let removed = undisturbed(daemon.prune_containers()).await?;
    Ok(Json(api::Pruned { removed }))
}

async fn stop(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<StopQuery>,
) -> Result<Json<api::Container>, Failure> {
    let before = shown(&daemon, reference.as_str());
    let stopper = daemon.clone();
    let id =
        undisturbed(async move { stopper.stop_container(reference.as_str(), query.timeout_seconds).await }).await?;
    shown(&daemon, id.as_str()).or(before)
}

async fn kill(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<KillQuery>,
) -> Result<StatusCode, Failure> {
    daemon.kill_container(reference.as_str(), query.signal).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn wait(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Waited>, Failure> {
    let exit_code = daemon.wait_container(reference.as_str(), query.until).await?;
    Ok(Json(Waited { exit_code }))
}

async fn container_logs(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Failure> {
    let (id, life) = daemon.container(reference.as_str())?;
    let headers = [(header::CONTENT_TYPE, "application/jsonl")];
    Ok((headers, logs::body(daemon.runtime.read_log(&id), life, query)).into_response())
}

async fn attach(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    mut request: Request,
) -> Result<Response, Failure> {
    let upgrade = streams::upgrade(&mut request)?;
    let (id, life) = daemon.attachable(reference.as_str())?;
    let work = life.work().await;
    Ok(daemon.hand_over(id, work, Target::Attach, upgrade))
}

async fn exec(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    mut request: Request,
) -> Result<Response, Failure> {
    let upgrade = streams::upgrade(&mut request)?;
    let JsonBody(order) = JsonBody::<ExecCreate>::from_request(request, &()).await?;
    let (id, life) = daemon.running(reference.as_str())?;
    let streams = match order.terminal {
        Some(size) => ExecStreams::Terminal(size),
        None => ExecStreams::Pipes { stdin: order.stdin },
    };
    let command = Box::new(daemon.exec_command(&id, order)?);
    let work = life.work().await;
    Ok(daemon.hand_over(id, work, Target::Exec { command, streams }, upgrade))
}

async fn images(State(daemon): Shared) -> Result<Json<Vec<api::Image>>, Failure> {
    Ok(Json(daemon.list_images().await?.iter().map(view::image).collect()))
}

async fn import_image(
    State(daemon): Shared,
    Query(query): Query<ImportQuery>,
    body: Body,
) -> Result<(StatusCode, Json<api::Image>), Failure> {
    let image = daemon.import_image(query.name, body).await?;
    Ok((StatusCode::CREATED, Json(view::image(&image))))
}

async fn remove_image(State(daemon): Shared, Parameter(name): Parameter<ImageName>) -> Result<StatusCode, Failure> {
    undisturbed(daemon.remove_image(name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does the work to its end even if the client goes away: hyper drops the future of a request whose connection closed.
async fn undisturbed<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(output) => output,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
