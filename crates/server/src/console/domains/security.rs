//! Security: the two switches of a domain, what they lead to, and what they would have led to.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use policy::tls::{Fallback, Observed, Protection, TlsPolicy, Verdict, decide};
use serde::Deserialize;
use serde_json::Value;
use store::Timestamp;

use super::Tab;
use crate::console::client::{Refusal, segment, with_query};
use crate::console::json::Look;
use crate::console::layout::{done, error};
use crate::console::logs::reason;
use crate::console::parts::{Tone, mark, shown, table, when_seconds};
use crate::console::session::{Fields, Submitted, Viewer};

/// How far back the question looks what a setting would have kept back.
const DAYS: i64 = 30;

/// A choice beside the switches: its name in the API, what it is called, and its words with what they mean.
type Choice = (&'static str, &'static str, [(&'static str, &'static str); 3]);

const REQUIRE_TLS: &str =
    "Mail is delivered within TLS or not at all: what cannot be waits, and fails when the schedule ends.";
const SKIP_VERIFICATION: &str =
    "Nothing depends on whether a server's certificate is valid: it encrypts, and does not prove who reads.";

const FALLBACK: Choice = (
    "tls_fallback",
    "Where TLS is not required, and the certificate is not valid",
    [
        ("plaintext", "Send in plaintext, on a new connection (the default)"),
        ("unverified", "Send within TLS all the same: encrypted, not authenticated"),
        ("defer", "Do not send to this server, as if TLS were required"),
    ],
);
const FAILURE: Choice = (
    "tls_failure",
    "When no server could be sent to for want of TLS",
    [("defer", "Try again by the schedule (the default)"), ("fail", "Fail at once"), ("", "")],
);

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Asked {
    what_if: String,
}

pub(super) async fn page(
    viewer: Viewer,
    Path(domain): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let settings = settings(&viewer, &domain).await?;
    let what_if = match asked.what_if.as_str() {
        "" => None,
        _ => Some(past(&viewer, &domain, settings.get("skip_verification")).await?),
    };
    Ok(viewer.show(super::page(&domain, Tab::Security, body(&viewer, &domain, &settings, what_if.as_ref(), None))))
}

/// The settings as the form has them.
async fn settings(viewer: &Viewer, domain: &str) -> Result<Fields, Refusal> {
    let answer = viewer.api().get(&format!("/v3/domains/{}/connection", segment(domain))).await?;
    let switch = |name: &str| if answer.is(&format!("/{name}")) { "yes" } else { "" };
    Ok(Fields::of([
        ("require_tls", switch("require_tls").to_owned()),
        ("skip_verification", switch("skip_verification").to_owned()),
        ("tls_fallback", answer.text("/tls_fallback").to_owned()),
        ("tls_failure", answer.text("/tls_failure").to_owned()),
    ]))
}

/// What required TLS would have kept back in the past.
async fn past(viewer: &Viewer, domain: &str, skip: &str) -> Result<Value, Refusal> {
    let since = (Timestamp::now().as_micros() / 1_000_000 - DAYS * 86_400).to_string();
    let skip = if skip == "yes" { "yes" } else { "no" };
    let parameters =
        [("require_tls", "yes"), ("skip_verification", skip), ("domain", domain), ("since", &since), ("limit", "50")];
    viewer.api().get(&with_query("/v1/tls/what-if", &parameters)).await
}

