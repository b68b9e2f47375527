//! `POST /v1/analytics/metrics`: counts over time, by sending domain and one thing more.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use smtp::Domain;
use store::Timestamp;
use store::traffic::{Resolution, Slice, TrafficCount, TrafficQuery};

use super::metrics::{COUNTS, Sums, is_metric};
use super::request::{Condition, Conditions, Range, range, read};
use crate::api::App;
use crate::api::http::auth::Caller;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::time::{now, to_date};
use crate::api::limits::{LOG_VALUES, METRICS_PARTS, METRICS_PER_PAGE, METRICS_PER_PAGE_DEFAULT};
use crate::api::sending::excerpt;

/// What is asked. What Mailgun knows and is not here, subaccounts, is taken and changes nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    start: Option<String>,
    end: Option<String>,
    duration: Option<String>,
    resolution: Option<String>,
    dimensions: Option<Vec<String>>,
    metrics: Option<Vec<String>>,
    filter: Option<Conditions>,
    #[serde(rename = "include_subaccounts")]
    _include_subaccounts: Option<bool>,
    include_aggregates: Option<bool>,
    pagination: Option<Pagination>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Pagination {
    sort: Option<String>,
    skip: Option<usize>,
    limit: Option<usize>,
    #[serde(rename = "total")]
    _total: Option<u64>,
}

/// What items are told apart by.
const DIMENSIONS: [&str; 5] = ["time", "domain", "tag", "recipient_domain", "ip"];

fn slice_of(name: &str) -> Option<Slice> {
    match name {
        "time" | "domain" => Some(Slice::All),
        "tag" => Some(Slice::Tag),
        "recipient_domain" => Some(Slice::Destination),
        "ip" => Some(Slice::SendingIp),
        _ => None,
    }
}

/// A question that makes sense.
struct Question {
    dimensions: Vec<String>,
    metrics: Vec<String>,
    slice: Slice,
    conditions: Vec<Condition>,
    resolution: Resolution,
    range: Range,
    sort: Option<(String, bool)>,
    skip: usize,
    limit: usize,
}

/// The resolution of that name; days unless it is said.
pub(super) fn resolution(name: Option<&str>) -> Result<Resolution, ApiError> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("day");
    let words = || ApiError::bad_request(format!("'resolution': '{}' is not one of: hour, day, month", excerpt(name)));
    Resolution::ALL.into_iter().find(|one| one.as_str() == name).ok_or_else(words)
}

/// Refuses a range of too many parts.
pub(super) fn check_parts(resolution: Resolution, begin: Timestamp, end: Timestamp) -> Result<(), ApiError> {
    let mut part = resolution.start(begin);
    for _ in 0..METRICS_PARTS {
        if part >= end {
            return Ok(());
        }
        part = resolution.next(part);
    }
    let words = format!("the range has more than {METRICS_PARTS} parts: ask for a shorter one, or another resolution");
    if part >= end { Ok(()) } else { Err(ApiError::bad_request(words)) }
}

/// What an account uses, in Mailgun's words. But for the first they count services that are not part of a sending
/// server: validation, previews, inbox placement.
pub(super) const USAGE: [&str; 16] = [
    "processed_count",
    "email_validation_count",
    "email_validation_public_count",
    "email_validation_valid_count",
    "email_validation_single_count",
    "email_validation_bulk_count",
    "email_validation_list_count",
    "email_validation_mailgun_count",
    "email_validation_mailjet_count",
    "email_preview_count",
    "email_preview_failed_count",
    "link_validation_count",
    "link_validation_failed_count",
    "seed_test_count",
    "ip_blocklist_monitoring_count",
    "domain_blocklist_monitoring_count",
];

impl Question {
    /// `known` says which metrics may be asked for; those of `usual` are told where none is named.
    fn of(asked: Asked, usual: &[&str], known: fn(&str) -> bool, now: i64) -> Result<Question, ApiError> {
        let range = range(asked.start.as_deref(), asked.end.as_deref(), asked.duration.as_deref(), now)?;
        let resolution = resolution(asked.resolution.as_deref())?;
        let end = Timestamp::from_micros(range.end.unwrap_or(now));
        check_parts(resolution, Timestamp::from_micros(range.begin), end)?;
        let dimensions = asked.dimensions.unwrap_or_default();
        let conditions = asked.filter.unwrap_or_default().all;
        let mut metrics: Vec<String> = match asked.metrics {
            Some(metrics) if !metrics.is_empty() => metrics,
            _ => usual.iter().map(|name| (*name).to_owned()).collect(),
        };
        if let Some(unknown) = metrics.iter().find(|name| !known(name)) {
            return Err(ApiError::bad_request(format!("'{}' is not a metric that is kept", excerpt(unknown))));
        }
        // Each once, however often it is named.
        let mut seen = BTreeSet::new();
        metrics.retain(|name| seen.insert(name.clone()));
        let (sort, skip, limit) = place(asked.pagination.unwrap_or_default(), &dimensions)?;
        let slice = slice(&dimensions, &conditions)?;
        Ok(Question { dimensions, metrics, slice, conditions, resolution, range, sort, skip, limit })
    }

