//! `POST /v1/analytics/logs`: the events of all domains that the key opens.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use smtp::Domain;
use store::{Event, EventCount, EventKind, Severity};

use super::log_filter;
use super::request::{Conditions, range, read};
use crate::api::App;
use crate::api::events::json::{event, that_fit};
use crate::api::events::page::Page;
use crate::api::http::auth::Caller;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::time::{now, to_date, to_rfc3339};
use crate::api::http::url;
use crate::api::limits::{EVENTS_PAGE_OCTETS, LOGS_PER_PAGE};
use crate::api::sending::excerpt;

/// What is asked. What Mailgun knows and is not here, subaccounts, is taken and changes nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    start: Option<String>,
    end: Option<String>,
    duration: Option<String>,
    events: Option<Vec<String>>,
    metric_events: Option<Vec<String>>,
    filter: Option<Conditions>,
    #[serde(rename = "include_subaccounts")]
    _include_subaccounts: Option<bool>,
    include_totals: Option<bool>,
    pagination: Option<Pagination>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Pagination {
    sort: Option<String>,
    token: Option<String>,
    limit: Option<usize>,
}

impl Asked {
    /// The page. A token holds the range and the direction of its list, so that a list stays the same while it is paged
    /// through.
    fn page(&self, now: i64) -> Result<Page, ApiError> {
        let pagination = self.pagination.as_ref();
        let limit = pagination.and_then(|pagination| pagination.limit).unwrap_or(LOGS_PER_PAGE);
        if !(1..=LOGS_PER_PAGE).contains(&limit) {
            return Err(ApiError::bad_request(format!("'limit' must be a number from 1 to {LOGS_PER_PAGE}")));
        }
        let ascending = match pagination.and_then(|pagination| pagination.sort.as_deref()).unwrap_or_default() {
            "" | "timestamp:desc" => false,
            "timestamp:asc" => true,
            other => {
                let words = format!("'sort': '{}' is neither timestamp:asc nor timestamp:desc", excerpt(other));
                return Err(ApiError::bad_request(words));
            }
        };
        let range = range(self.start.as_deref(), self.end.as_deref(), self.duration.as_deref(), now)?;
        match pagination.and_then(|pagination| pagination.token.as_deref()).filter(|token| !token.is_empty()) {
            Some(token) => Page::from_bare_token(token, limit),
            None => Ok(Page::of(ascending, Some(range.begin), range.end, limit)),
        }
    }
}

/// `POST /v1/analytics/logs`
pub(super) async fn logs(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    let base = url::base(app.public_url.as_ref(), request.headers());
    let asked: Asked = read(request).await?;
    let now = now();
    let page = asked.page(now)?;
    let conditions = asked.filter.clone().unwrap_or_default();
    let names = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
    let filter = log_filter::parse(&conditions, &names(&asked.events), &names(&asked.metric_events))?;
    // The filter holds whatever the list is limited to: a key of a domain that names another finds nothing.
    let named = log_filter::only_domain(&conditions).and_then(|name| name.parse::<Domain>().ok());
    let domain = caller.domain().cloned().or(named);
    let query = page.query_with(domain, filter);
    let totals = match asked.include_totals {
        Some(true) => {
            let (from, until) = page.range();
            let whole = Page::of(true, from, until, 1).query_with(query.domain.clone(), query.filter.clone());
            Some(app.store.count_events(whole).await?)
        }
        _ => None,
    };
    let mut found = app.store.events(query).await?;
    found.truncate(that_fit(&found, EVENTS_PAGE_OCTETS));
    Ok(Json(answer(&page, &page.order(found), totals.as_deref(), now, &base)))
}

fn answer(page: &Page, events: &[Event], totals: Option<&[EventCount]>, now: i64, base: &str) -> Value {
    let at = |event: &Event| event.timestamp.as_micros();
    let mut pagination = json!({ "first": page.first().token(), "last": page.last().token() });
    // No way leads on from a page without items, so that whoever goes on as long as there is one comes to an end.
    if !events.is_empty() {
        pagination["next"] = page.next(events.last().map(at)).token().into();
        pagination["previous"] = page.previous(events.first().map(at)).token().into();
    }
    let (from, until) = page.range();
    let mut answer = json!({
        "start": to_date(from.unwrap_or_default()),
        "end": to_date(until.unwrap_or(now)),
        "items": events.iter().map(|event| item(event, base)).collect::<Vec<_>>(),
    });
    if let Some(counts) = totals {
        let all: u64 = counts.iter().map(|count| count.events).sum();
        pagination["total"] = all.into();
        answer["aggregates"] = json!({ "all": all, "metrics": metrics(counts) });
    }
    answer["pagination"] = pagination;
    answer
}

/// Totals by the names that metrics have.
fn metrics(counts: &[EventCount]) -> Map<String, Value> {
    let mut metrics = Map::new();
    let mut add = |name: &str, events: u64| {
        let sum = metrics.get(name).and_then(Value::as_u64).unwrap_or_default() + events;
        metrics.insert(name.to_owned(), sum.into());
    };
    for count in counts {
        add(&format!("{}_count", count.kind.as_str().replace('-', "_")), count.events);
        match (count.kind, count.severity) {
            (EventKind::Failed, Some(Severity::Temporary)) => add("temporary_failed_count", count.events),
            (EventKind::Failed, _) => add("permanent_failed_count", count.events),
            _ => {}
        }
    }
    metrics
}

/// An event in the words of the logs, which are not quite those of the events.
fn item(of: &Event, base: &str) -> Value {
    let mut item = event(of, base);
    let time = to_rfc3339(of.timestamp.as_micros());
    if let Some(object) = item.as_object_mut() {
        object.remove("timestamp");
        let variables = object.get("user-variables").map(Value::to_string).unwrap_or_default();
        object.insert("user-variables".to_owned(), variables.into());
        object.insert("domain".to_owned(), json!({ "name": of.message.domain.as_str() }));
        if of.kind == EventKind::Delivered {
            object.insert("delivered-at".to_owned(), time.as_str().into());
        }
        object.insert("@timestamp".to_owned(), time.into());
        if let Some(Value::Object(storage)) = object.get_mut("storage")
            && let Some(url) = storage.get_mut("url").filter(|url| url.is_string())
        {
            *url = json!([url.take()]);
        }
        if let Some(Value::Object(flags)) = object.get_mut("flags") {
            for flag in ["is-delayed-bounce", "is-callback", "is-webhook"] {
                flags.entry(flag).or_insert(false.into());
            }
        }
    }
    item
}
