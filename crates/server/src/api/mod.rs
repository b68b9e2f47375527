//! Mailgun's HTTP API, as `docs/mailgun.md` describes it. Mailgun's words live here; inside, the field's terms.

mod domains;
mod events;
mod http;
mod limits;
mod openapi;
mod sending;
mod tls;
mod tls_reports;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post, put};
use store::Store;
use tokio::sync::{Notify, Semaphore};
use url::Url;

use self::http::error::ApiError;
use self::http::form::MEMORY_UNITS;
use self::http::{auth, log};

/// What the API works with.
#[derive(Debug, Clone)]
pub struct App {
    store: Store,
    wake: Arc<Notify>,
    public_url: Option<Url>,
    /// Shared out among the forms that are in memory.
    memory: Arc<Semaphore>,
    /// What strangers may upload.
    uploads: Arc<tls_reports::Gate>,
}

impl App {
    /// `wake` is notified whenever a message was accepted. `public_url` is where clients reach this server; without it
    /// links are made of what the client called us.
    pub fn new(store: Store, wake: Arc<Notify>, public_url: Option<Url>) -> App {
        App { store, wake, public_url, memory: Arc::new(Semaphore::new(MEMORY_UNITS)), uploads: Arc::default() }
    }
}

/// A path and what it answers to.
type Route = (String, MethodRouter<App>);

/// The routes that ask for an API key. Each is described in `openapi.json`.
fn routes() -> Vec<Route> {
    let mut routes = vec![
        ("/v3/{domain}/messages".to_owned(), post(sending::messages)),
        ("/v3/{domain}/messages.mime".to_owned(), post(sending::messages_mime)),
        ("/v3/{domain}/events".to_owned(), get(events::list)),
        ("/v3/{domain}/events/{token}".to_owned(), get(events::page)),
        ("/v1/tls/destinations".to_owned(), get(tls::destinations)),
        ("/v1/tls/what-if".to_owned(), get(tls::what_if)),
        ("/v1/tls/reports".to_owned(), get(tls_reports::received)),
        ("/v1/tls/reports/sent".to_owned(), get(tls_reports::sent)),
    ];
    // Clients disagree on the version of each, so every path has a twin.
    for version in ["/v3", "/v4"] {
        let path = |rest: &str| format!("{version}/domains{rest}");
        let domain = get(domains::read).put(domains::update).delete(domains::delete);
        let connection = get(domains::read_connection).put(domains::update_connection);
        routes.extend([
            (path(""), get(domains::list).post(domains::create)),
            (path("/{domain}"), domain),
            (path("/{domain}/verify"), put(domains::verify)),
            (path("/{domain}/connection"), connection),
        ]);
    }
    routes
}

/// The routes that answer without a key; described in `openapi.json` too.
fn open_routes() -> Vec<Route> {
    vec![
        ("/healthz".to_owned(), get(|| async { "ok" })),
        ("/readyz".to_owned(), get(ready)),
        ("/openapi.json".to_owned(), get(openapi::document)),
        ("/v1/tls/reports/upload".to_owned(), post(tls_reports::upload)),
    ]
}

/// All routes. Everything but health and the description asks for an API key, before a body is read.
///
/// Serve it with connect info ([`axum::extract::ConnectInfo`]) to have the client's address in events.
pub fn router(app: App) -> Router {
    let with = |router: Router<App>, (path, answers): Route| router.route(&path, answers);
    let guarded = routes()
        .into_iter()
        .fold(Router::new(), with)
        .fallback(|| async { ApiError::not_found("not found") })
        .method_not_allowed_fallback(|| async { ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed") })
        .layer(from_fn_with_state(app.clone(), auth::authenticate));
    open_routes()
        .into_iter()
        .fold(Router::new(), with)
        .merge(guarded)
        .layer(from_fn(log::close_after_refusal))
        .layer(from_fn(log::log_request))
        // Forms have limits of their own, with Mailgun's words.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// Whether the store answers.
async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    app.store.has_keys().await?;
    Ok("ok")
}
