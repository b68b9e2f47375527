//! Send a test message, and watch it arrive.

use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

use super::Console;
use super::client::{Refusal, segment};
use super::json::Look;
use super::layout::{Page, Section, error};
use super::logs::{domains, message_path};
use super::session::{Fields, Submitted, Viewer, see_other};

pub(super) fn routes() -> Router<Console> {
    Router::new().route("/sending/test", get(page).post(send))
}

/// What the form begins with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Begin {
    domain: String,
    to: String,
}

async fn page(viewer: Viewer, Query(begin): Query<Begin>) -> Result<Response, Refusal> {
    let typed = Fields::of([("domain", begin.domain), ("to", begin.to), ("subject", "A test of Waxwing".to_owned())]);
    show(&viewer, &typed, None).await
}

async fn show(viewer: &Viewer, typed: &Fields, wrong: Option<&str>) -> Result<Response, Refusal> {
    let domains = domains(viewer).await?;
    let body = html! {
        @if let Some(wrong) = wrong { (error(wrong)) }
        @if domains.is_empty() {
            p { "There is no sending domain yet. " a href="/sending/domains" { "Add one" } " first." }
        } @else {
            p { "A message of one line. It is accepted, queued and delivered as any other; then you see its journey." }
            section.card { (viewer.form("/sending/test", fields(typed, &domains))) }
        }
    };
    Ok(viewer.show(Page::new("Send a test message", Section::Test, body)))
}

fn fields(typed: &Fields, domains: &[String]) -> Markup {
    let switch = |name: &'static str, label: &str, about: &str| {
        html! {
            label for=(name) { (label) }
            select id=(name) name=(name) aria-describedby=(format!("{name}-about")) {
                @for (value, words) in [("", "as the domain says"), ("yes", "yes"), ("no", "no")] {
                    option value=(value) selected[typed.get(name) == value] { (words) }
                }
            }
            p.hint id=(format!("{name}-about")) { (about) }
        }
    };
    html! {
        label for="domain" { "Sending domain" }
        select #domain name="domain" {
            @for domain in domains { option value=(domain) selected[typed.get("domain") == domain] { (domain) } }
        }
        label for="to" { "To" }
        input #to name="to" type="email" value=(typed.get("to")) required autocomplete="email";
        label for="subject" { "Subject" }
        input #subject name="subject" value=(typed.get("subject")) required;
        (switch("require-tls", "Require TLS", "Yes: it is not delivered without TLS; it waits, and fails when the schedule ends."))
        (switch("skip-verification", "Skip verification", "Yes: nothing depends on whether the certificate is valid."))
        button type="submit" { "Send it" }
    }
}

async fn send(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let domain = form.trimmed("domain");
    let from = format!("Waxwing <postmaster@{domain}>");
    let mut fields = vec![
        ("from", from.as_str()),
        ("to", form.trimmed("to")),
        ("subject", form.get("subject")),
        ("text", "This message was sent from Waxwing's control panel, to see how mail travels.\n"),
        ("o:tag", "control-panel-test"),
    ];
    for (option, name) in [("o:require-tls", "require-tls"), ("o:skip-verification", "skip-verification")] {
        if !form.get(name).is_empty() {
            fields.push((option, form.get(name)));
        }
    }
    let sent = viewer.api().post(&format!("/v3/{}/messages", segment(domain)), &fields).await;
    match sent {
        Ok(answer) => {
            let id = answer.text("/id").trim_start_matches('<').trim_end_matches('>');
            Ok(see_other(&message_path(domain, id, "")))
        }
        Err(refusal) if refusal.is_of_request() => show(&viewer, &form, Some(&refusal.message)).await,
        Err(refusal) => Err(refusal),
    }
}
