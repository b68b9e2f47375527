//! The webhooks of a domain: `/v3/domains/{domain}/webhooks` by kind of event, `/v4/domains/{domain}/webhooks` by URL.

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use serde_json::{Value, json};
use smtp::Domain;
use store::Timestamp;
use store::webhook::{Subject, Subscription, WebhooksOf};

use super::edit::{self, Refused};
use super::fields::{Fields, known_subject, missing};
use super::{by_subject, created_at, health, subject, words};
use crate::api::App;
use crate::api::http::domain::KnownDomain;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::{Form, parse_query};

/// The kind of event that a path names; Mailgun has no such webhook where we know no such kind.
pub(super) fn kind_of(names: &HashMap<String, String>) -> Result<Subject, ApiError> {
    let name = names.get("webhook_name").map(String::as_str).unwrap_or_default();
    subject(name).ok_or(Refused::NotFound.into())
}

fn by_reason(error: ApiError) -> ApiError {
    error.told_as("Reason")
}

async fn fields(app: &App, request: Request, known: &[&str]) -> Result<Fields, ApiError> {
    Fields::parse(&Form::read(app, request).await?, known).map_err(by_reason)
}

/// Changes the list and gives what `edit` gives, and the list as it is then.
async fn change<T: Send + 'static>(
    app: &App,
    domain: &Domain,
    mut edit: impl FnMut(&mut Vec<Subscription>) -> Result<T, Refused> + Send + 'static,
) -> Result<(T, Vec<Subscription>), ApiError> {
    let edited = app.store.edit_webhooks(Some(domain), move |all| {
        let given = edit(all)?;
        Ok::<_, Refused>((given, all.clone()))
    });
    Ok(edited.await??)
}

async fn listed(app: &App, domain: &Domain) -> Result<Vec<store::webhook::Webhook>, ApiError> {
    Ok(app.store.webhooks(WebhooksOf::Domain(domain.clone())).await?)
}

/// `GET /v3/domains/{domain}/webhooks`, and `/v4`, which says more about each URL.
pub(super) async fn list(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    let webhooks = listed(&app, &domain.name).await?;
    let endpoint = |webhook: &store::webhook::Webhook| {
        let one = &webhook.subscription;
        json!({ "url": one.url, "event_types": words(one), "created_at": created_at(one), "health": health(webhook) })
    };
    Ok(Json(json!({
        "webhooks": by_subject(webhooks.iter().map(|webhook| &webhook.subscription)),
        "endpoints": webhooks.iter().map(endpoint).collect::<Vec<_>>(),
    })))
}

/// `POST /v3/domains/{domain}/webhooks`, and `/v4`: by kind of event with `id`, by URL with `event_types`. Mailgun has the one
/// under `/v3` and the other under `/v4`, and its own client for Python sends either to `/v3`.
pub(super) async fn create(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let fields = fields(&app, request, &["id", "url", "event_types"]).await?;
    let now = Timestamp::now();
    match (fields.kind, fields.subjects.is_empty()) {
        (Some(_), false) => Err(by_reason(ApiError::bad_request("'id' and 'event_types' exclude each other"))),
        (Some(kind), true) => {
            let urls = fields.few_urls().map_err(by_reason)?;
            let (urls, _) = change(&app, &domain.name, move |all| edit::create(all, kind, &urls, now)).await?;
            Ok(answer("Webhook has been created", &urls))
        }
        (None, false) => {
            let (url, subjects) = url_and_subjects(&fields)?;
            let ((), all) = change(&app, &domain.name, move |all| edit::add_url(all, &url, &subjects, now)).await?;
            Ok(all_of(&all))
        }
        (None, true) => Err(by_reason(ApiError::bad_request("'id' or 'event_types' parameter is missing"))),
    }
}

/// `GET /v3/domains/{domain}/webhooks/{webhook_name}`
pub(super) async fn read(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
) -> Result<Json, ApiError> {
    let kind = kind_of(&names)?;
    let all: Vec<_> = listed(&app, &domain.name).await?.into_iter().map(|webhook| webhook.subscription).collect();
    match edit::urls_of(&all, kind) {
        urls if urls.is_empty() => Err(Refused::NotFound.into()),
        urls => Ok(Json(json!({ "webhook": { "urls": urls } }))),
    }
}

/// `PUT /v3/domains/{domain}/webhooks/{webhook_name}`
pub(super) async fn update(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
    request: Request,
) -> Result<Json, ApiError> {
    let kind = kind_of(&names)?;
    let urls = fields(&app, request, &["url"]).await?.few_urls().map_err(by_reason)?;
    let now = Timestamp::now();
    let (urls, _) = change(&app, &domain.name, move |all| edit::replace(all, kind, &urls, now)).await?;
    Ok(answer("Webhook has been updated", &urls))
}

/// `DELETE /v3/domains/{domain}/webhooks/{webhook_name}`
pub(super) async fn delete(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
) -> Result<Json, ApiError> {
    let kind = kind_of(&names)?;
    let (urls, _) = change(&app, &domain.name, move |all| edit::remove(all, kind)).await?;
    Ok(answer("Webhook has been deleted", &urls))
}

fn answer(message: &str, urls: &[String]) -> Json {
    Json(json!({ "message": message, "webhook": { "urls": urls } }))
}

/// `PUT /v4/domains/{domain}/webhooks`
pub(super) async fn set_url(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let (url, subjects) = url_and_subjects(&fields(&app, request, &["url", "event_types"]).await?)?;
    let ((), all) = change(&app, &domain.name, move |all| edit::set_url(all, &url, &subjects)).await?;
    Ok(all_of(&all))
}

fn url_and_subjects(fields: &Fields) -> Result<(String, Vec<Subject>), ApiError> {
    let both = fields.only_url().and_then(|url| Ok((url, fields.some_subjects()?)));
    both.map_err(by_reason)
}

/// `DELETE /v4/domains/{domain}/webhooks?url=…`
pub(super) async fn remove_urls(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    uri: Uri,
) -> Result<Json, ApiError> {
    let query = parse_query(uri.query().unwrap_or_default()).map_err(by_reason)?;
    let urls: Vec<String> =
        query.into_iter().filter(|(name, _)| name == "url").map(|(_, url)| url.trim().to_owned()).collect();
    if urls.iter().all(String::is_empty) {
        return Err(by_reason(missing("url")));
    }
    let ((), all) = change(&app, &domain.name, move |all| edit::remove_urls(all, &urls)).await?;
    Ok(all_of(&all))
}

fn all_of(all: &[Subscription]) -> Json {
    Json(json!({ "webhooks": by_subject(all.iter()) }))
}

/// `PUT /v3/domains/{domain}/webhooks/{webhook_name}/test`: tells a URL of an event that never happened.
pub(super) async fn test(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
    request: Request,
) -> Result<Json, ApiError> {
    let name = names.get("webhook_name").map(String::as_str).unwrap_or_default();
    let kind = known_subject("webhook_name", name)?;
    let url = fields(&app, request, &["url"]).await?.only_url().map_err(by_reason)?;
    let told: Value = app.webhook_tester.tell(&app.store, &domain.name, kind, &url).await?;
    Ok(Json(told))
}
