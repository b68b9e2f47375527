//! DKIM keys: `/v1/dkim/keys`, `/v4/domains/{domain}/keys` and what is about a domain's keys.

mod fields;
mod operations;
mod rotation;

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};
use smtp::Domain;
use store::StoreError;
use store::dkim::{DKIM_KEYS_PER_DOMAIN, DkimKey, DkimKeyDeletion, DkimKeyQuery};

use self::fields::{KeyFields, Page, one_query, one_value};
pub(super) use self::fields::{kind_of_bits, selector_of};
pub(super) use self::operations::operations;
use super::App;
use super::domains::dns;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::form::Form;
use super::http::url;
use super::sending::yes_no;
use crate::dkim::{NoKey, new_key};

/// `GET /v1/dkim/keys`
async fn list(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Json, ApiError> {
    let page = Page::parse(uri.query().unwrap_or_default())?;
    let (total, keys) = app.store.dkim_keys(page.query()).await?;
    let base = format!("{}{}", url::base(app.public_url.as_ref(), &headers), uri.path());
    let paging = page.links(&base, total);
    Ok(Json(json!({ "items": items(&app, &keys).await?, "paging": paging })))
}

/// `GET /v4/domains/{domain}/keys`
async fn of_domain(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    Ok(Json(json!({ "items": items(&app, &keys_of(&app, &domain.name).await?).await? })))
}

/// `POST /v1/dkim/keys`: a key that signs once it is activated.
async fn create(State(app): State<App>, request: Request) -> Result<Json, ApiError> {
    let fields = KeyFields::parse(&Form::read(&app, request).await?)?;
    if app.store.domain(&fields.domain).await?.is_none() {
        return Err(ApiError::not_found("Domain not found"));
    }
    let key = new_key(fields.source, Some(fields.selector), false).await.map_err(no_key)?;
    let made = app.store.create_dkim_key(&fields.domain, key).await.map_err(taken)?;
    let made = made.ok_or_else(|| ApiError::not_found("Domain not found"))?;
    Ok(Json(items(&app, &[made]).await?.remove(0)))
}

/// `DELETE /v1/dkim/keys`
async fn delete(State(app): State<App>, uri: Uri) -> Result<Json, ApiError> {
    let query = uri.query().unwrap_or_default();
    let (domain, selector) = (one_query(query, "signing_domain")?, one_query(query, "selector")?);
    match app.store.delete_dkim_key(&domain, &selector).await? {
        DkimKeyDeletion::Deleted => Ok(Json(json!({ "message": "success" }))),
        DkimKeyDeletion::NotFound => Err(not_found()),
        DkimKeyDeletion::LastActive => {
            Err(ApiError::bad_request("cannot delete domain key: must have at least one active domain key"))
        }
    }
}

/// `PUT /v4/domains/{domain}/keys/{selector}/activate`
async fn activate(
    state: State<App>,
    domain: KnownDomain,
    path: Path<HashMap<String, String>>,
) -> Result<Json, ApiError> {
    turn(state, domain, path, true).await
}

/// `PUT /v4/domains/{domain}/keys/{selector}/deactivate`
async fn deactivate(
    state: State<App>,
    domain: KnownDomain,
    path: Path<HashMap<String, String>>,
) -> Result<Json, ApiError> {
    turn(state, domain, path, false).await
}

async fn turn(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(path): Path<HashMap<String, String>>,
    active: bool,
) -> Result<Json, ApiError> {
    let selector = path.get("selector").and_then(|text| text.parse().ok()).ok_or_else(not_found)?;
    let key = app.store.set_dkim_key_active(&domain.name, &selector, active).await?.ok_or_else(not_found)?;
    Ok(Json(json!({
        "message": if active { "domain key activated" } else { "domain key deactivated" },
        "authority": key.domain,
        "selector": key.selector,
        "active": key.active,
    })))
}

/// `PUT /v3/domains/{domain}/dkim_authority`: a domain signs with its own keys, always.
async fn authority(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let own = one_value(&app, request, "self").await?;
    if !yes_no(&own, "self")? {
        return Err(ApiError::bad_request("'self' is not supported yet, only 'true' is"));
    }
    let records = app.sending_dns.known(&app.store, &domain.name).await?;
    Ok(Json(json!({
        "message": "Domain DKIM authority has not been changed",
        "changed": false,
        "sending_dns_records": dns::sending(&records),
    })))
}

/// `PUT /v3/domains/{domain}/dkim_selector`: the key that signs gets another name.
async fn selector(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let field = one_value(&app, request, "dkim_selector").await?;
    let selector = selector_of(&field, "dkim_selector")?;
    let keys = keys_of(&app, &domain.name).await?;
    let mut active = keys.iter().filter(|key| key.active);
    let (Some(key), None) = (active.next(), active.next()) else {
        let text = "the domain has not one active DKIM key; make and activate keys under /v1/dkim/keys";
        return Err(ApiError::bad_request(text));
    };
    app.store.rename_dkim_key(key.id, &selector).await.map_err(taken)?.ok_or_else(not_found)?;
    Ok(Json(json!({ "message": "DKIM selector changed" })))
}

async fn keys_of(app: &App, domain: &Domain) -> Result<Vec<DkimKey>, ApiError> {
    let query = DkimKeyQuery { domain: Some(domain.clone()), limit: DKIM_KEYS_PER_DOMAIN, ..DkimKeyQuery::default() };
    Ok(app.store.dkim_keys(query).await?.1)
}

/// Keys as Mailgun's clients read them, each with its record as it stood when it was last looked for. They come sorted
/// by domain.
async fn items(app: &App, keys: &[DkimKey]) -> Result<Vec<Value>, ApiError> {
    let mut items = Vec::new();
    for of_domain in keys.chunk_by(|one, other| one.domain == other.domain) {
        let known = app.sending_dns.known(&app.store, &of_domain[0].domain).await?;
        for key in of_domain {
            let fresh = crate::sending_dns::of_key(key);
            let record = known.records.iter().find(|record| record.name == fresh.name).unwrap_or(&fresh);
            items.push(json!({
                "signing_domain": key.domain,
                "selector": key.selector,
                "type": if key.rsa_bits.is_some() { "rsa" } else { "ed25519" },
                "bits": key.rsa_bits,
                "active": key.active,
                "dns_record": dns::record(record),
            }));
        }
    }
    Ok(items)
}

fn not_found() -> ApiError {
    ApiError::not_found("domain key not found")
}

/// Why a key cannot be had; never quotes it.
pub(super) fn no_key(error: NoKey) -> ApiError {
    match error {
        NoKey::Unusable(_) | NoKey::TooLong => ApiError::bad_request(format!("'pem': {error}")),
        NoKey::NotMade(_) => {
            tracing::error!(%error, "cannot make a DKIM key");
            ApiError::internal()
        }
    }
}

fn taken(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict(what) => ApiError::bad_request(format!("{what} exists already")),
        other => other.into(),
    }
}
