//! `POST /v1/tls/check`: what a destination shows right now, and what each TLS setting would come to there.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use delivery::dnssec::DnssecStatus;
use delivery::resolve::Dns;
use serde_json::Value;
use smtp::Domain;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::App;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::Form;
use crate::api::limits::{CHECK_TIME, CHECKS_AT_ONCE};
use crate::api::sending::{excerpt, once};
use crate::check;
use crate::config::Config;

/// Looks at destinations as deliveries do, with the server's own resolver, roots, routes and rules.
#[derive(Clone)]
pub(in crate::api) struct Checker {
    settings: Option<Arc<(Config, Dns)>>,
    slots: Arc<Semaphore>,
}

impl Checker {
    /// With the settings that deliveries have, and how they ask the DNS. Without them it looks at nothing.
    pub(in crate::api) fn new(settings: Option<(Config, Dns)>) -> Checker {
        Checker { settings: settings.map(Arc::new), slots: Arc::new(Semaphore::new(CHECKS_AT_ONCE)) }
    }

    /// How far answers of the DNS can be trusted.
    pub(in crate::api) async fn dnssec(&self) -> Option<DnssecStatus> {
        match self.settings.as_deref() {
            Some((_, dns)) => Some(dns.dnssec().await),
            None => None,
        }
    }
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checker")
    }
}

/// `POST`: a form with `domain`. It speaks to servers of strangers, so there are few at a time and each ends.
pub(super) async fn check(State(app): State<App>, request: Request) -> Result<Json, ApiError> {
    let destination = parse(&Form::read(&app, request).await?)?;
    let Some(settings) = app.checker.settings.clone() else {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "this server looks at no destinations"));
    };
    let _slot = app.checker.slots.try_acquire().map_err(|_| busy())?;
    let (config, dns) = &*settings;
    let looking = timeout(CHECK_TIME, check::run_by(config, dns.fresh(), destination));
    let slow = || ApiError::new(StatusCode::GATEWAY_TIMEOUT, "the destination's servers took too long");
    let found = looking.await.map_err(|_| slow())?.map_err(|error| {
        tracing::error!(%error, "cannot look at a destination");
        ApiError::internal()
    })?;
    Ok(Json(serde_json::to_value(found).unwrap_or(Value::Null)))
}

fn busy() -> ApiError {
    let words = "too many destinations are being looked at, try again in a moment";
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, words).retry_after(CHECK_TIME / 10)
}

fn parse(form: &Form) -> Result<Domain, ApiError> {
    let mut destination = None;
    for field in &form.fields {
        match field.name.trim() {
            "domain" => {
                let bad = |error| ApiError::bad_request("'domain' is not a valid domain").because(error);
                once(&mut destination, field.as_text()?.trim().parse::<Domain>().map_err(bad)?, "domain")?;
            }
            other => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(other)))),
        }
    }
    destination.ok_or_else(|| ApiError::bad_request("'domain' is missing"))
}
