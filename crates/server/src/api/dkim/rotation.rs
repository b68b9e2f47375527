//! `/v1/dkim_management/domains/{domain}`: keys that take the place of others.

use std::time::Duration;

use axum::extract::{Request, State};
use serde_json::{Value, json};
use store::rotation::DkimRotation;

use super::keys_of;
use crate::api::App;
use crate::api::http::domain::KnownDomain;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::Form;
use crate::api::sending::{excerpt, once, yes_no};
use crate::rotation::{LONGEST, NotBegun, SHORTEST, USUAL, advance, begin, in_days, interval};

/// Mailgun's other name for why a request is refused here.
fn refused(error: ApiError) -> ApiError {
    error.told_as("Reason")
}

/// `PUT /v1/dkim_management/domains/{domain}/rotation`
pub(super) async fn set(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let (enabled, given) = asked(&Form::read(&app, request).await?).map_err(refused)?;
    let known = app.store.dkim_rotation(&domain.name).await?;
    let interval = given.or(known.map(|rotation| rotation.interval)).unwrap_or(USUAL);
    app.store.set_dkim_rotation(&domain.name, DkimRotation { enabled, interval }).await?;
    let keys = keys_of(&app, &domain.name).await?;
    let active = keys.iter().find(|key| key.active).map(|key| &key.selector);
    Ok(Json(json!({
        "domain": {
            "id": domain.id,
            "account_id": "",
            "sid": domain.id,
            "name": domain.name,
            "state": if domain.verified { "active" } else { "unverified" },
            "active_selector": active,
            "rotation_enabled": enabled.to_string(),
            "rotation_interval": in_days(interval),
            "records": waiting(&app, &domain.name).await?,
        },
    })))
}

fn asked(form: &Form) -> Result<(bool, Option<Duration>), ApiError> {
    let (mut enabled, mut every) = (None, None);
    for field in &form.fields {
        let value = field.as_text()?.trim();
        match field.name.trim() {
            "rotation_enabled" => once(&mut enabled, yes_no(value, "rotation_enabled")?, "rotation_enabled")?,
            "rotation_interval" if value.is_empty() => {}
            "rotation_interval" => {
                let (least, most) = (in_days(SHORTEST), in_days(LONGEST));
                let words = || ApiError::bad_request(format!("'rotation_interval' must be from {least} to {most}"));
                once(&mut every, interval(value).ok_or_else(words)?, "rotation_interval")?;
            }
            name => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(name)))),
        }
    }
    let enabled = enabled.ok_or_else(|| ApiError::bad_request("rotation_enabled parameter is missing"))?;
    Ok((enabled, every))
}

/// `POST /v1/dkim_management/domains/{domain}/rotate`: begins, or goes on with what was begun.
pub(super) async fn rotate(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    if !keys_of(&app, &domain.name).await?.iter().any(|key| key.active) {
        return Err(refused(ApiError::bad_request("the domain has no active DKIM key that another could replace")));
    }
    begin(&app.store, &domain.name, Duration::ZERO).await.map_err(|error| match error {
        NotBegun::Store(error) => refused(error.into()),
        NotBegun::Key(error) => super::no_key(error),
    })?;
    advance(&app.store, &app.sending_dns, Some(&domain.name)).await?;
    Ok(Json(json!({ "message": "ok", "records": waiting(&app, &domain.name).await? })))
}

/// The records that keys wait for.
async fn waiting(app: &App, domain: &smtp::Domain) -> Result<Vec<Value>, ApiError> {
    let successors = app.store.dkim_successors(Some(domain)).await?;
    let record = |successor: &store::rotation::DkimSuccessor| {
        json!({
            "name": successor.key.record_name(),
            "type": "TXT",
            "identifier": successor.key.selector,
            "value": successor.key.record,
            "comment": "signs once this is published",
        })
    };
    Ok(successors.iter().map(record).collect())
}
