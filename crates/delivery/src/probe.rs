//! Looking at a destination without sending anything: what each of its hosts shows.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::tls::{Effective, Minimum, Observed, Verdict, decide};
use smtp::{Domain, Reply};
use tokio::time::Instant;

use crate::client::{Client, Target};
use crate::connect::open;
use crate::hosts::NoHosts;
use crate::report::{Problem, Step};
use crate::starttls::{Observation, observe};
use crate::tls::{HandshakeError, TlsFacts};

/// What a destination shows.
#[derive(Debug)]
pub struct Probe {
    /// Whether one of the operator's routes stands in for the MX hosts.
    pub routed: bool,
    /// The least protection that the operator's route demands.
    pub minimum: Minimum,
    /// Why there is no host at all.
    pub no_hosts: Option<NoHosts>,
    /// Each host and address, in the order in which a delivery would try them.
    pub hosts: Vec<HostProbe>,
    /// Hosts and addresses that a delivery would pass over.
    pub skipped: Vec<Step>,
}

/// What one address of one host shows.
#[derive(Debug)]
pub struct HostProbe {
    /// The host's name.
    pub host: String,
    /// The address.
    pub address: IpAddr,
    /// What it showed, or why it could not be spoken to.
    pub seen: Result<Seen, Problem>,
}

/// What a host that answers shows of TLS.
#[derive(Debug)]
pub enum Seen {
    /// STARTTLS is not offered.
    NotOffered,
    /// STARTTLS is refused.
    Refused(Reply),
    /// TLS fails.
    HandshakeFailed(HandshakeError),
    /// TLS works; the facts tell about the certificate.
    Encrypted(Arc<TlsFacts>),
}

impl Seen {
    /// The column of the table.
    pub fn observed(&self) -> Observed {
        match self {
            Seen::NotOffered => Observed::NotOffered,
            Seen::Refused(_) => Observed::Refused,
            Seen::HandshakeFailed(_) => Observed::HandshakeFailed,
            Seen::Encrypted(facts) if facts.verification.is_ok() => Observed::Verified,
            Seen::Encrypted(_) => Observed::Unverified,
        }
    }

    /// What a delivery that obeys `effective` would do here.
    pub fn verdict(&self, effective: &Effective) -> Verdict {
        decide(effective.policy, effective.fallback, self.observed())
    }
}

impl Client {
    /// Resolves `destination` and visits each of its hosts up to the TLS decision. Says EHLO, STARTTLS and QUIT.
    pub async fn probe(&self, destination: &Domain) -> Probe {
        let route = self.route_for(destination);
        let minimum = route.map_or(Minimum::None, |route| route.minimum);
        let mut probe =
            Probe { routed: route.is_some(), minimum, no_hosts: None, hosts: Vec::new(), skipped: Vec::new() };
        let hosts = match self.hosts(destination, route).await {
            Ok(hosts) => hosts,
            Err(none) => {
                probe.no_hosts = Some(none);
                return probe;
            }
        };
        let deadline = Instant::now() + self.options.timeouts.attempt;
        for host in hosts {
            let (addresses, skipped) = self.addresses(&host, route).await;
            probe.skipped.extend(skipped);
            for address in addresses {
                let seen = self.look(&Target { host: host.clone(), address }, deadline).await;
                probe.hosts.push(HostProbe { host: host.to_string(), address: SocketAddr::ip(&address), seen });
            }
        }
        probe
    }

    async fn look(&self, target: &Target, deadline: Instant) -> Result<Seen, Problem> {
        let opened = open(self, target, deadline).await.map_err(|not_opened| not_opened.problem)?;
        let observation = observe(self, target, opened).await;
        let seen = match &observation {
            Observation::NotOffered(_) => Seen::NotOffered,
            Observation::Refused(_, reply) => Seen::Refused(reply.clone()),
            Observation::HandshakeFailed(error, _) => Seen::HandshakeFailed(error.clone()),
            Observation::Encrypted(_, facts) => Seen::Encrypted(facts.clone()),
        };
        observation.close().await;
        Ok(seen)
    }
}
