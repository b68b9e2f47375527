//! Tags: listed, described and forgotten, the older way by domain and the newer one in JSON.

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Timestamp;
use store::traffic::{Resolution, Slice, TAGS, Tag, TagQuery, TrafficQuery};
use url::form_urlencoded;

use super::metrics::{self, Sums};
use super::request::read;
use crate::api::App;
use crate::api::http::auth::Caller;
use crate::api::http::domain::KnownDomain;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::{Form, parse_query};
use crate::api::http::time::{now, to_rfc3339};
use crate::api::http::url as own_url;
use crate::api::limits::{TAG_DESCRIPTION_OCTETS, TAG_OCTETS, TAGS_PER_PAGE, TAGS_PER_PAGE_DEFAULT};
use crate::api::sending::{excerpt, once};

fn not_found() -> ApiError {
    ApiError::not_found("tag not found")
}

fn checked(name: Option<String>) -> Result<String, ApiError> {
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| ApiError::bad_request("'tag' is missing"))?;
    if name.len() > TAG_OCTETS {
        Err(ApiError::bad_request(format!("'tag' is longer than {TAG_OCTETS} octets")))
    } else {
        Ok(name)
    }
}

fn described(text: Option<String>) -> Result<String, ApiError> {
    let text = text.unwrap_or_default();
    if text.len() > TAG_DESCRIPTION_OCTETS {
        let words = format!("'description' is longer than {TAG_DESCRIPTION_OCTETS} octets");
        return Err(ApiError::bad_request(words));
    }
    Ok(text)
}

fn object(tag: &Tag) -> Value {
    json!({
        "tag": tag.name,
        "description": tag.description,
        "first-seen": to_rfc3339(tag.first_at.as_micros()),
        "last-seen": to_rfc3339(tag.last_at.as_micros()),
    })
}

/// `GET /v3/{domain}/tags`
pub(super) async fn list(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json, ApiError> {
    let (mut page, mut limit, mut pivot, mut prefix) = (None, None, None, None);
    for (name, value) in parse_query(uri.query().unwrap_or_default())? {
        match name.as_str() {
            _ if value.is_empty() => {}
            "page" if ["first", "last", "next", "previous", "prev"].contains(&value.as_str()) => {
                once(&mut page, value, &name)?;
            }
            "page" => return Err(ApiError::bad_request("'page' must be one of: first, last, next, previous")),
            "limit" => once(&mut limit, page_size(&value)?, &name)?,
            "tag" => once(&mut pivot, value.to_lowercase(), &name)?,
            "prefix" => once(&mut prefix, value, &name)?,
            _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name)))),
        }
    }
    let (prefix, limit) = (prefix.unwrap_or_default(), limit.unwrap_or(TAGS_PER_PAGE_DEFAULT));
    let backward = matches!(page.as_deref(), Some("last" | "previous" | "prev"));
    let from = pivot.filter(|_| !matches!(page.as_deref(), Some("first" | "last")));
    let name = domain.name;
    let query = TagQuery {
        domain: Some(name.clone()),
        prefix: prefix.clone(),
        from: from.clone(),
        backward,
        by_use: false,
        skip: 0,
        limit,
    };
    let tags = app.store.tags(query).await?;
    let base = own_url::base(app.public_url.as_ref(), &headers);
    let link = |page: &str, pivot: Option<&str>| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("page", page).append_pair("limit", &limit.to_string());
        if let Some(pivot) = pivot {
            query.append_pair("tag", pivot);
        }
        if !prefix.is_empty() {
            query.append_pair("prefix", &prefix);
        }
        format!("{base}/v3/{name}/tags?{}", query.finish())
    };
    let from = from.as_deref();
    Ok(Json(json!({
        "items": tags.iter().map(object).collect::<Vec<_>>(),
        "paging": {
            "first": link("first", None),
            "previous": link("previous", tags.first().map(|tag| tag.name.as_str()).or(from)),
            "next": link("next", tags.last().map(|tag| tag.name.as_str()).or(from)),
            "last": link("last", None),
        },
    })))
}

fn page_size(value: &str) -> Result<usize, ApiError> {
    let size = value.parse().ok().filter(|size| (1..=TAGS_PER_PAGE).contains(size));
    size.ok_or_else(|| ApiError::bad_request(format!("'limit' must be a number from 1 to {TAGS_PER_PAGE}")))
}

