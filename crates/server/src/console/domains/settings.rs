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
use crate::console::session::{Submitted, Viewer};

/// How long things are kept, and how many: the API's names, and what they are called.
const RETENTION: [(&str, &str, &str); 4] = [
    ("message_ttl", "Days that the content of messages is kept", "3"),
    ("event_retention", "Days that events are kept", "30"),
    ("event_limit", "Most events", "no limit"),
    ("message_limit", "Most octets of content", "no limit"),
];
const DAY: f64 = 86_400.0;

/// Whether the API counts it in seconds, where people count days.
fn is_time(name: &str) -> bool {
    matches!(name, "message_ttl" | "event_retention")
}

/// A limit as it is typed.
fn kept(about: &Value, name: &str) -> String {
    match about.float(&format!("/domain/{name}")) {
        Some(seconds) if is_time(name) => format!("{}", (seconds / DAY * 100.0).round() / 100.0),
        Some(number) => format!("{number}"),
        None => String::new(),
    }
}

/// What is typed as the API takes it.
fn limit(name: &str, typed: &str) -> String {
    match (typed.trim(), is_time(name)) {
        ("", _) => "default".to_owned(),
        (days, true) => days.parse::<f64>().map_or(days.to_owned(), |days| format!("{:.0}", days * DAY)),
        (number, false) => number.to_owned(),
    }
}

pub(super) async fn keep(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let path = Tab::Settings.path(&domain);
    let values = RETENTION.map(|(name, ..)| (name, limit(name, form.get(name))));
    let fields = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    let set = viewer.api().put(&format!("/v4/domains/{}", segment(&domain)), &fields).await;
    match set {
        Ok(_) => Ok(done(&path, "Saved. What is older, or more, goes within the hour.")),
        Err(refusal) if refusal.is_of_request() => Ok(not_done(&path, refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn page(viewer: Viewer, Path(domain): Path<String>) -> Result<Response, Refusal> {
    let about = viewer.api().get(&format!("/v4/domains/{}", segment(&domain))).await?;
    let tracking = viewer.api().get(&format!("/v3/domains/{}/tracking", segment(&domain))).await?;
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
            (viewer.form(&format!("{path}/retention"), html! {
                @for (name, label, example) in RETENTION {
                    label for=(name) { (label) }
                    input id=(name) name=(name) value=(kept(&about, name)) inputmode="decimal" placeholder=(example) autocomplete="off";
                }
                p.hint { "Empty: what holds for all domains." }
                button type="submit" { "Save" }
            }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn people_count_days_where_the_api_counts_seconds() {
        let about = json!({ "domain": { "message_ttl": 259_200, "event_retention": 43_200, "event_limit": 5, "message_limit": null } });
        assert_eq!(RETENTION.map(|(name, ..)| kept(&about, name)), ["3", "0.5", "5", ""]);
        for (name, typed, given) in [
            ("message_ttl", " 3 ", "259200"),
            ("event_retention", "0.5", "43200"),
            ("event_retention", "", "default"),
            ("event_limit", "5", "5"),
            ("message_ttl", "soon", "soon"),
        ] {
            assert_eq!(limit(name, typed), given, "{name} {typed}");
        }
    }
}