fn body(viewer: &Viewer, domain: &str, typed: &Fields, what_if: Option<&Value>, wrong: Option<&str>) -> Markup {
    let current = TlsPolicy::from_switches(typed.get("require_tls") == "yes", typed.get("skip_verification") == "yes");
    let fallback = typed.get("tls_fallback").parse().unwrap_or_default();
    html! {
        @if let Some(wrong) = wrong { (error(wrong)) }
        section.card {
            (viewer.form(&Tab::Security.path(domain), html! {
                (switch(typed, "require_tls", "Require TLS", REQUIRE_TLS))
                (switch(typed, "skip_verification", "Skip verification", SKIP_VERIFICATION))
                (choice(typed, &FALLBACK))
                (choice(typed, &FAILURE))
                button type="submit" { "Save" }
                " " a.button.plain href=(format!("{}?what-if=yes", Tab::Security.path(domain))) { "What if I required TLS?" }
            }))
            p.hint {
                "A message may say otherwise for itself, by " code { "o:require-tls" } " and " code { "o:skip-verification" }
                ". What a recipient's domain or the operator demands is met in any case."
            }
        }
        @if let Some(answer) = what_if { section.card { h2 { "What if TLS had been required?" } (kept_back(answer)) } }
        h2 { "What then happens" }
        (outcomes(current, fallback))
    }
}

fn switch(typed: &Fields, name: &'static str, label: &str, about: &str) -> Markup {
    html! {
        label.choice for=(name) {
            input id=(name) name=(name) type="checkbox" value="yes" checked[typed.get(name) == "yes"] aria-describedby=(format!("{name}-about"));
            strong { (label) }
        }
        p.hint id=(format!("{name}-about")) { (about) }
    }
}

fn choice(typed: &Fields, (name, label, words): &Choice) -> Markup {
    html! {
        fieldset {
            legend { (label) }
            @for (index, (word, about)) in words.iter().filter(|(word, _)| !word.is_empty()).enumerate() {
                @let is_chosen = typed.get(name) == *word || (typed.get(name).is_empty() && index == 0);
                label.choice { input type="radio" name=(name) value=(word) checked[is_chosen]; (about) }
            }
        }
    }
}

/// The table of TLS settings, made by the function that decides about deliveries.
fn outcomes(current: TlsPolicy, fallback: Fallback) -> Markup {
    let heads = [
        "Require TLS",
        "Skip verification",
        "Server offers no TLS",
        "Server refuses it",
        "Handshake fails",
        "Certificate not valid",
        "Certificate valid",
    ];
    let rows = TlsPolicy::ALL.into_iter().map(|policy| {
        let switch = |is_on| html! { (if is_on { "yes" } else { "no" }) };
        let chosen = html! { (switch(policy.require_tls())) @if policy == current { " " span.tag { "this domain" } } };
        let cells = Observed::ALL.into_iter().map(|observed| verdict(decide(policy, fallback, observed)));
        [chosen, switch(policy.skip_verification())].into_iter().chain(cells).collect()
    });
    table("What happens at a server, by setting and by what it shows", &heads, rows)
}

fn verdict(verdict: Verdict) -> Markup {
    match verdict {
        Verdict::Deliver(Protection::Verified) => mark(Tone::Good, "sent, verified"),
        Verdict::Deliver(Protection::Encrypted) => mark(Tone::Fair, "sent, encrypted"),
        Verdict::Deliver(Protection::Plaintext) | Verdict::ReconnectInPlaintext => mark(Tone::Bad, "sent in plaintext"),
        Verdict::LeaveHost => mark(Tone::Plain, "not sent"),
    }
}