/// The tag of a query, and its description.
fn named(query: &str) -> Result<(Option<String>, Option<String>), ApiError> {
    let (mut tag, mut description) = (None, None);
    for (name, value) in parse_query(query)? {
        match name.as_str() {
            "tag" => once(&mut tag, value, &name)?,
            "description" => once(&mut description, value, &name)?,
            _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name)))),
        }
    }
    Ok((tag, description))
}

/// The tag that the path names, or else the query.
fn tag_of(path: &HashMap<String, String>, query: &str) -> Result<String, ApiError> {
    let mut tag = named(query)?.0;
    if let Some(of_path) = path.get("tag") {
        once(&mut tag, of_path.clone(), "tag")?;
    }
    checked(tag)
}

/// `GET /v3/{domain}/tag`, `/v3/{domain}/tags/{tag}`
pub(super) async fn one(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(path): Path<HashMap<String, String>>,
    uri: Uri,
) -> Result<Json, ApiError> {
    let name = tag_of(&path, uri.query().unwrap_or_default())?;
    let tag = app.store.tag(&domain.name, &name).await?.ok_or_else(not_found)?;
    Ok(Json(object(&tag)))
}

/// `PUT /v3/{domain}/tag`, `/v3/{domain}/tags/{tag}`: the tag in the query or the path, the description in the query or in
/// a form, since clients do either.
pub(super) async fn describe(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(mut path): Path<HashMap<String, String>>,
    uri: Uri,
    mut request: Request,
) -> Result<Json, ApiError> {
    // Forms are read where nothing stands in the query; here it was read already.
    *request.uri_mut() = Uri::from_static("/");
    let (mut tag, mut description) = named(uri.query().unwrap_or_default())?;
    if let Some(of_path) = path.remove("tag") {
        once(&mut tag, of_path, "tag")?;
    }
    for field in &Form::read(&app, request).await?.fields {
        let value = field.as_text()?.to_owned();
        match field.name.as_str() {
            "tag" => once(&mut tag, value, "tag")?,
            "description" => once(&mut description, value, "description")?,
            other => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(other)))),
        }
    }
    let (tag, description) = (checked(tag)?, described(description)?);
    if !app.store.describe_tag(Some(&domain.name), &tag, &description).await? {
        return Err(not_found());
    }
    Ok(Json(json!({ "message": "Tag updated" })))
}

/// `DELETE /v3/{domain}/tag`, `/v3/{domain}/tags/{tag}`
pub(super) async fn delete(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(path): Path<HashMap<String, String>>,
    uri: Uri,
) -> Result<Json, ApiError> {
    let tag = tag_of(&path, uri.query().unwrap_or_default())?;
    if !app.store.delete_tag(Some(&domain.name), &tag).await? {
        return Err(not_found());
    }
    Ok(Json(json!({ "message": "Tag deleted" })))
}

/// `GET /v3/domains/{domain}/limits/tag`
pub(super) async fn limit(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    let count = app.store.count_tags(Some(&domain.name), "").await?;
    Ok(Json(json!({ "id": domain.id, "limit": TAGS, "count": count })))
}

