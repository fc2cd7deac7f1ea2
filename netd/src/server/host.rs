//! Requests about the daemon and its host.

use api::{DnsLogQuery, DnsQuery, EventsQuery};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{Shared, request::Query, undisturbed};
use crate::{events::Events, failure::Failure};

pub(super) async fn version() -> Json<api::Version> {
    Json(api::Version { version: env!("CARGO_PKG_VERSION").into(), api: api::API_VERSION.into() })
}

pub(super) async fn status(State(daemon): Shared) -> Result<Json<api::Status>, Failure> {
    daemon.status().await.map(Json)
}

pub(super) async fn doctor(State(daemon): Shared) -> Json<api::Doctor> {
    Json(daemon.examine().await)
}

pub(super) async fn mend(State(daemon): Shared) -> Json<api::Doctor> {
    Json(undisturbed(async move { daemon.mend().await }).await)
}

pub(crate) async fn metrics(State(daemon): Shared) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, daemon.metrics_text().await).into_response()
}

pub(super) async fn openapi() -> Json<serde_json::Value> {
    Json(api::openapi())
}

pub(super) async fn events(State(daemon): Shared, Query(query): Query<EventsQuery>) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], Events::body(daemon, query)).into_response()
}

pub(super) async fn query_dns(
    State(daemon): Shared,
    Query(query): Query<DnsQuery>,
) -> Result<Json<api::DnsAnswer>, Failure> {
    daemon.query_dns(query).await.map(Json)
}

pub(super) async fn dns_log(State(daemon): Shared, Query(query): Query<DnsLogQuery>) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], daemon.dns_log(query)).into_response()
}
