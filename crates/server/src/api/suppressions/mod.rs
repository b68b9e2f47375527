//! `/v3/{domain}/bounces`, `…/unsubscribes`, `…/complaints`, `…/whitelists`: recipients that a domain sends nothing to, and
//! those that a refusal does not put there.

mod entry;
mod import;
mod operations;
mod page;

use std::collections::HashMap;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use policy::suppression::folded;
use serde_json::{Value, json};
use smtp::{Address, Domain};
use store::Timestamp;
use store::suppression::{Suppression, SuppressionList, SuppressionQuery};
use tokio::time::timeout;

pub(super) use self::operations::operations;

use self::page::Page;
use super::App;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::form::{Form, parse_query};
use super::http::url;
use super::limits::{FORM_TIME, SUPPRESSIONS_AT_ONCE, SUPPRESSIONS_OCTETS};

/// How Mailgun calls a list in paths.
fn path_of(list: SuppressionList) -> &'static str {
    match list {
        SuppressionList::Bounces => "bounces",
        SuppressionList::Unsubscribes => "unsubscribes",
        SuppressionList::Complaints => "complaints",
        SuppressionList::Allowlist => "whitelists",
    }
}

/// `GET /v3/{domain}/{list}`
async fn list_page(
    list: SuppressionList,
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json, ApiError> {
    let page = Page::parse(uri.query().unwrap_or_default())?;
    let Page { place, prefix, limit } = &page;
    let query = SuppressionQuery {
        domain: domain.name.clone(),
        list,
        prefix: prefix.clone(),
        place: place.clone(),
        limit: *limit,
    };
    let entries = app.store.suppressions(query).await?;
    let base = format!("{}/v3/{}/{}", url::base(app.public_url.as_ref(), &headers), domain.name, path_of(list));
    let [first, next, previous, last] = page.links(&base, &entries);
    Ok(Json(json!({
        "items": entries.iter().map(|one| entry::json(list, one)).collect::<Vec<_>>(),
        "paging": { "first": first, "next": next, "previous": previous, "last": last },
    })))
}

/// `POST /v3/{domain}/{list}`
async fn create(
    list: SuppressionList,
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let is_json = kind.eq_ignore_ascii_case("application/json");
    let entries = if is_json { of_json(list, request).await? } else { vec![of_form(&app, list, request).await?] };
    let answer = added(list, &entries);
    app.store.suppress(&domain.name, list, entries).await?;
    Ok(Json(answer))
}

async fn of_form(app: &App, list: SuppressionList, request: Request) -> Result<Suppression, ApiError> {
    let form = Form::read(app, request).await?;
    entry::of_form(&form, list, Timestamp::now()).map_err(ApiError::bad_request)
}

/// An array of entries, or one alone.
async fn of_json(list: SuppressionList, request: Request) -> Result<Vec<Suppression>, ApiError> {
    let body = timeout(FORM_TIME, to_bytes(request.into_body(), SUPPRESSIONS_OCTETS)).await;
    let body = body.map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "request took too long"))?;
    let body = body
        .map_err(|_| ApiError::too_large(format!("JSON of more than {SUPPRESSIONS_OCTETS} octets, or broken off")))?;
    let value: Value =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request("the body is not JSON").because(error))?;
    let values = if let Value::Array(values) = value { values } else { vec![value] };
    if values.len() > SUPPRESSIONS_AT_ONCE {
        return Err(ApiError::bad_request("Batch size should be less than 1000"));
    }
    let now = Timestamp::now();
    let entry = |(number, value): (usize, &Value)| {
        let why = |why| ApiError::bad_request(format!("entry {}: {why}; nothing was added", number + 1));
        entry::of_json(value, list, now).map_err(why)
    };
    values.iter().enumerate().map(entry).collect()
}

