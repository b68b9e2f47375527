//! The first page: what went through, how it travelled, what waits, and what needs somebody.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Timestamp;

use super::Console;
use super::attention::{self, Item};
use super::chart::{Bar, Part, percent, stacked};
use super::client::Refusal;
use super::destinations::WAYS;
use super::json::Look;
use super::layout::{Page, Section};
use super::parts::{live, when_seconds};
use super::period::Period;
use super::session::Viewer;
use crate::api::time;

/// How often the page is asked for again, in seconds.
const AGAIN: u32 = 10;

const CAME_IN: [Part; 1] = [("accepted", "accepted")];
const WENT_OUT: [Part; 3] =
    [("verified", "delivered"), ("encrypted", "attempts deferred"), ("plaintext", "failed for good")];
/// The API's names of what the charts show: of what came in, what became of it, how it travelled.
const METRICS: [&str; 7] = [
    "accepted_count",
    "delivered_count",
    "temporary_failed_count",
    "permanent_failed_count",
    "tls_verified_count",
    "tls_encrypted_count",
    "plaintext_count",
];

pub(super) fn routes() -> Router<Console> {
    Router::new().route("/", get(page))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    period: Period,
}

async fn page(viewer: Viewer, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let now = Timestamp::now().as_micros() / 1_000_000;
    let parts = asked.period.parts(now);
    let counts = counts(&viewer, asked.period, &parts).await?;
    let status = match viewer.is_admin() {
        true => viewer.api().get("/v1/status").await?,
        false => Value::Null,
    };
    let items = attention::items(&viewer, &status).await?;
    let bars = |range: std::ops::Range<usize>| -> Vec<Bar> {
        let bar = |begin: &i64| Bar {
            label: asked.period.label(*begin),
            counts: counts.get(begin).map_or_else(|| vec![0; range.len()], |all| all[range.clone()].to_vec()),
        };
        parts.iter().map(bar).collect()
    };
    let sums = counts.values().fold([0; METRICS.len()], |mut sums, counts| {
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        sums
    });
    let body = html! {
        (asked.period.choice("/", &[]))
        (live("overview", AGAIN, html! {
            (figures(&sums, &status))
            (needs(&items))
            div.split {
                section.card { h2 { "How mail travelled" } (stacked("Delivered recipients by how the message travelled", &WAYS, &bars(4..7))) }
                section.card { h2 { "What became of it" } (stacked("Delivered, deferred and failed", &WENT_OUT, &bars(1..4))) }
                section.card { h2 { "What came in" } (stacked("Accepted for a recipient", &CAME_IN, &bars(0..1))) }
            }
        }))
    };
    Ok(viewer.show(Page::new("Overview", Section::Overview, body)))
}

/// The metrics of each part of the period that has any, by its beginning.
async fn counts(
    viewer: &Viewer,
    period: Period,
    parts: &[i64],
) -> Result<BTreeMap<i64, [u64; METRICS.len()]>, Refusal> {
    let (resolution, _) = period.resolution();
    let begin = parts.first().copied().unwrap_or_default().to_string();
    let asked = json!({
        "start": begin,
        "resolution": resolution,
        "dimensions": ["time"],
        "metrics": METRICS,
        "pagination": { "limit": 1000 },
    });
    let answer = viewer.api().post_json("/v1/analytics/metrics", &asked).await?;
    let one = |item: &Value| {
        let begin = time::parse(item.text("/dimensions/0/value"))?.div_euclid(1_000_000);
        Some((begin, METRICS.map(|name| item.number(&format!("/metrics/{name}")).try_into().unwrap_or(0))))
    };
    Ok(answer.items("/items").iter().filter_map(one).collect())
}

fn figures(sums: &[u64; METRICS.len()], status: &Value) -> Markup {
    let [accepted, delivered, deferred, failed, verified, encrypted, plaintext] = *sums;
    let whole = verified + encrypted + plaintext;
    let figure = |name: &str, number: Markup, about: Markup| html! { div.card { (name) span.figure { (number) } span.quiet { (about) } } };
    html! {
        div.cards {
            (figure("Accepted", html! { (accepted) }, html! { "recipients" }))
            (figure("Delivered", html! { (delivered) }, html! { (percent(delivered, delivered + failed)) " of what ended" }))
            (figure("Failed", html! { (failed) }, html! { (deferred) " attempts deferred" }))
            (figure("Verified", html! { (percent(verified, whole)) }, html! {
                @if whole == 0 { "nothing delivered" } @else { (percent(encrypted, whole)) " encrypted, " (percent(plaintext, whole)) " plaintext" }
            }))
            @if status.is_object() {
                (figure("In the queue now", html! { a href="/queue" { (status.number("/queue/recipients")) } }, html! {
                    @match status.float("/queue/oldest-accepted-at") { None => "nothing waits", Some(time) => { "oldest " (when_seconds(time)) } }
                }))
            }
        }
    }
}

fn needs(items: &[Item]) -> Markup {
    html! {
        section.card aria-labelledby="needs" {
            h2 #needs { "What needs attention" }
            @if items.is_empty() { p { "Nothing." } }
            ul.needs {
                @for item in items {
                    li { (item.mark()) " " (item.text) @if let Some((name, path)) = &item.link { " " a href=(path) { (name) } } }
                }
            }
        }
    }
}
