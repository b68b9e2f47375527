//! Reports about TLS (RFC 8460).
//!
//! - [`Tally`] counts what sessions came to, in memory; every few seconds its counts go to the store.
//! - [`Settings`] say who reports. Without them nothing is counted and nothing is sent.
//! - [`Reporter`] is the task: after a day has ended its counters become reports, which go by HTTPS and by signed mail to
//!   where the domain's `_smtp._tls` record says, and are tried again for a day.
//! - [`incoming`] reads reports that others send about our own domains.

pub mod incoming;
mod send;
mod tally;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use delivery::resolve::Dns;
use delivery::upload::Uploader;
use message::dkim::{KeyError, Signer, SigningKey};
use policy::tlsrpt::Day;
use smtp::{Address, Domain};
use store::{Store, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::config::Config;
pub use tally::Tally;

/// How often counts go to the store.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// How often one looks for reports to make and to send.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often old reports are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(3600);
/// Reports of a day begin to go at most so long after its end. Each server draws its own time, so that they do not all
/// come at midnight (RFC 8460 §4.1).
const OFFSET: Duration = Duration::from_secs(4 * 3600);
/// Counters of a day are forgotten so many days later, whatever kept their report from being made.
const RESULT_DAYS: i64 = 3;

/// Who reports, and how.
#[derive(Debug)]
pub struct Settings {
    from: Address,
    organization: String,
    contact: String,
    /// Without one reports go by HTTPS only: unsigned mail is ignored by whoever gets it (RFC 8460 §3).
    signer: Option<Signer>,
}

/// What is wrong with the settings. Each names its key.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// One of them needs another.
    #[error("{0}: needs {1}")]
    Missing(&'static str, &'static str),
    /// The key file cannot be read.
    #[error("tls_report_dkim_key: {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The key file has no key that signs.
    #[error("tls_report_dkim_key: {path}: {error}")]
    Key {
        /// The file.
        path: String,
        /// Why.
        error: KeyError,
    },
}

impl Settings {
    /// The settings of a configuration; none when `tls_report_from` is not set.
    ///
    /// # Errors
    /// When they are incomplete, or the key cannot be used.
    pub fn of(config: &Config) -> Result<Option<Settings>, SettingsError> {
        let signer = match (&config.tls_report_dkim_selector, &config.tls_report_dkim_key) {
            (None, None) => None,
            (Some(_), None) => {
                return Err(SettingsError::Missing("tls_report_dkim_selector", "tls_report_dkim_key"));
            }
            (None, Some(_)) => {
                return Err(SettingsError::Missing("tls_report_dkim_key", "tls_report_dkim_selector"));
            }
            (Some(selector), Some(path)) => Some((selector.clone(), read_key(path)?)),
        };
        let Some(from) = config.tls_report_from.clone() else {
            return match signer {
                Some(_) => Err(SettingsError::Missing("tls_report_dkim_key", "tls_report_from")),
                None => Ok(None),
            };
        };
        let organization = config.tls_report_organization.clone().unwrap_or_else(|| from.domain().to_string());
        let contact = config.tls_report_contact.clone().unwrap_or_else(|| from.to_string());
        let signer = signer.map(|(selector, key)| Signer::new(from.domain().clone(), selector, key));
        Ok(Some(Settings { from, organization, contact, signer }))
    }

    /// The record that must be published for reports by mail, its name first.
    pub(crate) fn record(&self) -> Option<(String, String)> {
        self.signer.as_ref().map(Signer::record)
    }

    /// The domain that reports.
    fn submitter(&self) -> &Domain {
        self.from.domain()
    }

    /// The counters for these settings.
    pub fn tally(&self) -> Tally {
        Tally::without(&self.from)
    }
}

fn read_key(path: &Path) -> Result<SigningKey, SettingsError> {
    let shown = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| SettingsError::Unreadable { path: shown.clone(), error })?;
    SigningKey::from_pem(&text).map_err(|error| SettingsError::Key { path: shown, error })
}

/// The task that makes and sends reports, and forgets old ones.
pub struct Reporter {
    store: Store,
    tally: Tally,
    sending: Option<Sending>,
    retention: Duration,
    offset: Duration,
}

/// What sending needs.
struct Sending {
    settings: Settings,
    dns: Dns,
    uploader: Uploader,
    /// Poked when a report was put into the queue of mail.
    wake: Arc<Notify>,
}

impl Reporter {
    /// A reporter on `store`. Without settings it only forgets old reports of others.
    pub fn new(store: Store, tally: Tally, settings: Option<Settings>, config: &Config, wake: Arc<Notify>) -> Reporter {
        if let Some(settings) = &settings {
            announce(settings);
        }
        let sending = settings.map(|settings| {
            let dns = Dns::new(config.resolver);
            let uploader = Uploader::new(dns.clone(), config.deliver_to_private.clone());
            Sending { settings, dns, uploader, wake }
        });
        let offset = OFFSET.mul_f64(rand::random());
        Reporter { store, tally, sending, retention: config.event_retention, offset }
    }

    /// Works until `stop` turns true. Counts that come later are written by [`Tally::flush`].
    ///
    /// A stop may come between the handing over of a report and the note of it; then it goes once more under the same
    /// id, by which its receiver knows it.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let flush = every(FLUSH_EVERY, || self.tally.flush(&self.store));
        let work = every(LOOK_EVERY, || self.work(Timestamp::now()));
        let purge = every(PURGE_EVERY, || self.purge());
        tokio::select! {
            _ = stop.wait_for(|stopping| *stopping) => {}
            // A slow place does not keep counts from being written.
            _ = async { tokio::join!(flush, work, purge) } => {}
        }
    }

    /// Makes the reports of days that have ended, and sends what is due at `now`.
    pub async fn work(&self, now: Timestamp) {
        let Some(sending) = self.sending.as_ref().filter(|_| self.store.has_duties()) else { return };
        // Today's are made after the offset of tomorrow.
        let ended = day_of(now - self.offset);
        if let Err(error) = sending.make(&self.store, ended, now).await {
            tracing::warn!(%error, "cannot make reports about TLS");
        }
        if let Err(error) = sending.send_due(&self.store, now).await {
            tracing::warn!(%error, "cannot send reports about TLS");
        }
    }

    async fn purge(&self) {
        let now = Timestamp::now();
        let results_before = Day::from_number(day_of(now).number() - RESULT_DAYS);
        if let Err(error) = self.store.purge_tls_reports(now - self.retention, results_before).await {
            tracing::warn!(%error, "cannot delete old reports about TLS");
        }
    }
}

/// Does it now and then.
async fn every<F: Future<Output = ()>>(period: Duration, work: impl Fn() -> F) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        work().await;
    }
}

/// Tells the operator what must be published for the reports to count.
fn announce(settings: &Settings) {
    match &settings.signer {
        Some(signer) => {
            let (name, record) = signer.record();
            tracing::info!(from = %settings.from, name, record, "reports about TLS are sent; this TXT record must be published");
        }
        None => tracing::warn!(
            from = %settings.from,
            "reports about TLS are sent by HTTPS only: mail needs tls_report_dkim_selector and tls_report_dkim_key"
        ),
    }
}

fn day_of(time: Timestamp) -> Day {
    Day::of(time.as_micros().div_euclid(1_000_000))
}
