//! `/v5/accounts/http_signing_key`: the key that signs what webhooks are told.

use axum::extract::State;
use serde_json::json;

use super::new_signing_key;
use crate::api::App;
use crate::api::http::error::{ApiError, Json};

/// `GET`
pub(super) async fn read(State(app): State<App>) -> Result<Json, ApiError> {
    let new = new_signing_key().ok_or_else(ApiError::internal)?;
    Ok(answer("success", &app.store.signing_key(new).await?))
}

/// `POST`: makes another one. Within a second everything is signed with it.
pub(super) async fn renew(State(app): State<App>) -> Result<Json, ApiError> {
    let new = new_signing_key().ok_or_else(ApiError::internal)?;
    app.store.set_signing_key(new.clone()).await?;
    Ok(answer("regenerated HTTP signing key for account", &new))
}

fn answer(message: &str, key: &str) -> Json {
    Json(json!({ "message": message, "http_signing_key": key }))
}
