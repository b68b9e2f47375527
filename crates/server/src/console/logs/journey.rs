//! The journey of a message to one recipient: its events as a timeline, and all that is known of each attempt.

use maud::{Markup, html};
use serde_json::Value;

use super::travel;
use super::words::{demander, reason, stated_by, step, validation_level};
use crate::console::client::with_query;
use crate::console::json::Look;
use crate::console::parts::{Tone, facts, mark, shown, shown_lines, when_seconds};

/// The events of one recipient, oldest first.
pub(super) fn timeline(domain: &str, events: &[&Value]) -> Markup {
    html! {
        ol.timeline {
            @for event in events {
                li class=(tone(event)) {
                    div { (travel::what(event)) " " (when_seconds(event.float("/timestamp").unwrap_or_default())) }
                    (story(event))
                    p.hint { a href=(raw(domain, event)) { "Everything that is known, as JSON" } }
                }
            }
        }
    }
}

/// Where the event is shown as programs get it.
fn raw(domain: &str, event: &Value) -> String {
    let message_id = event.text("/message/headers/message-id");
    with_query("/logs/event", &[("domain", domain), ("message-id", message_id), ("id", event.text("/id"))])
}

fn tone(event: &Value) -> &'static str {
    let status = &event["delivery-status"];
    match (event.text("/event"), event.text("/severity")) {
        ("delivered", _) if status.is("/certificate-verified") => "good",
        ("delivered", _) if status.is("/tls") => "fair",
        ("delivered", _) | ("tls-downgraded" | "complained", _) => "bad",
        ("failed", "temporary") => "fair",
        ("failed", _) => "bad",
        _ => "",
    }
}

fn story(event: &Value) -> Markup {
    match event.text("/event") {
        "accepted" => accepted(event),
        "delivered" | "failed" if event.some("/delivery-status").is_some() => attempt(event),
        "tls-downgraded" => downgrade(&event["tls-downgrade"]),
        "opened" | "clicked" | "unsubscribed" => interaction(event),
        _ => html! {},
    }
}

fn accepted(event: &Value) -> Markup {
    let settings = &event["tls-settings"];
    let setting = |on: bool, yes: &'static str, no: &'static str, from: &str| {
        html! {
            (if on { yes } else { no }) " " span.quiet { "(" (stated_by(from)) ")" }
        }
    };
    let how = match event.text("/method") {
        "smtp" => "by SMTP",
        _ => "by HTTP",
    };
    html! {
        p {
            "Taken " (how)
            @if !event.text("/originating-ip").is_empty() { " from " (event.text("/originating-ip")) }
            ", and kept on disk before the answer."
            @if let Some(at) = event.float("/message/scheduled-for") { " Not to be delivered before " (when_seconds(at)) "." }
        }
        @if settings.is_object() {
            (facts([
                ("TLS", setting(settings.is("/require-tls"), "required", "not required", settings.text("/require-tls-from"))),
                ("Verification", setting(settings.is("/skip-verification"), "skipped", "not skipped", settings.text("/skip-verification-from"))),
            ]))
        }
    }
}

fn attempt(event: &Value) -> Markup {
    let status = &event["delivery-status"];
    let details = &status["tls-details"];
    let number = status.number("/attempt-no");
    html! {
        p {
            @if number > 0 { "Attempt " (number) ". " }
            (in_a_sentence(event))
            @if event.text("/severity") == "temporary" && let Some(after) = status.float("/retry-seconds") {
                " It is tried again " (when_seconds(event.float("/timestamp").unwrap_or_default() + after)) "."
            }
        }
        (facts([("Reply", reply(status))]))
        @if !details.items("/steps").is_empty() {
            h3 { "Hosts tried" }
            ol.steps { @for one in details.items("/steps") { li { (host_tried(one)) } } }
        }
        @if details.is_object() {
            (facts(demands(details).into_iter().chain(session(details)).chain(certificate(details)).chain(published(details))))
        }
    }
}

