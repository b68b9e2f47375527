//! A running server: the store, the HTTP API, the queue, and the order in which they start and stop.
//!
//! Nothing here is global, so that several servers run in one process: tests and `waxwing demo` do that.

mod aside;
mod doors;
mod http;
mod keys;
pub mod log;

use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use delivery::resolve::Dns;
use store::{Purge, Role, Store, StoreError, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::acme;
use crate::api::App;
use crate::api::tracking::Tracker;
use crate::config::{Config, EhloName, Secret};
use crate::console::{self, Console};
use crate::inbound::{self, ReturnPaths};
use crate::metrics::Metrics;
use crate::notices::Notifier;
use crate::queue::{self, ClientError, Queue, StoredPolicies};
use crate::rotation;
use crate::sending_dns::SendingDns;
use crate::smtpd::certificate::{CertificateError, Certificates};
use crate::submission::{self, Listeners, Running};
use crate::tlsrpt::{self, Reporter, SettingsError, Tally};
use crate::webhooks::{self, Webhooks};

use doors::{Addresses, Doors};
pub use keys::{generate as generate_key, record as key_record};

/// How often old events and messages are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be opened or used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The directory for what is this machine's own cannot be made.
    #[error("cannot make the directory of this machine's own files: {0}")]
    Directory(io::Error),
    /// An address to listen on is taken, or not ours.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The setting that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The deliveries could not be set up.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The settings of reports about TLS cannot be used.
    #[error("{0}")]
    Reports(#[from] SettingsError),
    /// There is no certificate to show to SMTP clients.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// The settings of certificates by ACME cannot be used.
    #[error("{0}")]
    Acme(#[from] acme::SettingsError),
    /// The system gave no random numbers for the first API key.
    #[error("the system's source of randomness failed")]
    NoRandomness,
}

/// A server that runs until [`Server::stop`]. One that is dropped instead ends as if it had been killed.
#[derive(Debug)]
pub struct Server {
    addresses: Addresses,
    reload: Arc<Notify>,
    first_key: Option<Secret>,
    setup: Option<String>,
    store: Store,
    tally: Tally,
    tracking: Arc<Tracker>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<&'static str>,
}

impl Server {
    /// Opens the store, makes the first API key where there is none, and starts to serve and to deliver.
    pub async fn start(config: Config) -> Result<Server, StartError> {
        // The addresses first: who starts a second server by mistake is told before anything is touched.
        let Doors { http, listeners, bounces, asides, addresses } = Doors::open(&config).await?;
        queue::check_client(&config)?;
        let reports = tlsrpt::Settings::of(&config)?;
        let tally = reports.as_ref().map_or_else(Tally::off, tlsrpt::Settings::tally);
        let store = Store::open(&config.store, Role::Server).await?;
        // That of the store has been made; nobody but us has business in another one either.
        DirBuilder::new().recursive(true).mode(0o700).create(config.own_directory()).map_err(StartError::Directory)?;
        let client = queue::client_of(&config, Arc::new(StoredPolicies(store.clone())))?.remembering();
        // In the background: a resolver that does not answer keeps no server from starting.
        tokio::spawn(tell_dnssec(client.dns().clone()));
        let dns = client.dns().clone();
        let mta_sts = client.mta_sts().cloned();
        // Who has just changed a record wants to see it.
        let sending_dns = SendingDns::of(&config, client.dns().fresh());
        let return_paths = match &bounces {
            Some(_) => Some(Arc::new(ReturnPaths::new(&store, sending_dns.clone()).await?)),
            None => None,
        };
        let web = webhooks::web_of(&config)?;
        let first_key = keys::ensure_first(&store, config.api_key.as_ref()).await?;
        warn_about(&config);

        let (stop, stopped) = watch::channel(false);
        let accepted = Arc::new(Notify::new());
        let grace = config.shutdown_grace;
        let queue = Queue::new(
            store.clone(),
            client,
            config.retry_schedule.clone(),
            queue::limits_of(&config),
            accepted.clone(),
            tally.clone(),
        )
        .with_return_paths(return_paths.clone());
        let reporter = Reporter::new(store.clone(), tally.clone(), reports, &config, accepted.clone());
        let app = App::new(store.clone(), accepted, config.public_url.clone(), sending_dns.clone())
            .with_webhook_client(web.clone())
            .looking_by(&config, dns)
            .keeping(config.retention())
            .tracked_at(config.tracking_url.clone());
        let tracking = app.tracking.clone();
        let reload = Arc::new(Notify::new());
        let (parts, certificates) =
            smtp(listeners, bounces.zip(return_paths), &config, &app, &reload, &stopped)?.unzip();
        let limits = http::Limits::with_grace(grace);
        let metrics = Metrics {
            store: store.clone(),
            attempts: queue.attempts(),
            http: limits.open.clone(),
            certificates,
            started: SystemTime::now(),
        };
        let mut parts = parts.unwrap_or_default();
        parts.push(Notifier::start(&app, &config, &stopped));
        parts.extend(asides.start(&config, metrics, &reload, &stopped)?);
        let console = Console::new(&app);
        let setup = console.open_setup().await?;
        let router = console::router(app, console);
        let base = base_of(&config, addresses.http);
        let webhooks =
            Webhooks::new(store.clone(), web, webhooks::Options { grace, base, ..webhooks::Options::default() });

        let mut tasks = JoinSet::new();
        tasks.spawn(named("queue", queue.run(stopped.clone(), grace)));
        tasks.spawn(named("HTTP", http::serve(http, router, limits, stopped.clone())));
        tasks.spawn(named("reports about TLS", reporter.run(stopped.clone())));
        tasks.spawn(named("webhooks", webhooks.run(stopped.clone())));
        if let Some(mta_sts) = mta_sts {
            tasks.spawn(named("MTA-STS", mta_sts.keep_fresh(stopped.clone())));
        }
        tasks.spawn(named("DKIM keys", rotation::run(store.clone(), sending_dns, stopped.clone())));
        tasks.spawn(named("purge", purge(store.clone(), config, stopped)));
        for (part, running) in parts {
            tasks.spawn(named(part, running));
        }
        addresses.tell();
        Ok(Server { addresses, reload, first_key, setup, store, tally, tracking, stop, tasks })
    }

    /// Where the HTTP API listens: the port that was taken when port 0 was configured.
    pub fn http_addr(&self) -> SocketAddr {
        self.addresses.http
    }

    /// Where SMTP submission with STARTTLS listens, if it does.
    pub fn submission_addr(&self) -> Option<SocketAddr> {
        self.addresses.submission
    }

    /// Where SMTP submission within TLS listens, if it does.
    pub fn submissions_addr(&self) -> Option<SocketAddr> {
        self.addresses.submissions
    }

    /// Where failure reports are received, if they are.
    pub fn bounce_addr(&self) -> Option<SocketAddr> {
        self.addresses.bounces
    }

    /// Reads again what can change while the server runs: the certificate.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// The API key that this start made, when there was none. It is kept nowhere else.
    pub fn first_key(&self) -> Option<&Secret> {
        self.first_key.as_ref()
    }

    /// Where the first user of the control panel is made, below the server's address, while there is none. It holds a
    /// secret.
    pub fn setup(&self) -> Option<&str> {
        self.setup.as_deref()
    }

    /// The store that this server works on.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Waits until a part of the server ends although nobody stopped it: a fault, which only a restart can mend.
    pub async fn broken(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(part)) => format!("{part} ended"),
            Some(Err(error)) => format!("a part of the server failed: {error}"),
            None => "nothing is running".to_owned(),
        }
    }

    /// Takes no more requests and begins no more deliveries, lets those that run finish for `shutdown_grace`, and closes
    /// the store. What was not finished in time is due again at the next start.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the server failed while stopping");
            }
        }
        // The last deliveries were counted after the task that writes counts had ended.
        self.tally.flush(&self.store).await;
        self.tracking.finish().await;
        self.store.close().await;
        tracing::info!("stopped");
    }
}

