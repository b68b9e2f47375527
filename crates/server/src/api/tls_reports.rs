//! `/v1/tls/reports`: reports about TLS (RFC 8460) that others send us, and those that we send. No API of Mailgun's has
//! this.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use policy::tlsrpt::report::REPORT_OCTETS;
use serde_json::{Value, json};
use smtp::Domain;
use store::Timestamp;
use store::tlsrpt::{Kept, OutgoingTlsReport, ReceivedTlsReport, TlsReportState, Via};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::App;
use super::http::auth::Caller;
use super::http::error::{ApiError, Json};
use super::http::form::parse_query;
use super::http::time::to_epoch;
use super::limits::{
    REPORTS_AGAIN, REPORTS_PER_PAGE, REPORTS_PER_PAGE_DEFAULT, UPLOAD_TIME, UPLOADS_AT_ONCE, UPLOADS_PER_MINUTE,
};
use super::operation::{Access, Operation};
use super::schema::{any_object, binary, integer, sending_domain};
use crate::tlsrpt::incoming::{self, Refused};

/// What can be called about reports.
pub(super) fn operations() -> Vec<Operation> {
    let limit = || integer().with("maximum", REPORTS_PER_PAGE).default(REPORTS_PER_PAGE_DEFAULT);
    let limit = || limit().about("At most so many");
    let skip = || integer().about("Leave out so many first");
    vec![
        Operation::get("/v1/tls/reports", "listTlsReports", received)
            .summary("Reports about TLS (RFC 8460) that others sent about our domains, latest first")
            .access(Access::Filtered)
            .query("domain", sending_domain().about("Only about this sending domain"))
            .query("limit", limit())
            .query("skip", skip())
            .ok("The reports", any_object()),
        Operation::get("/v1/tls/reports/sent", "listSentTlsReports", sent)
            .summary("Reports about TLS that this server made, and how they stand, latest first")
            .query("limit", limit())
            .query("skip", skip())
            .ok("The reports", any_object()),
        Operation::post("/v1/tls/reports/upload", "uploadTlsReport", upload)
            .summary("Send a report about TLS (RFC 8460) about a domain of this server")
            .access(Access::Open)
            .content([("application/tlsrpt+gzip", binary()), ("application/tlsrpt+json", any_object())])
            .answer(200, "It was here already")
            .answer(201, "It is kept")
            .answer(400, "It is no such report")
            .answer(404, "It is about no domain of this server")
            .answer(413, "It is too long")
            .answer(415, "It is of another type")
            .answer(429, "There are too many")
            .answer(503, "The store cannot keep anything now; nothing was kept"),
    ]
}

/// How much strangers may upload, all of them together.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Reports that are read at the same time.
    slots: Semaphore,
    /// Since when, and how many, in this minute.
    minute: Mutex<Option<(Instant, u32)>>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { slots: Semaphore::new(UPLOADS_AT_ONCE), minute: Mutex::new(None) }
    }
}

impl Gate {
    fn admits(&self, now: Instant) -> bool {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) =
            minute.filter(|(since, _)| now.duration_since(*since) < Duration::from_secs(60)).unwrap_or((now, 0));
        *minute = Some((since, count.saturating_add(1)));
        count < UPLOADS_PER_MINUTE
    }
}

