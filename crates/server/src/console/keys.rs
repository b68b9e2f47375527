//! API keys of the account. For administrators.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};

use super::Console;
use super::client::{Refusal, segment};
use super::domains::{key_form, key_table, made_key};
use super::layout::{Page, Section, done, not_done};
use super::logs::domains;
use super::session::{Submitted, Viewer};

pub(super) fn routes() -> Router<Console> {
    Router::new().route("/keys", get(page).post(create)).route("/keys/delete", post(delete))
}

async fn page(viewer: Viewer) -> Result<Response, Refusal> {
    show(&viewer, html! {}).await
}

async fn show(viewer: &Viewer, made: Markup) -> Result<Response, Refusal> {
    viewer.admin()?;
    let keys = viewer.api().get("/v1/keys").await?;
    let domains = domains(viewer).await?;
    let body = html! {
        (made)
        p { "Programs send and ask with a key, as the user " code { "api" } ". A key is shown when it is made and never again." }
        (key_table(viewer, &keys, "/keys/delete"))
        section.card {
            h2 { "Make a key" }
            (viewer.form("/keys", key_form(&domains)))
        }
    };
    Ok(viewer.show(Page::new("API keys", Section::Keys, body)))
}

async fn create(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    match made_key(&viewer, &form, form.get("domain_name")).await {
        Ok(made) => show(&viewer, made).await,
        Err(refusal) if refusal.is_of_request() => Ok(not_done("/keys", refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

async fn delete(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    viewer.api().delete(&format!("/v1/keys/{}", segment(form.get("id")))).await?;
    Ok(done("/keys", "The key opens nothing any more."))
}
