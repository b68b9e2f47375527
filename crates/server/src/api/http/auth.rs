//! Who may call: HTTP Basic, user `api`, password an API key. It is settled before anything of the body is read.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use store::KeyHash;

use super::error::ApiError;
use crate::api::App;

/// The key that a request was made with, put into its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The key's id in the store.
    pub(crate) key_id: i64,
}

/// Lets a request with a known key through and answers every other one with 401.
pub(crate) async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let refusal = refusal_for(request.uri().path());
    let Some(key) = key_of(request.headers()) else { return refusal.into_response() };
    // The store compares hashes only, so the time that a comparison takes tells nothing about a key.
    match app.store.find_key(&KeyHash::of(&key)).await {
        Ok(Some(found)) => {
            request.extensions_mut().insert(Caller { key_id: found.id });
            next.run(request).await
        }
        Ok(None) => refusal.into_response(),
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// The password, if the user is `api` (RFC 7617 §2).
fn key_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || credentials.len() > 1024 {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, key) = decoded.split_once(':')?;
    (user == "api" && !key.is_empty()).then(|| key.to_owned())
}

/// Mailgun refuses with a bare word where messages are sent and events are read, in JSON where domains are managed.
fn refusal_for(path: &str) -> ApiError {
    if is_about_domains(path) { ApiError::invalid_key() } else { ApiError::forbidden() }
}

/// Whether the path is one of `/v3/domains…` or `/v4/domains…`.
pub(crate) fn is_about_domains(path: &str) -> bool {
    path.split('/').nth(2) == Some("domains")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_basic_credentials_of_the_user_api() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (header, key) in [
            (basic("api:key-1"), Some("key-1")),
            (basic("api:with:colon"), Some("with:colon")),
            (basic("api:key-1").replace("Basic", "basic"), Some("key-1")),
            (basic("root:key-1"), None),
            (basic("api:"), None),
            (basic("api"), None),
            ("Basic !!!".to_owned(), None),
            ("Bearer key-1".to_owned(), None),
            (String::new(), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, header.parse().unwrap());
            assert_eq!(key_of(&headers).as_deref(), key, "{header}");
        }
    }

    #[test]
    fn the_refusal_is_the_one_of_the_endpoint() {
        for path in ["/v3/example.com/messages", "/v3/example.com/messages.mime", "/v3/example.com/events/x", "/x"] {
            assert_eq!(refusal_for(path), ApiError::forbidden(), "{path}");
        }
        for path in ["/v3/domains", "/v4/domains", "/v4/domains/example.com", "/v3/domains/example.com/connection"] {
            assert_eq!(refusal_for(path), ApiError::invalid_key(), "{path}");
        }
    }
}