/// `POST /v1/tls/reports/upload`: without a key, since anybody may report (RFC 8460 §3).
async fn upload(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let busy = || {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many reports at the moment, try again later")
            .retry_after(Duration::from_secs(60))
    };
    if !app.uploads.admits(Instant::now()) {
        return Err(busy());
    }
    let _slot = app.uploads.slots.try_acquire().map_err(|_| busy())?;
    let (parts, body) = request.into_parts();
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(media_type.as_str(), "application/tlsrpt+gzip" | "application/tlsrpt+json") {
        let words = "Content-Type must be application/tlsrpt+gzip or application/tlsrpt+json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    let octets = read_body(body).await?;
    let report = incoming::read(&octets).map_err(refusal)?;
    let (domain, kept) = incoming::keep(&app.store, report, Via::Https, Timestamp::now()).await.map_err(refusal)?;
    let (status, words) = match kept {
        Kept::Known => (StatusCode::OK, "the report was here already"),
        _ => (StatusCode::CREATED, "the report is kept"),
    };
    Ok((status, Json(json!({ "message": words, "domain": domain })).into_response()).into_response())
}

async fn read_body(body: Body) -> Result<axum::body::Bytes, ApiError> {
    match timeout(UPLOAD_TIME, to_bytes(body, REPORT_OCTETS)).await {
        Ok(Ok(octets)) => Ok(octets),
        Ok(Err(_)) => {
            Err(ApiError::too_large(format!("the report is longer than {REPORT_OCTETS} octets, or broke off")))
        }
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the report took too long to arrive")),
    }
}

fn refusal(why: Refused) -> ApiError {
    let status = match why {
        Refused::Store(error) => return error.into(),
        Refused::TooMany(_) => {
            let refusal = ApiError::new(StatusCode::TOO_MANY_REQUESTS, why.to_string());
            return refusal.retry_after(REPORTS_AGAIN);
        }
        Refused::NotOurs => StatusCode::NOT_FOUND,
        Refused::Damaged | Refused::Report(_) => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, why.to_string())
}

/// `GET /v1/tls/reports`: what others reported, latest first.
async fn received(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Json, ApiError> {
    let Page { domain, limit, skip } = Page::parse(uri.query().unwrap_or_default())?;
    let domain = caller.narrow(domain)?;
    let (total, reports) = app.store.tls_reports_received(domain.as_ref(), limit, skip).await?;
    Ok(Json(json!({ "total_count": total, "items": reports.iter().map(received_json).collect::<Vec<_>>() })))
}

/// `GET /v1/tls/reports/sent`: what we reported, latest first.
async fn sent(State(app): State<App>, uri: Uri) -> Result<Json, ApiError> {
    let Page { domain, limit, skip } = Page::parse(uri.query().unwrap_or_default())?;
    if domain.is_some() {
        return Err(ApiError::bad_request("'domain' does not select among reports that were sent"));
    }
    let (total, reports) = app.store.tls_reports_sent(limit, skip).await?;
    Ok(Json(json!({ "total_count": total, "items": reports.iter().map(sent_json).collect::<Vec<_>>() })))
}

fn received_json(received: &ReceivedTlsReport) -> Value {
    let (successful, failed) = received.report.sessions();
    json!({
        "domain": received.domain,
        "via": received.via.as_str(),
        "received-at": to_epoch(received.received_at.as_micros()),
        "successful-sessions": successful,
        "failed-sessions": failed,
        "report": received.report,
    })
}

fn sent_json(sent: &OutgoingTlsReport) -> Value {
    let (state, next) = match sent.state {
        TlsReportState::Waiting(until) => ("waiting", Some(to_epoch(until.as_micros()))),
        TlsReportState::Sent => ("sent", None),
        TlsReportState::Failed => ("failed", None),
    };
    json!({
        "report-id": sent.report_id,
        "day": sent.day.to_string(),
        "domain": sent.destination,
        "to": sent.place.to_string(),
        "state": state,
        "attempts": sent.attempts,
        "next-attempt": next,
        "message": sent.last,
        "made-at": to_epoch(sent.made_at.as_micros()),
    })
}

/// Which reports are wanted.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    domain: Option<Domain>,
    limit: usize,
    skip: usize,
}

impl Page {
    fn parse(query: &str) -> Result<Page, ApiError> {
        let mut page = Page { domain: None, limit: REPORTS_PER_PAGE_DEFAULT, skip: 0 };
        for (name, value) in parse_query(query)? {
            match name.as_str() {
                "domain" => {
                    let bad = |_| ApiError::bad_request("'domain' must be a domain name");
                    page.domain = Some(value.trim().parse().map_err(bad)?);
                }
                "limit" => page.limit = number(&name, &value)?.min(REPORTS_PER_PAGE),
                "skip" => page.skip = number(&name, &value)?,
                _ => return Err(ApiError::bad_request("the query may have: domain, limit, skip")),
            }
        }
        Ok(page)
    }
}

fn number(name: &str, value: &str) -> Result<usize, ApiError> {
    let number = value.trim().parse::<u32>().ok().filter(|number| *number <= i32::MAX as u32);
    number.map(|number| number as usize).ok_or_else(|| ApiError::bad_request(format!("'{name}' must be a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_closes_for_the_rest_of_a_minute() {
        let (gate, now) = (Gate::default(), Instant::now());
        assert!((0..UPLOADS_PER_MINUTE).all(|_| gate.admits(now)));
        assert!(!gate.admits(now + Duration::from_secs(59)));
        assert!(gate.admits(now + Duration::from_secs(61)));
    }

    #[test]
    fn queries_are_read() {
        let page =
            |domain: Option<&str>, limit, skip| Page { domain: domain.map(|name| name.parse().unwrap()), limit, skip };
        assert_eq!(Page::parse(""), Ok(page(None, 20, 0)));
        assert_eq!(Page::parse("domain=Example.com&limit=7&skip=2"), Ok(page(Some("example.com"), 7, 2)));
        assert_eq!(Page::parse("limit=1000"), Ok(page(None, 100, 0)));
        for query in ["domain=", "limit=x", "skip=-1", "page=1"] {
            assert!(Page::parse(query).is_err(), "{query}");
        }
    }
}
