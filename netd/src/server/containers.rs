//! Requests about containers.

use api::{
    ContainerCreate, ContainersQuery, DisconnectQuery, EndpointCreate, ExecCreate, KillQuery, LogsQuery, RemoveQuery,
    StartQuery, StopQuery, WaitQuery, Waited,
};
use axum::{
    Json,
    extract::{FromRequest, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use runtime::ExecStreams;

use super::{
    Shared,
    request::{JsonBody, Parameter, Query},
    undisturbed,
};
use crate::{
    daemon::Daemon,
    failure::Failure,
    logs,
    record::Goal,
    streams::{self, Target},
    view,
};

pub(super) async fn list(State(daemon): Shared, Query(query): Query<ContainersQuery>) -> Json<Vec<api::Container>> {
    let world = daemon.world();
    let mut containers: Vec<_> = world
        .records()
        .map(|record| view::container(&world, record))
        .filter(|container| query.all || matches!(container.state, api::State::Running | api::State::Restarting))
        .collect();
    containers.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
    Json(containers)
}

pub(super) async fn create(
    State(daemon): Shared,
    JsonBody(request): JsonBody<ContainerCreate>,
) -> Result<(StatusCode, Json<api::Container>), Failure> {
    let id = undisturbed(daemon.clone().create_container(request)).await?;
    Ok((StatusCode::CREATED, shown(&daemon, id.as_str())?))
}

pub(super) async fn show(
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

pub(super) async fn remove(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<RemoveQuery>,
) -> Result<StatusCode, Failure> {
    undisturbed(async move { daemon.remove_container(reference.as_str(), query.force).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn connect(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    JsonBody(request): JsonBody<EndpointCreate>,
) -> Result<(StatusCode, Json<api::Container>), Failure> {
    let connector = daemon.clone();
    let id = undisturbed(async move { connector.connect_container(reference.as_str(), request).await }).await?;
    Ok((StatusCode::CREATED, shown(&daemon, id.as_str())?))
}

pub(super) async fn disconnect(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<DisconnectQuery>,
) -> Result<Json<api::Container>, Failure> {
    let connector = daemon.clone();
    let id =
        undisturbed(async move { connector.disconnect_container(reference.as_str(), query.network).await }).await?;
    shown(&daemon, id.as_str())
}

pub(super) async fn start(
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

pub(super) async fn restart(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<StopQuery>,
) -> Result<Json<api::Container>, Failure> {
    let starter = daemon.clone();
    let restarting = async move { starter.restart_container(reference.as_str(), query.timeout_seconds).await };
    let id = undisturbed(restarting).await?;
    shown(&daemon, id.as_str())
}

pub(super) async fn rename(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    JsonBody(request): JsonBody<api::Rename>,
) -> Result<Json<api::Container>, Failure> {
    let renamer = daemon.clone();
    let id = undisturbed(async move { renamer.rename_container(reference.as_str(), request.name).await }).await?;
    shown(&daemon, id.as_str())
}

pub(super) async fn top(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
) -> Result<Json<Vec<api::Process>>, Failure> {
    let processes = daemon.processes(reference.as_str()).await?;
    Ok(Json(processes.into_iter().map(view::process).collect()))
}

pub(super) async fn prune(
    State(daemon): Shared,
    JsonBody(request): JsonBody<api::ContainersPrune>,
) -> Result<Json<api::Pruned>, Failure> {
    let removed = undisturbed(daemon.prune_containers(request.only)).await?;
    Ok(Json(api::Pruned { removed }))
}

pub(super) async fn stop(
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

pub(super) async fn kill(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<KillQuery>,
) -> Result<StatusCode, Failure> {
    undisturbed(async move { daemon.kill_container(reference.as_str(), query.signal).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn wait(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Waited>, Failure> {
    let exit_code = daemon.wait_container(reference.as_str(), query.until).await?;
    Ok(Json(Waited { exit_code }))
}

pub(super) async fn logs(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Failure> {
    let (id, life) = daemon.container(reference.as_str())?;
    let headers = [(header::CONTENT_TYPE, "application/jsonl")];
    Ok((headers, logs::body(daemon.runtime.read_log(&id), life, query)).into_response())
}

pub(super) async fn attach(
    State(daemon): Shared,
    Parameter(reference): Parameter<api::Reference>,
    mut request: Request,
) -> Result<Response, Failure> {
    let upgrade = streams::upgrade(&mut request)?;
    let (id, life) = daemon.attachable(reference.as_str())?;
    let work = life.work().await;
    Ok(daemon.hand_over(id, work, Target::Attach, upgrade))
}

pub(super) async fn exec(
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
