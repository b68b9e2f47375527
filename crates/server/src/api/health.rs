//! Whether the program runs and can do its work.

use axum::extract::State;

use super::App;
use super::http::error::ApiError;
use super::operation::{Access, Operation};
use super::schema::text;

/// What can be called to learn it.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/healthz", "alive", || async { "ok" })
            .summary("Whether the program runs")
            .access(Access::Open)
            .answer_as(200, "ok", "text/plain", text()),
        Operation::get("/readyz", "ready", ready)
            .summary("Whether the store answers, and keeps what it is given")
            .access(Access::Open)
            .answer_as(200, "ok", "text/plain", text())
            .answer(503, "It does not. `detail` says why when the disk failed and only a restart helps"),
    ]
}

async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    app.store.health().map_err(|error| ApiError::unavailable().because(error))?;
    app.store.has_keys().await?;
    Ok("ok")
}
