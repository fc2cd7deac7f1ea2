//! Requests about policies.

use api::{FlowsQuery, PolicyApply, PolicyRollback};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    Shared,
    request::{JsonBody, Parameter, Query},
    undisturbed,
};
use crate::{failure::Failure, flows::Flows};

pub(super) async fn list(State(daemon): Shared) -> Result<Json<Vec<api::Policy>>, Failure> {
    daemon.list_policies().await.map(Json)
}

pub(super) async fn apply(
    State(daemon): Shared,
    JsonBody(request): JsonBody<PolicyApply>,
) -> Result<Json<api::PolicyChanges>, Failure> {
    undisturbed(daemon.apply_policies(request)).await.map(Json)
}

pub(super) async fn show(
    State(daemon): Shared,
    Parameter(name): Parameter<String>,
) -> Result<Json<api::Policy>, Failure> {
    daemon.show_policy(&name).await.map(Json)
}

pub(super) async fn remove(State(daemon): Shared, Parameter(name): Parameter<String>) -> Result<StatusCode, Failure> {
    undisturbed(daemon.remove_policy(name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn world(State(daemon): Shared) -> Result<Json<api::PolicyWorld>, Failure> {
    daemon.policy_world().await.map(Json)
}

pub(super) async fn history(State(daemon): Shared) -> Result<Json<Vec<api::PolicyRevision>>, Failure> {
    daemon.policy_history().await.map(Json)
}

pub(super) async fn revision(
    State(daemon): Shared,
    Parameter(number): Parameter<u64>,
) -> Result<Json<api::PolicyRevision>, Failure> {
    daemon.policy_revision(number).await.map(Json)
}

pub(super) async fn roll_back(
    State(daemon): Shared,
    JsonBody(request): JsonBody<PolicyRollback>,
) -> Result<Json<api::PolicyChanges>, Failure> {
    undisturbed(daemon.roll_policies_back(request)).await.map(Json)
}

pub(super) async fn flows(State(daemon): Shared, Query(query): Query<FlowsQuery>) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], Flows::body(daemon, query)).into_response()
}
