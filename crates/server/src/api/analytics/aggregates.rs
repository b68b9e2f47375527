//! Counts by mail provider, which is the recipient's domain: `GET /v3/{domain}/aggregates/providers` and what there is
//! like it.

use std::collections::{BTreeMap, HashMap};

use axum::extract::{Path, State};
use axum::http::Uri;
use serde_json::{Map, Value, json};
use store::Timestamp;
use store::traffic::{Resolution, Slice, TrafficQuery};

use super::metrics::Sums;
use super::stats::known_tag;
use crate::api::App;
use crate::api::http::domain::KnownDomain;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::parse_query;
use crate::api::sending::{excerpt, once};

/// What is counted of each provider: its name there, and the metric.
const COUNTED: [(&str, &str); 10] = [
    ("accepted", "accepted_count"),
    ("delivered", "delivered_count"),
    ("failed", "permanent_failed_count"),
    ("opened", "opened_count"),
    ("clicked", "clicked_count"),
    ("unsubscribed", "unsubscribed_count"),
    ("complained", "complained_count"),
    // Ours.
    ("tls-verified", "tls_verified_count"),
    ("tls-encrypted", "tls_encrypted_count"),
    ("plaintext", "plaintext_count"),
];

type Groups = BTreeMap<String, Sums>;

fn told(groups: &Groups) -> Map<String, Value> {
    let counts = |sums: &Sums| -> Map<String, Value> {
        COUNTED.iter().map(|(name, metric)| ((*name).to_owned(), sums.named(metric).into())).collect()
    };
    groups.iter().map(|(name, sums)| (name.clone(), Value::Object(counts(sums)))).collect()
}

async fn of_domain(app: &App, domain: &smtp::Domain) -> Result<Groups, ApiError> {
    let query = TrafficQuery {
        domain: Some(domain.clone()),
        slice: Slice::Destination,
        value: None,
        begin: Timestamp::from_micros(0),
        end: Timestamp::from_micros(i64::MAX),
        resolution: Resolution::Month,
        over_time: false,
    };
    let mut groups = Groups::new();
    for count in app.store.traffic(query).await? {
        groups.entry(count.value).or_default().add(&count.what, count.count);
    }
    Ok(groups)
}

/// `GET /v3/{domain}/aggregates/providers`
pub(super) async fn providers(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    Ok(Json(json!({ "providers": told(&of_domain(&app, &domain.name).await?) })))
}

/// `GET /v3/domains/{domain}/tag/providers`: the names alone.
pub(super) async fn provider_names(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    let groups = of_domain(&app, &domain.name).await?;
    Ok(Json(json!({ "items": groups.keys().filter(|name| !name.is_empty()).collect::<Vec<_>>() })))
}

/// `GET /v3/{domain}/tag/stats/aggregates` and `/v3/{domain}/tags/{tag}/stats/aggregates/providers`: of the events that
/// are still kept, since counts are not kept by tag and provider at once.
pub(super) async fn of_tag(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(mut path): Path<HashMap<String, String>>,
    uri: Uri,
) -> Result<Json, ApiError> {
    let (mut tag, mut kind) = (path.remove("tag"), None);
    let is_named = tag.is_some();
    for (name, value) in parse_query(uri.query().unwrap_or_default())? {
        match name.as_str() {
            "tag" if !is_named => once(&mut tag, value, &name)?,
            "type" if !is_named => once(&mut kind, value, &name)?,
            _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name)))),
        }
    }
    match kind.as_deref() {
        Some("provider") => {}
        None if is_named => {}
        None => return Err(ApiError::bad_request("'type' is missing: provider")),
        Some(other) => {
            let words = format!("'type': counts are not kept by '{}', only by provider", excerpt(other));
            return Err(ApiError::bad_request(words));
        }
    }
    let tag = known_tag(&app, &domain.name, tag.as_deref()).await?;
    let mut groups = Groups::new();
    for count in app.store.traffic_of_tag(&domain.name, &tag.name).await? {
        groups.entry(count.value).or_default().add(&count.what, count.count);
    }
    // The singular for the general call, the plural for the one of providers.
    let name = if is_named { "providers" } else { "provider" };
    Ok(Json(json!({ "tag": tag.name, name: told(&groups) })))
}
