//! Looking at a destination without sending anything: what each of its hosts shows, and what a delivery would make of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::dane::{Dane, NextHop, Security};
use policy::rule::Ruling;
use policy::tls::{
    Authentication, Demands, Effective, Minimum, Observed, Protection, RequiretlsObstacle, Resolved, TlsTag, Verdict,
    decide, may_carry, strengthen,
};
use policy::tlsrpt::record::{self, NoRecord};
use smtp::{Domain, Reply};
use tokio::time::Instant;

use crate::client::{Client, RouteHost, Target};
use crate::connect::open;
use crate::dnssec::DnssecStatus;
use crate::hosts::{Hosts, NoHosts, Place, is_authentic};
use crate::mta_sts::Found;
use crate::report::{DaneEvidence, Problem, Step};
use crate::resolve::DnsError;
use crate::starttls::{Observation, observe};
use crate::tls::{HandshakeError, TlsFacts};

/// What a destination shows.
#[derive(Debug)]
pub struct Probe {
    /// The host of the operator's route, where one stands in for the MX hosts. Nothing that the domain publishes about
    /// TLS applies then.
    pub route: Option<RouteHost>,
    /// The least protection that the operator's route demands.
    pub minimum: Minimum,
    /// Whether answers of the DNS are secured.
    pub dnssec: DnssecStatus,
    /// How far the MX answer can be trusted; `None` where none was had or asked for.
    pub mx_security: Option<Security>,
    /// The domain's MTA-STS policy.
    pub mta_sts: Found,
    /// Where the domain wants reports about TLS (RFC 8460); `None` where a route leads.
    pub tlsrpt: Option<TlsReporting>,
    /// Why there is no host at all.
    pub no_hosts: Option<NoHosts>,
    /// Each host and address, in the order in which a delivery would try them.
    pub hosts: Vec<HostProbe>,
    /// Hosts and addresses that a delivery would pass over.
    pub skipped: Vec<Step>,
}

/// What a domain's `_smtp._tls` record says.
#[derive(Debug)]
pub enum TlsReporting {
    /// Reports go here.
    To(Vec<record::Destination>),
    /// None go anywhere, and these records, if any, stand where the one should be.
    Nowhere(NoRecord, Vec<Vec<u8>>),
    /// The DNS did not say.
    Unknown(DnsError),
}

/// What one address of one host shows.
#[derive(Debug)]
pub struct HostProbe {
    /// The host's name.
    pub host: String,
    /// The address.
    pub address: IpAddr,
    /// How far the DNS can be trusted about its addresses; `None` where a route names the address itself.
    pub security: Option<Security>,
    /// What DANE means for the host.
    pub dane: Arc<Dane>,
    /// The operator's rules that apply there.
    pub rules: Arc<Ruling>,
    /// Whether the domain's MTA-STS policy lets mail go to it.
    pub admitted: bool,
    /// Whether something says that it is the domain's: signed MX records, an enforced policy, a route.
    pub authentic: bool,
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
    /// TLS works.
    Encrypted {
        /// They tell about the certificate.
        facts: Arc<TlsFacts>,
        /// Whether REQUIRETLS is offered within it (RFC 8689 §2).
        requiretls: bool,
    },
}

/// What would become of a message at one host.
#[derive(Debug)]
pub struct Forecast {
    /// What is demanded there, and by whom.
    pub effective: Effective,
    /// What the host would make of it.
    pub fate: Fate,
}

/// What would become of a message at one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It would travel so.
    Delivered(Protection),
    /// It would travel in plaintext on a second connection, since the first is spoilt by TLS that came to nothing.
    DeliveredAnew,
    /// The host would be left for want of TLS.
    Left,
    /// TLS would be in order, and the host left because it cannot carry REQUIRETLS on.
    LeftFor(RequiretlsObstacle),
    /// The host would be left: the MTA-STS policy does not name it.
    NotNamed,
    /// The host would be skipped: TLSA records may bind it and cannot be had.
    Skipped,
    /// It cannot be spoken to.
    OutOfReach,
}

impl Fate {
    /// Whether the host takes the message.
    pub fn is_delivered(self) -> bool {
        matches!(self, Fate::Delivered(_) | Fate::DeliveredAnew)
    }

    /// Whether the host is left for want of TLS, which waiting may not change.
    pub fn is_left(self) -> bool {
        matches!(self, Fate::Left | Fate::LeftFor(_) | Fate::NotNamed)
    }
}

impl Seen {
    /// The column of the table, where certificates are made valid by `authentication`.
    pub fn observed(&self, authentication: Authentication) -> Observed {
        match self {
            Seen::NotOffered => Observed::NotOffered,
            Seen::Refused(_) => Observed::Refused,
            Seen::HandshakeFailed(_) => Observed::HandshakeFailed,
            Seen::Encrypted { facts, .. } if facts.verdict(authentication).is_ok() => Observed::Verified,
            Seen::Encrypted { .. } => Observed::Unverified,
        }
    }

    /// Whether REQUIRETLS is offered within TLS.
    pub fn offers_requiretls(&self) -> bool {
        matches!(self, Seen::Encrypted { requiretls: true, .. })
    }
}

impl Probe {
    /// What would become of a message of `sender` at `host`: the steps of an attempt, in their order.
    pub fn forecast(&self, host: &HostProbe, sender: Resolved) -> Forecast {
        let effective = strengthen(Demands {
            sender,
            route: self.minimum,
            rule: host.rules.demand(),
            dane: host.dane.demand(),
            mta_sts_enforced: self.mta_sts.enforces(),
        });
        let fate = host.fate(&effective, sender.tag);
        Forecast { effective, fate }
    }
}

