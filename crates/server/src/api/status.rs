//! `GET /v1/status`: how this server does, for those who run it. Ours alone.

use axum::extract::State;
use delivery::dnssec::DnssecStatus;
use serde_json::json;

use super::App;
use super::http::error::{ApiError, Json};
use super::http::time::to_epoch;
use super::operation::Operation;
use super::schema::{boolean, integer, named, object, text, unix_seconds};

pub(super) fn operations() -> Vec<Operation> {
    let queue = object([
        ("recipients", integer().about("Recipients that wait to be delivered")),
        ("oldest-accepted-at", unix_seconds().nullable().about("When the mail was accepted that waits longest")),
    ]);
    let dnssec = object([
        ("on", boolean().about("Whether answers of the DNS are secured, and DANE with it").nullable()),
        ("status", text().about("The same in the words of the log").nullable()),
    ]);
    let store = object([("writable", boolean()), ("problem", text().nullable())]);
    let status = [("version", text()), ("queue", queue), ("dnssec", dnssec), ("store", store)];
    vec![
        Operation::get("/v1/status", "readStatus", status_of_server)
            .summary("How this server does: its queue, its DNSSEC, its store")
            .ok("The status", named("Status", object(status))),
    ]
}

async fn status_of_server(State(app): State<App>) -> Result<Json, ApiError> {
    let figures = app.store.figures().await?;
    let dnssec = app.checker.dnssec().await;
    let problem = app.store.health().err().map(|error| error.to_string());
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "queue": {
            "recipients": figures.queued,
            "oldest-accepted-at": figures.oldest_accepted_at.map(|time| to_epoch(time.as_micros())),
        },
        "dnssec": {
            "on": dnssec.as_ref().map(|status| matches!(status, DnssecStatus::On(_))),
            "status": dnssec.as_ref().map(ToString::to_string),
        },
        "store": { "writable": problem.is_none(), "problem": problem },
    })))
}
