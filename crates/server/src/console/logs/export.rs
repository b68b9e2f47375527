//! All events of a list in a file, as CSV or as JSON lines: page by page, as fast as the client reads.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::mpsc;
use url::form_urlencoded;

use super::filters::Filters;
use crate::console::client::{Refusal, with_query};
use crate::console::json::Look;
use crate::console::limits::EXPORT_EVENTS;
use crate::console::session::Viewer;

/// Events that are asked for at a time: the most that the API gives.
const PAGE: &str = "300";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

pub(super) async fn export(viewer: Viewer, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "format").map(|(_, value)| value);
    let (format, kind, name) = match named.as_deref() {
        Some("csv") => (Format::Csv, "text/csv; charset=utf-8", "events.csv"),
        Some("jsonl") => (Format::JsonLines, "application/jsonl", "events.jsonl"),
        _ => return Err(Refusal::new(StatusCode::BAD_REQUEST, "'format' is neither csv nor jsonl.")),
    };
    let busy = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Too many exports are running. Try again in a moment.");
    let turn = viewer.console.0.exports.clone().try_acquire_owned().map_err(|_| busy())?;
    let filters = Filters::of(&query);
    // The first page is asked for here: what is wrong with the filters is said, not written into a file.
    let first = viewer.api().get(&filters.request(PAGE)).await?;
    let (pages, body) = mpsc::channel(1);
    tokio::spawn(async move {
        write(viewer, filters, first, format, pages).await;
        drop(turn);
    });
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, Body::new(Pages(body))).into_response())
}

/// Writes page after page until there are no more, or nobody reads.
async fn write(viewer: Viewer, filters: Filters, first: Value, format: Format, pages: mpsc::Sender<Bytes>) {
    let mut answer = first;
    let mut written = 0;
    if format == Format::Csv && pages.send(line(&COLUMNS.map(|(name, _)| name.to_owned()))).await.is_err() {
        return;
    }
    loop {
        let events = answer.items("/items");
        written += events.len();
        let text: Vec<Bytes> = events.iter().map(|event| one(event, format)).collect();
        if events.is_empty() || pages.send(text.concat().into()).await.is_err() || written >= EXPORT_EVENTS {
            return;
        }
        let next = answer.text("/paging/next").split_once("page=").map(|(_, token)| token.to_owned());
        let path = with_query("/v1/events", &[("domain", filters.get("domain")), ("page", &next.unwrap_or_default())]);
        match viewer.api().get(&path).await {
            Ok(page) => answer = page,
            Err(refusal) => {
                tracing::warn!(status = refusal.status.as_u16(), "an export ended before its end");
                return;
            }
        }
    }
}

fn one(event: &Value, format: Format) -> Bytes {
    match format {
        Format::JsonLines => format!("{event}\n").into(),
        Format::Csv => line(&COLUMNS.map(|(_, at)| cell(event, at))),
    }
}

/// The columns, and where their values stand in an event.
const COLUMNS: [(&str, &str); 21] = [
    ("timestamp", "/timestamp"),
    ("domain", "/domain/name"),
    ("event", "/event"),
    ("severity", "/severity"),
    ("reason", "/reason"),
    ("recipient", "/recipient"),
    ("from", "/message/headers/from"),
    ("subject", "/message/headers/subject"),
    ("message-id", "/message/headers/message-id"),
    ("tls", "/delivery-status/tls"),
    ("certificate-verified", "/delivery-status/certificate-verified"),
    ("mx-host", "/delivery-status/mx-host"),
    ("code", "/delivery-status/code"),
    ("message", "/delivery-status/message"),
    ("attempt-no", "/delivery-status/attempt-no"),
    ("tls-version", "/delivery-status/tls-details/version"),
    ("cipher", "/delivery-status/tls-details/cipher"),
    ("key-exchange", "/delivery-status/tls-details/key-exchange"),
    ("verification", "/delivery-status/tls-details/verification"),
    ("fallback", "/delivery-status/tls-details/fallback"),
    ("id", "/id"),
];

fn cell(event: &Value, at: &str) -> String {
    match event.pointer(at) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => harmless(text),
        Some(value) => value.to_string(),
    }
}

/// Programs for tables take a text that begins so for a formula, and strangers write some of these texts.
fn harmless(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

fn line(cells: &[String]) -> Bytes {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default().into()
}

/// A body of pages that come one by one.
struct Pages(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|page| page.map(|page| Ok(Frame::data(page))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_holds_no_formula_and_no_line_break_of_its_own() {
        let event = json!({ "event": "failed", "message": { "headers": { "subject": "=1+1,\"x\"\nb" } }, "delivery-status": { "tls": false, "code": 550 } });
        let text = String::from_utf8(one(&event, Format::Csv).to_vec()).unwrap();
        assert_eq!(text, ",,failed,,,,,\"'=1+1,\"\"x\"\"\nb\",,false,,,550,,,,,,,,\r\n");
        let json = String::from_utf8(one(&event, Format::JsonLines).to_vec()).unwrap();
        assert_eq!(json.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), event);
    }
}
