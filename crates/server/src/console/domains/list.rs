//! The sending domains, and another one.

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Tab;
use crate::console::client::{Refusal, segment, with_query};
use crate::console::json::Look;
use crate::console::layout::{Page, Section, done, not_done};
use crate::console::parts::{Tone, mark, table};
use crate::console::session::{Submitted, Viewer, see_other};

/// Domains on a page.
const DOMAINS: i64 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    search: String,
    skip: i64,
}

pub(super) async fn page(viewer: Viewer, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    if let Some(own) = viewer.domain() {
        return Ok(see_other(&Tab::Records.path(own)));
    }
    let (limit, skip) = (DOMAINS.to_string(), asked.skip.max(0).to_string());
    let parameters =
        [("limit", limit.as_str()), ("skip", &skip), ("search", asked.search.trim()), ("sort", "name:asc")];
    let answer = viewer.api().get(&with_query("/v4/domains", &parameters)).await?;
    let total = answer.number("/total_count");
    let at = |skip: i64| with_query("/sending/domains", &[("search", &asked.search), ("skip", &skip.to_string())]);
    let heads = ["Domain", "DNS records", "TLS", ""];
    let body = html! {
        form.card.row method="get" action="/sending/domains" role="search" {
            label { "Search" input name="search" value=(asked.search) placeholder="any part of the name" autocomplete="off"; }
            button type="submit" { "Show" }
        }
        (table("Sending domains", &heads, answer.items("/items").iter().map(row)))
        nav.pager aria-label="Pages" {
            @if asked.skip > 0 { a href=(at((asked.skip - DOMAINS).max(0))) rel="prev" { "← Before" } }
            @if asked.skip + DOMAINS < total { a href=(at(asked.skip + DOMAINS)) rel="next" { "After →" } }
        }
        section.card {
            h2 { "Add a domain" }
            p { "The domain that you send from, as in " code { "news@example.com" } ". You will see the DNS records to publish." }
            (viewer.form("/sending/domains", html! {
                label for="name" { "Domain" }
                input #name name="name" required placeholder="example.com" autocomplete="off" autocapitalize="none" spellcheck="false";
                label.choice { input type="checkbox" name="require_tls" value="yes"; "Require TLS: mail is delivered within TLS or not at all" }
                label.choice { input type="checkbox" name="skip_verification" value="yes"; "Skip verification: nothing depends on a server's certificate" }
                button type="submit" { "Add the domain" }
            }))
        }
    };
    Ok(viewer.show(Page::new("Domains", Section::Domains, body)))
}

fn row(domain: &Value) -> Vec<Markup> {
    let name = domain.text("/name");
    let state = match domain.text("/state") {
        "active" => mark(Tone::Good, "verified"),
        _ => mark(Tone::Fair, "not verified"),
    };
    vec![
        html! { a href=(Tab::Records.path(name)) { (name) } },
        state,
        html! { a href=(Tab::Security.path(name)) { (in_words(domain)) } },
        html! { a href=(with_query("/sending/test", &[("domain", name)])) { "Send a test" } },
    ]
}

/// The TLS settings of a domain in a few words.
pub(super) fn in_words(domain: &Value) -> &'static str {
    match (domain.is("/require_tls"), domain.is("/skip_verification")) {
        (false, false) => "opportunistic",
        (false, true) => "opportunistic, certificates not verified",
        (true, false) => "required and verified",
        (true, true) => "required, certificates not verified",
    }
}

pub(super) async fn create(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let name = form.trimmed("name");
    let switch = |name| if form.get(name) == "yes" { "yes" } else { "no" };
    let fields =
        [("name", name), ("require_tls", switch("require_tls")), ("skip_verification", switch("skip_verification"))];
    let made = viewer.api().post("/v4/domains", &fields).await;
    match made {
        Ok(answer) => {
            let name = answer.text("/domain/name");
            Ok(done(
                &format!("/sending/domains/{}", segment(name)),
                "The domain is there. Publish its DNS records, then look for them.",
            ))
        }
        Err(refusal) if refusal.is_of_request() => Ok(not_done("/sending/domains", refusal.message)),
        Err(refusal) => Err(refusal),
    }
}