    fn has(&self, dimension: &str) -> bool {
        self.dimensions.iter().any(|one| one == dimension)
    }

    fn query(&self, caller: &Caller, now: i64) -> TrafficQuery {
        let wanted = |attribute: &str| {
            let is_one =
                |one: &&Condition| one.attribute == attribute && one.comparator == "=" && one.values.len() == 1;
            self.conditions.iter().find(is_one).map(|one| one.values[0].text())
        };
        let named = wanted("domain").and_then(|name| name.parse::<Domain>().ok());
        let attribute = DIMENSIONS.into_iter().find(|name| slice_of(name) == Some(self.slice));
        TrafficQuery {
            domain: caller.domain().cloned().or(named),
            slice: self.slice,
            value: attribute.filter(|_| self.slice != Slice::All).and_then(wanted).map(|value| value.to_lowercase()),
            begin: Timestamp::from_micros(self.range.begin),
            end: Timestamp::from_micros(self.range.end.unwrap_or(now.saturating_add(1))),
            resolution: self.resolution,
            over_time: self.has("time"),
        }
    }

    fn admits(&self, count: &TrafficCount) -> bool {
        self.conditions.iter().all(|condition| {
            let text = if condition.attribute == "domain" { &count.domain } else { &count.value };
            let mut values = condition.values.iter().map(|value| value.text().to_lowercase());
            match condition.comparator.as_str() {
                "=" => values.any(|value| *text == value),
                "!=" => !values.any(|value| *text == value),
                "contains" => values.any(|value| text.contains(&value)),
                _ => !values.any(|value| text.contains(&value)),
            }
        })
    }

    fn dimension(&self, name: &str, count: &TrafficCount) -> String {
        match name {
            "time" => count.start.map(|start| to_date(start.as_micros())).unwrap_or_default(),
            "domain" => count.domain.clone(),
            _ => count.value.clone(),
        }
    }
}

/// The one thing that counts are told apart by, beside time and sending domain. They are not kept by two at once.
fn slice(dimensions: &[String], conditions: &[Condition]) -> Result<Slice, ApiError> {
    for (at, name) in dimensions.iter().enumerate() {
        if slice_of(name).is_none() {
            let words = format!("'{}' is not a dimension; there are: {}", excerpt(name), DIMENSIONS.join(", "));
            return Err(ApiError::bad_request(words));
        }
        if dimensions[..at].contains(name) {
            return Err(ApiError::bad_request(format!("the dimension '{name}' is given more than once")));
        }
    }
    if conditions.iter().map(|one| one.values.len().max(1)).sum::<usize>() > LOG_VALUES {
        return Err(ApiError::bad_request(format!("'filter' has more than {LOG_VALUES} values")));
    }
    for condition in conditions {
        let (name, comparator) = (condition.attribute.as_str(), condition.comparator.as_str());
        if slice_of(name).is_none() || name == "time" {
            let words = format!("'{}' is not an attribute; there are: {}", excerpt(name), DIMENSIONS[1..].join(", "));
            return Err(ApiError::bad_request(words));
        }
        if !["=", "!=", "contains", "not contains"].contains(&comparator) {
            let words = "is not a comparator; there are: =, !=, contains, not contains";
            return Err(ApiError::bad_request(format!("'{name}': '{}' {words}", excerpt(comparator))));
        }
        if condition.values.is_empty() {
            return Err(ApiError::bad_request(format!("'{name}' has no values to compare with")));
        }
    }
    let named = dimensions.iter().chain(conditions.iter().map(|one| &one.attribute));
    let mut slices: Vec<Slice> = named.filter_map(|name| slice_of(name)).filter(|one| *one != Slice::All).collect();
    slices.dedup();
    match slices.as_slice() {
        [] => Ok(Slice::All),
        [first, rest @ ..] if rest.iter().all(|one| one == first) => Ok(*first),
        _ => Err(ApiError::bad_request("only one of tag, recipient_domain and ip can be asked for at a time")),
    }
}

type Place = (Option<(String, bool)>, usize, usize);