impl HostProbe {
    fn fate(&self, effective: &Effective, tag: TlsTag) -> Fate {
        // `TLS-Required: No` lifts both.
        let binds = tag != TlsTag::NotRequired;
        match (&*self.dane, &self.seen) {
            _ if binds && !self.admitted => Fate::NotNamed,
            (Dane::LookupFailed { .. }, _) if binds => Fate::Skipped,
            (_, Err(_)) => Fate::OutOfReach,
            (_, Ok(seen)) => {
                let observed = seen.observed(effective.authentication);
                let fate = match decide(effective.policy, effective.fallback, observed) {
                    Verdict::Deliver(protection) => Fate::Delivered(protection),
                    Verdict::ReconnectInPlaintext => Fate::DeliveredAnew,
                    Verdict::LeaveHost => Fate::Left,
                };
                match may_carry(tag, self.authentic, seen.offers_requiretls()) {
                    Err(obstacle) if fate.is_delivered() => Fate::LeftFor(obstacle),
                    _ => fate,
                }
            }
        }
    }

    /// What DANE means for the host and what its certificate makes of it, as the log has it.
    pub fn dane_evidence(&self) -> DaneEvidence<'_> {
        DaneEvidence::new(&self.dane, self.facts())
    }

    /// The handshake, where TLS works.
    pub fn facts(&self) -> Option<&TlsFacts> {
        match &self.seen {
            Ok(Seen::Encrypted { facts, .. }) => Some(facts),
            _ => None,
        }
    }
}

impl Client {
    /// Resolves `destination` and visits each of its hosts up to the TLS decision. Says EHLO, STARTTLS and QUIT.
    pub async fn probe(&self, destination: &Domain) -> Probe {
        let route = self.route_for(destination);
        let published = async {
            match (&self.mta_sts, route) {
                (Some(mta_sts), None) => mta_sts.look(destination).await,
                _ => Found::NoPolicy,
            }
        };
        let reporting = async {
            match route {
                None => Some(self.tls_reporting(destination).await),
                Some(_) => None,
            }
        };
        let (dnssec, mta_sts, tlsrpt, hosts) =
            tokio::join!(self.dns.dnssec(), published, reporting, self.hosts(destination, route));
        let mut probe = Probe {
            route: route.map(|route| route.host.clone()),
            minimum: route.map_or(Minimum::None, |route| route.minimum),
            dnssec,
            mx_security: None,
            mta_sts,
            tlsrpt,
            no_hosts: None,
            hosts: Vec::new(),
            skipped: Vec::new(),
        };
        let Hosts { names, next_hop, .. } = match hosts {
            Ok(hosts) => hosts,
            Err(none) => {
                probe.mx_security = none.security.clone();
                probe.no_hosts = Some(none);
                return probe;
            }
        };
        if let NextHop::Mx(security) = &next_hop {
            probe.mx_security = Some(security.clone());
        }
        let mx_is_signed = next_hop == NextHop::Mx(Security::Secure);
        let deadline = Instant::now() + self.options.timeouts.attempt;
        for host in names {
            let Place { addresses, skipped, dane, security } = self.place(destination, &host, &next_hop, route).await;
            probe.skipped.extend(skipped);
            let (dane, rules) = (Arc::new(dane), self.ruling(destination, &host));
            let admitted = match &host {
                RouteHost::Name(name) => probe.mta_sts.admits(name),
                RouteHost::Address(_) => true,
            };
            let authentic = is_authentic(&host, route.is_some(), mx_is_signed, &probe.mta_sts);
            for address in addresses {
                let target = Target { host: host.clone(), address, dane: dane.clone(), rules: rules.clone() };
                let seen = self.look(&target, deadline).await;
                let Target { dane, rules, .. } = target;
                let (host, address) = (host.to_string(), SocketAddr::ip(&address));
                let security = security.clone();
                probe.hosts.push(HostProbe { host, address, security, dane, rules, admitted, authentic, seen });
            }
        }
        probe
    }

    async fn tls_reporting(&self, destination: &Domain) -> TlsReporting {
        // A name that is too long to have such a record has none.
        let Some(name) = record::name(destination) else {
            return TlsReporting::Nowhere(NoRecord::Absent, Vec::new());
        };
        match self.dns.txt(&name).await {
            Ok(records) => match record::destinations(&records) {
                Ok(destinations) => TlsReporting::To(destinations),
                Err(why) => TlsReporting::Nowhere(why, records),
            },
            Err(error) => TlsReporting::Unknown(error),
        }
    }

    async fn look(&self, target: &Target, deadline: Instant) -> Result<Seen, Problem> {
        let opened = open(self, target, deadline).await.map_err(|not_opened| not_opened.problem)?;
        let observation = observe(self, target, opened).await;
        let seen = match &observation {
            Observation::NotOffered(_) => Seen::NotOffered,
            Observation::Refused(_, reply) => Seen::Refused(reply.clone()),
            Observation::HandshakeFailed(error, _) => Seen::HandshakeFailed(error.clone()),
            Observation::Encrypted(ready, facts) => {
                Seen::Encrypted { facts: facts.clone(), requiretls: ready.extensions.requiretls }
            }
        };
        observation.close().await;
        Ok(seen)
    }
}
