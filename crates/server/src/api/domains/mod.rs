//! Sending domains, under `/v3/domains` and `/v4/domains` alike, and their TLS settings.

mod connection;
pub(super) mod dns;
mod fields;
mod json;
mod list;
mod operations;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use serde_json::json;
use store::{NewDomain, StoreError, Timestamp};

pub(super) use self::operations::{dns_record, operations};

use self::connection::{read as read_connection, update as update_connection};
use self::fields::DomainFields;
use super::App;
use super::dkim::no_key;
use super::http::auth::Caller;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::form::Form;
use crate::dkim::{Source, new_key};
use message::dkim::KeyKind;

/// `GET /v4/domains`
async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Json, ApiError> {
    let Some(mut query) = list::parse(uri.query().unwrap_or_default())? else {
        return Ok(Json(json!({ "total_count": 0, "items": [] })));
    };
    query.only = caller.domain().cloned();
    let (total, domains) = app.store.list_domains(query).await?;
    let items: Vec<_> = domains.iter().map(|domain| json::domain(domain, app.retention)).collect();
    Ok(Json(json!({ "total_count": total, "items": items })))
}

/// `POST /v4/domains`
async fn create(State(app): State<App>, request: Request) -> Result<Json, ApiError> {
    let fields = DomainFields::parse(&Form::read(&app, request).await?)?;
    let name = fields.name.ok_or_else(|| ApiError::bad_request("name parameter is missing"))?;
    let dkim = new_key(Source::Made(fields.dkim_kind.unwrap_or(KeyKind::Rsa2048)), fields.dkim_selector, true);
    let dkim = dkim.await.map_err(no_key)?;
    let new = NewDomain { name: name.clone(), tls: fields.tls, dkim: Some(dkim), now: Timestamp::now() };
    let domain = match app.store.create_limited_domain(new, fields.retention).await {
        Err(StoreError::Conflict(_)) => {
            return Err(ApiError::bad_request(format!("This domain name is already taken: {name}")));
        }
        made => made?,
    };
    Ok(Json(dns::with_known(&app, Some("Domain DNS records have been created"), &domain).await?))
}

/// `GET /v4/domains/{domain}`
async fn read(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    Ok(Json(dns::with_known(&app, None, &domain).await?))
}

/// `PUT /v4/domains/{domain}`
async fn update(State(app): State<App>, KnownDomain(domain): KnownDomain, request: Request) -> Result<Json, ApiError> {
    let fields = DomainFields::parse(&Form::read(&app, request).await?)?;
    if fields.dkim_kind.is_some() || fields.dkim_selector.is_some() {
        return Err(ApiError::bad_request("DKIM keys of a domain are changed under /v1/dkim/keys"));
    }
    if fields.name.is_some_and(|name| name != domain.name) {
        return Err(ApiError::bad_request("'name' of a domain cannot be changed"));
    }
    app.store.limit_domain(&domain.name, fields.retention).await?;
    let domain = app.store.update_domain(&domain.name, fields.tls).await?;
    let domain = domain.ok_or_else(|| ApiError::not_found("Domain not found"))?;
    Ok(Json(dns::with_known(&app, Some("Domain has been updated"), &domain).await?))
}

/// `PUT /v4/domains/{domain}/verify`: asks the DNS. A domain that is not verified may send all the same.
async fn verify(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    let records = app.sending_dns.verify(&app.store, &domain.name).await?;
    let domain = app.store.domain(&domain.name).await?.ok_or_else(|| ApiError::not_found("Domain not found"))?;
    Ok(Json(dns::with(&app, Some("Domain DNS records have been updated"), &domain, &records)))
}

/// `DELETE /v3/domains/{domain}`
async fn delete(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    match app.store.delete_domain(&domain.name).await? {
        true => Ok(Json(json!({ "message": "Domain will be deleted in the background" }))),
        false => Err(ApiError::new(StatusCode::NOT_FOUND, "Domain not found")),
    }
}
