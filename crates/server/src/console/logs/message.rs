//! A message and what became of it.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::{journey, travel};
use crate::console::client::{Refusal, segment, with_query};
use crate::console::json::Look;
use crate::console::layout::{Page, Section};
use crate::console::parts::{copyable, facts, live, shown, table, visible, when_seconds};
use crate::console::session::Viewer;

/// How often a journey that goes on is asked for again, in seconds.
const AGAIN: u32 = 2;
/// Most recipients whose whole journey is on one page.
const JOURNEYS: usize = 3;

/// Which message, and to whom.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Which {
    domain: String,
    message_id: String,
    recipient: String,
    id: String,
    page: String,
}

/// The page of a message, on its way to a recipient or to all of them.
pub(in crate::console) fn path_of(domain: &str, message_id: &str, recipient: &str) -> String {
    with_query("/logs/message", &[("domain", domain), ("message-id", message_id), ("recipient", recipient)])
}

/// A text as one word of a filter, whatever stands in it. A quotation mark cannot be in one; what is found then is
/// nothing too much.
fn word(text: &str) -> String {
    format!("\"{}\"", text.replace('"', " "))
}

impl Which {
    /// What to ask the API for: the events, oldest first.
    fn request(&self) -> String {
        if !self.page.is_empty() {
            return with_query("/v1/events", &[("domain", &self.domain), ("page", &self.page)]);
        }
        let exactly = |text: &str| if text.is_empty() { String::new() } else { word(text) };
        let parameters = [
            ("domain", self.domain.as_str()),
            ("message-id", &exactly(&self.message_id)),
            ("recipient", &exactly(&self.recipient)),
            ("id", &exactly(&self.id)),
            ("ascending", "yes"),
            ("limit", "300"),
        ];
        with_query("/v1/events", &parameters)
    }
}

fn not_there() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "Nothing is known of such a message. It may be older than what is kept.")
}

pub(super) async fn page(viewer: Viewer, Query(which): Query<Which>) -> Result<Response, Refusal> {
    if which.message_id.is_empty() {
        return Err(not_there());
    }
    let answer = viewer.api().get(&which.request()).await?;
    let events = answer.items("/items");
    let first = events.first().ok_or_else(not_there)?;
    let journeys = by_recipient(events);
    let goes_on = journeys.values().any(|events| state(events).goes_on());
    let next = answer.text("/paging/next").split_once("page=").filter(|_| events.len() == 300);
    let subject = shown(first.text("/message/headers/subject"), 150);
    let title = if subject.is_empty() { "(no subject)" } else { &subject };
    let way = html! {
        @if journeys.len() > JOURNEYS {
            @let rows = journeys.iter().map(|(recipient, events)| row(&which, recipient, events));
            (table("Recipients", &["Recipient", "State", "How it travelled", "Since"], rows))
        } @else {
            @for (recipient, events) in &journeys {
                section {
                    h2 { (shown(recipient, 200)) " " (state(events).mark()) }
                    (journey::timeline(&which.domain, events))
                }
            }
        }
    };
    let body = html! {
        section.card { (about(&which, first, events)) }
        (live("journey", if goes_on { AGAIN } else { 0 }, way))
        @if let Some((_, token)) = next {
            @let more = [("domain", which.domain.as_str()), ("message-id", &which.message_id), ("page", token)];
            p { a href=(with_query("/logs/message", &more)) { "More recipients" } }
        }
    };
    Ok(viewer.show(Page::new(title, Section::Logs, body).below("Logs", "/logs")))
}

/// What is known of the message itself.
fn about(which: &Which, event: &Value, events: &[Value]) -> Markup {
    let header = |name: &str| shown(event.text(&format!("/message/headers/{name}")), 300);
    let tags: Vec<_> = event.items("/tags").iter().filter_map(Value::as_str).map(|tag| shown(tag, 128)).collect();
    let key = event.text("/storage/key");
    let content = with_query("/logs/content", &[("domain", &which.domain), ("key", key)]);
    let recipients: std::collections::BTreeSet<_> = events.iter().map(|event| event.text("/recipient")).collect();
    facts([
        ("From", html! { (header("from")) }),
        ("To", html! { (header("to")) }),
        ("Message-ID", copyable(&header("message-id"))),
        (
            "Sending domain",
            html! { a href=(format!("/sending/domains/{}", segment(&which.domain))) { (which.domain) } },
        ),
        (
            "Recipients here",
            html! {
                (recipients.len())
                @if !which.recipient.is_empty() { " · " a href=(path_of(&which.domain, &which.message_id, "")) { "all of the message" } }
            },
        ),
        (
            "Size",
            html! { (event.number("/message/size")) " octets" @if !tags.is_empty() { " · tags " (tags.join(", ")) } },
        ),
        ("Content", html! { a href=(content) { "Show what was sent" } }),
    ])
}

/// The events of each recipient, oldest first.
fn by_recipient(events: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut all: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in events {
        all.entry(event.text("/recipient")).or_default().push(event);
    }
    all
}

/// The event that says what became of a recipient, as far as it has come.
struct State<'a>(Option<&'a Value>);

fn state<'a>(events: &[&'a Value]) -> State<'a> {
    let tells = |event: &&&Value| matches!(event.text("/event"), "accepted" | "delivered" | "failed");
    State(events.iter().rev().find(tells).copied())
}

impl State<'_> {
    fn goes_on(&self) -> bool {
        self.0.is_some_and(|event| event.text("/event") == "accepted" || event.text("/severity") == "temporary")
    }

    fn mark(&self) -> Markup {
        html! { @if let Some(event) = self.0 { (travel::what(event)) " " (travel::how(event)) } }
    }
}

fn row(which: &Which, recipient: &str, events: &[&Value]) -> Vec<Markup> {
    let state = state(events);
    let path = path_of(&which.domain, &which.message_id, recipient);
    vec![
        html! { a href=(path) { (shown(recipient, 120)) } },
        html! { @if let Some(event) = state.0 { (travel::what(event)) } },
        html! { @if let Some(event) = state.0 { (travel::how(event)) } },
        html! { @if let Some(event) = state.0 { (when_seconds(event.float("/timestamp").unwrap_or_default())) } },
    ]
}

/// What cannot be seen in JSON, or turns the direction of writing, as JSON has it otherwise.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c == '\n' || visible(c) == c {
            true => text.push(c),
            false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    text
}

/// One event, as programs get it.
pub(super) async fn event(viewer: Viewer, Query(which): Query<Which>) -> Result<Response, Refusal> {
    if which.id.is_empty() {
        return Err(not_there());
    }
    let answer = viewer.api().get(&which.request()).await?;
    let event = answer.items("/items").first().ok_or_else(not_there)?;
    let json = escaped(&format!("{event:#}"));
    let body = html! {
        p { "The API and webhooks tell this event so." }
        pre tabindex="0" { (json) }
    };
    let path = path_of(&which.domain, &which.message_id, event.text("/recipient"));
    Ok(viewer.show(Page::new("An event as JSON", Section::Logs, body).below("Logs", "/logs").below("Message", path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_what_it_is_and_all_of_it_is_seen() {
        let event = serde_json::json!({ "text": "a\u{202e}b\u{85}\u{1b}\u{feff}ü" });
        let text = escaped(&format!("{event:#}"));
        assert!(text.contains(r#""a\u202eb\u0085\u001b\ufeffü""#), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), event);
    }
}
