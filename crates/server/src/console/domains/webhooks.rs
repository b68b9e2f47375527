//! Webhooks: who is told of which events, and what they answered.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::Tab;
use crate::console::client::{Refusal, segment, with_query};
use crate::console::json::Look;
use crate::console::layout::{done, not_done};
use crate::console::parts::{Tone, confirmed, mark, shown, table, when_seconds};
use crate::console::session::{Fields, Submitted, Viewer};

/// The kinds of events that one can be told of, in the API's words, and what they are called.
const KINDS: [(&str, &str); 9] = [
    ("accepted", "accepted"),
    ("delivered", "delivered"),
    ("temporary_fail", "deferred"),
    ("permanent_fail", "failed for good"),
    ("opened", "opened"),
    ("clicked", "clicked"),
    ("unsubscribed", "unsubscribed"),
    ("complained", "complained"),
    ("tls-downgraded", "TLS downgrade"),
];

pub(in crate::console) const TOLD: &str = "It is told of events from now on.";
pub(in crate::console) const GONE: &str = "It is told nothing any more.";

pub(super) async fn page(viewer: Viewer, Path(domain): Path<String>) -> Result<Response, Refusal> {
    let answer = viewer.api().get(&format!("/v3/domains/{}/webhooks", segment(&domain))).await?;
    let body = webhooks(&viewer, &Tab::Webhooks.path(&domain), answer.items("/endpoints"));
    Ok(viewer.show(super::page(&domain, Tab::Webhooks, body)))
}

/// Those who are told, and a form for another, of the page at `path`.
pub(in crate::console) fn webhooks(viewer: &Viewer, path: &str, items: &[Value]) -> Markup {
    let rows = items.iter().map(|one| row(viewer, path, one));
    html! {
        p { "Each URL gets a signed POST for every event of its kinds, again and again until it answers 2xx or 406." }
        (table("URLs that are told", &["URL", "Of", "Last answer", "To be told again", ""], rows))
        section.card {
            h2 { "Tell a URL" }
            (viewer.form(path, html! {
                label for="url" { "URL" }
                input #url name="url" type="url" required placeholder="https://example.com/hook" autocomplete="off";
                fieldset {
                    legend { "Of which events" }
                    @for (word, called) in KINDS { label.choice { input type="checkbox" name="event_types" value=(word); (called) } }
                }
                button type="submit" { "Add the webhook" }
            }))
        }
    }
}

fn row(viewer: &Viewer, path: &str, one: &Value) -> Vec<Markup> {
    let url = one.text("/url");
    let kinds: Vec<_> = one.items("/event_types").iter().filter_map(Value::as_str).collect();
    let called = |word: &str| {
        KINDS.into_iter().find(|(kind, _)| *kind == word).map_or(word.to_owned(), |(_, name)| name.to_owned())
    };
    let names: Vec<_> = kinds.iter().map(|word| called(word)).collect();
    let given = html! {
        input type="hidden" name="url" value=(url);
        // Those of the account have names.
        input type="hidden" name="id" value=(one.text("/webhook_id"));
    };
    let first = kinds.first().copied().unwrap_or("delivered");
    vec![
        html! { (shown(url, 200)) },
        html! { (names.join(", ")) },
        answer(&one["health"]["last"]),
        html! {
            (one.number("/health/to-be-retried"))
            @let failure = &one["health"]["last-failure"];
            @if failure.is_object() {
                br;
                span.quiet {
                    "last failure " (when_seconds(failure.float("/timestamp").unwrap_or_default())) " "
                    (shown(failure.text("/error"), 200))
                }
            }
        },
        html! {
            div.actions {
                (viewer.form(&format!("{path}/test"), html! {
                    (given)
                    input type="hidden" name="kind" value=(first);
                    button type="submit" { "Test" }
                }))
                (viewer.form(&format!("{path}/delete"), html! { (given) (confirmed("Delete", &format!("Tell {url} nothing any more?"))) }))
            }
        },
    ]
}

fn answer(last: &Value) -> Markup {
    if !last.is_object() {
        return html! { span.quiet { "not told of anything yet" } };
    }
    let tone = if last.text("/error").is_empty() { Tone::Good } else { Tone::Bad };
    let word = last.float("/status").map_or("none".to_owned(), |status| status.to_string());
    html! {
        (mark(tone, &word)) " " (when_seconds(last.float("/timestamp").unwrap_or_default())) " "
        span.quiet { (shown(last.text("/error"), 200)) }
    }
}

/// What a form asks to be told: a URL and kinds of events.
pub(in crate::console) fn fields(form: &Fields) -> Vec<(&str, &str)> {
    let kinds = form.all("event_types").map(|kind| ("event_types", kind));
    std::iter::once(("url", form.trimmed("url"))).chain(kinds).collect()
}

/// Leads back with words for what came of it.
pub(in crate::console) fn led(back: &str, outcome: Result<Value, Refusal>, words: &str) -> Result<Response, Refusal> {
    match outcome {
        Ok(_) => Ok(done(back, words)),
        Err(refusal) if refusal.is_of_request() => Ok(not_done(back, refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

/// Tells a URL of an event of a domain that never happened.
pub(in crate::console) async fn try_out(
    viewer: &Viewer,
    back: &str,
    domain: &str,
    form: &Fields,
) -> Result<Response, Refusal> {
    let at = format!("/v3/domains/{}/webhooks/{}/test", segment(domain), segment(form.get("kind")));
    match viewer.api().put(&at, &[("url", form.get("url"))]).await {
        Ok(answer) if (200..300).contains(&answer.number("/code")) => {
            Ok(done(back, format!("The test was answered with {}.", answer.number("/code"))))
        }
        Ok(answer) => Ok(not_done(back, format!("The test got no good answer: {}.", answer.text("/message")))),
        Err(refusal) => led(back, Err(refusal), ""),
    }
}

pub(super) async fn create(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let made = viewer.api().post(&format!("/v4/domains/{}/webhooks", segment(&domain)), &fields(&form)).await;
    led(&Tab::Webhooks.path(&domain), made, TOLD)
}

pub(super) async fn test(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    try_out(&viewer, &Tab::Webhooks.path(&domain), &domain, &form).await
}

pub(super) async fn delete(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let at = with_query(&format!("/v4/domains/{}/webhooks", segment(&domain)), &[("url", form.get("url"))]);
    led(&Tab::Webhooks.path(&domain), viewer.api().delete(&at).await, GONE)
}
