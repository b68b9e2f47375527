//! `GET /v3/{domain}/events`: what happened to the messages of a domain.

mod expression;
pub(super) mod filter;
pub(super) mod json;
mod operations;
pub(super) mod page;

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use serde_json::json;
use smtp::Domain;

pub(super) use self::json::{event as event_json, words_for};
pub(super) use self::operations::operations;
use self::page::Page;
use super::App;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::url;
use super::limits::EVENTS_PAGE_OCTETS;

/// The first page of what the query asks for.
async fn list(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json, ApiError> {
    let page = Page::parse(uri.query().unwrap_or_default())?;
    answer(&app, &domain.name, &page, &headers).await
}

/// The page that a token names; the token holds the query.
async fn page(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json, ApiError> {
    let page = Page::from_token(names.get("token").map(String::as_str).unwrap_or_default())?;
    answer(&app, &domain.name, &page, &headers).await
}

async fn answer(app: &App, domain: &Domain, page: &Page, headers: &HeaderMap) -> Result<Json, ApiError> {
    let mut found = app.store.events(page.query(domain)?).await?;
    found.truncate(json::that_fit(&found, EVENTS_PAGE_OCTETS));
    let events = page.order(found);
    let timestamp = |event: &store::Event| event.timestamp.as_micros();
    let base = url::base(app.public_url.as_ref(), headers);
    // Clients parse every one of these as a URL, so there is never an empty one.
    let link = |page: Page| format!("{base}/v3/{domain}/events/{}", page.token());
    Ok(Json(json!({
        "items": events.iter().map(|event| json::event(event, &base)).collect::<Vec<_>>(),
        "paging": {
            "next": link(page.next(events.last().map(timestamp))),
            "previous": link(page.previous(events.first().map(timestamp))),
            "first": link(page.first()),
            "last": link(page.last()),
        },
    })))
}
