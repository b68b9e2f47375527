//! Destinations: how mail travelled to each recipient domain, over time, and what one shows right now.

mod check;

use axum::Router;
use axum::extract::{Path, Query};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use store::Timestamp;

use super::Console;
use super::chart::{Bar, Part, percent, shares, stacked};
use super::client::{Refusal, segment, with_query};
use super::json::Look;
use super::layout::{Page, Section};
use super::logs::{domains, reason};
use super::parts::{facts, shown, table, when_seconds};
use super::period::Period;
use super::session::Viewer;

/// Destinations on a page.
const DESTINATIONS: i64 = 50;

/// How mail can have travelled, best first.
pub(super) const WAYS: [Part; 3] = [("verified", "verified"), ("encrypted", "encrypted"), ("plaintext", "plaintext")];

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/destinations", get(list))
        .route("/destinations/{destination}", get(one))
        .route("/destinations/check", get(check::page).post(check::look))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    domain: String,
    destination: String,
    period: Period,
    skip: i64,
}

async fn list(viewer: Viewer, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let begin = (Timestamp::now().as_micros() / 1_000_000 - asked.period.seconds()).to_string();
    let (limit, skip) = (DESTINATIONS.to_string(), asked.skip.max(0).to_string());
    let parameters = [
        ("domain", asked.domain.as_str()),
        ("destination", asked.destination.trim()),
        ("begin", &begin),
        ("limit", &limit),
        ("skip", &skip),
    ];
    let answer = viewer.api().get(&with_query("/v1/tls/destinations", &parameters)).await?;
    let heads = [
        "Destination",
        "Sending domain",
        "Delivered",
        "How it travelled",
        "Verified",
        "Plaintext",
        "Failed attempts",
        "Why not better",
        "Last",
    ];
    let rows = answer.items("/items").iter().map(|item| row(item, asked.period));
    let body = html! {
        p { "A destination is a recipient's domain. What is counted here was delivered, or tried, from this server." }
        (asked.period.choice("/destinations", &[("domain", &asked.domain), ("destination", &asked.destination)]))
        (search(&viewer, &asked).await?)
        (table("Destinations with the most mail first", &heads, rows))
        (ways(&asked, answer.number("/total_count")))
        section.card {
            h2 { "Check a destination now" }
            (check::form(&viewer, asked.destination.trim()))
        }
    };
    Ok(viewer.show(Page::new("Destinations", Section::Destinations, body)))
}

async fn search(viewer: &Viewer, asked: &Asked) -> Result<Markup, Refusal> {
    let domains = domains(viewer).await?;
    Ok(html! {
        form.card.row method="get" action="/destinations" role="search" {
            input type="hidden" name="period" value=(asked.period.word());
            label { "Destination" input name="destination" value=(asked.destination) placeholder="example.com" autocomplete="off"; }
            @if domains.len() > 1 {
                label { "Sending domain"
                    select name="domain" {
                        option value="" { "all" }
                        @for domain in &domains { option value=(domain) selected[*domain == asked.domain] { (domain) } }
                    }
                }
            }
            button type="submit" { "Show" }
        }
    })
}

fn counts(item: &Value) -> [u64; 3] {
    WAYS.map(|(way, _)| item.number(&format!("/counts/{way}")).try_into().unwrap_or(0))
}

fn row(item: &Value, period: Period) -> Vec<Markup> {
    let (destination, domain) = (item.text("/destination"), item.text("/domain"));
    let path = format!("/destinations/{}", segment(destination));
    let path = with_query(&path, &[("domain", domain), ("period", period.word())]);
    let counts = counts(item);
    let whole = counts.iter().sum();
    let failed = item.number("/failed-attempts/tls") + item.number("/failed-attempts/other");
    vec![
        html! { a href=(path) { (shown(destination, 80)) } },
        html! { (domain) },
        html! { (item.number("/delivered")) },
        shares(&WAYS, &counts),
        html! { (percent(counts[0], whole)) },
        html! { (percent(counts[2], whole)) },
        html! { (failed) @if item.number("/failed-attempts/tls") > 0 { " (" (item.number("/failed-attempts/tls")) " for want of TLS)" } },
        reasons(item, 1),
        when_seconds(item.float("/last-seen").unwrap_or_default()),
    ]
}

/// The reasons that were met most, in words.
fn reasons(item: &Value, most: usize) -> Markup {
    let places = ["/fallback-reasons", "/certificate-faults", "/failure-reasons"];
    let mut all: Vec<_> = places.iter().flat_map(|place| item.parts(place)).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(count.as_u64()));
    html! {
        @for (index, (code, count)) in all.iter().take(most).enumerate() {
            @if index > 0 { br; }
            (reason(code).map_or_else(|| shown(code, 60), str::to_owned)) " " span.quiet { "(" (count.as_u64().unwrap_or(0)) ")" }
        }
    }
}

