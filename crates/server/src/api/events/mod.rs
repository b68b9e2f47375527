//! `GET /v3/{domain}/events`: what happened to the messages of a domain; `GET /v1/events`: to those of all domains.

mod expression;
pub(super) mod filter;
pub(super) mod json;
mod operations;
pub(super) mod page;

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};
use smtp::Domain;
use store::Event;

pub(super) use self::json::{event as event_json, words_for};
#[cfg(test)]
pub(crate) use self::operations::filters;
pub(super) use self::operations::operations;
use self::page::Page;
use super::App;
use super::http::auth::Caller;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::{form, url};
use super::limits::EVENTS_PAGE_OCTETS;
use super::sending::{excerpt, once};

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

/// `GET /v1/events`: the first page of what the query asks for, or the one that `page` names, over all domains that the
/// key opens or the one of them that `domain` names.
async fn list_all(State(app): State<App>, caller: Caller, uri: Uri, headers: HeaderMap) -> Result<Json, ApiError> {
    let (mut asked, mut token, mut others) = (None, None, Vec::new());
    for (name, value) in form::parse_query(uri.query().unwrap_or_default())? {
        match name.as_str() {
            _ if value.trim().is_empty() => {}
            "domain" => once(&mut asked, sending_domain(&value)?, &name)?,
            "page" => once(&mut token, value, &name)?,
            _ => others.push((name, value)),
        }
    }
    let page = match (&token, others.first()) {
        (None, _) => Page::of_parameters(others)?,
        (Some(token), None) => Page::from_token(token)?,
        (Some(_), Some((name, _))) => {
            let words = format!("'{}' stands beside 'page', which names all of the list but the domain", excerpt(name));
            return Err(ApiError::bad_request(words));
        }
    };
    let domain = caller.narrow(asked)?;
    let base = url::base(app.public_url.as_ref(), &headers);
    let named = domain.as_ref().map(|domain| format!("domain={domain}&")).unwrap_or_default();
    let link = |page: Page| format!("{base}/v1/events?{named}page={}", page.token());
    let (events, paging) = found(&app, domain, &page, link).await?;
    let item = |event: &Event| {
        let mut item = json::event(event, &base);
        item["domain"] = json!({ "name": event.message.domain.as_str() });
        item
    };
    Ok(Json(json!({ "items": events.iter().map(item).collect::<Vec<_>>(), "paging": paging })))
}

fn sending_domain(value: &str) -> Result<Domain, ApiError> {
    value.trim().parse().map_err(|error| ApiError::bad_request("'domain' is not a valid domain").because(error))
}

async fn answer(app: &App, domain: &Domain, page: &Page, headers: &HeaderMap) -> Result<Json, ApiError> {
    let base = url::base(app.public_url.as_ref(), headers);
    let link = |page: Page| format!("{base}/v3/{domain}/events/{}", page.token());
    let (events, paging) = found(app, Some(domain.clone()), page, link).await?;
    let items: Vec<_> = events.iter().map(|event| json::event(event, &base)).collect();
    Ok(Json(json!({ "items": items, "paging": paging })))
}

/// The events of a page, and the ways from it.
async fn found(
    app: &App,
    domain: Option<Domain>,
    page: &Page,
    link: impl Fn(Page) -> String,
) -> Result<(Vec<Event>, Value), ApiError> {
    let mut found = app.store.events(page.query(domain)?).await?;
    found.truncate(json::that_fit(&found, EVENTS_PAGE_OCTETS));
    let events = page.order(found);
    let timestamp = |event: &Event| event.timestamp.as_micros();
    // Clients parse every one of these as a URL, so there is never an empty one.
    let paging = json!({
        "next": link(page.next(events.last().map(timestamp))),
        "previous": link(page.previous(events.first().map(timestamp))),
        "first": link(page.first()),
        "last": link(page.last()),
    });
    Ok((events, paging))
}
