//! The delivering client that a configuration describes.

use delivery::dnssec::{AdTest, AnchorError, Anchors, Dnssec};
use delivery::resolve::Dns;
use delivery::tls::{Roots, TlsEngine, TlsSetupError};
use delivery::{Client, Credentials, Options, Route, RouteHost, Timeouts};

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

/// The client of a configuration. Must be called within a tokio runtime.
///
/// # Errors
/// When the trusted roots or the trust anchors cannot be used.
pub fn client_of(config: &Config) -> Result<Client, ClientError> {
    let roots = match &config.trust_roots {
        Some(path) => Roots::system().with_file(path)?,
        None => Roots::system(),
    };
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
    };
    Ok(Client::new(options, Dns::secured(config.resolver, dnssec_of(config)?), TlsEngine::new(roots)?))
}

/// A file that cannot be used is refused at the start even where nothing is validated: it was meant to be used.
fn dnssec_of(config: &Config) -> Result<Dnssec, ClientError> {
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
