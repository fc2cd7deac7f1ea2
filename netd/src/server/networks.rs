//! Requests about networks.

use api::{NetworkCreate, NetworkUpdate, NetworksPrune};
use axum::{Json, extract::State, http::StatusCode};
use model::NetworkName;

use super::{
    Shared,
    request::{JsonBody, Parameter},
    undisturbed,
};
use crate::{failure::Failure, view};

pub(super) async fn list(State(daemon): Shared) -> Json<Vec<api::Network>> {
    let world = daemon.world();
    let mut networks: Vec<_> = world.networks().map(|network| view::network(&world, network)).collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Json(networks)
}

pub(super) async fn create(
    State(daemon): Shared,
    JsonBody(request): JsonBody<NetworkCreate>,
) -> Result<(StatusCode, Json<api::Network>), Failure> {
    let network = undisturbed(daemon.clone().create_network(request)).await?;
    let world = daemon.world();
    Ok((StatusCode::CREATED, Json(view::network(&world, &network))))
}

pub(super) async fn show(
    State(daemon): Shared,
    Parameter(name): Parameter<NetworkName>,
) -> Result<Json<api::Network>, Failure> {
    let world = daemon.world();
    Ok(Json(view::network(&world, world.network_by_reference(&name)?)))
}

pub(super) async fn update(
    State(daemon): Shared,
    Parameter(name): Parameter<NetworkName>,
    JsonBody(update): JsonBody<NetworkUpdate>,
) -> Result<Json<api::Network>, Failure> {
    let network = undisturbed(daemon.clone().update_network(name, update)).await?;
    let world = daemon.world();
    Ok(Json(view::network(&world, &network)))
}

pub(super) async fn remove(
    State(daemon): Shared,
    Parameter(name): Parameter<NetworkName>,
) -> Result<StatusCode, Failure> {
    undisturbed(daemon.remove_network(name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prune(
    State(daemon): Shared,
    JsonBody(request): JsonBody<NetworksPrune>,
) -> Result<Json<api::PrunedNetworks>, Failure> {
    let removed = undisturbed(daemon.prune_networks(request.only)).await?;
    Ok(Json(api::PrunedNetworks { removed }))
}
