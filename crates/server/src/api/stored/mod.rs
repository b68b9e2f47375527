//! `/v3/domains/{domain}/messages/{key}`: messages as they are kept, to be seen and to be sent once more.
//!
//! A message that all recipients got as it is has one key. Where each got a copy of its own, the key in its events names the
//! recipient too, and its copy is what is shown: made anew, as it was made when it was delivered.

mod json;
mod key;
mod operations;
mod resend;

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use smtp::{Address, Domain};
use store::{MessageSummary, StoredMessage};
use tokio::time::timeout;

pub(super) use self::json::url_of;
pub(super) use self::key::key_of;
pub(super) use self::operations::operations;
use super::App;
use super::events::words_for;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::url;
use super::limits::FORM_WAIT;
use crate::copies;

/// A kept message, or one recipient's copy of it.
struct Shown {
    message: MessageSummary,
    dkim: bool,
    tracking: Option<Value>,
    /// Header and body. Every line ends in CRLF; dots are not stuffed.
    content: Vec<u8>,
    /// Whom it went to.
    recipients: Vec<Address>,
    /// To, as people read it.
    to: String,
    subject: String,
    variables: Map<String, Value>,
    /// Each recipient has a copy, and this is none of them: its placeholders are not filled.
    is_template: bool,
}

impl Shown {
    fn of(stored: StoredMessage, recipient: Option<Address>) -> Result<Shown, ApiError> {
        let StoredMessage { message, dkim, copy_plan, copy, tracking, wire } = stored;
        let kept = smtp::data::from_wire(&wire);
        let content = match (&copy_plan, &copy) {
            (Some(plan), Some(copy)) => copies::render(plan, &kept, copy, tracking.is_some())
                .map_err(|error| ApiError::bad_request(error.to_string()))?,
            _ => kept.into_owned(),
        };
        let (subject, variables) = words_for(&message, copy.as_ref());
        Ok(Shown {
            is_template: copy_plan.is_some() && copy.is_none(),
            to: copy.map_or_else(|| message.header_to.clone(), |copy| copy.to),
            recipients: recipient.map_or_else(|| message.recipients.clone(), |recipient| vec![recipient]),
            message,
            dkim,
            tracking,
            content,
            subject,
            variables,
        })
    }
}

/// `GET`
async fn read(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let key = name(&names, "key").to_owned();
    let url = json::url_of(&url::base(app.public_url.as_ref(), &headers), &domain.name, &key);
    let whole = wants_whole(&headers);
    with_message(&app, &domain.name, &key, move |shown| {
        let answer = if whole { json::whole(&shown) } else { json::parts(&shown, &url)? };
        Ok(Json(answer).into_response())
    })
    .await
}

/// `GET …/attachments/{number}`
async fn attachment(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let number = name(&names, "number").parse::<usize>().map_err(|_| not_found())?;
    with_message(&app, &domain.name, name(&names, "key"), move |shown| {
        let file = message::read::file(&shown.content, number).map_err(|error| unreadable(&error))?;
        let (summary, content) = file.ok_or_else(not_found)?;
        Ok(download(&summary, content))
    })
    .await
}

/// A file that strangers to this server may have made: nobody's browser is to run it as a page of this server.
fn download(summary: &message::AttachmentSummary, content: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_str(&summary.content_type);
    let content_type = content_type.unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
    let filename = utf8_percent_encode(&summary.filename, NON_ALPHANUMERIC);
    let disposition = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{filename}"));
    let mut response = content.into_response();
    let headers = response.headers_mut();
    let fixed = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    let told = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or_else(|_| HeaderValue::from_static("attachment"))),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ];
    told.into_iter().for_each(|(name, value)| drop(headers.insert(name, value)));
    response
}

/// Works on the message of that key on a thread where it keeps nobody waiting, not many at the same time: each may be long.
async fn with_message<T: Send + 'static>(
    app: &App,
    domain: &Domain,
    key: &str,
    work: impl FnOnce(Shown) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let (key, recipient) = key::parse(key).ok_or_else(not_found)?;
    let turn = timeout(FORM_WAIT, app.readings.acquire()).await;
    let _turn = turn.map_err(|_| ApiError::unavailable())?.map_err(|_| ApiError::internal())?;
    let stored = app.store.stored_message(domain, key, recipient.as_ref()).await?.ok_or_else(not_found)?;
    let done = tokio::task::spawn_blocking(move || work(Shown::of(stored, recipient)?)).await;
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "reading a message failed");
        Err(ApiError::internal())
    })
}

/// Whether the client asks for the message in one piece.
fn wants_whole(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        ["message/rfc2822", "message/rfc822"].iter().any(|whole| kind.eq_ignore_ascii_case(whole))
    })
}

fn name<'a>(names: &'a HashMap<String, String>, name: &str) -> &'a str {
    names.get(name).map(String::as_str).unwrap_or_default()
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "Message not found")
}

fn unreadable(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a kept message cannot be read");
    ApiError::internal()
}
