//! How a message travelled, in a mark and a few words.

use maud::{Markup, html};
use serde_json::Value;

use super::words::reason;
use crate::console::json::Look;
use crate::console::parts::{Tone, mark, shown};

/// What happened.
pub(super) fn what(event: &Value) -> Markup {
    let (tone, word) = match (event.text("/event"), event.text("/severity")) {
        ("delivered", _) => (Tone::Good, "delivered"),
        ("failed", "temporary") => (Tone::Fair, "deferred"),
        ("failed", _) => (Tone::Bad, "failed"),
        ("tls-downgraded", _) => (Tone::Bad, "TLS downgrade"),
        ("complained", _) => (Tone::Bad, "complained"),
        (other, _) => (Tone::Plain, other),
    };
    mark(tone, word)
}

/// How well the message was protected on its way, where it went any.
pub(super) fn how(event: &Value) -> Markup {
    let status = &event["delivery-status"];
    let why = |code: &str| match reason(code) {
        Some(words) => words.to_owned(),
        None => shown(code, 60),
    };
    let fallback = status.text("/tls-details/fallback");
    let verification = status.text("/tls-details/verification");
    match (event.text("/event"), status["tls"].as_bool(), status["certificate-verified"].as_bool()) {
        ("delivered", Some(true), Some(true)) => mark(Tone::Good, "verified"),
        ("delivered", Some(true), _) => html! {
            (mark(Tone::Fair, "encrypted"))
            @if !matches!(verification, "" | "ok") { " " span.quiet { (why(verification)) } }
        },
        ("delivered", Some(false), _) => html! {
            (mark(Tone::Bad, "plaintext"))
            @if !fallback.is_empty() { " " span.quiet { (why(fallback)) } }
        },
        ("failed", Some(_), _) if is_left(status) => {
            html! { (mark(Tone::Plain, "nothing sent")) " " span.quiet { "TLS was not as demanded" } }
        }
        _ => html! {},
    }
}

/// Whether the last host was left for want of TLS.
fn is_left(status: &Value) -> bool {
    status.items("/tls-details/steps").last().is_some_and(|step| step.text("/result") == "left")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_state_has_its_words() {
        let told = |event: &str, status: Value| {
            let html = how(&json!({ "event": event, "delivery-status": status })).into_string();
            let mut text = String::new();
            let mut is_tag = false;
            for c in html.chars() {
                match c {
                    '<' => is_tag = true,
                    '>' => is_tag = false,
                    c if !is_tag => text.push(c),
                    _ => {}
                }
            }
            text
        };
        let tls = |tls: bool, verified: bool, details: Value| json!({ "tls": tls, "certificate-verified": verified, "tls-details": details });
        for (event, status, expected) in [
            ("delivered", tls(true, true, json!({ "verification": "ok" })), "verified"),
            ("delivered", tls(true, false, json!({ "verification": "ok" })), "encrypted"),
            (
                "delivered",
                tls(true, false, json!({ "verification": "certificate-expired" })),
                "encrypted the certificate has expired",
            ),
            (
                "delivered",
                tls(false, false, json!({ "fallback": "starttls-not-supported" })),
                "plaintext the server does not offer STARTTLS",
            ),
            (
                "failed",
                tls(false, false, json!({ "steps": [{ "result": "left" }] })),
                "nothing sent TLS was not as demanded",
            ),
            ("failed", json!({ "code": 450 }), ""),
            ("accepted", Value::Null, ""),
        ] {
            assert_eq!(told(event, status), expected);
        }
    }
}
