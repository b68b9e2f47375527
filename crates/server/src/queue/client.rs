//! The delivering client that a configuration describes.

use std::sync::Arc;

use delivery::dnssec::{AdTest, AnchorError, Anchors, Dnssec};
use delivery::mta_sts::{MtaSts, PolicyCache, StsOptions};
use delivery::resolve::Dns;
use delivery::tls::{Roots, TlsEngine, TlsSetupError};
use delivery::{Client, Credentials, Options, Reuse, Route, RouteHost, Timeouts};

use super::limiter::{Limits, OwnSite};
use crate::config::{self, Config};

/// Why a configuration makes no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The trusted roots cannot be used.
    #[error("trust_roots: {0}")]
    TrustRoots(#[from] TlsSetupError),
    /// The file of trust anchors cannot be used.
    #[error("dnssec_anchor: {0}")]
    DnssecAnchor(#[from] AnchorError),
}

/// Whether the files that a configuration names can be used, before anything is touched.
///
/// # Errors
/// When they cannot.
pub fn check_client(config: &Config) -> Result<(), ClientError> {
    dnssec_of(config)?;
    TlsEngine::new(roots_of(config)?)?;
    Ok(())
}

/// The roots that a configuration trusts.
pub(crate) fn roots_of(config: &Config) -> Result<Roots, TlsSetupError> {
    match &config.trust_roots {
        Some(path) => Roots::system().with_file(path),
        None => Ok(Roots::system()),
    }
}

/// The client of a configuration, which keeps MTA-STS policies in `policies`. Must be called within a tokio runtime.
///
/// # Errors
/// When the trusted roots or the trust anchors cannot be used.
pub fn client_of(config: &Config, policies: Arc<dyn PolicyCache>) -> Result<Client, ClientError> {
    client_with(config, Dns::secured(config.resolver, dnssec_of(config)?), policies)
}

/// The same, which asks the DNS by `dns`: whoever has asked already knows how far it can be trusted.
///
/// # Errors
/// When the trusted roots cannot be used.
pub(crate) fn client_with(config: &Config, dns: Dns, policies: Arc<dyn PolicyCache>) -> Result<Client, ClientError> {
    let mut timeouts = Timeouts { connect: config.connect_timeout, ..Timeouts::default() };
    if let Some(most) = config.smtp_timeout {
        timeouts = timeouts.capped(most);
    }
    let options = Options {
        ehlo_name: config.ehlo_name.to_string(),
        smtp_port: config.smtp_port,
        source_addresses: config.source_addresses.clone(),
        deliver_to_private: config.deliver_to_private.clone(),
        routes: config.routes.iter().map(route_of).collect(),
        timeouts,
        reuse: Reuse {
            idle: config.connection_idle_time,
            lifetime: config.connection_lifetime,
            messages: config.connection_messages.into(),
            connections: config.idle_connections.into(),
            per_host: config.idle_connections_per_host.into(),
        },
    };
    let tls = TlsEngine::new(roots_of(config)?)?.with_session_lifetime(config.tls_session_lifetime);
    let mta_sts = (config.mta_sts == config::Switch::On).then(|| {
        let options = StsOptions {
            https_port: config.mta_sts_port,
            deliver_to_private: config.deliver_to_private.clone(),
            ..StsOptions::default()
        };
        Arc::new(MtaSts::new(options, dns.clone(), &tls, policies))
    });
    let client = Client::new(options, dns, tls).with_rules(config.rules.iter().map(|rule| rule.rule.clone()).collect());
    Ok(match mta_sts {
        Some(mta_sts) => client.with_mta_sts(mta_sts),
        None => client,
    })
}

/// What each site may have by a configuration.
pub fn limits_of(config: &Config) -> Limits {
    let own = |site: &config::OwnSite| OwnSite {
        hosts: site.hosts.clone(),
        concurrency: site.concurrency.map(u32::from),
        rate: site.rate,
    };
    Limits {
        total: config.concurrency_total.into(),
        concurrency: config.concurrency_per_site.into(),
        rate: config.rate_per_site,
        own: config.sites.iter().map(own).collect(),
        ..Limits::default()
    }
}

/// A file that cannot be used is refused at the start even where nothing is validated: it was meant to be used.
pub(crate) fn dnssec_of(config: &Config) -> Result<Dnssec, ClientError> {
    let anchors = match &config.dnssec_anchor {
        Some(path) => Anchors::from_file(path)?,
        None => Anchors::root(),
    };
    Ok(match config.dnssec {
        config::Dnssec::Validate => Dnssec::Validate(anchors),
        config::Dnssec::TrustAd => Dnssec::TrustAd(AdTest::default()),
        config::Dnssec::Off => Dnssec::Off,
    })
}

fn route_of(route: &config::Route) -> Route {
    Route {
        pattern: route.domain.clone(),
        host: match &route.host {
            config::Host::Name(name) => RouteHost::Name(name.clone()),
            config::Host::Address(address) => RouteHost::Address(*address),
        },
        port: route.port,
        minimum: route.tls,
        credentials: route.credentials.as_ref().map(|login| Credentials {
            username: login.username.clone(),
            password: login.password.expose().to_owned(),
        }),
    }
}
