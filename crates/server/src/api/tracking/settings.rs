//! `/v3/domains/{domain}/tracking`: what a domain wants to know of what recipients do.

use axum::extract::{Request, State};
use serde_json::{Value, json};
use store::SendingDomain;
use store::tracking::{TrackedLinks, TrackingChange, TrackingSettings};

use crate::api::App;
use crate::api::http::domain::KnownDomain;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::Form;
use crate::api::limits::FOOTER_OCTETS;
use crate::api::sending::{excerpt, once, tracked_links, yes_no};
use crate::tracking::Footers;

/// `GET`
pub(super) async fn read(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Json {
    let scheme = app.tracking.base.as_ref().map_or("http", |base| base.scheme());
    let settings = &domain.tracking;
    Json(json!({ "tracking": {
        "open": opens_json(settings),
        "click": clicks_json(settings),
        "unsubscribe": unsubscribe_json(settings),
        "web_scheme": scheme,
    } }))
}

/// `PUT …/open`
pub(super) async fn update_opens(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let mut change = TrackingChange::default();
    for field in &Form::read(&app, request).await?.fields {
        let (name, value) = (field.name.trim(), field.as_text()?);
        match name {
            "active" => once(&mut change.opens, yes_no(value, name)?, name)?,
            "place_at_the_top" => once(&mut change.opens_at_top, yes_no(value, name)?, name)?,
            _ => return Err(unknown(name, "active, place_at_the_top")),
        }
    }
    let settings = apply(&app, domain, change).await?;
    Ok(answer("open", opens_json(&settings)))
}

/// `PUT …/click`
pub(super) async fn update_clicks(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let mut change = TrackingChange::default();
    for field in &Form::read(&app, request).await?.fields {
        let name = field.name.trim();
        match name {
            "active" => once(&mut change.clicks, tracked_links(field.as_text()?, name)?, name)?,
            _ => return Err(unknown(name, "active")),
        }
    }
    let settings = apply(&app, domain, change).await?;
    Ok(answer("click", clicks_json(&settings)))
}

/// `PUT …/unsubscribe`
pub(super) async fn update_unsubscribes(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let mut change = TrackingChange::default();
    for field in &Form::read(&app, request).await?.fields {
        let (name, value) = (field.name.trim(), field.as_text()?);
        match name {
            "active" => once(&mut change.unsubscribes, yes_no(value, name)?, name)?,
            "html_footer" => once(&mut change.html_footer, footer(value, name)?, name)?,
            "text_footer" => once(&mut change.text_footer, footer(value, name)?, name)?,
            _ => return Err(unknown(name, "active, html_footer, text_footer")),
        }
    }
    let settings = apply(&app, domain, change).await?;
    Ok(answer("unsubscribe", unsubscribe_json(&settings)))
}

fn footer(value: &str, name: &str) -> Result<String, ApiError> {
    if value.len() > FOOTER_OCTETS {
        return Err(ApiError::bad_request(format!("'{name}' is longer than {FOOTER_OCTETS} octets")));
    }
    Ok(value.to_owned())
}

async fn apply(app: &App, domain: SendingDomain, change: TrackingChange) -> Result<TrackingSettings, ApiError> {
    if change == TrackingChange::default() {
        return Err(ApiError::bad_request("'active' is missing"));
    }
    let asks = change.opens == Some(true) || change.unsubscribes == Some(true);
    if asks || change.clicks.is_some_and(|links| links != TrackedLinks::None) {
        app.tracking.needs_base()?;
    }
    let settings = app.store.change_tracking(&domain.name, change).await?;
    settings.ok_or_else(|| ApiError::not_found("Domain not found"))
}

fn answer(name: &str, settings: Value) -> Json {
    Json(json!({ "message": "Domain tracking settings have been updated", name: settings }))
}

fn opens_json(settings: &TrackingSettings) -> Value {
    json!({ "active": settings.opens, "place_at_the_top": settings.opens_at_top })
}

fn unsubscribe_json(settings: &TrackingSettings) -> Value {
    let Footers { html, text } = Footers::of(settings);
    json!({ "active": settings.unsubscribes, "html_footer": html, "text_footer": text })
}

/// A word in the place of a boolean where neither would be true.
fn clicks_json(settings: &TrackingSettings) -> Value {
    json!({ "active": match settings.clicks {
        TrackedLinks::None => json!(false),
        TrackedLinks::Html => json!("htmlonly"),
        TrackedLinks::All => json!(true),
    } })
}

fn unknown(name: &str, known: &str) -> ApiError {
    ApiError::bad_request(format!("'{}' is not one of: {known}", excerpt(name)))
}
