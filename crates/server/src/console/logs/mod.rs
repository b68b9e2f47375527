//! Logs: what happened, and the journey of each message.

mod content;
mod export;
mod filters;
mod journey;
mod message;
mod travel;
mod words;

use axum::Router;
use axum::extract::RawQuery;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde_json::Value;

use self::filters::Filters;
pub(super) use self::message::path_of as message_path;
pub(super) use self::words::{demander, reason, validation_level};
use super::Console;
use super::client::{Refusal, with_query};
use super::json::Look;
use super::layout::{Page, Section, error};
use super::parts::{live, pager, shown, table, when_seconds};
use super::session::Viewer;

/// Events on a page.
const EVENTS: &str = "50";
/// How often the newest page is asked for again, in seconds.
const AGAIN: u32 = 3;

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/logs", get(list))
        .route("/logs/export", get(export::export))
        .route("/logs/message", get(message::page))
        .route("/logs/event", get(message::event))
        .route("/logs/content", get(content::page))
}

async fn list(viewer: Viewer, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let filters = Filters::of(query.as_deref().unwrap_or_default());
    let path = match filters.page() {
        Some(page) => with_query("/v1/events", &[("domain", filters.get("domain")), ("page", page)]),
        None => filters.request(EVENTS),
    };
    let (events, wrong) = match viewer.api().get(&path).await {
        Ok(answer) => (answer, None),
        // The words name the filter; what was typed stays.
        Err(refusal) if refusal.is_of_request() => (Value::Null, Some(refusal.message)),
        Err(refusal) => return Err(refusal),
    };
    let domains = domains(&viewer).await?;
    let items = events.items("/items");
    let listing = html! {
        (table("Events, newest first", &["Time", "What", "Recipient", "Subject", "How it travelled", "Server"], items.iter().map(row)))
        (ways(&filters, &events))
    };
    let body = html! {
        (views(&filters))
        (filters.form(&domains))
        @if let Some(wrong) = &wrong { (error(wrong)) }
        (match filters.page() { None => live("events", AGAIN, listing), Some(_) => listing })
        p.hint {
            "All of this list: "
            a href=(filters.export("csv")) { "as CSV" } " · " a href=(filters.export("jsonl")) { "as JSON lines" }
        }
    };
    Ok(viewer.show(Page::new("Logs", Section::Logs, body)))
}

/// The sending domains that the user may ask about.
pub(super) async fn domains(viewer: &Viewer) -> Result<Vec<String>, Refusal> {
    if let Some(domain) = viewer.domain() {
        return Ok(vec![domain.to_owned()]);
    }
    let answer = viewer.api().get("/v4/domains?limit=1000&sort=name:asc").await?;
    Ok(answer.items("/items").iter().map(|one| one.text("/name").to_owned()).collect())
}

/// Questions that people ask most.
fn views(filters: &Filters) -> Markup {
    const VIEWS: [(&str, &[(&str, &str)]); 7] = [
        ("Everything", &[]),
        ("Delivered", &[("event", "delivered")]),
        ("In plaintext", &[("event", "delivered"), ("tls", "no")]),
        ("Encrypted, not verified", &[("event", "delivered"), ("tls", "yes"), ("certificate-verified", "no")]),
        ("Deferred", &[("event", "failed"), ("severity", "temporary")]),
        ("Failed for good", &[("event", "failed"), ("severity", "permanent")]),
        ("TLS downgrades", &[("event", "tls-downgraded")]),
    ];
    html! {
        ul.tabs {
            @for (name, parameters) in VIEWS {
                li { a href=(with_query("/logs", parameters)) aria-current=[filters.is_just(parameters).then_some("page")] { (name) } }
            }
        }
    }
}

fn row(event: &Value) -> Vec<Markup> {
    let subject = event.text("/message/headers/subject");
    let path =
        message_path(event.text("/domain/name"), event.text("/message/headers/message-id"), event.text("/recipient"));
    vec![
        html! { a href=(path) { (when_seconds(event.float("/timestamp").unwrap_or_default())) } },
        travel::what(event),
        html! { (shown(event.text("/recipient"), 80)) },
        html! { (shown(if subject.is_empty() { "(no subject)" } else { subject }, 80)) },
        travel::how(event),
        html! {
            @let host = event.text("/delivery-status/mx-host");
            @if !host.is_empty() { (shown(host, 80)) br; }
            span.quiet { (shown(event.text("/delivery-status/message"), 110)) }
        },
    ]
}

/// The pages before and after. Newer ones end where the list begins.
fn ways(filters: &Filters, answer: &Value) -> Markup {
    let token = |way: &str| answer.text(way).split_once("page=").map(|(_, token)| filters.at(token));
    let is_empty = answer.items("/items").is_empty();
    let newer = filters.page().and_then(|_| token("/paging/previous"));
    let older = token("/paging/next").filter(|_| !is_empty);
    html! {
        @if filters.page().is_some() { p { a href=(filters.first()) { "The newest" } } }
        (pager(newer.as_deref(), older.as_deref()))
    }
}