fn ways(asked: &Asked, total: i64) -> Markup {
    let at = |skip: i64| {
        let skip = skip.to_string();
        let parameters = [
            ("domain", asked.domain.as_str()),
            ("destination", asked.destination.as_str()),
            ("period", asked.period.word()),
            ("skip", &skip),
        ];
        with_query("/destinations", &parameters)
    };
    html! {
        nav.pager aria-label="Pages" {
            @if asked.skip > 0 { a href=(at((asked.skip - DESTINATIONS).max(0))) rel="prev" { "← More mail" } }
            @if asked.skip + DESTINATIONS < total { a href=(at(asked.skip + DESTINATIONS)) rel="next" { "Less mail →" } }
        }
    }
}

/// The page of one destination.
async fn one(viewer: Viewer, Path(destination): Path<String>, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let now = Timestamp::now().as_micros() / 1_000_000;
    let parts = asked.period.parts(now);
    let begin = parts.first().copied().unwrap_or(now).to_string();
    let (resolution, _) = asked.period.resolution();
    let parameters = [
        ("domain", asked.domain.as_str()),
        ("destination", &destination),
        ("begin", &begin),
        ("resolution", resolution),
        ("limit", "50"),
    ];
    let answer = viewer.api().get(&with_query("/v1/tls/destinations", &parameters)).await?;
    let items = answer.items("/items");
    let bars: Vec<_> = parts.iter().map(|begin| bar(items, *begin, asked.period)).collect();
    let path = format!("/destinations/{}", segment(&destination));
    let body = html! {
        (asked.period.choice(&path, &[("domain", &asked.domain)]))
        section.card {
            h2 { "How mail travelled" }
            (stacked("Delivered recipients by how the message travelled", &WAYS, &bars))
        }
        @for item in items { (about(item, asked.domain.is_empty())) }
        @if items.is_empty() { p { "Nothing was sent there in the " (asked.period.name()) "." } }
        section.card {
            h2 { "Check it now" }
            (check::form(&viewer, &destination))
        }
        p { a href=(with_query("/logs", &[("recipient-domain", &destination), ("domain", &asked.domain)])) { "Events of this destination" } }
    };
    Ok(viewer
        .show(Page::new(&shown(&destination, 100), Section::Destinations, body).below("Destinations", "/destinations")))
}

fn bar(items: &[Value], begin: i64, period: Period) -> Bar {
    let mut sums = [0; 3];
    for bucket in items.iter().flat_map(|item| item.items("/buckets")).filter(|one| one.number("/begin") == begin) {
        for (sum, count) in sums.iter_mut().zip(counts(bucket)) {
            *sum += count;
        }
    }
    Bar { label: period.label(begin), counts: sums.to_vec() }
}

fn about(item: &Value, names_domain: bool) -> Markup {
    let list = |at: &str| -> String {
        let parts = item.parts(at).into_iter().map(|(name, count)| format!("{} ({count})", shown(name, 60)));
        parts.collect::<Vec<_>>().join(", ")
    };
    let counts = counts(item);
    let whole: u64 = counts.iter().sum();
    let share = |index: usize| format!("{} ({})", counts[index], percent(counts[index], whole));
    let hosts = item.items("/mx-hosts").iter().map(|host| {
        let last = when_seconds(host.float("/last-seen").unwrap_or_default());
        vec![html! { (shown(host.text("/host"), 120)) }, html! { (host.number("/attempts")) }, last]
    });
    html! {
        section.card {
            h2 { @if names_domain { "From " (item.text("/domain")) } @else { "In numbers" } }
            (facts([
                ("Recipients delivered", html! { (item.number("/delivered")) " in " (item.number("/messages")) " messages" }),
                ("Verified", html! {
                    (share(0))
                    @for (of, words) in [("dane", ", by DANE "), ("mta-sts", ", under MTA-STS ")] {
                        @let count = item.number(&format!("/counts/{of}"));
                        @if count > 0 { (words) (count) }
                    }
                }),
                ("Encrypted", html! { (share(1)) }),
                ("Plaintext", html! { (share(2)) }),
                ("Failed attempts", html! {
                    (item.number("/failed-attempts/tls")) " for want of TLS, "
                    (item.number("/failed-attempts/other")) " for other reasons"
                }),
                ("Why not better", html! { (reasons(item, 10)) @if reasons(item, 1).0.is_empty() { "–" } }),
                ("TLS versions", html! { (list("/versions")) }),
                ("Key exchange", html! { (list("/key-exchanges")) }),
            ]))
            (table("Its servers", &["Server", "Attempts", "Last"], hosts))
        }
    }
}
