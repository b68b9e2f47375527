//! `GET /v3/{domain}/stats/total`, `/v3/stats/total` and `/v3/{domain}/tag/stats`: counts over time, the older way.

use axum::extract::State;
use axum::http::Uri;
use serde_json::{Map, Value, json};
use smtp::Domain;
use store::Timestamp;
use store::traffic::{Resolution, Slice, TrafficQuery};

use super::metrics::Sums;
use super::metrics_query::{check_parts, resolution};
use super::request::{Range, range};
use crate::api::App;
use crate::api::http::auth::Caller;
use crate::api::http::domain::KnownDomain;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::parse_query;
use crate::api::http::time::{now, to_date};
use crate::api::sending::{excerpt, once};

/// What can be counted: Mailgun's words.
const EVENTS: [&str; 8] =
    ["accepted", "delivered", "failed", "stored", "opened", "clicked", "unsubscribed", "complained"];

/// What is asked.
struct Asked {
    events: Vec<String>,
    tag: Option<String>,
    range: Range,
    resolution: Resolution,
}

impl Asked {
    fn parse(query: &str, now: i64) -> Result<Asked, ApiError> {
        let (mut start, mut end, mut duration, mut resolved, mut tag) = (None, None, None, None, None);
        let mut events: Vec<String> = Vec::new();
        for (name, value) in parse_query(query)? {
            match name.as_str() {
                "event" | "event[]" => events.extend(value.split(',').map(|one| one.trim().to_owned())),
                "start" => once(&mut start, value, &name)?,
                "end" => once(&mut end, value, &name)?,
                "duration" => once(&mut duration, value, &name)?,
                "resolution" => once(&mut resolved, value, &name)?,
                "tag" => once(&mut tag, value.to_lowercase(), &name)?,
                _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name)))),
            }
        }
        if events.is_empty() {
            return Err(ApiError::bad_request(format!("'event' is missing: {}", EVENTS.join(", "))));
        }
        if let Some(unknown) = events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
            let words = format!("'event': '{}' is not one of: {}", excerpt(unknown), EVENTS.join(", "));
            return Err(ApiError::bad_request(words));
        }
        let range = range(start.as_deref(), end.as_deref(), duration.as_deref(), now)?;
        let resolution = resolution(resolved.as_deref())?;
        let until = Timestamp::from_micros(range.end.unwrap_or(now));
        check_parts(resolution, Timestamp::from_micros(range.begin), until)?;
        Ok(Asked { events, tag, range, resolution })
    }
}

/// `GET /v3/{domain}/stats/total`
pub(super) async fn of_domain(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    uri: Uri,
) -> Result<Json, ApiError> {
    let now = now();
    let asked = Asked::parse(uri.query().unwrap_or_default(), now)?;
    if asked.tag.is_some() {
        return Err(ApiError::bad_request("'tag' is not a parameter"));
    }
    Ok(Json(stats(&app, Some(domain.name), &asked, now).await?))
}

/// `GET /v3/stats/total`
pub(super) async fn of_all(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Json, ApiError> {
    let now = now();
    let asked = Asked::parse(uri.query().unwrap_or_default(), now)?;
    if asked.tag.is_some() {
        return Err(ApiError::bad_request("'tag' is not a parameter"));
    }
    Ok(Json(stats(&app, caller.domain().cloned(), &asked, now).await?))
}

/// `GET /v3/{domain}/tag/stats`
pub(super) async fn of_tag(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    uri: Uri,
) -> Result<Json, ApiError> {
    let now = now();
    let asked = Asked::parse(uri.query().unwrap_or_default(), now)?;
    let name = asked.tag.as_deref().filter(|tag| !tag.is_empty());
    let name = name.ok_or_else(|| ApiError::bad_request("'tag' is missing"))?;
    let tag = app.store.tag(&domain.name, name).await?.ok_or_else(|| ApiError::not_found("tag not found"))?;
    let mut answer = stats(&app, Some(domain.name), &asked, now).await?;
    answer["tag"] = tag.name.into();
    answer["description"] = tag.description.into();
    Ok(Json(answer))
}

async fn stats(app: &App, domain: Option<Domain>, asked: &Asked, now: i64) -> Result<Value, ApiError> {
    let (begin, end) = (asked.range.begin, asked.range.end.unwrap_or(now.saturating_add(1)));
    let (begin, end) = (asked.resolution.start(Timestamp::from_micros(begin)), Timestamp::from_micros(end));
    let query = TrafficQuery {
        domain,
        slice: if asked.tag.is_some() { Slice::Tag } else { Slice::All },
        value: asked.tag.clone(),
        begin,
        end,
        resolution: asked.resolution,
        over_time: true,
    };
    let mut counts = app.store.traffic(query).await?;
    counts.sort_by_key(|count| count.start);
    let mut counts = counts.into_iter().peekable();
    let (mut parts, mut start) = (Vec::new(), begin);
    // Every part has its place, those too in which nothing happened.
    while start < end {
        let mut sums = Sums::default();
        while let Some(count) = counts.next_if(|count| count.start.is_none_or(|at| at <= start)) {
            sums.add(&count.what, count.count);
        }
        let mut part = Map::new();
        part.insert("time".to_owned(), to_date(start.as_micros()).into());
        part.extend(asked.events.iter().map(|event| (event.clone(), counted(event, &sums))));
        parts.push(Value::Object(part));
        start = asked.resolution.next(start);
    }
    Ok(json!({
        "start": to_date(begin.as_micros()),
        "end": to_date(asked.range.end.unwrap_or(now)),
        "resolution": asked.resolution.as_str(),
        "description": "",
        "stats": parts,
    }))
}

/// The counts of one kind of event, in Mailgun's shape.
fn counted(event: &str, sums: &Sums) -> Value {
    let of = |name: &str| sums.named(name);
    match event {
        "accepted" => {
            let outgoing = of("accepted_count");
            json!({ "incoming": 0, "outgoing": outgoing, "total": outgoing })
        }
        "delivered" => {
            let smtp = of("delivered_count");
            json!({
                "smtp": smtp,
                "http": 0,
                "optimized": 0,
                "total": smtp,
                // Ours.
                "tls-verified": of("tls_verified_count"),
                "tls-encrypted": of("tls_encrypted_count"),
                "plaintext": of("plaintext_count"),
            })
        }
        "failed" => json!({
            "temporary": {
                "espblock": of("temporary_failed_esp_block_count"),
                "total": of("temporary_failed_count"),
            },
            "permanent": {
                "bounce": of("bounced_count"),
                "delayed-bounce": 0,
                "suppress-bounce": of("suppressed_bounces_count"),
                "suppress-unsubscribe": of("suppressed_unsubscribed_count"),
                "suppress-complaint": of("suppressed_complaints_count"),
                "old": of("permanent_failed_old_count"),
                "optimized": 0,
                "webhook": 0,
                "total": of("permanent_failed_count"),
            },
        }),
        other => json!({ "total": of(&format!("{other}_count")) }),
    }
}