/// What is answered to entries that were added: one is named, several are counted.
fn added(list: SuppressionList, entries: &[Suppression]) -> Value {
    let table = match list {
        SuppressionList::Allowlist => "allowlists",
        list => path_of(list),
    };
    match (entries, list) {
        ([one], SuppressionList::Allowlist) => json!({
            "message": "Address/Domain has been added to the allowlists table",
            "type": entry::kind_of(&one.subject),
            "value": one.subject,
        }),
        ([one], _) => json!({
            "message": format!("Address has been added to the {table} table"),
            "address": one.subject,
        }),
        (many, SuppressionList::Complaints) => {
            json!({ "message": format!("{} complaint addresses have been added to the {table} table", many.len()) })
        }
        (many, _) => json!({ "message": format!("{} addresses have been added to the {table} table", many.len()) }),
    }
}

/// `POST /v3/{domain}/{list}/import`. Answered when all is kept: a crash after the answer loses nothing.
async fn import_file(
    list: SuppressionList,
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Response, ApiError> {
    let form = Form::read(&app, request).await?;
    let imported = import::import(&app.store, &domain.name, list, import::file(&form)?).await?;
    Ok((StatusCode::ACCEPTED, Json(imported.json())).into_response())
}

/// The subject that a path names, as lists have it.
fn subject(list: SuppressionList, names: &HashMap<String, String>) -> Option<String> {
    let name = names.get("address")?;
    let domain = || name.parse::<Domain>().ok().filter(|_| list == SuppressionList::Allowlist);
    name.parse::<Address>().ok().map(|address| folded(&address)).or_else(|| domain().map(String::from))
}

fn not_found(list: SuppressionList) -> ApiError {
    ApiError::not_found(match list {
        SuppressionList::Bounces => "Address not found in bounces table",
        SuppressionList::Unsubscribes => "Address not found in unsubscribers table",
        SuppressionList::Complaints => "No spam complaints found for this address",
        SuppressionList::Allowlist => "Address/Domain not found in allowlist table",
    })
}

/// `GET /v3/{domain}/{list}/{address}`
async fn read(
    list: SuppressionList,
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
) -> Result<Json, ApiError> {
    let subject = subject(list, &names).ok_or_else(|| not_found(list))?;
    let found = app.store.suppression(&domain.name, list, &subject).await?;
    found.map(|found| Json(entry::json(list, &found))).ok_or_else(|| not_found(list))
}

/// `DELETE /v3/{domain}/{list}/{address}`
async fn delete(
    list: SuppressionList,
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
    uri: Uri,
) -> Result<Json, ApiError> {
    let query = parse_query(uri.query().unwrap_or_default())?;
    let tag = query.iter().find(|(name, _)| list == SuppressionList::Unsubscribes && name == "tag");
    let tag = tag.map(|(_, tag)| tag.as_str());
    let subject = subject(list, &names).ok_or_else(|| not_found(list))?;
    if !app.store.unsuppress(&domain.name, list, &subject, tag).await? {
        let no_tag = || ApiError::not_found("Unsubscribe event for this tag does not exist");
        return Err(tag.map_or_else(|| not_found(list), |_| no_tag()));
    }
    let (message, name) = match list {
        SuppressionList::Bounces => ("Bounced addresses for this domain have been removed", "address"),
        SuppressionList::Unsubscribes => ("Unsubscribe event has been removed", "address"),
        SuppressionList::Complaints => ("Complaint addresses for this domain have been removed", "address"),
        SuppressionList::Allowlist => ("Allowlist address/domain has been removed", "value"),
    };
    Ok(Json(json!({ "message": message, name: subject })))
}

/// `DELETE /v3/{domain}/{list}`
async fn clear(
    list: SuppressionList,
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
) -> Result<Json, ApiError> {
    app.store.clear_suppressions(&domain.name, list).await?;
    let message = match list {
        SuppressionList::Bounces => "Bounced addresses for this domain have been removed",
        SuppressionList::Unsubscribes => "Unsubscribe addresses for this domain have been removed",
        SuppressionList::Complaints => "Complaint addresses for this domain have been removed",
        SuppressionList::Allowlist => "Allowlist addresses/domains for this domain have been removed",
    };
    Ok(Json(json!({ "message": message })))
}