/// `GET /v1/analytics/tags/limits`: of the key's domain, or for all what each of them may have.
pub(super) async fn limits(State(app): State<App>, caller: Caller) -> Result<Json, ApiError> {
    let count = app.store.count_tags(caller.domain(), "").await?;
    let is_reached = caller.domain().is_some() && count >= TAGS as u64;
    Ok(Json(json!({ "limit": TAGS, "count": count, "limit_reached": is_reached })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ListAsked {
    tag: Option<String>,
    pagination: Option<Pagination>,
    #[serde(rename = "include_subaccounts")]
    _include_subaccounts: Option<bool>,
    include_metrics: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Pagination {
    sort: Option<String>,
    skip: Option<usize>,
    limit: Option<usize>,
    #[serde(rename = "total")]
    _total: Option<u64>,
    include_total: Option<bool>,
}

/// `POST /v1/analytics/tags`
pub(super) async fn search(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    let asked: ListAsked = read(request).await?;
    let pagination = asked.pagination.unwrap_or_default();
    let sort = pagination.sort.as_deref().unwrap_or_default();
    let (by_use, backward) = order(sort)?;
    let (limit, skip) = (pagination.limit.unwrap_or(TAGS_PER_PAGE_DEFAULT), pagination.skip.unwrap_or(0));
    if !(1..=TAGS_PER_PAGE).contains(&limit) {
        return Err(ApiError::bad_request(format!("'limit' must be a number from 1 to {TAGS_PER_PAGE}")));
    }
    let prefix = asked.tag.unwrap_or_default();
    let total = match pagination.include_total {
        Some(true) => Some(app.store.count_tags(caller.domain(), &prefix).await?),
        _ => None,
    };
    let query = TagQuery { domain: caller.domain().cloned(), prefix, from: None, backward, by_use, skip, limit };
    let mut tags = app.store.tags(query).await?;
    if backward {
        tags.reverse();
    }
    let mut items = Vec::with_capacity(tags.len());
    for tag in &tags {
        let mut item = json!({
            "tag": tag.name,
            "description": tag.description,
            "first_seen": to_rfc3339(tag.first_at.as_micros()),
            "last_seen": to_rfc3339(tag.last_at.as_micros()),
            // Ours: every domain has its own tags.
            "domain": tag.domain,
        });
        if asked.include_metrics == Some(true) {
            item["metrics"] = all_metrics(&app, tag).await?;
        }
        items.push(item);
    }
    let sort = if sort.is_empty() { "tag:asc" } else { sort };
    let mut page = json!({ "sort": sort, "skip": skip, "limit": limit });
    if let Some(total) = total {
        page["total"] = total.into();
    }
    Ok(Json(json!({ "items": items, "pagination": page })))
}

/// What tags are sorted by: whether by when they were used, and whether the last come first.
fn order(sort: &str) -> Result<(bool, bool), ApiError> {
    let (by, direction) = sort.split_once(':').unwrap_or((sort, "asc"));
    match (by, direction) {
        ("" | "tag", "asc") => Ok((false, false)),
        ("tag", "desc") => Ok((false, true)),
        // The field is called last_seen, and Mailgun's examples sort by this.
        ("lastseen" | "last_seen", "asc") => Ok((true, false)),
        ("lastseen" | "last_seen", "desc") => Ok((true, true)),
        _ => {
            let words = format!("'sort': '{}' is not tag or lastseen, with :asc or :desc", excerpt(sort));
            Err(ApiError::bad_request(words))
        }
    }
}

/// Every metric of a tag, of all the time that it is known.
async fn all_metrics(app: &App, tag: &Tag) -> Result<Value, ApiError> {
    let query = TrafficQuery {
        domain: Some(tag.domain.clone()),
        slice: Slice::Tag,
        value: Some(tag.name.clone()),
        begin: Resolution::Month.start(tag.first_at),
        end: Timestamp::from_micros(now().saturating_add(1)),
        resolution: Resolution::Month,
        over_time: false,
    };
    let mut sums = Sums::default();
    for count in app.store.traffic(query).await? {
        sums.add(&count.what, count.count);
    }
    Ok(metrics::names().map(|name| (name.to_owned(), sums.metric(name))).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Named {
    tag: Option<String>,
    description: Option<String>,
}

/// `PUT /v1/analytics/tags`
pub(super) async fn describe_all(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    let asked: Named = read(request).await?;
    let (tag, description) = (checked(asked.tag)?, described(asked.description)?);
    if !app.store.describe_tag(caller.domain(), &tag, &description).await? {
        return Err(not_found());
    }
    Ok(Json(json!({ "message": "Tag updated" })))
}

/// `DELETE /v1/analytics/tags`: the tag in the query or in the body, since clients do either.
pub(super) async fn delete_all(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    request: Request,
) -> Result<Json, ApiError> {
    let tag = match named(uri.query().unwrap_or_default())?.0 {
        Some(tag) => Some(tag),
        None => read::<Named>(request).await?.tag,
    };
    let tag = checked(tag)?;
    if !app.store.delete_tag(caller.domain(), &tag).await? {
        return Err(not_found());
    }
    Ok(Json(json!({ "message": "Tag deleted" })))
}
