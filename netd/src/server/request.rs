//! What a request says, parsed; what is wrong with it is told as a [`Failure`].

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request, rejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::PATIENCE;
use crate::failure::Failure;

/// A request's JSON body, parsed; what is wrong with it is told as a [`Failure`].
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let is_of_containers = request.uri().path().starts_with(api::route::CONTAINERS);
        let parsed = tokio::time::timeout(PATIENCE, Json::<T>::from_request(request, state)).await;
        let parsed = parsed.map_err(|_| Failure::Malformed { reason: "its body did not arrive in time".into() })?;
        parsed.map(|Json(value)| Self(value)).map_err(|rejection| match rejection.status() {
            // What people give without end stands in these.
            StatusCode::PAYLOAD_TOO_LARGE if is_of_containers => {
                let reason = "arguments and environment together are too long: at most 1 MiB".into();
                Failure::Malformed { reason }
            }
            _ => Failure::malformed(&rejection),
        })
    }
}

/// A request's query, parsed.
pub(super) struct Query<T>(pub(super) T);

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
pub(super) struct Parameter<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Parameter<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let parsed = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        parsed.map(|axum::extract::Path(value)| Self(value)).map_err(|rejection| Failure::malformed(&rejection))
    }
}
