//! Stats told apart by something else than time: `GET /v3/stats/filter` and `/v3/stats/total/domains`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Uri;
use serde_json::Value;
use smtp::Domain;
use store::traffic::{Slice, TrafficCount, TrafficQuery};

use super::{Asked, Sums, check_events, part};
use crate::api::App;
use crate::api::analytics::metrics_query::resolution;
use crate::api::analytics::request::Range;
use crate::api::http::auth::Caller;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::parse_query;
use crate::api::http::time::{self, now};
use crate::api::limits::STATS_DOMAINS;
use crate::api::sending::{excerpt, once};

/// What stats are filtered by, and what a group is made of.
const KEYS: [(&str, Slice); 4] =
    [("domain", Slice::All), ("tag", Slice::Tag), ("provider", Slice::Destination), ("ip", Slice::SendingIp)];
/// Groups of time.
const TIMES: [&str; 4] = ["time", "hour", "day", "month"];

fn slice_of(key: &str, field: &str) -> Result<Slice, ApiError> {
    let known = KEYS.into_iter().find(|(name, _)| *name == key);
    let words =
        || ApiError::bad_request(format!("'{field}': '{}' is not one of: domain, tag, provider, ip", excerpt(key)));
    known.map(|(_, slice)| slice).ok_or_else(words)
}

/// `domain:example.com`: what is compared, and with what.
fn condition(text: &str) -> Result<(&str, String), ApiError> {
    let (key, value) = text.split_once(':').unwrap_or((text, ""));
    slice_of(key.trim(), "filter")?;
    match value.trim() {
        "" => Err(ApiError::bad_request(format!("'filter' has nothing to compare {} with", key.trim()))),
        value => Ok((key.trim(), value.to_lowercase())),
    }
}

/// Stats with one condition and one group.
pub(super) async fn stats(app: &App, caller: &Caller, mut asked: Asked, now: i64) -> Result<Value, ApiError> {
    let filter = asked.filter.take().filter(|filter| !filter.trim().is_empty());
    let filter = filter.as_deref().map(condition).transpose()?;
    let group = asked.group.take().filter(|group| !group.is_empty()).unwrap_or_else(|| "time".to_owned());
    let is_time = TIMES.contains(&group.as_str());
    if is_time && group != "time" {
        asked.resolution = resolution(Some(&group))?;
        super::check_parts(asked.resolution, asked.query(now).begin, asked.query(now).end)?;
    }
    let of_filter = filter.as_ref().map_or(Ok(Slice::All), |(key, _)| slice_of(key, "filter"))?;
    let of_group = if is_time || group == "total" { Slice::All } else { slice_of(&group, "group")? };
    if of_filter != Slice::All && of_group != Slice::All && of_filter != of_group {
        // They are not kept by two at once.
        return Err(ApiError::bad_request("'filter' and 'group' can name only one of tag, provider and ip"));
    }
    let mut query = TrafficQuery {
        slice: if of_filter == Slice::All { of_group } else { of_filter },
        domain: caller.domain().cloned(),
        over_time: is_time,
        ..asked.query(now)
    };
    match filter {
        Some(("domain", name)) => {
            let bad = |_| ApiError::bad_request("'filter': the domain is not a domain name");
            query.domain = caller.narrow(Some(name.parse::<Domain>().map_err(bad)?))?;
        }
        Some((_, value)) => query.value = Some(value),
        None => {}
    }
    let counts = app.store.traffic(query).await?;
    Ok(if is_time { asked.over_time(counts, now) } else { asked.by(&group, counts, now) })
}

impl Asked {
    /// What happened in the whole range, for each value of a group.
    fn by(&self, group: &str, counts: Vec<TrafficCount>, now: i64) -> Value {
        let begin = self.query(now).begin;
        let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
        for count in counts {
            let value = match group {
                "total" => String::new(),
                "domain" => count.domain,
                _ => count.value,
            };
            groups.entry(value).or_default().add(&count.what, count.count);
        }
        let told = |(value, sums): (String, Sums)| {
            let mut part = part(&self.events, begin, &sums);
            if group != "total" {
                part[group] = value.into();
            }
            part
        };
        let parts = groups.into_iter().map(told).collect();
        self.answer(parts, now)
    }
}

/// `GET /v3/stats/total/domains`: what each domain did in the hour, day or month of `timestamp`.
pub(in crate::api::analytics) async fn of_domains(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
) -> Result<Json, ApiError> {
    let (mut events, mut resolved, mut timestamp, mut limit) = (Vec::new(), None, None, None);
    for (name, value) in parse_query(uri.query().unwrap_or_default())? {
        match name.as_str() {
            "event" | "event[]" => events.extend(value.split(',').map(|one| one.trim().to_owned())),
            "resolution" => once(&mut resolved, value, &name)?,
            "timestamp" => {
                let words = "'timestamp' is neither an RFC 2822 date, an RFC 3339 date nor Unix seconds";
                let at = time::parse_any(&value).ok_or_else(|| ApiError::bad_request(words))?;
                once(&mut timestamp, at, &name)?;
            }
            "limit" => {
                let number = value.parse().ok().filter(|number| (1..=STATS_DOMAINS).contains(number));
                let words = || ApiError::bad_request(format!("'limit' must be a number from 1 to {STATS_DOMAINS}"));
                once(&mut limit, number.ok_or_else(words)?, &name)?;
            }
            _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name)))),
        }
    }
    check_events(&events)?;
    let at = timestamp.ok_or_else(|| ApiError::bad_request("'timestamp' is missing"))?;
    let resolution = resolution(resolved.as_deref())?;
    let begin = resolution.start(store::Timestamp::from_micros(at));
    let range = Range { begin: begin.as_micros(), end: Some(resolution.next(begin).as_micros()) };
    let asked = Asked { events, tag: None, range, resolution, filter: None, group: None };
    let now = now();
    let query = TrafficQuery { domain: caller.domain().cloned(), ..asked.query(now) };
    let mut counts = app.store.traffic(query).await?;
    let mut names: Vec<_> = counts.iter().map(|count| count.domain.clone()).collect();
    names.sort();
    names.dedup();
    names.truncate(limit.unwrap_or(STATS_DOMAINS));
    counts.retain(|count| names.binary_search(&count.domain).is_ok());
    Ok(Json(asked.by("domain", counts, now)))
}