fn in_a_sentence(event: &Value) -> Markup {
    let status = &event["delivery-status"];
    let details = &status["tls-details"];
    let host = shown(status.text("/mx-host"), 100);
    match (event.text("/event"), status["tls"].as_bool(), status["certificate-verified"].as_bool()) {
        ("delivered", Some(true), Some(true)) => {
            html! { (host) " took it " strong { "within TLS, with its certificate verified" } "." }
        }
        ("delivered", Some(true), _) => html! {
            (host) " took it " strong { "within TLS; nothing depended on the certificate" } ", which is "
            @match details.text("/verification") { "" => "not known.", "ok" => "valid.", code => { "not valid: " (words(code)) "." } }
        },
        ("delivered", Some(false), _) => html! {
            (host) " took it " strong { "in plaintext" }
            @match details.text("/fallback") { "" => ".", code => { ", because " (words(code)) ". TLS was not required." } }
        },
        ("delivered", None, _) => html! { "Delivered." },
        _ => match status.text("/mx-host") {
            "" => html! { "No server took it." },
            _ => html! { (host) " did not get it, or did not take it." },
        },
    }
}

fn words(code: &str) -> String {
    reason(code).map_or_else(|| shown(code, 80), str::to_owned)
}

fn reply(status: &Value) -> Markup {
    let code = status.number("/code");
    let message = status.text("/message");
    let description = status.text("/description");
    html! {
        @if code > 0 { code { (code) } " " }
        @if !message.starts_with(status.text("/enhanced-code")) { code { (status.text("/enhanced-code")) } " " }
        span.reply { (shown_lines(message, 1000)) }
        @if !description.is_empty() && description != message { br; span.quiet { (shown_lines(description, 1000)) } }
        @if let Some(last) = status.float("/last-code") {
            br; span.quiet { "The last server said: " (last as i64) " " (shown_lines(status.text("/last-message"), 1000)) }
        }
    }
}

fn host_tried(one: &Value) -> Markup {
    let reason_code = one.text("/reason");
    let detail = one.text("/detail");
    html! {
        strong { (shown(one.text("/host"), 100)) }
        @if !one.text("/address").is_empty() { " [" (shown(one.text("/address"), 60)) "]" }
        " " (step(one.text("/result")))
        @if one.text("/result") == "delivered" && !reason_code.is_empty() { " in plaintext" }
        @else if !reason_code.is_empty() { ": " (words(reason_code)) }
        @if !detail.is_empty() { " " span.quiet { "(" (shown(detail, 400)) ")" } }
    }
}

