//! Webhooks that are told of the events of every domain. For administrators.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use maud::html;

use super::Console;
use super::client::{Refusal, segment};
use super::domains::webhooks::{GONE, TOLD, fields, led, try_out, webhooks};
use super::json::Look;
use super::layout::{Page, Section, not_done};
use super::logs::domains;
use super::session::{Submitted, Viewer};

const PATH: &str = "/webhooks";

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route(PATH, get(page).post(create))
        .route("/webhooks/test", post(test))
        .route("/webhooks/delete", post(delete))
}

async fn page(viewer: Viewer) -> Result<Response, Refusal> {
    viewer.admin()?;
    let answer = viewer.api().get("/v1/webhooks").await?;
    let body = html! {
        p { "These are told of the events of every domain; a domain has its own beside them." }
        (webhooks(&viewer, PATH, answer.items("/webhooks")))
    };
    Ok(viewer.show(Page::new("Webhooks of all domains", Section::Webhooks, body)))
}

async fn create(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let made = viewer.api().post("/v1/webhooks", &fields(&form)).await;
    led(PATH, made, TOLD)
}

/// The event is one of the first domain: a test must be of some.
async fn test(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    viewer.admin()?;
    match domains(&viewer).await?.first() {
        Some(domain) => try_out(&viewer, PATH, domain, &form).await,
        None => Ok(not_done(PATH, "There is no sending domain that an event could be of.")),
    }
}

async fn delete(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let at = format!("/v1/webhooks/{}", segment(form.get("id")));
    led(PATH, viewer.api().delete(&at).await, GONE)
}
