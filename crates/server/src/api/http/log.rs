//! What surrounds every request: a line in the log, and how refusals end.
//!
//! One line per request. No bodies, no keys, and the route instead of the path, since a path may hold an address.

use std::time::Instant;

use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::auth::Caller;

pub(crate) async fn log_request(request: Request, next: Next) -> Response {
    // What a page of the control panel asks for is told by the line of the page.
    if request.extensions().get::<Caller>().is_some() {
        return next.run(request).await;
    }
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let (status, elapsed_ms) = (response.status().as_u16(), started.elapsed().as_millis());
    if response.status().is_server_error() {
        tracing::warn!(%method, route, status, elapsed_ms, "request failed");
    } else {
        tracing::info!(%method, route, status, elapsed_ms, "request");
    }
    response
}

/// Says that the connection ends where a request was refused that has a body.
///
/// Much of the body may not have been read by then, and the connection cannot be used again. A client that is not told
/// sends its next request into the void.
pub(crate) async fn close_after_refusal(request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let mut response = next.run(request).await;
    if has_body && !response.status().is_success() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
