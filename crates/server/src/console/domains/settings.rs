//! What else a domain says: what is tracked, how long its mail is kept, and its end.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::Tab;
use crate::console::client::{Refusal, segment};
use crate::console::json::Look;
use crate::console::layout::{done, not_done};
use crate::console::parts::facts;
use crate::console::session::{Submitted, Viewer};

pub(super) async fn page(viewer: Viewer, Path(domain): Path<String>) -> Result<Response, Refusal> {
    let about = viewer.api().get(&format!("/v4/domains/{}", segment(&domain))).await?;
    let tracking = viewer.api().get(&format!("/v3/domains/{}/tracking", segment(&domain))).await?;
    let days = |at: &str| match about.float(at) {
        Some(seconds) => format!("{} days", (seconds / 864.0).round() / 100.0),
        None => "without an end".to_owned(),
    };
    let most = |at: &str| about.float(at).map_or("no limit".to_owned(), |most| format!("{most}"));
    let path = Tab::Settings.path(&domain);
    let body = html! {
        section.card {
            h2 { "Tracking" }
            p { "Tracking changes what you send: a picture in the HTML tells that it was opened, and links lead here first." }
            (viewer.form(&format!("{path}/tracking"), html! {
                (switch("open", "Tell when a message is opened", &tracking))
                (switch("click", "Tell when a link is followed", &tracking))
                (switch("unsubscribe", "Add a link to unsubscribe", &tracking))
                button type="submit" { "Save" }
            }))
        }
        section.card {
            h2 { "How long things are kept" }
            (facts([
                ("Content of messages", html! { (days("/domain/message_ttl")) }),
                ("Events", html! { (days("/domain/event_retention")) }),
                ("Most events", html! { (most("/domain/event_limit")) }),
                ("Most octets of content", html! { (most("/domain/message_limit")) }),
            ]))
            p.hint { "Set by the API: " code { "PUT /v4/domains/" (domain) } "." }
        }
        @if viewer.is_admin() {
            section.card {
                h2 { "Delete the domain" }
                p { "Its keys, logins, webhooks and templates go with it. Mail that waits is still delivered, and events stay as long as they are kept." }
                (viewer.form(&format!("{path}/delete"), html! {
                    label for="typed" { "Type the name of the domain to delete it" }
                    input #typed name="typed" required autocomplete="off" autocapitalize="none" spellcheck="false";
                    button.danger type="submit" { "Delete the domain" }
                }))
            }
        }
    };
    Ok(viewer.show(super::page(&domain, Tab::Settings, body)))
}

/// A switch that says what the API does, so that `htmlonly` stays what it is where it is left on.
fn switch(kind: &str, label: &str, tracking: &Value) -> Markup {
    let active = &tracking["tracking"][kind]["active"];
    let value = active.as_str().unwrap_or("yes");
    let is_on = active.as_bool().unwrap_or(active.is_string());
    html! { label.choice { input type="checkbox" name=(kind) value=(value) checked[is_on]; (label) } }
}

pub(super) async fn track(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let path = Tab::Settings.path(&domain);
    for kind in ["open", "click", "unsubscribe"] {
        let active = if form.get(kind).is_empty() { "no" } else { form.get(kind) };
        let at = format!("/v3/domains/{}/tracking/{kind}", segment(&domain));
        let set = viewer.api().put(&at, &[("active", active)]).await;
        match set {
            Ok(_) => {}
            Err(refusal) if refusal.is_of_request() => return Ok(not_done(&path, refusal.message)),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(done(&path, "Saved."))
}

pub(super) async fn delete(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    viewer.admin()?;
    if !form.trimmed("typed").eq_ignore_ascii_case(&domain) {
        return Ok(not_done(&Tab::Settings.path(&domain), "What was typed is not the name of the domain."));
    }
    match viewer.api().delete(&format!("/v3/domains/{}", segment(&domain))).await {
        Ok(_) => Ok(done("/sending/domains", format!("The domain {domain} is gone."))),
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Ok(not_done("/sending/domains", refusal.message)),
        Err(refusal) => Err(refusal),
    }
}
