//! The queue: what waits, why, until when, and what is to become of it.

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::client::{Refusal, with_query};
use super::json::Look;
use super::layout::{Page, Section, done, not_done};
use super::logs::{domains, message_path};
use super::parts::{Tone, live, mark, shown, table, when_seconds};
use super::session::{Submitted, Viewer};

/// Recipients on a page.
const RECIPIENTS: &str = "50";
/// How often the page is asked for again, in seconds.
const AGAIN: u32 = 5;

pub(super) fn routes() -> Router<Console> {
    Router::new().route("/queue", get(page)).route("/queue/{order}", post(order))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    domain: String,
    destination: String,
    page: String,
}

impl Asked {
    fn pairs(&self) -> [(&str, &str); 2] {
        [("domain", self.domain.as_str()), ("destination", self.destination.trim())]
    }
}

async fn page(viewer: Viewer, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let [domain, destination] = asked.pairs();
    let path = with_query("/v1/queue", &[domain, destination, ("limit", RECIPIENTS), ("page", &asked.page)]);
    let answer = viewer.api().get(&path).await?;
    let items = answer.items("/items");
    let next = answer.text("/paging/next").split_once("page=").map(|(_, token)| token);
    let heads = ["", "Recipient", "State", "Why", "Tries", "Accepted", "Not after"];
    let listing = viewer.form(
        "/queue/retry",
        html! {
            (back(&asked))
            (table("Recipients that wait", &heads, items.iter().map(row)))
            @if !items.is_empty() {
                p.hint { "For those that are chosen:" }
                div.actions { (buttons()) }
            }
        },
    );
    let body = html! {
        (search(&viewer, &asked).await?)
        (live("queue", AGAIN, html! {
            (listing)
            nav.pager aria-label="Pages" {
                @if !asked.page.is_empty() { a href=(with_query("/queue", &[domain, destination])) { "The first" } }
                @if let Some(token) = next { a href=(with_query("/queue", &[domain, destination, ("page", token)])) rel="next" { "More →" } }
            }
        }))
        @if !items.is_empty() && asked.pairs().iter().any(|(_, value)| !value.is_empty()) {
            section.card {
                h2 { "All that waits here" }
                p { "Everything " (of_what(&asked)) ", also on other pages; at most 100,000 at once." }
                (viewer.form("/queue/retry", html! {
                    (back(&asked))
                    input type="hidden" name="all" value="yes";
                    div.actions { (buttons()) }
                }))
            }
        }
    };
    Ok(viewer.show(Page::new("Queue", Section::Queue, body)))
}

fn of_what(asked: &Asked) -> String {
    let [(_, domain), (_, destination)] = asked.pairs();
    match (domain, destination) {
        (domain, "") => format!("of {domain}"),
        ("", destination) => format!("for {destination}"),
        (domain, destination) => format!("of {domain} for {destination}"),
    }
}

/// What leads back to the same list.
fn back(asked: &Asked) -> Markup {
    html! { @for (name, value) in asked.pairs() { input type="hidden" name=(name) value=(value); } }
}

fn buttons() -> Markup {
    html! {
        button type="submit" { "Retry now" }
        button type="submit" formaction="/queue/hold" { "Hold" }
        button type="submit" formaction="/queue/release" { "Release" }
        button.danger type="submit" formaction="/queue/remove" data-confirm="Remove them? Each fails for good, and an event tells it." { "Remove" }
    }
}

async fn search(viewer: &Viewer, asked: &Asked) -> Result<Markup, Refusal> {
    let domains = domains(viewer).await?;
    Ok(html! {
        form.card.row method="get" action="/queue" role="search" {
            @if domains.len() > 1 {
                label { "Sending domain"
                    select name="domain" {
                        option value="" { "all" }
                        @for domain in &domains { option value=(domain) selected[*domain == asked.domain] { (domain) } }
                    }
                }
            }
            label { "Destination" input name="destination" value=(asked.destination) placeholder="example.com" autocomplete="off"; }
            button type="submit" { "Show" }
        }
    })
}

fn row(one: &Value) -> Vec<Markup> {
    let recipient = shown(one.text("/recipient"), 100);
    let path = message_path(one.text("/domain"), one.text("/message-id"), one.text("/recipient"));
    let last = &one["last"];
    let state = match one.text("/state") {
        "held" => mark(Tone::Bad, "held"),
        "due" => mark(Tone::Good, "due"),
        word => {
            html! { (mark(Tone::Fair, word)) @if let Some(next) = one.float("/next-attempt") { " until " (when_seconds(next)) } }
        }
    };
    vec![
        html! { input type="checkbox" name="id" value=(one.text("/id")) aria-label=(format!("Choose {recipient}")); },
        html! { a href=(path) { (recipient) } br; span.quiet { (shown(one.text("/subject"), 80)) } },
        state,
        html! {
            @if last.is_object() {
                @if !last.text("/mx-host").is_empty() { (shown(last.text("/mx-host"), 80)) br; }
                span.quiet { (last.number("/code")) " " (shown(last.text("/message"), 200)) }
            } @else { span.quiet { "not tried yet" } }
        },
        html! { (one.number("/attempts")) },
        when_seconds(one.float("/accepted-at").unwrap_or_default()),
        html! { @if let Some(end) = one.float("/expires-at") { (when_seconds(end)) } @else { "the schedule's end" } },
    ]
}

async fn order(Path(order): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let words = match order.as_str() {
        "retry" => "Recipients that are due now",
        "hold" => "Recipients that are held",
        "release" => "Recipients that were released",
        "remove" => "Recipients that were removed",
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "There is no such order.")),
    };
    let (domain, destination) = (form.trimmed("domain"), form.trimmed("destination"));
    let back = with_query("/queue", &[("domain", domain), ("destination", destination)]);
    let fields: Vec<_> = match form.get("all") {
        "yes" => vec![("domain", domain), ("destination", destination)],
        _ => form.all("id").map(|id| ("id", id)).collect(),
    };
    if fields.is_empty() {
        return Ok(not_done(&back, "Nobody was chosen."));
    }
    let answer = viewer.api().post(&format!("/v1/queue/{order}"), &fields).await;
    match answer {
        Ok(answer) => Ok(done(
            &back,
            format!("{words}: {}. What is being tried at this moment is passed over.", answer.number("/count")),
        )),
        Err(refusal) if refusal.is_of_request() => Ok(not_done(&back, refusal.message)),
        Err(refusal) => Err(refusal),
    }
}
