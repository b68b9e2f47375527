//! What a destination shows right now, and what each TLS setting would come to there: `waxwing check` on a page.

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use crate::console::client::Refusal;
use crate::console::json::Look;
use crate::console::layout::{Page, Section, error};
use crate::console::logs::{demander, validation_level};
use crate::console::parts::{Tone, facts, mark, shown, table};
use crate::console::session::{Submitted, Viewer};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    destination: String,
}

/// Where a destination is named to be looked at. A form, since it makes this server speak to strangers.
pub(super) fn form(viewer: &Viewer, destination: &str) -> Markup {
    viewer.form(
        "/destinations/check",
        html! {
            p {
                "Asks its DNS and visits its mail servers, which hear EHLO, STARTTLS and QUIT and nothing else. It may take some seconds."
            }
            div.row {
                label { "Recipient domain" input name="destination" value=(destination) required placeholder="example.com" autocomplete="off"; }
                button type="submit" { "Check now" }
            }
        },
    )
}

pub(super) async fn page(viewer: Viewer, Query(asked): Query<Asked>) -> Response {
    show(&viewer, &asked.destination, html! {})
}

fn show(viewer: &Viewer, destination: &str, found: Markup) -> Response {
    let body = html! {
        section.card { (form(viewer, destination)) }
        (found)
    };
    let page = Page::new("Check a destination", Section::Destinations, body).below("Destinations", "/destinations");
    viewer.show(page)
}

pub(super) async fn look(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let destination = form.trimmed("destination").to_owned();
    let found = viewer.api().post("/v1/tls/check", &[("domain", &destination)]).await;
    match found {
        Ok(check) => Ok(show(&viewer, &destination, told(&check))),
        Err(refusal) if refusal.is_of_request() || refusal.status.is_server_error() => {
            Ok(show(&viewer, &destination, error(&refusal.message)))
        }
        Err(refusal) => Err(refusal),
    }
}

const OUTLOOK: [&str; 4] = ["Require TLS", "Skip verification", "Outcome", "Why"];

fn told(check: &Value) -> Markup {
    html! {
        section {
            h2 { "What would become of a message" }
            (table("Outcome by TLS setting", &OUTLOOK, check.items("/settings").iter().map(outlook)))
        }
        section.card {
            h2 { "What the domain publishes" }
            (facts(domain(check)))
        }
        @for host in check.items("/hosts") { (self::host(host)) }
        @if !check.items("/skipped").is_empty() {
            section.card {
                h2 { "Passed over" }
                ul {
                    @for one in check.items("/skipped") {
                        li {
                            (shown(one.text("/host"), 100)) " " (shown(one.text("/address"), 60))
                            ": " (shown(one.text("/detail"), 300))
                        }
                    }
                }
            }
        }
    }
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn outcome(word: &str) -> Markup {
    let tone = match word {
        "verified" => Tone::Good,
        "encrypted" => Tone::Fair,
        "plaintext" | "failed" => Tone::Bad,
        _ => Tone::Plain,
    };
    mark(tone, word)
}

fn outlook(setting: &Value) -> Vec<Markup> {
    let tag = match setting.text("/tls-tag") {
        "requiretls" => " with REQUIRETLS",
        "not-required" => " with TLS-Required: No",
        _ => "",
    };
    vec![
        html! { (yes_or_no(setting.is("/require-tls"))) (tag) },
        html! { (yes_or_no(setting.is("/skip-verification"))) },
        outcome(setting.text("/outcome")),
        html! { (shown(setting.text("/explanation"), 600)) },
    ]
}

type Facts = Vec<(&'static str, Markup)>;

fn domain(check: &Value) -> Facts {
    let mut known: Facts = Vec::new();
    if let Some(route) = check.some("/route") {
        known.push(("Route", html! { "the operator's, to " (shown(route.text("/host"), 100)) }));
    }
    if let Some(problem) = check.some("/problem") {
        known.push(("Problem", html! { (mark(Tone::Bad, "no server")) " " (shown(problem.text("/message"), 400)) }));
    }
    known.push((
        "DNSSEC",
        html! {
            (shown(check.text("/dnssec/status"), 300))
            @if let Some(mx) = check.some("/dnssec/mx").and_then(Value::as_str) { "; the MX answer is " (mx) }
        },
    ));
    known.push((
        "MTA-STS",
        match check.some("/mta-sts") {
            None => html! { "no policy" },
            Some(sts) => html! {
                "mode " (shown(sts.text("/mode"), 60))
                @if !sts.text("/failure").is_empty() {
                    ", " (shown(sts.text("/failure"), 100)) " " (shown(sts.text("/detail"), 300))
                }
            },
        },
    ));
    if let Some(reporting) = check.some("/tls-reporting") {
        let places: Vec<_> =
            reporting.items("/destinations").iter().filter_map(Value::as_str).map(|to| shown(to, 200)).collect();
        known.push((
            "TLS reports",
            html! {
                @match reporting.text("/state") {
                    "published" => { "go to " (places.join(", ")) },
                    other => { (other) " " span.quiet { (shown(reporting.text("/detail"), 300)) } },
                }
            },
        ));
    }
    known
}

fn host(host: &Value) -> Markup {
    let tls = &host["tls"];
    let certificate = &tls["certificate"];
    let mut known: Facts = vec![("It shows", html! { (shown(host.text("/detail"), 400)) })];
    if tls.is_object() {
        known.push((
            "Session",
            html! { (tls.text("/version")) ", " (tls.text("/cipher")) ", " (tls.text("/key-exchange")) },
        ));
        known.push((
            "Certificate",
            match tls.text("/verification") {
                "ok" => mark(Tone::Good, "valid"),
                code => html! {
                    (mark(Tone::Bad, "not valid")) " " (shown(code, 60)) " "
                    span.quiet { (shown(tls.text("/verification-detail"), 300)) }
                },
            },
        ));
    }
    if certificate.is_object() {
        known.push(("Subject", html! { (shown(certificate.text("/subject"), 300)) }));
        known.push(("Issuer", html! { (shown(certificate.text("/issuer"), 300)) }));
        known.push(("Valid", html! { (certificate.text("/not-before")) " to " (certificate.text("/not-after")) }));
        if let Some(level) = validation_level(certificate.text("/validation-level")) {
            known.push(("Validation", html! { (level) }));
        }
    }
    known.push((
        "DANE",
        html! { (shown(host.text("/dane/state"), 60)) " " span.quiet { (shown(host.text("/dane/because"), 300)) } },
    ));
    if let Some(named) = host.some("/mta-sts").and_then(Value::as_bool) {
        known.push(("MTA-STS", html! { (if named { "the policy names it" } else { "the policy does not name it" }) }));
    }
    let demanded: Vec<_> = host
        .items("/settings")
        .first()
        .map(|first| first.items("/demanded-by"))
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .map(demander)
        .collect();
    if !demanded.is_empty() {
        known.push(("Demanded by", html! { (demanded.join(", ")) }));
    }
    html! {
        section.card {
            h2 { (shown(host.text("/mx-host"), 150)) " " span.quiet { "[" (host.text("/address")) "]" } }
            (facts(known))
        }
    }
}
