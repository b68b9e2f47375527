//! `GET /v3/{domain}/stats/total`, `/v3/stats/total`, `/v3/stats/filter` and `/v3/{domain}/tag/stats`: counts over time,
//! the older way.

mod groups;

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::Uri;
use serde_json::{Map, Value, json};
use smtp::Domain;
use store::Timestamp;
use store::traffic::{Resolution, Slice, Tag, TrafficCount, TrafficQuery};

pub(super) use self::groups::of_domains;
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
    /// What only `stats/filter` takes: conditions, and what is told apart.
    filter: Option<String>,
    group: Option<String>,
}

impl Asked {
    fn parse(query: &str, now: i64) -> Result<Asked, ApiError> {
        let (mut start, mut end, mut duration, mut resolved, mut tag) = (None, None, None, None, None);
        let (mut filter, mut group) = (None, None);
        let mut events: Vec<String> = Vec::new();
        for (name, value) in parse_query(query)? {
            match name.as_str() {
                "event" | "event[]" => events.extend(value.split(',').map(|one| one.trim().to_owned())),
                "start" => once(&mut start, value, &name)?,
                "end" => once(&mut end, value, &name)?,
                "duration" => once(&mut duration, value, &name)?,
                "resolution" => once(&mut resolved, value, &name)?,
                "tag" => once(&mut tag, value.to_lowercase(), &name)?,
                "filter" => once(&mut filter, value, &name)?,
                "group" => once(&mut group, value, &name)?,
                _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name)))),
            }
        }
        check_events(&events)?;
        let range = range(start.as_deref(), end.as_deref(), duration.as_deref(), now)?;
        let resolution = resolution(resolved.as_deref())?;
        let until = Timestamp::from_micros(range.end.unwrap_or(now));
        check_parts(resolution, Timestamp::from_micros(range.begin), until)?;
        Ok(Asked { events, tag, range, resolution, filter, group })
    }

    /// The same, where only some of the parameters have a meaning.
    fn parse_only(query: &str, now: i64, with_tag: bool) -> Result<Asked, ApiError> {
        let asked = Asked::parse(query, now)?;
        let others = [("tag", asked.tag.is_some() && !with_tag), ("filter", asked.filter.is_some())];
        let unknown = others.into_iter().chain([("group", asked.group.is_some())]).find(|(_, given)| *given);
        unknown.map_or(Ok(asked), |(name, _)| Err(ApiError::bad_request(format!("'{name}' is not a parameter"))))
    }
}

pub(super) fn check_events(events: &[String]) -> Result<(), ApiError> {
    if events.is_empty() {
        return Err(ApiError::bad_request(format!("'event' is missing: {}", EVENTS.join(", "))));
    }
    if let Some(unknown) = events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
        let words = format!("'event': '{}' is not one of: {}", excerpt(unknown), EVENTS.join(", "));
        return Err(ApiError::bad_request(words));
    }
    Ok(())
}

/// `GET /v3/{domain}/stats/total`
pub(super) async fn of_domain(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    uri: Uri,
) -> Result<Json, ApiError> {
    let now = now();
    let asked = Asked::parse_only(uri.query().unwrap_or_default(), now, false)?;
    Ok(Json(stats(&app, Some(domain.name), &asked, now).await?))
}

/// `GET /v3/stats/total`
pub(super) async fn of_all(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Json, ApiError> {
    let now = now();
    let asked = Asked::parse_only(uri.query().unwrap_or_default(), now, false)?;
    Ok(Json(stats(&app, caller.domain().cloned(), &asked, now).await?))
}

/// `GET /v3/{domain}/tag/stats`, `/v3/{domain}/tags/{tag}/stats`
pub(super) async fn of_tag(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(mut path): Path<HashMap<String, String>>,
    uri: Uri,
) -> Result<Json, ApiError> {
    let now = now();
    let mut asked = Asked::parse_only(uri.query().unwrap_or_default(), now, true)?;
    if let Some(tag) = path.remove("tag") {
        once(&mut asked.tag, tag.to_lowercase(), "tag")?;
    }
    let tag = known_tag(&app, &domain.name, asked.tag.as_deref()).await?;
    let mut answer = stats(&app, Some(domain.name), &asked, now).await?;
    answer["tag"] = tag.name.into();
    answer["description"] = tag.description.into();
    Ok(Json(answer))
}

/// The tag of that name.
pub(super) async fn known_tag(app: &App, domain: &Domain, name: Option<&str>) -> Result<Tag, ApiError> {
    let name = name.filter(|tag| !tag.is_empty()).ok_or_else(|| ApiError::bad_request("'tag' is missing"))?;
    app.store.tag(domain, name).await?.ok_or_else(|| ApiError::not_found("tag not found"))
}

/// `GET /v3/stats/filter`
pub(super) async fn filtered(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Json, ApiError> {
    let now = now();
    let asked = Asked::parse(uri.query().unwrap_or_default(), now)?;
    if asked.tag.is_some() {
        return Err(ApiError::bad_request("'tag' is not a parameter; ask for filter=tag:…"));
    }
    Ok(Json(groups::stats(&app, &caller, asked, now).await?))
}

async fn stats(app: &App, domain: Option<Domain>, asked: &Asked, now: i64) -> Result<Value, ApiError> {
    let slice = if asked.tag.is_some() { Slice::Tag } else { Slice::All };
    let query = TrafficQuery { domain, slice, value: asked.tag.clone(), over_time: true, ..asked.query(now) };
    Ok(asked.over_time(app.store.traffic(query).await?, now))
}

impl Asked {
    /// All counts of the range.
    fn query(&self, now: i64) -> TrafficQuery {
        TrafficQuery {
            domain: None,
            slice: Slice::All,
            value: None,
            begin: self.resolution.start(Timestamp::from_micros(self.range.begin)),
            end: Timestamp::from_micros(self.range.end.unwrap_or(now.saturating_add(1))),
            resolution: self.resolution,
            over_time: false,
        }
    }

    /// What happened in each part of the range.
    fn over_time(&self, mut counts: Vec<TrafficCount>, now: i64) -> Value {
        let TrafficQuery { begin: mut start, end, .. } = self.query(now);
        counts.sort_by_key(|count| count.start);
        let mut counts = counts.into_iter().peekable();
        let mut parts = Vec::new();
        // Every part has its place, those too in which nothing happened.
        while start < end {
            let mut sums = Sums::default();
            while let Some(count) = counts.next_if(|count| count.start.is_none_or(|at| at <= start)) {
                sums.add(&count.what, count.count);
            }
            parts.push(part(&self.events, start, &sums));
            start = self.resolution.next(start);
        }
        self.answer(parts, now)
    }

    fn answer(&self, parts: Vec<Value>, now: i64) -> Value {
        json!({
            "start": to_date(self.query(now).begin.as_micros()),
            "end": to_date(self.range.end.unwrap_or(now)),
            "resolution": self.resolution.as_str(),
            "description": "",
            "stats": parts,
        })
    }
}

/// What happened since `start`, by the kinds of events that are asked for.
pub(super) fn part(events: &[String], start: Timestamp, sums: &Sums) -> Value {
    let mut part = Map::new();
    part.insert("time".to_owned(), to_date(start.as_micros()).into());
    part.extend(events.iter().map(|event| (event.clone(), counted(event, sums))));
    Value::Object(part)
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
