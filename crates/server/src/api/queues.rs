//! What a domain has waiting: whether it may be sent, and dropping it.

use axum::extract::State;
use serde_json::json;

use super::App;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::operation::Operation;
use super::schema::{boolean, message, object};

pub(super) fn operations() -> Vec<Operation> {
    let state = || object([("is_disabled", boolean().required())]);
    vec![
        Operation::get("/v3/domains/{domain}/sending_queues", "readQueues", read)
            .summary("Whether what waits is sent")
            .ok("The queues", object([("regular", state()), ("scheduled", state())]))
            .twin(),
        Operation::delete("/v3/{domain}/envelopes", "dropQueued", drop_queued)
            .summary("Drop what waits to be delivered, also what is scheduled")
            .about("Each recipient fails, with an event. What is being delivered at that moment may still arrive.")
            .ok("Dropped", message()),
    ]
}

/// `GET`. Nothing here ever stops a queue of a domain that there is.
async fn read(KnownDomain(_): KnownDomain) -> Json {
    let state = json!({ "is_disabled": false });
    Json(json!({ "regular": state, "scheduled": state }))
}

/// `DELETE`
async fn drop_queued(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    // It may take a while. What was begun is brought to its end also if the client does not wait.
    let dropping = tokio::spawn(async move {
        let dropped = app.store.drop_queued(&domain.name).await;
        if let Ok(recipients) = dropped {
            tracing::info!(domain = %domain.name, recipients, "dropped what a domain had waiting");
        }
        dropped
    });
    dropping.await.map_err(|_| ApiError::internal())??;
    Ok(Json(json!({ "message": "done" })))
}
