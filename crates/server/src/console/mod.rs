//! The control panel: pages for people, served at `/` by the same program.
//!
//! It is a client of our own API in the same process ([`client`], docs/decisions/0020): a page reads the JSON that any
//! client gets, with the rights that the signed-in user has there, and writes HTML. So what can be seen and changed is
//! decided in one place, and whatever a page shows can be had by a program too.
//!
//! - [`session`] knows who is looking; [`door`] lets people in: the first user, sign in, sign out.
//! - [`layout`] is what surrounds every page, [`parts`] what pages are made of, [`json`] how they read answers.
//! - Each page is a file that lists its routes.

mod account;
mod assets;
mod attention;
mod chart;
mod client;
mod destinations;
mod domains;
mod door;
mod json;
mod keys;
mod layout;
mod limits;
mod logs;
mod overview;
mod parts;
mod period;
mod queue;
mod reports;
mod session;
mod test_message;
mod users;
mod webhooks;

pub(crate) use self::users::{check_name as check_user_name, check_new as check_new_password};

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use hyper_util::service::TowerToHyperService;
use store::{KeyHash, Store, StoreError};
use tokio::sync::Semaphore;

use crate::api::{self, App, log_request};
use crate::config::Secret;
use crate::submission::guard::Guard;
use crate::submission::password::Passwords;

/// What the control panel works with.
#[derive(Debug, Clone)]
pub struct Console(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    api: TowerToHyperService<Router>,
    passwords: Arc<Passwords>,
    /// Who may try a password.
    guard: Guard,
    /// What the link has that makes the first user.
    setup: Mutex<Option<KeyHash>>,
    /// What was found in events that needs somebody.
    found: attention::Found,
    /// Files of events that are being written.
    exports: Arc<Semaphore>,
    /// Browsers reach us by https.
    is_https: bool,
}

impl Console {
    /// The panel of this API.
    pub fn new(app: &App) -> Console {
        Console(Arc::new(Inner {
            store: app.store.clone(),
            api: TowerToHyperService::new(api::router(app.clone())),
            passwords: app.passwords.clone(),
            guard: Guard::default(),
            setup: Mutex::default(),
            found: attention::Found::default(),
            exports: Arc::new(Semaphore::new(limits::EXPORTS)),
            is_https: app.is_https(),
        }))
    }

    /// Where the first user is made, below the address of the server; `None` when there is a user. Each call makes
    /// another, and the one before leads nowhere.
    pub async fn open_setup(&self) -> Result<Option<String>, StoreError> {
        if self.0.store.has_users().await? {
            return Ok(None);
        }
        let Some(token) = session::random() else { return Ok(None) };
        *self.setup() = Some(KeyHash::of(token.expose()));
        Ok(Some(format!("/setup?token={}", token.expose())))
    }

    fn setup(&self) -> std::sync::MutexGuard<'_, Option<KeyHash>> {
        self.0.setup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is what the link has.
    fn opens_setup(&self, token: &Secret) -> bool {
        *self.setup() == Some(KeyHash::of(token.expose()))
    }
}

/// The API, and the control panel beside it. Serve it as [`api::router`].
pub fn router(app: App, console: Console) -> Router {
    let pages = Router::new()
        .merge(overview::routes())
        .merge(logs::routes())
        .merge(test_message::routes())
        .merge(domains::routes())
        .merge(keys::routes())
        .merge(webhooks::routes())
        .merge(destinations::routes())
        .merge(queue::routes())
        .merge(reports::routes())
        .merge(account::routes())
        .merge(users::routes())
        .merge(door::routes())
        .merge(assets::routes())
        .layer(from_fn(guarded))
        .layer(from_fn(log_request))
        .layer(DefaultBodyLimit::max(limits::FORM_OCTETS))
        .with_state(console);
    api::router(app).merge(pages)
}

/// Nothing is loaded from elsewhere, framed, or written into the page; what a page shows is kept nowhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
    frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds the headers that browsers guard a page by, where the page does not say otherwise.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // Without a referrer at all a form would come from nowhere (`Origin: null`).
    let headers: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
