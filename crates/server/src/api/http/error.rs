//! Refusals as the API tells them: a status and `{"message": …}`.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use store::StoreError;

/// An answer in JSON.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0.to_string()).into_response()
    }
}

/// Why a request was not carried out, in words for its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    /// What exactly is wrong, where `message` is a fixed text that clients may compare.
    detail: Option<String>,
    /// The body is the bare message instead of JSON.
    bare: bool,
    /// Mailgun's own name for `message` on some endpoints; clients read either.
    also: Option<&'static str>,
    /// When it may be tried again, in seconds.
    retry_after: Option<u64>,
}

impl ApiError {
    /// An error of this status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), detail: None, bare: false, retry_after: None, also: None }
    }

    /// The request says something that cannot be done.
    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// What the request names does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, message)
    }

    /// More than a limit allows.
    pub(crate) fn too_large(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// The server cannot do it now; nothing was kept.
    pub(crate) fn unavailable() -> ApiError {
        let words = "temporarily unavailable, nothing was done, try again later";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, words).retry_after(Duration::from_secs(10))
    }

    /// A fault of our own; the log has it.
    pub(crate) fn internal() -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }

    /// No or a wrong API key, on endpoints where Mailgun answers with a bare word.
    pub(crate) fn forbidden() -> ApiError {
        ApiError { bare: true, ..ApiError::new(StatusCode::UNAUTHORIZED, "Forbidden") }
    }

    /// No or a wrong API key, elsewhere.
    pub(crate) fn invalid_key() -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, "Invalid private key")
    }

    /// Adds what exactly is wrong.
    pub(crate) fn because(self, detail: impl ToString) -> ApiError {
        ApiError { detail: Some(detail.to_string()), ..self }
    }

    /// Tells the message under another name too.
    pub(crate) fn told_as(self, name: &'static str) -> ApiError {
        ApiError { also: Some(name), ..self }
    }

    /// What is wrong, in a line, for those who are not asked over HTTP.
    pub(crate) fn text(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{} ({detail})", self.message),
            None => self.message.clone(),
        }
    }

    /// Whether more was given than a limit allows.
    pub(crate) fn is_too_large(&self) -> bool {
        self.status == StatusCode::PAYLOAD_TOO_LARGE
    }

    /// Whether the same may be taken later.
    pub(crate) fn is_for_now(&self) -> bool {
        self.status.is_server_error()
    }

    /// Says when it may be tried again.
    pub(crate) fn retry_after(self, wait: Duration) -> ApiError {
        ApiError { retry_after: Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)), ..self }
    }

    /// The text of the error.
    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<StoreError> for ApiError {
    /// What the store refuses is logged; the client learns whether it may try again, never a path or a statement.
    fn from(error: StoreError) -> ApiError {
        match error {
            StoreError::Invalid(text) => ApiError::bad_request(text),
            StoreError::TooSlow => ApiError::bad_request(error.to_string()),
            error => {
                tracing::error!(%error, "the store refused an operation");
                ApiError::unavailable()
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "message": self.message });
        if let Some(name) = self.also {
            body[name] = body["message"].clone();
        }
        if let Some(detail) = self.detail {
            body["detail"] = detail.into();
        }
        let mut response = if self.bare { self.message.into_response() } else { Json(body).into_response() };
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"API key\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
