//! Looking at a destination without sending anything: what each of its hosts shows.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::dane::Dane;
use policy::tls::{Authentication, Demands, Effective, Minimum, Observed, Resolved, Verdict, decide};
use smtp::{Domain, Reply};
use tokio::time::Instant;

use crate::client::{Client, RouteHost, Target};
use crate::connect::open;
use crate::hosts::{Hosts, NoHosts, Place};
use crate::mta_sts::Found;
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
    /// The domain's MTA-STS policy.
    pub mta_sts: Found,
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
    /// What DANE means for the host.
    pub dane: Arc<Dane>,
    /// Whether the domain's MTA-STS policy lets mail go to it.
    pub admitted: bool,
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
    /// The column of the table, where certificates are made valid by `authentication`.
    pub fn observed(&self, authentication: Authentication) -> Observed {
        match self {
            Seen::NotOffered => Observed::NotOffered,
            Seen::Refused(_) => Observed::Refused,
            Seen::HandshakeFailed(_) => Observed::HandshakeFailed,
            Seen::Encrypted(facts) if facts.verdict(authentication).is_ok() => Observed::Verified,
            Seen::Encrypted(_) => Observed::Unverified,
        }
    }

    /// What a delivery that obeys `effective` would do here.
    pub fn verdict(&self, effective: &Effective) -> Verdict {
        decide(effective.policy, effective.fallback, self.observed(effective.authentication))
    }
}

impl Probe {
    /// Everything that is demanded at `host` of a message of `sender`.
    pub fn demands(&self, host: &HostProbe, sender: Resolved) -> Demands {
        let mta_sts_enforced = self.mta_sts.enforces();
        Demands { sender, rule: self.minimum, dane: host.dane.demand(), mta_sts_enforced }
    }
}

impl HostProbe {
    /// Why a delivery would pass the host over whatever it shows; `None` when it would not.
    pub fn passed_over(&self) -> Option<&str> {
        match (&*self.dane, self.admitted) {
            (Dane::LookupFailed { why, .. }, _) => Some(why),
            (_, false) => Some("the domain's MTA-STS policy does not name it"),
            (_, true) => None,
        }
    }
}

impl Client {
    /// Resolves `destination` and visits each of its hosts up to the TLS decision. Says EHLO, STARTTLS and QUIT.
    pub async fn probe(&self, destination: &Domain) -> Probe {
        let route = self.route_for(destination);
        let mut probe = Probe {
            routed: route.is_some(),
            minimum: route.map_or(Minimum::None, |route| route.minimum),
            mta_sts: match (&self.mta_sts, route) {
                (Some(mta_sts), None) => mta_sts.look(destination).await,
                _ => Found::NoPolicy,
            },
            no_hosts: None,
            hosts: Vec::new(),
            skipped: Vec::new(),
        };
        let Hosts { names, next_hop, .. } = match self.hosts(destination, route).await {
            Ok(hosts) => hosts,
            Err(none) => {
                probe.no_hosts = Some(none);
                return probe;
            }
        };
        let deadline = Instant::now() + self.options.timeouts.attempt;
        for host in names {
            let Place { addresses, skipped, dane } = self.place(destination, &host, &next_hop, route).await;
            probe.skipped.extend(skipped);
            let dane = Arc::new(dane);
            let admitted = match &host {
                RouteHost::Name(name) => probe.mta_sts.admits(name),
                RouteHost::Address(_) => true,
            };
            for address in addresses {
                let target = Target { host: host.clone(), address, dane: dane.clone() };
                let seen = self.look(&target, deadline).await;
                let (host, address) = (host.to_string(), SocketAddr::ip(&address));
                probe.hosts.push(HostProbe { host, address, dane: dane.clone(), admitted, seen });
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
