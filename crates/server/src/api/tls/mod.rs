//! `/v1/tls`: how mail travelled, and how it would have under other settings. No API of Mailgun's has this.

pub(super) mod check;
mod json;
mod operations;
mod query;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use policy::posture::would_deliver;
use policy::tls::Observed;
use serde_json::{Value, json};
use store::posture::{Count, Period, PostureQuery, WhatIfQuery};

pub(super) use self::operations::{observed, operations};
use self::query::{Destinations, Place, WhatIf};
use super::App;
use super::http::auth::Caller;
use super::http::error::{ApiError, Json};
use super::http::time::{now, to_epoch};
use super::http::url;

/// `GET /v1/tls/destinations`
async fn destinations(State(app): State<App>, caller: Caller, uri: Uri, headers: HeaderMap) -> Result<Json, ApiError> {
    let asked = Destinations::parse(uri.query().unwrap_or_default(), now())?;
    let page = app
        .store
        .posture(PostureQuery {
            domain: caller.narrow(asked.domain)?,
            destination: asked.destination,
            period: asked.period,
            resolution: asked.resolution,
            limit: asked.place.limit,
            skip: asked.place.skip,
        })
        .await?;
    let mut answer = json!({
        "items": page.items.iter().map(|item| json::destination(item, asked.resolution)).collect::<Vec<_>>(),
    });
    let link = Link { app: &app, uri: &uri, headers: &headers, begin: "begin" };
    add_page(&mut answer, &link, asked.place, asked.period, page.total);
    Ok(Json(answer))
}

/// `GET /v1/tls/what-if`
async fn what_if(State(app): State<App>, caller: Caller, uri: Uri, headers: HeaderMap) -> Result<Json, ApiError> {
    let asked = WhatIf::parse(uri.query().unwrap_or_default(), now())?;
    // The very function that decides about deliveries is asked about those of the past.
    let kept_back_by: Vec<_> = Observed::ALL.into_iter().filter(|saw| !would_deliver(asked.policy, *saw)).collect();
    let found = app
        .store
        .what_if(WhatIfQuery {
            domain: caller.narrow(asked.domain)?,
            period: asked.period,
            kept_back_by,
            limit: asked.place.limit,
            skip: asked.place.skip,
        })
        .await?;
    let mut answer = json!({
        "require-tls": asked.policy.require_tls(),
        "skip-verification": asked.policy.skip_verification(),
        "not-delivered": totals(found.kept_back),
        "delivered": totals(found.delivered),
        "unknown": totals(found.unknown),
        "items": found.items.iter().map(json::kept_back).collect::<Vec<_>>(),
    });
    let link = Link { app: &app, uri: &uri, headers: &headers, begin: "since" };
    add_page(&mut answer, &link, asked.place, asked.period, found.total);
    Ok(Json(answer))
}

fn totals(count: Option<Count>) -> Value {
    json!({ "messages": count.map_or(0, |count| count.messages), "recipients": count.map_or(0, |count| count.recipients) })
}

/// What links to other pages are made of.
struct Link<'a> {
    app: &'a App,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    /// What the beginning of the range is called.
    begin: &'a str,
}

impl Link<'_> {
    fn at(&self, period: Period, skip: usize) -> Value {
        let base = url::base(self.app.public_url.as_ref(), self.headers);
        let query = query::at(self.uri.query().unwrap_or_default(), self.begin, period, skip);
        format!("{base}{}?{query}", self.uri.path()).into()
    }
}

/// The range, how much there is, and where the pages around this one are. A page that there is not has no link.
fn add_page(answer: &mut Value, link: &Link<'_>, place: Place, period: Period, total: u64) {
    let mut paging = json!({ "first": link.at(period, 0) });
    if place.skip > 0 {
        paging["previous"] = link.at(period, place.skip.saturating_sub(place.limit));
    }
    let next = place.skip.saturating_add(place.limit);
    if (next as u64) < total {
        paging["next"] = link.at(period, next);
    }
    answer["begin"] = to_epoch(period.begin.as_micros()).into();
    answer["end"] = to_epoch(period.end.as_micros()).into();
    answer["total_count"] = total.into();
    answer["paging"] = paging;
}
