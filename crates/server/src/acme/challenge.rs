//! The answers to challenges (RFC 8555 §8.3), given at a listener of their own.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Most connections to the listener at the same time. Authorities look from several places, strangers at any time.
pub(crate) const CONNECTIONS: usize = 64;

/// What is answered, by token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Arc<RwLock<HashMap<String, String>>>);

impl Answers {
    /// Answers for a token until [`Answers::clear`].
    pub(super) fn put(&self, token: String, answer: String) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(token, answer);
    }

    /// Answers nothing more.
    pub(super) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn get(&self, token: &str) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

/// The answers, and nothing else.
pub(crate) fn router(answers: Answers) -> Router {
    Router::new().route("/.well-known/acme-challenge/{token}", get(answer)).with_state(answers)
}

async fn answer(State(answers): State<Answers>, Path(token): Path<String>) -> Response {
    match answers.get(&token) {
        Some(answer) => ([(CONTENT_TYPE, "application/octet-stream")], answer).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
