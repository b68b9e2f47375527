//! Mailgun's HTTP API, as `docs/mailgun.md` describes it. Mailgun's words live here; inside, the field's terms.

mod access;
mod analytics;
#[cfg(test)]
mod coverage;
pub(crate) mod credentials;
mod dkim;
mod docs;
mod domains;
mod events;
mod health;
mod http;
mod keys;
pub(crate) mod limits;
mod openapi;
mod operation;
mod queue;
mod queues;
mod schema;
pub(crate) mod sending;
mod status;
mod stored;
mod suppressions;
mod templates;
mod tls;
mod tls_reports;
pub(crate) mod tracking;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use delivery::resolve::Dns;
use delivery::web::Web;
use store::Store;
use store::retention::Retention;
use tokio::sync::{Notify, Semaphore};
use url::Url;

use self::access::Demand;
pub(crate) use self::http::error::ApiError;
use self::http::form::MEMORY_UNITS;
use self::http::{auth, log};
use self::operation::{Access, Operation};
pub(crate) use self::webhooks::{new_signing_key, payload as notification, words as webhook_words};
use crate::config::Config;
use crate::sending_dns::SendingDns;
use crate::submission::password::Passwords;

#[cfg(test)]
pub(crate) use self::events::filters as event_filters;
pub(crate) use self::http::auth::Caller;
pub(crate) use self::http::log::log_request;
pub(crate) use self::http::time;

/// What the API works with.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) wake: Arc<Notify>,
    public_url: Option<Url>,
    sending_dns: SendingDns,
    /// Shared out among the forms that are in memory.
    memory: Arc<Semaphore>,
    /// Who may come in.
    door: Arc<auth::Door>,
    /// What strangers may upload.
    uploads: Arc<tls_reports::Gate>,
    /// Hashes passwords, for all who have any to hash.
    pub(crate) passwords: Arc<Passwords>,
    /// What recipients do.
    pub(crate) tracking: Arc<tracking::Tracker>,
    webhook_tester: webhooks::Tester,
    checker: tls::check::Checker,
    /// Who reads a whole message.
    readings: Arc<Semaphore>,
    /// What is kept of every domain at most.
    retention: Retention,
}

impl App {
    /// `wake` is notified whenever a message was accepted. `public_url` is where clients reach this server; without it
    /// links are made of what the client called us. `sending_dns` looks for the records of domains.
    pub fn new(store: Store, wake: Arc<Notify>, public_url: Option<Url>, sending_dns: SendingDns) -> App {
        let tracking = Arc::new(tracking::Tracker::new(public_url.clone()));
        App {
            store,
            wake,
            public_url,
            sending_dns,
            memory: Arc::new(Semaphore::new(MEMORY_UNITS)),
            door: Arc::default(),
            uploads: Arc::default(),
            passwords: Arc::default(),
            tracking,
            webhook_tester: webhooks::Tester::new(None),
            checker: tls::check::Checker::new(None),
            readings: Arc::new(Semaphore::new(limits::MESSAGES_READ_AT_ONCE)),
            retention: Config::default().retention(),
        }
    }

    /// Whether clients reach this server by https, as far as the configuration says.
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }

    /// With what is kept of every domain at most.
    pub fn keeping(self, retention: Retention) -> App {
        App { retention, ..self }
    }

    /// With links of its own public address for what recipients do.
    pub fn tracked_at(self, url: Option<Url>) -> App {
        match url {
            Some(url) => App { tracking: Arc::new(tracking::Tracker::new(Some(url))), ..self },
            None => self,
        }
    }

    /// With looks at destinations, by the settings and the DNS that deliveries have.
    pub fn looking_by(self, config: &Config, dns: Dns) -> App {
        App { checker: tls::check::Checker::new(Some((config.clone(), dns))), ..self }
    }

    /// With a client that reaches webhooks, for tests of them.
    pub fn with_webhook_client(self, web: Web) -> App {
        App { webhook_tester: webhooks::Tester::new(Some(web)), ..self }
    }
}

/// Everything that can be called: an area of the API on each line.
fn operations() -> Vec<Operation> {
    let areas = [
        ("sending", sending::operations()),
        ("sending", stored::operations()),
        ("sending", queues::operations()),
        ("queue", queue::operations()),
        ("templates", templates::operations()),
        ("events", events::operations()),
        ("analytics", analytics::operations()),
        ("domains", domains::operations()),
        ("suppressions", suppressions::operations()),
        ("domains", credentials::operations()),
        ("dkim", dkim::operations()),
        ("keys", keys::operations()),
        ("tls", tls::operations()),
        ("tls", tls_reports::operations()),
        ("tracking", tracking::operations()),
        ("webhooks", webhooks::operations()),
        ("health", health::operations()),
        ("health", status::operations()),
        ("health", openapi::operations()),
        ("health", docs::operations()),
    ];
    let areas = areas.into_iter().map(|(area, operations)| operations.into_iter().map(move |one| one.of_area(area)));
    areas.flatten().flat_map(Operation::with_twin).collect()
}

/// All routes. Everything but health and the description asks for an API key, before a body is read.
///
/// Serve it with connect info ([`axum::extract::ConnectInfo`]) to have the client's address in events.
pub fn router(app: App) -> Router {
    let (open, guarded): (Vec<_>, Vec<_>) = operations().into_iter().partition(|one| one.access == Access::Open);
    let add = |router: Router<App>, one: Operation| router.route(&one.path, one.handler);
    let guard = |one: Operation| {
        let guard = from_fn_with_state(Demand::of(&one), auth::authorize);
        Operation { handler: one.handler.route_layer(guard), ..one }
    };
    let guarded = guarded
        .into_iter()
        .map(guard)
        .fold(Router::new(), add)
        .fallback(|| async { ApiError::not_found("not found") })
        .method_not_allowed_fallback(|| async { ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed") })
        .layer(from_fn_with_state(app.clone(), auth::authenticate));
    open.into_iter()
        .fold(Router::new(), add)
        .merge(guarded)
        .layer(from_fn(log::close_after_refusal))
        .layer(from_fn(log::log_request))
        // Forms have limits of their own, with Mailgun's words.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}
