//! Tells webhooks of events.
//!
//! Events are read from the store, as the events API reads them; whoever delivers mail knows nothing of it. [`Webhooks`]
//! is the task that looks what is new and wakes those whom it concerns. Each webhook has an [`endpoint`] of its own, which
//! goes along the list of events from where it was, tells in that order, and keeps what is to be told again.
//!
//! - At least once: a place is moved past an event only when that was taken, is unwanted, or was set aside. After a crash
//!   what was told in the last second or so is told again.
//! - Nobody waits for another: an endpoint that failed or was slow shares its connections with its like and with nobody
//!   else, and has one at a time.

mod endpoint;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery::resolve::Dns;
use delivery::tls::TlsEngine;
use delivery::web::Web;
use policy::retry::Schedule;
use smtp::Domain;
use store::webhook::{Subject, Webhook, WebhookId, WebhooksOf};
use store::{Store, StoreError, Timestamp};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use self::endpoint::Endpoint;
pub(crate) use self::endpoint::place;
use crate::api::new_signing_key;
use crate::config::Config;
use crate::queue::{ClientError, roots_of};

/// Most notifications under way at the same time to those who answer well.
const CONNECTIONS: usize = 256;
/// The same for those who failed or were slow when they were told last.
const CONNECTIONS_OF_TROUBLED: usize = 64;
/// How long one address may take for TCP and TLS.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// What the time is. Tests have their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How telling goes about.
#[derive(Clone)]
pub struct Options {
    /// When it is told again.
    pub schedule: Schedule,
    /// How often one looks for events.
    pub look_every: Duration,
    /// How long one notification may take in all.
    pub patience: Duration,
    /// How long notifications may still run once the server stops.
    pub grace: Duration,
    /// Where clients reach this server, without a slash at the end: links start with it.
    pub base: String,
    /// What the time is.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            schedule: policy::webhook::schedule(),
            look_every: Duration::from_millis(500),
            patience: Duration::from_secs(15),
            grace: Duration::from_secs(15),
            base: "http://localhost".to_owned(),
            clock: Arc::new(Timestamp::now),
        }
    }
}

/// The client that reaches webhooks. Must be called within a tokio runtime.
///
/// # Errors
/// When the trusted roots cannot be used.
pub fn web_of(config: &Config) -> Result<Web, ClientError> {
    let dns = Dns::new(config.resolver);
    let tls = TlsEngine::new(roots_of(config)?)?;
    let allowed = config.webhook_allow_networks.clone();
    Ok(Web::new(dns, &tls, allowed, "webhook_allow_networks", CONNECT_PATIENCE))
}

/// What all endpoints share.
struct Shared {
    store: Store,
    web: Web,
    options: Options,
    signing_key: watch::Sender<String>,
    well: Semaphore,
    troubled: Semaphore,
}

/// The task.
pub struct Webhooks {
    shared: Arc<Shared>,
    /// What was last seen to have changed.
    changes: Option<i64>,
    /// Events up to here were looked at; none yet.
    seen: Option<Timestamp>,
    wanted: HashMap<WebhookId, Webhook>,
    running: HashMap<WebhookId, Running>,
}

/// An endpoint at work. One that is dropped ends as if it had been killed.
struct Running {
    webhook: Webhook,
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhooks {
    /// Tells of what is in `store`, by `web`.
    pub fn new(store: Store, web: Web, options: Options) -> Webhooks {
        let shared = Shared {
            store,
            web,
            options,
            signing_key: watch::Sender::default(),
            well: Semaphore::new(CONNECTIONS),
            troubled: Semaphore::new(CONNECTIONS_OF_TROUBLED),
        };
        Webhooks {
            shared: Arc::new(shared),
            changes: None,
            seen: None,
            wanted: HashMap::new(),
            running: HashMap::new(),
        }
    }

    /// Works until `stop` turns true, then lets what is under way finish for the time of grace.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "cannot look for events to tell webhooks of");
            }
            tokio::select! {
                () = tokio::time::sleep(self.shared.options.look_every) => {}
                _ = stop.wait_for(|stopping| *stopping) => break,
            }
        }
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
        for running in self.running.values_mut() {
            // A fault in one must not keep the others from stopping.
            let _ = (&mut running.task).await;
        }
    }

    /// Looks for changes and events, and wakes those whom they concern.
    async fn look(&mut self) -> Result<(), StoreError> {
        let store = self.shared.store.clone();
        if !store.has_duties() {
            // Another node tells. It begins where this one noted that it was.
            self.wanted.clear();
            self.changes = None;
            self.employ();
            return Ok(());
        }
        let pulse = store.webhook_pulse().await?;
        if self.changes != Some(pulse.changes) {
            let webhooks = store.webhooks(WebhooksOf::Everybody).await?;
            if !webhooks.is_empty() {
                let new = new_signing_key();
                let new = new.ok_or_else(|| StoreError::Unavailable("the system has no randomness".to_owned()))?;
                self.shared.signing_key.send_replace(store.signing_key(new).await?);
            }
            self.wanted = webhooks.into_iter().map(|webhook| (webhook.id, webhook)).collect();
            self.changes = Some(pulse.changes);
        }
        // Whoever begins looks for events by himself; what is written from now on is news to all.
        self.employ();
        if let Some(seen) = self.seen.filter(|seen| !self.running.is_empty() && *seen < pulse.last_event) {
            match store.webhook_news(seen, pulse.last_event).await {
                Ok(news) => {
                    self.wake(|webhook| news.iter().any(|(domain, subject)| concerns(webhook, domain, *subject)))
                }
                // So much happened since the last look that each had better look for himself.
                Err(StoreError::TooSlow) => self.wake(|_| true),
                Err(error) => return Err(error),
            }
        }
        self.seen = Some(pulse.last_event);
        Ok(())
    }

    fn wake(&self, whom: impl Fn(&Webhook) -> bool) {
        self.running.values().filter(|running| whom(&running.webhook)).for_each(|running| running.wake.notify_one());
    }

    /// Has an endpoint at work for each webhook, as it is now. One that was changed begins anew when the old one has
    /// come to its end, so that there are never two.
    fn employ(&mut self) {
        self.running.retain(|id, running| {
            let is_wanted = self.wanted.get(id).is_some_and(|webhook| is_same(webhook, &running.webhook));
            if !is_wanted {
                running.stop.send_replace(true);
            }
            !running.task.is_finished()
        });
        for (id, webhook) in &mut self.wanted {
            if !self.running.contains_key(id)
                && let Some(running) = start(&self.shared, webhook)
            {
                self.running.insert(*id, running);
            }
        }
    }
}

fn concerns(webhook: &Webhook, domain: &Domain, subject: Subject) -> bool {
    webhook.subscription.subjects.contains(&subject) && webhook.domain.as_ref().is_none_or(|its| its == domain)
}

fn is_same(one: &Webhook, other: &Webhook) -> bool {
    one.subscription.url == other.subscription.url && one.subscription.subjects == other.subscription.subjects
}

fn start(shared: &Arc<Shared>, webhook: &Webhook) -> Option<Running> {
    let wake = Arc::new(Notify::new());
    let (stop, stopped) = watch::channel(false);
    let endpoint = Endpoint::new(shared.clone(), webhook.clone(), wake.clone());
    let endpoint =
        endpoint.inspect_err(|error| tracing::error!(webhook = %webhook.id, %error, "cannot be told")).ok()?;
    Some(Running { webhook: webhook.clone(), wake, stop, task: tokio::spawn(endpoint.run(stopped)) })
}
