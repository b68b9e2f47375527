//! `/v3/domains/{domain}/connection`: the TLS settings of a domain.
//!
//! Sources and clients disagree on the shapes, so the answers are the union of what is read: nested and flat,
//! underscores and hyphens.

use axum::extract::{Request, State};
use policy::tls::TlsSettings;
use serde_json::{Value, json};

use super::fields::{take_tls, unknown};
use crate::api::App;
use crate::api::http::domain::KnownDomain;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::Form;

/// `GET`
pub(super) async fn read(KnownDomain(domain): KnownDomain) -> Json {
    Json(settings_json(domain.tls))
}

/// `PUT`: sets what is given and leaves the rest.
pub(super) async fn update(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let settings = parse(&Form::read(&app, request).await?)?;
    let domain = app.store.update_domain(&domain.name, settings).await?;
    let domain = domain.ok_or_else(|| ApiError::not_found("Domain not found"))?;
    let mut answer = settings_json(domain.tls);
    answer["message"] = "Domain connection settings have been updated, may take 10 minutes to fully propagate".into();
    answer["require-tls"] = answer["require_tls"].clone();
    answer["skip-verification"] = answer["skip_verification"].clone();
    Ok(Json(answer))
}

fn settings_json(tls: TlsSettings) -> Value {
    let settings = json!({
        "require_tls": tls.require_tls.unwrap_or(false),
        "skip_verification": tls.skip_verification.unwrap_or(false),
        "tls_fallback": tls.fallback.unwrap_or_default().as_str(),
        "tls_failure": tls.when_left.unwrap_or_default().as_str(),
    });
    let mut answer = settings.clone();
    answer["connection"] = settings;
    answer
}

fn parse(form: &Form) -> Result<TlsSettings, ApiError> {
    let mut settings = TlsSettings::default();
    for field in &form.fields {
        let name = field.name.trim();
        if !take_tls(&mut settings, name, field.as_text()?)? {
            return Err(unknown(name));
        }
    }
    if settings == TlsSettings::default() {
        return Err(ApiError::bad_request(
            "Need at least one of 'require_tls' or 'skip_verification' parameters specified",
        ));
    }
    Ok(settings)
}
