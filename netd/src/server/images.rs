//! Requests about images.

use api::ImportQuery;
use axum::{Json, body::Body, extract::State, http::StatusCode};
use model::ImageName;

use super::{
    Shared,
    request::{Parameter, Query},
    undisturbed,
};
use crate::{failure::Failure, view};

pub(super) async fn list(State(daemon): Shared) -> Result<Json<Vec<api::Image>>, Failure> {
    Ok(Json(daemon.list_images().await?.iter().map(view::image).collect()))
}

pub(super) async fn import(
    State(daemon): Shared,
    Query(query): Query<ImportQuery>,
    body: Body,
) -> Result<(StatusCode, Json<api::Image>), Failure> {
    // Once all has come in, what is begun is done to its end; before, it ends with the body.
    let image = undisturbed(daemon.import_image(query.name, body)).await?;
    Ok((StatusCode::CREATED, Json(view::image(&image))))
}

pub(super) async fn remove(
    State(daemon): Shared,
    Parameter(name): Parameter<ImageName>,
) -> Result<StatusCode, Failure> {
    undisturbed(daemon.remove_image(name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