fn place(pagination: Pagination, dimensions: &[String]) -> Result<Place, ApiError> {
    let limit = pagination.limit.unwrap_or(METRICS_PER_PAGE_DEFAULT);
    if !(1..=METRICS_PER_PAGE).contains(&limit) {
        return Err(ApiError::bad_request(format!("'limit' must be a number from 1 to {METRICS_PER_PAGE}")));
    }
    let sort = match pagination.sort.filter(|sort| !sort.is_empty()) {
        None => None,
        Some(sort) => {
            let (name, direction) = sort.split_once(':').unwrap_or((&sort, "asc"));
            if !(dimensions.iter().any(|one| one == name) || is_metric(name)) || !["asc", "desc"].contains(&direction) {
                let words = "is not a dimension that is asked for, or a metric, with :asc or :desc";
                return Err(ApiError::bad_request(format!("'sort': '{}' {words}", excerpt(&sort))));
            }
            Some((name.to_owned(), direction == "desc"))
        }
    };
    Ok((sort, pagination.skip.unwrap_or(0), limit))
}

/// What is told apart: the beginning of the part, the sending domain, the value.
type Group = (Option<Timestamp>, String, String);

/// `POST /v1/analytics/metrics`
pub(super) async fn metrics(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    let asked: Asked = read(request).await?;
    let (with_aggregates, now) = (asked.include_aggregates == Some(true), now());
    let question = Question::of(asked, &COUNTS, is_metric, now)?;
    found(&app, &caller, &question, with_aggregates, now).await
}

/// `POST /v1/analytics/usage/metrics`
pub(super) async fn usage(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    let asked: Asked = read(request).await?;
    let (with_aggregates, now) = (asked.include_aggregates == Some(true), now());
    let question = Question::of(asked, &USAGE, |name| USAGE.contains(&name), now)?;
    if let Some(other) = question.dimensions.iter().find(|name| *name != "time") {
        return Err(ApiError::bad_request(format!("'{other}' is not a dimension of usage; there is: time")));
    }
    found(&app, &caller, &question, with_aggregates, now).await
}

async fn found(
    app: &App,
    caller: &Caller,
    question: &Question,
    with_aggregates: bool,
    now: i64,
) -> Result<Json, ApiError> {
    let counts = app.store.traffic(question.query(caller, now)).await?;
    let mut groups: BTreeMap<Group, (TrafficCount, Sums)> = BTreeMap::new();
    let mut all = Sums::default();
    for count in counts.into_iter().filter(|count| question.admits(count)) {
        all.add(&count.what, count.count);
        let domain = if question.has("domain") { count.domain.clone() } else { String::new() };
        let is_told = question.dimensions.iter().any(|name| slice_of(name).is_some_and(|one| one != Slice::All));
        let value = if is_told { count.value.clone() } else { String::new() };
        let (what, number) = (count.what.clone(), count.count);
        let (_, sums) = groups.entry((count.start, domain, value)).or_insert_with(|| (count, Sums::default()));
        sums.add(&what, number);
    }
    Ok(Json(answer(question, groups.into_values().collect(), with_aggregates.then_some(&all), now)))
}

fn answer(question: &Question, mut groups: Vec<(TrafficCount, Sums)>, all: Option<&Sums>, now: i64) -> Value {
    if let Some((name, descending)) = &question.sort {
        match name.as_str() {
            "time" => groups.sort_by_key(|(count, _)| count.start),
            name if slice_of(name).is_some() => groups.sort_by_key(|(count, _)| question.dimension(name, count)),
            name if name.ends_with("_rate") => groups.sort_by_key(|(_, sums)| sums.metric(name).to_string()),
            name => groups.sort_by_key(|(_, sums)| sums.named(name)),
        }
        if *descending {
            groups.reverse();
        }
    }
    let told = |sums: &Sums| -> Map<String, Value> {
        question.metrics.iter().map(|name| (name.clone(), sums.metric(name))).collect()
    };
    let item = |(count, sums): &(TrafficCount, Sums)| {
        let dimension = |name: &String| {
            let value = question.dimension(name, count);
            json!({ "dimension": name, "value": value, "display_value": value })
        };
        json!({ "dimensions": question.dimensions.iter().map(dimension).collect::<Vec<_>>(), "metrics": told(sums) })
    };
    let sort =
        question.sort.as_ref().map(|(name, descending)| format!("{name}:{}", if *descending { "desc" } else { "asc" }));
    let mut answer = json!({
        "start": to_date(question.resolution.start(Timestamp::from_micros(question.range.begin)).as_micros()),
        "end": to_date(question.range.end.unwrap_or(now)),
        "resolution": question.resolution.as_str(),
        "dimensions": question.dimensions,
        "pagination": {
            "sort": sort.unwrap_or_default(),
            "skip": question.skip,
            "limit": question.limit,
            "total": groups.len(),
        },
        "items": groups.iter().skip(question.skip).take(question.limit).map(item).collect::<Vec<_>>(),
    });
    if let Some(all) = all {
        answer["aggregates"] = json!({ "metrics": told(all) });
    }
    answer
}
