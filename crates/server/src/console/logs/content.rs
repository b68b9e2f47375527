//! What was sent, as text: nothing of a message is ever run or loaded.

use axum::extract::Query;
use axum::response::Response;
use maud::html;
use serde::Deserialize;
use serde_json::Value;

use crate::console::client::{Refusal, segment};
use crate::console::json::Look;
use crate::console::layout::{Page, Section};
use crate::console::parts::{cut, shown, shown_lines, table};
use crate::console::session::Viewer;

/// Most characters of a line, and of a field.
const LINE: usize = 2000;
/// Most octets of a body that are shown.
const BODY_OCTETS: usize = 64 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    domain: String,
    key: String,
}

pub(super) async fn page(viewer: Viewer, Query(which): Query<Which>) -> Result<Response, Refusal> {
    let path = format!("/v3/domains/{}/messages/{}", segment(&which.domain), segment(&which.key));
    let message = viewer.api().get(&path).await?;
    let fields = message.items("/message-headers").iter().map(|field| {
        let text = |index: usize| field.get(index).and_then(Value::as_str).unwrap_or_default();
        vec![html! { (shown(text(0), 200)) }, html! { code { (shown(text(1), LINE)) } }]
    });
    let files = message.items("/attachments").iter().map(|file| {
        let (name, kind) = (shown(file.text("/name"), 200), shown(file.text("/content-type"), 100));
        vec![html! { (name) }, html! { (kind) }, html! { (file.number("/size")) }]
    });
    let body = html! {
        (table("Header fields", &["Field", "Value"], fields))
        @for (title, name) in [("Plain text", "/body-plain"), ("HTML, as it is written", "/body-html")] {
            @let text = message.text(name);
            @if !text.is_empty() {
                h2 { (title) }
                pre tabindex="0" { (begin(text)) }
                @if text.len() > BODY_OCTETS { p.hint { "This is the beginning; it goes on for " (text.len()) " octets." } }
            }
        }
        @if !message.items("/attachments").is_empty() {
            h2 { "Attachments" }
            (table("Attachments", &["Name", "Type", "Octets"], files))
        }
    };
    let title = shown(message.text("/subject"), 150);
    let title = if title.is_empty() { "(no subject)" } else { &title };
    Ok(viewer.show(Page::new(title, Section::Logs, body).below("Logs", "/logs")))
}

fn begin(text: &str) -> String {
    shown_lines(cut(text, BODY_OCTETS), LINE)
}