pub(super) async fn save(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let before = settings(&viewer, &domain).await?;
    let switch = |name: &str| if form.get(name) == "yes" { "yes" } else { "no" };
    let (require_tls, skip_verification) = (switch("require_tls"), switch("skip_verification"));
    let is_new_demand = before.get("require_tls").is_empty();
    let is_verified_anew = before.get("skip_verification") == "yes" && skip_verification == "no";
    if require_tls == "yes" && (is_new_demand || is_verified_anew) && form.get("confirmed").is_empty() {
        return confirm(&viewer, &domain, &form).await;
    }
    let fields = [
        ("require_tls", require_tls),
        ("skip_verification", skip_verification),
        ("tls_fallback", form.get("tls_fallback")),
        ("tls_failure", form.get("tls_failure")),
    ];
    let saved = viewer.api().put(&format!("/v3/domains/{}/connection", segment(&domain)), &fields).await;
    match saved {
        Ok(_) => Ok(done(&Tab::Security.path(&domain), "Saved. It holds for mail that is accepted from now on.")),
        Err(refusal) if refusal.is_of_request() => {
            let body = body(&viewer, &domain, &form, None, Some(&refusal.message));
            Ok(viewer.show(super::page(&domain, Tab::Security, body)))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Asks again before TLS is required, or a valid certificate with it, and says what that would have kept back.
async fn confirm(viewer: &Viewer, domain: &str, form: &Fields) -> Result<Response, Refusal> {
    let answer = past(viewer, domain, form.get("skip_verification")).await?;
    let body = html! {
        section.card {
            h2 { "Require TLS?" }
            (kept_back(&answer))
            (viewer.form(&Tab::Security.path(domain), html! {
                @for name in ["require_tls", "skip_verification", "tls_fallback", "tls_failure"] {
                    input type="hidden" name=(name) value=(form.get(name));
                }
                input type="hidden" name="confirmed" value="yes";
                button type="submit" { "Require TLS" }
                " " a.button.plain href=(Tab::Security.path(domain)) { "Back" }
            }))
        }
    };
    Ok(viewer.show(super::page(domain, Tab::Security, body)))
}

/// What the history says.
fn kept_back(answer: &Value) -> Markup {
    let count = |at: &str| (answer.number(&format!("{at}/messages")), answer.number(&format!("{at}/recipients")));
    let ((messages, recipients), (_, delivered), (_, unknown)) =
        (count("/not-delivered"), count("/delivered"), count("/unknown"));
    let heads = ["Destination", "Recipients", "Because", "Last", "Delivered there all the same"];
    html! {
        @if messages == 0 {
            p {
                (mark(Tone::Good, "nothing")) " In the last " (DAYS) " days this would have kept nothing back. "
                "Recipients reached within TLS that suffices: " (delivered) "."
            }
        } @else {
            p {
                "In the last " (DAYS) " days this would have kept back " strong { (messages) " messages to " (recipients) " recipients" }
                " at " (answer.number("/total_count").max(answer.items("/items").len() as i64)) " destinations. "
                "Recipients who would have been reached all the same: " (delivered) "."
            }
            (table("Destinations that mail would have been kept back from", &heads, answer.items("/items").iter().map(one_kept_back)))
        }
        @if unknown > 0 { p.hint { "Of " (unknown) " more recipients it is not known what their servers showed." } }
    }
}

fn one_kept_back(item: &Value) -> Vec<Markup> {
    let because = item.items("/because").iter().take(3);
    vec![
        html! { (shown(item.text("/destination"), 100)) },
        html! { (item.number("/recipients")) },
        html! {
            @for one in because {
                @let code = one.text("/reason");
                div { (reason(code).map_or_else(|| shown(code, 60), str::to_owned)) " " span.quiet { (shown(one.text("/mx-host"), 80)) } }
            }
        },
        when_seconds(item.float("/last").unwrap_or_default()),
        html! { (item.number("/still-delivered")) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_on_the_page_is_the_one_that_decides() {
        let html = outcomes(TlsPolicy::ALL[2], Fallback::Plaintext).into_string();
        let rows: Vec<_> = html.split("<tr>").skip(2).collect();
        let told = |row: &str, words: &str| row.matches(words).count();
        for (row, policy) in rows.iter().zip(TlsPolicy::ALL) {
            let left =
                Observed::ALL.into_iter().filter(|one| decide(policy, Fallback::Plaintext, *one) == Verdict::LeaveHost);
            assert_eq!(told(row, "not sent"), left.count(), "{row}");
            assert_eq!(told(row, "this domain"), usize::from(policy == TlsPolicy::ALL[2]));
        }
        assert_eq!(rows.len(), 4);
        assert!(
            outcomes(TlsPolicy::ALL[0], Fallback::Defer).into_string().matches("not sent").count()
                > told(&html, "not sent")
        );
    }
}
