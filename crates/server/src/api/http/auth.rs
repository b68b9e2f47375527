//! Who may call: HTTP Basic, user `api`, password an API key. It is settled before anything of the body is read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp::Domain;
use store::user::User;
use store::{ApiKey, KeyHash, KeyRole, KeyScope, Timestamp};

use super::attempts::Attempts;
use super::domain::domain_not_found;
use super::error::ApiError;
use crate::api::App;
use crate::api::access::Demand;

/// What the door remembers.
#[derive(Debug, Default)]
pub(crate) struct Door {
    attempts: Attempts,
}

/// The key that a request was made with. Every handler behind the door can have it.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Arc<ApiKey>);

impl Caller {
    /// A user of the control panel, who may do what a key may that has no other end: all of the account, or everything
    /// within one domain.
    pub(crate) fn of_user(user: &User) -> Caller {
        let (scope, role) = match user.role.domain() {
            None => (KeyScope::Account, KeyRole::Admin),
            Some(domain) => (KeyScope::Domain(domain.clone()), KeyRole::Developer),
        };
        Caller(Arc::new(ApiKey {
            // No key has this number.
            id: 0,
            description: user.name.clone(),
            hint: String::new(),
            scope,
            role,
            expires_at: None,
            created_at: user.created_at,
        }))
    }

    /// The key's id in the store.
    pub(crate) fn key_id(&self) -> i64 {
        self.0.id
    }

    /// The one domain that the key opens; `None` is all of them.
    pub(crate) fn domain(&self) -> Option<&Domain> {
        self.0.scope.domain()
    }

    /// The domain that a listing is to be limited to, where the request asks for `asked`.
    ///
    /// A key of a domain that asks for another one is told that there is none, whether there is or not.
    pub(crate) fn narrow(&self, asked: Option<Domain>) -> Result<Option<Domain>, ApiError> {
        match (self.domain(), asked) {
            (None, asked) => Ok(asked),
            (Some(own), Some(asked)) if *own != asked => Err(domain_not_found(asked.as_str())),
            (Some(own), _) => Ok(Some(own.clone())),
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(ApiError::forbidden)
    }
}

/// Lets a request with a good key through and answers every other one with 401, or 429 where too many were wrong. Whom the
/// control panel knows needs no key; only this process can say so.
pub(crate) async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if request.extensions().get::<Caller>().is_some() {
        return next.run(request).await;
    }
    let refusal = refusal_for(request.uri().path());
    let Some(key) = key_of(request.headers()) else { return refusal.into_response() };
    let hash = KeyHash::of(&key);
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
    // Every key is looked up, which costs little: many clients may share an address, as behind a proxy, and one that
    // guesses keeps none of them out.
    // The store compares hashes only, so the time that a comparison takes tells nothing about a key.
    match app.store.find_key(&hash).await {
        Ok(Some(found)) if !found.is_expired(Timestamp::now()) => {
            request.extensions_mut().insert(Caller(Arc::new(found)));
            next.run(request).await
        }
        Ok(_) => match address.and_then(|address| app.door.attempts.count(address, Instant::now())) {
            None => refusal.into_response(),
            Some(wait) => {
                let words = "too many wrong API keys from this address, try again later";
                ApiError::new(StatusCode::TOO_MANY_REQUESTS, words).retry_after(wait).into_response()
            }
        },
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Lets a request through whose key may do this, here.
///
/// A key of a domain gets the same answer for every other domain, whether there is one or not.
pub(crate) async fn authorize(
    State(demand): State<Demand>,
    names: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = request.extensions().get::<Caller>().ok_or_else(ApiError::forbidden)?;
    if !demand.is_met_by(caller.0.role, &caller.0.scope) {
        let refusal = ApiError::new(StatusCode::FORBIDDEN, "Forbidden");
        return Err(refusal.because("this API key may not do this"));
    }
    if let Some(own) = caller.domain() {
        let names = names.map_err(|_| super::domain::not_found(request.uri().path(), ""))?;
        let named = names.iter().find(|(name, _)| *name == "domain").map(|(_, value)| value);
        if let Some(named) = named.filter(|named| named.parse::<Domain>().as_ref() != Ok(own)) {
            return Err(super::domain::not_found(request.uri().path(), named));
        }
    }
    Ok(next.run(request).await)
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
