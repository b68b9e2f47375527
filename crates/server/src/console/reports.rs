//! Reports about TLS (RFC 8460): what others saw of our domains, and what we told others.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde_json::Value;

use super::Console;
use super::client::Refusal;
use super::json::Look;
use super::layout::{Page, Section};
use super::parts::{Tone, mark, shown, table, when_seconds};
use super::session::Viewer;

const RECEIVED: [&str; 6] = ["Received", "About", "From", "Sessions that went well", "That failed", "Why"];
const SENT: [&str; 6] = ["Day", "About", "To", "State", "Tries", "Last answer"];

pub(super) fn routes() -> Router<Console> {
    Router::new().route("/reports", get(page))
}

async fn page(viewer: Viewer) -> Result<Response, Refusal> {
    let received = viewer.api().get("/v1/tls/reports?limit=50").await?;
    let sent = match viewer.is_admin() {
        true => Some(viewer.api().get("/v1/tls/reports/sent?limit=50").await?),
        false => None,
    };
    let body = html! {
        p { "Receivers report each day how TLS went when they sent mail to us, or we to them (RFC 8460)." }
        h2 { "Received about our domains" }
        (count(&received))
        (table("Reports received, latest first", &RECEIVED, received.items("/items").iter().map(one_received)))
        @if let Some(sent) = &sent {
            h2 { "Sent by this server" }
            (count(sent))
            (table("Reports sent, latest first", &SENT, sent.items("/items").iter().map(one_sent)))
        }
    };
    Ok(viewer.show(Page::new("TLS reports", Section::Reports, body)))
}

fn count(answer: &Value) -> Markup {
    let (shown, total) = (answer.items("/items").len() as i64, answer.number("/total_count"));
    html! { @if total > shown { p.hint { "The latest " (shown) " of " (total) "; the API has all of them." } } }
}

fn one_received(one: &Value) -> Vec<Markup> {
    let report = &one["report"];
    let policies = report.items("/policies").iter().flat_map(|policy| policy.items("/failure-details"));
    let mut why: Vec<_> = policies.map(|detail| shown(detail.text("/result-type"), 60)).collect();
    why.sort_unstable();
    why.dedup();
    vec![
        when_seconds(one.float("/received-at").unwrap_or_default()),
        html! { (one.text("/domain")) },
        html! { (shown(report.text("/organization-name"), 100)) },
        html! { (one.number("/successful-sessions")) },
        html! { (one.number("/failed-sessions")) },
        html! { (shown(&why.join(", "), 300)) },
    ]
}

fn one_sent(one: &Value) -> Vec<Markup> {
    let state = match one.text("/state") {
        "sent" => mark(Tone::Good, "sent"),
        "failed" => mark(Tone::Bad, "failed"),
        other => mark(Tone::Plain, other),
    };
    vec![
        html! { (one.text("/day")) },
        html! { (shown(one.text("/domain"), 100)) },
        html! { (shown(one.text("/to"), 200)) },
        html! { (state) @if let Some(next) = one.float("/next-attempt") { " again " (when_seconds(next)) } },
        html! { (one.number("/attempts")) },
        html! { (shown(one.text("/message"), 300)) },
    ]
}
