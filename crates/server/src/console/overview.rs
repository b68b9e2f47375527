//! The first page.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use maud::html;

use super::Console;
use super::client::Refusal;
use super::json::Look;
use super::layout::{Page, Section};
use super::session::Viewer;

pub(super) fn routes() -> Router<Console> {
    Router::new().route("/", get(page))
}

async fn page(viewer: Viewer) -> Result<Response, Refusal> {
    let body = match viewer.domain() {
        Some(domain) => html! { p { "You are here for " strong { (domain) } "." } },
        None => {
            let domains = viewer.api().get("/v4/domains?limit=1").await?;
            html! { p { "Sending domains: " strong { (domains.number("/total_count")) } "." } }
        }
    };
    Ok(viewer.show(Page::new("Overview", Section::Overview, body)))
}
