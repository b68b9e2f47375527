//! The certificate of the SMTP listeners from an authority that speaks ACME (RFC 8555), by the challenge http-01.
//!
//! A task looks when the certificate has to be renewed, has it renewed, and tells those who show it. Whatever fails, the
//! certificate that is there stays in use until its end.

mod challenge;
mod client;
mod files;
mod order;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use delivery::resolve::Dns;
use delivery::tls::TlsEngine;
use delivery::web::Web;
use smtp::{Address, Domain};
use store::Timestamp;
use tokio::sync::{Notify, watch};
use url::Url;

pub(crate) use self::challenge::{Answers, CONNECTIONS, router};
pub(crate) use self::files::{Files, Status};
use self::order::{Failed, Orders};
use self::schedule::{Pauses, Renewal};
use crate::config::{Config, Switch};
use crate::queue::{ClientError, roots_of};

/// One address of the authority may take this long for TCP and TLS, before the next one is tried.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long one try to get a certificate may take.
const ORDER_PATIENCE: Duration = Duration::from_secs(600);
/// The longest sleep: the clock may be set, and files be changed by hand.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Why a configuration cannot get certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// An authority demands agreement.
    #[error(
        "acme_names is set without acme_terms_agreed: read the authority's terms of service, and set it to \"on\" if you \
         agree"
    )]
    NotAgreed,
    /// Two sources of one certificate.
    #[error("acme_names and certificate are both set: the certificate comes either from files or from an authority")]
    TwoSources,
}

/// What is wanted of which authority.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) directory: Url,
    pub(crate) names: Vec<Domain>,
    pub(crate) contact: Option<Address>,
}

impl Settings {
    /// Those of the configuration; `None` where it names no names.
    pub(crate) fn of(config: &Config) -> Result<Option<Settings>, SettingsError> {
        if config.acme_names.is_empty() {
            return Ok(None);
        }
        if config.certificate.is_some() || config.certificate_key.is_some() {
            return Err(SettingsError::TwoSources);
        }
        if config.acme_terms_agreed == Switch::Off {
            return Err(SettingsError::NotAgreed);
        }
        Ok(Some(Settings {
            directory: config.acme_directory.clone(),
            names: config.acme_names.clone(),
            contact: config.acme_contact.clone(),
        }))
    }
}

/// The task.
pub(crate) struct Acme {
    orders: Orders,
    files: Files,
    names: Vec<Domain>,
    /// Told whenever there is a new certificate.
    renewed: Arc<Notify>,
    renewal: Renewal,
    pauses: Pauses,
    /// No certificate is asked for before: whatever an authority issues and suggests, it is not asked again at once.
    rest_until: Timestamp,
}

impl Acme {
    /// `answers` are what the listener for challenges gives; `renewed` is told of each new certificate. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the trusted roots cannot be used.
    pub(crate) fn new(
        settings: Settings,
        config: &Config,
        answers: Answers,
        renewed: Arc<Notify>,
    ) -> Result<Acme, ClientError> {
        let tls = TlsEngine::new(roots_of(config)?)?;
        // The operator names the authority: it may well stand in his own network.
        let anywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok()).collect();
        let web = Web::new(Dns::new(config.resolver), &tls, anywhere, "acme_directory", CONNECT_PATIENCE);
        let files = Files::of(config);
        let names = settings.names.clone();
        let orders = Orders::new(settings, web, files.clone(), answers);
        Ok(Acme {
            orders,
            files,
            names,
            renewed,
            renewal: Renewal::default(),
            pauses: Pauses::default(),
            rest_until: Timestamp::from_secs(0),
        })
    }

    /// Works until `stop` turns true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let nap = tokio::select! {
                nap = self.look() => nap,
                _ = stop.wait_for(|stopping| *stopping) => return,
            };
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = stop.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Renews the certificate if its time has come, and says when to look again.
    async fn look(&mut self) -> Duration {
        let current = self.files.facts();
        let now = Timestamp::now();
        let due = match &current {
            Some(facts) if facts.serves(&self.names) => {
                let suggested = self.orders.suggested_window(&facts.leaf, now).await;
                self.renewal.at(facts, suggested)
            }
            _ => now,
        };
        let due = due.max(self.rest_until);
        if due > now {
            self.files.put_status(&Status { error: None, next_at: Some(due), ..self.files.status() });
            return due.since(now).min(LOOK_EVERY);
        }
        let replaced = current.as_ref().map(|facts| &facts.leaf);
        let tried = tokio::time::timeout(ORDER_PATIENCE, self.orders.obtain(replaced)).await;
        let tried = tried.unwrap_or_else(|_| Err(Failed::of("the authority took too long")));
        match tried {
            Ok(facts) => {
                tracing::info!(names = ?self.names, until = %crate::cli::rfc3339(facts.not_after), "a certificate was issued");
                self.rest_until = now + Pauses::default().next(None);
                self.pauses = Pauses::default();
                self.renewed.notify_one();
                self.files.put_status(&Status { tried_at: Some(now), error: None, next_at: None });
                // At once: tells when that certificate is renewed, and sees that it serves.
                Duration::from_secs(1)
            }
            Err(failed) => {
                let pause = self.pauses.next(failed.retry_after);
                let next_at = now + pause;
                tracing::warn!(error = %failed.words, names = ?self.names, next_try = %crate::cli::rfc3339(next_at),
                    "no certificate was issued; the old one stays in use");
                self.files.put_status(&Status {
                    tried_at: Some(now),
                    error: Some(failed.words),
                    next_at: Some(next_at),
                });
                pause
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_for_without_names_agreement_and_a_free_place() {
        let names = vec!["mail.example".parse().unwrap()];
        let agreed = Config { acme_terms_agreed: Switch::On, ..Config::default() };
        assert!(Settings::of(&agreed).unwrap().is_none());
        let named = Config { acme_names: names.clone(), ..Config::default() };
        assert_eq!(Settings::of(&named).err(), Some(SettingsError::NotAgreed));
        let both = Config { certificate: Some("chain.pem".into()), acme_names: names.clone(), ..agreed.clone() };
        assert_eq!(Settings::of(&both).err(), Some(SettingsError::TwoSources));
        let settings = Settings::of(&Config { acme_names: names.clone(), ..agreed }).unwrap().unwrap();
        assert_eq!((settings.names, settings.directory), (names, Config::default().acme_directory));
    }
}