type Facts = Vec<(&'static str, Markup)>;

/// What was demanded, and by whom.
fn demands(details: &Value) -> Facts {
    let policy = &details["policy"];
    if !policy.is_object() {
        return Vec::new();
    }
    let setting = |name: &str, from: &str| {
        html! {
            (if policy.is(name) { "yes" } else { "no" }) " " span.quiet { "(" (stated_by(policy.text(from))) ")" }
        }
    };
    let mut known: Facts = vec![
        ("TLS required", setting("/require-tls", "/require-tls-from")),
        ("Verification skipped", setting("/skip-verification", "/skip-verification-from")),
    ];
    let by: Vec<_> = policy.items("/demanded-by").iter().filter_map(Value::as_str).map(demander).collect();
    if !by.is_empty() {
        let what = match policy.text("/raised-to") {
            "verified" => "verified TLS",
            "encrypted" => "any TLS",
            other => other,
        };
        known.push(("Demanded beyond", html! { (what) ", by " (by.join(", ")) }));
    }
    for rule in policy.items("/rules").iter().filter(|rule| !rule.text("/reason").is_empty()) {
        known.push(("The operator's rule", html! { (shown(rule.text("/reason"), 300)) }));
    }
    known
}

/// The connection and the handshake.
fn session(details: &Value) -> Facts {
    let mut known: Facts = Vec::new();
    let observed = match details.text("/observed") {
        "not-offered" => "STARTTLS is not offered",
        "refused" => "STARTTLS is offered and refused",
        "handshake-failed" => "the handshake fails",
        "unverified" => "TLS, with a certificate that is not valid",
        "verified" => "TLS, with a valid certificate",
        _ => "",
    };
    if !observed.is_empty() {
        known.push(("The server showed", html! { (observed) }));
    }
    let text = |name: &str| shown(details.text(name), 120);
    if !details.text("/version").is_empty() {
        known.push((
            "Session",
            html! {
                (text("/version")) ", " (text("/cipher")) ", " (text("/key-exchange"))
                @if details.is("/resumed") { " " (mark(Tone::Plain, "resumed")) }
                @if details.is("/reused") { " " (mark(Tone::Plain, "connection used again")) }
            },
        ));
    }
    if let Some(took) = details.float("/handshake-ms") {
        known.push((
            "Handshake",
            html! { (took) " ms" @if !details.text("/sni").is_empty() { ", asked for " (text("/sni")) } },
        ));
    }
    known
}

fn certificate(details: &Value) -> Facts {
    let certificate = &details["certificate"];
    let mut known: Facts = Vec::new();
    let verdict = details.text("/verification");
    if !verdict.is_empty() {
        let in_words = details.text("/verification-detail");
        known.push((
            "Certificate",
            html! {
                @match verdict { "ok" => (mark(Tone::Good, "valid")), _ => (mark(Tone::Bad, "not valid")) }
                @if verdict != "ok" { " " (words(verdict)) }
                @if !in_words.is_empty() { " " span.quiet { "(" (shown(in_words, 400)) ")" } }
            },
        ));
    }
    if certificate.is_object() {
        let text = |name: &str| shown(certificate.text(name), 300);
        known.push(("Subject", html! { (text("/subject")) }));
        known.push(("Issuer", html! { (text("/issuer")) }));
        known.push(("Valid", html! { (text("/not-before")) " to " (text("/not-after")) }));
        let names: Vec<_> =
            certificate.items("/sans").iter().filter_map(Value::as_str).map(|name| shown(name, 100)).collect();
        known.push(("Names", html! { (names.join(", ")) }));
        let level = validation_level(certificate.text("/validation-level"));
        known.push(("Validation", html! { (level.unwrap_or("not known: the chain leads to no public root")) }));
        known.push(("SHA-256", html! { code { (text("/sha256")) } }));
    }
    known
}

/// What the destination publishes.
fn published(details: &Value) -> Facts {
    let mut known: Facts = Vec::new();
    let dane = &details["dane"];
    if dane.is_object() {
        known.push(("DANE", html! { (shown(dane.text("/state"), 60)) (aside(dane.text("/because"))) (verdict(dane)) }));
    }
    let pin = &details["pin"];
    if pin.is_object() {
        known.push(("Pinned certificate", html! { "the operator's rule pins one" (verdict(pin)) }));
    }
    let sts = &details["mta-sts"];
    if sts.is_object() {
        let failure = [sts.text("/failure"), sts.text("/detail")].join(" ");
        known.push(("MTA-STS", html! { "mode " (shown(sts.text("/mode"), 60)) (aside(failure.trim())) }));
    }
    known
}

fn aside(words: &str) -> Markup {
    html! { @if !words.is_empty() { " " span.quiet { "(" (shown(words, 300)) ")" } } }
}

/// What decided in the place of certificate authorities.
fn verdict(of: &Value) -> Markup {
    html! {
        @match of.text("/verdict") {
            "" => {},
            "ok" => { ": " (mark(Tone::Good, "it matches")) ", which decides" },
            code => { ": " (mark(Tone::Bad, "it does not match")) " " (words(code)) (aside(of.text("/verdict-detail"))) },
        }
    }
}

fn downgrade(story: &Value) -> Markup {
    html! {
        p {
            strong { (shown(story.text("/destination"), 100)) } " did verified TLS before, and "
            (shown(story.text("/mx-host"), 100)) " no longer does."
        }
    }
}

fn interaction(event: &Value) -> Markup {
    html! {
        p {
            @if !event.text("/url").is_empty() { "The link " code { (shown(event.text("/url"), 500)) } ". " }
            @if !event.text("/ip").is_empty() { "From " (event.text("/ip")) ", " }
            span.quiet { (shown(event.text("/client-info/user-agent"), 300)) }
        }
    }
}