/// The parts that take mail by SMTP, if any is configured, and what they show.
fn smtp(
    listeners: Listeners,
    bounces: Option<(TcpListener, Arc<ReturnPaths>)>,
    config: &Config,
    app: &App,
    reload: &Arc<Notify>,
    stop: &watch::Receiver<bool>,
) -> Result<Option<(Parts, Arc<Certificates>)>, CertificateError> {
    if !listeners.is_any() && bounces.is_none() {
        return Ok(None);
    }
    let certificates = Certificates::of(config)?;
    let tls = certificates.server_config()?;
    let mut parts = submission::start(listeners, tls.clone(), config, app.clone(), stop);
    if let Some((listener, return_paths)) = bounces {
        let running = inbound::run(
            listener,
            tls,
            config.clone(),
            app.store.clone(),
            return_paths,
            app.wake.clone(),
            stop.clone(),
        );
        parts.push(("bounces", Box::pin(running)));
    }
    parts.push(("certificates", Box::pin(certificates.clone().keep_fresh(reload.clone(), stop.clone()))));
    Ok(Some((parts, certificates)))
}

type Parts = Vec<(&'static str, Running)>;

async fn named(part: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    part
}

/// Whether DANE is on is told at every start: a resolver that does not validate turns it off. The first look, and each
/// that finds it changed, writes the line.
async fn tell_dnssec(dns: Dns) {
    dns.dnssec().await;
}

/// Settings that are allowed and likely not meant.
fn warn_about(config: &Config) {
    if !config.ehlo_name.is_fully_qualified() {
        tracing::warn!(
            ehlo_name = %config.ehlo_name,
            "ehlo_name is not a full host name; many receivers refuse mail from such a host"
        );
    }
    if config.bounce_listen.is_some() && matches!(config.ehlo_name, EhloName::Literal(_)) {
        tracing::warn!("bounce_listen does nothing while ehlo_name is an address: no MX record can name this server");
    }
    if config.bounce_listen.is_some() && config.postmaster.is_none() {
        tracing::warn!("postmaster is not set: mail to the postmaster of this server is refused (RFC 5321 §4.5.1)");
    }
    for warning in config.ended_rules(jiff::Timestamp::now().as_second()) {
        tracing::warn!("{warning}");
    }
    if !config.http_listen.ip().is_loopback() {
        tracing::warn!(
            http_listen = %config.http_listen,
            "the HTTP API is reachable from other machines without TLS; put a proxy with TLS before it"
        );
    }
}

/// Where clients reach this server, without a slash at the end: `public_url`, or else where programs on this machine do.
pub(crate) fn base_of(config: &Config, http_addr: SocketAddr) -> String {
    let public = config.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    public.unwrap_or_else(|| format!("http://{}", reachable(http_addr)))
}

/// The address at which a program on this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Deletes what is older, or more, than may be kept, now and every hour.
async fn purge(store: Store, config: Config, mut stop: watch::Receiver<bool>) {
    let general = config.retention();
    loop {
        let now = Timestamp::now();
        let old = Purge { events_before: now - config.event_retention, wire_before: now - config.message_retention };
        let purged = tokio::select! {
            purged = async {
                if !store.has_duties() {
                    return Ok(Default::default());
                }
                store.purge_traffic(now).await?;
                Ok::<_, StoreError>((store.purge(old).await?, store.purge_domains(now, general).await?))
            } => purged,
            _ = stop.wait_for(|stopping| *stopping) => return,
        };
        match purged {
            Ok((old, beyond)) => tracing::debug!(?old, ?beyond, "deleted what is older or more than may be kept"),
            Err(error) => tracing::warn!(%error, "cannot delete what is older or more than may be kept"),
        }
        tokio::select! {
            () = tokio::time::sleep(PURGE_EVERY) => {}
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn several_servers_run_in_one_process() {
        let folder = std::env::temp_dir().join(format!("waxwing-serve-{}", std::process::id()));
        let config = |name: &str| Config {
            http_listen: "127.0.0.1:0".parse().unwrap(),
            store: store::Location::sqlite(folder.join(name)),
            ..Config::default()
        };
        let one = Server::start(config("one")).await.unwrap();
        let mut other = Server::start(config("other")).await.unwrap();
        assert_ne!(one.http_addr(), other.http_addr());
        assert!(one.first_key().is_some() && one.first_key() != other.first_key());

        // The same store twice is refused, and a free one is had again after a stop.
        assert!(matches!(Server::start(config("one")).await, Err(StartError::Store(StoreError::Locked(_)))));
        one.stop().await;
        let one = Server::start(config("one")).await.unwrap();
        assert!(one.first_key().is_none());
        one.stop().await;

        let unbroken = tokio::time::timeout(Duration::from_millis(100), other.broken()).await;
        assert!(unbroken.is_err(), "{unbroken:?}");
        other.stop().await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}
