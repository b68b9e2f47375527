//! The API, called in the same process with the rights of a user.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::form_urlencoded;

use super::limits::ANSWER_OCTETS;
use crate::api::Caller;

/// What a name is written with in a path (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Writes a name so that it is one segment of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// Writes parameters behind a path, without those that are empty.
pub(super) fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Why the API did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status that it answered with.
    pub(super) status: StatusCode,
    /// Its words; they name the field.
    pub(super) message: String,
}

impl Refusal {
    /// A refusal of our own.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into() }
    }

    /// Whether it is the request that is wrong, so that who wrote it may mend it.
    pub(super) fn is_of_request(&self) -> bool {
        self.status.is_client_error() && self.status != StatusCode::FORBIDDEN
    }
}

impl From<store::StoreError> for Refusal {
    fn from(error: store::StoreError) -> Refusal {
        tracing::error!(%error, "the store refused an operation");
        let words = "Temporarily unavailable. Nothing was done; try again later.";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }
}

/// A client with the rights of one user.
#[derive(Debug, Clone)]
pub(super) struct Client {
    api: TowerToHyperService<Router>,
    caller: Caller,
    peer: Option<SocketAddr>,
    /// What the browser calls this server; links in answers begin with it.
    host: Option<HeaderValue>,
}

impl Client {
    /// Calls as `caller` what the browser called with this head.
    pub(super) fn new(api: TowerToHyperService<Router>, caller: Caller, head: &Parts) -> Client {
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        Client { api, caller, peer, host: head.headers.get(header::HOST).cloned() }
    }

    /// Where the browser is.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// `GET`. The path has its query.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.call(Method::GET, path, None).await
    }

    /// Any method, with a form.
    pub(super) async fn form(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Result<Value, Refusal> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.call(method, path, Some(("application/x-www-form-urlencoded", form))).await
    }

    /// `POST` with a form.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value, Refusal> {
        self.form(Method::POST, path, fields).await
    }

    /// `PUT` with a form.
    pub(super) async fn put(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value, Refusal> {
        self.form(Method::PUT, path, fields).await
    }

    /// `DELETE` without a body.
    pub(super) async fn delete(&self, path: &str) -> Result<Value, Refusal> {
        self.call(Method::DELETE, path, None).await
    }

    /// `POST` with JSON.
    pub(super) async fn post_json(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.call(Method::POST, path, Some(("application/json", body.to_string()))).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Result<Value, Refusal> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some((kind, body)) = &body {
            request = request.header(header::CONTENT_TYPE, *kind).header(header::CONTENT_LENGTH, body.len());
        }
        if let Some(host) = &self.host {
            request = request.header(header::HOST, host);
        }
        let body = body.map_or_else(Body::empty, |(_, body)| Body::from(body));
        let unwritable = |_| Refusal::new(StatusCode::BAD_REQUEST, "The address of this page is not valid.");
        let mut request = request.body(body).map_err(unwritable)?;
        request.extensions_mut().insert(self.caller.clone());
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let Ok(response) = self.api.call(request).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), ANSWER_OCTETS).await;
        let too_long = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "The answer is too long to be shown.");
        read(status, &body.map_err(too_long)?)
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, Refusal> {
    let text = || String::from_utf8_lossy(body).into_owned();
    let json = serde_json::from_slice(body).unwrap_or_else(|_| Value::String(text()));
    if status.is_success() {
        return Ok(json);
    }
    let words = |name: &str| json.get(name).and_then(Value::as_str);
    let message = match (words("message"), words("detail")) {
        (Some(message), Some(detail)) => format!("{message} ({detail})"),
        (Some(message), None) => message.to_owned(),
        (None, _) => text(),
    };
    Err(Refusal { status, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment_and_empty_parameters_go() {
        assert_eq!(segment("a/b c?d#é%"), "a%2Fb%20c%3Fd%23%C3%A9%25");
        assert_eq!(with_query("/x", &[("a", "1 2"), ("b", ""), ("c", "&=")]), "/x?a=1+2&c=%26%3D");
        assert_eq!(with_query("/x", &[("a", "")]), "/x");
    }

    #[test]
    fn refusals_have_the_words_of_the_api() {
        let refusal = |body: &str| read(StatusCode::BAD_REQUEST, body.as_bytes()).unwrap_err().message;
        assert_eq!(refusal(r#"{"message":"no"}"#), "no");
        assert_eq!(refusal(r#"{"message":"no","detail":"why"}"#), "no (why)");
        assert_eq!(refusal("Forbidden"), "Forbidden");
        assert_eq!(read(StatusCode::OK, b"[1]").unwrap()[0], 1);
    }
}
