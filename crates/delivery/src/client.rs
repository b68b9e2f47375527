//! The delivering client: its settings, its view of the DNS, its trust.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use policy::dane::Dane;
use policy::pool::Endpoint;
use policy::route::DomainPattern;
use policy::rule::{Rule, Ruling};
use policy::tls::Minimum;
use smtp::{Domain, limits};

use crate::mta_sts::MtaSts;
use crate::own::OwnAddresses;
use crate::pool::{Pool, Reuse};
use crate::resolve::Dns;
use crate::tls::TlsEngine;

/// Everything that an attempt needs and that outlives it.
pub struct Client {
    pub(crate) options: Options,
    pub(crate) dns: Dns,
    pub(crate) tls: TlsEngine,
    pub(crate) pool: Pool,
    pub(crate) mta_sts: Option<Arc<MtaSts>>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) own: OwnAddresses,
}

impl Client {
    /// A client that resolves by `dns` and trusts what `tls` trusts.
    pub fn new(options: Options, dns: Dns, tls: TlsEngine) -> Client {
        let pool = Pool::new(options.reuse);
        Client { options, dns, tls, pool, mta_sts: None, rules: Vec::new(), own: OwnAddresses::default() }
    }

    /// The same client, content with answers of the DNS that still hold.
    pub fn remembering(self) -> Client {
        Client { dns: self.dns.remembering(), ..self }
    }

    /// The same client, which obeys MTA-STS policies (RFC 8461).
    pub fn with_mta_sts(self, mta_sts: Arc<MtaSts>) -> Client {
        Client { mta_sts: Some(mta_sts), ..self }
    }

    /// The same client, which obeys the operator's rules per destination.
    pub fn with_rules(self, rules: Vec<Rule>) -> Client {
        Client { rules, ..self }
    }

    /// Its MTA-STS policies, where it obeys them.
    pub fn mta_sts(&self) -> Option<&Arc<MtaSts>> {
        self.mta_sts.as_ref()
    }

    /// Its view of the DNS.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Says farewell to the hosts whose connections wait for another message, and keeps none from now on.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The operator's route for a recipient domain, if any.
    pub(crate) fn route_for(&self, destination: &Domain) -> Option<&Route> {
        policy::route::find(destination, &self.options.routes, |route| &route.pattern)
    }

    /// The operator's rules that apply now to mail for a recipient domain at a host.
    pub(crate) fn ruling(&self, destination: &Domain, host: &RouteHost) -> Arc<Ruling> {
        let name = match host {
            RouteHost::Name(name) => Some(name),
            RouteHost::Address(_) => None,
        };
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
        Arc::new(policy::rule::ruling(&self.rules, destination, name, now))
    }

    /// What a connection to `target` leads to, for those who may use it again.
    pub(crate) fn endpoint(&self, target: &Target, route: Option<&Route>) -> Endpoint {
        let is_it = |route: &Route| self.options.routes.iter().position(|other| std::ptr::eq(other, route));
        let mut tlsa = target.dane.tlsa().cloned();
        // Name servers give records in any order.
        tlsa.iter_mut().for_each(|set| set.associations.sort_by(|one, other| one.data.cmp(&other.data)));
        Endpoint {
            address: target.address,
            host: target.host.to_string(),
            route: route.and_then(is_it),
            tlsa,
            pins: target.rules.pins.clone(),
        }
    }

    /// The source address for a connection to `peer`: one of the configured ones of its family, by lot.
    /// `None` lets the system choose; `Err` when sources are configured and none is of the family.
    pub(crate) fn source_for(&self, peer: IpAddr) -> Result<Option<IpAddr>, NoSource> {
        if self.options.source_addresses.is_empty() {
            return Ok(None);
        }
        let same_family: Vec<IpAddr> =
            self.options.source_addresses.iter().copied().filter(|ip| ip.is_ipv4() == peer.is_ipv4()).collect();
        match same_family.len() {
            0 => Err(NoSource),
            n => Ok(Some(same_family[rand::random_range(0..n)])),
        }
    }
}

/// No configured source address is of the peer's family.
pub(crate) struct NoSource;

/// The settings of a client.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name that EHLO says.
    pub ehlo_name: String,
    /// The port at which MX hosts are reached: 25, except in a lab.
    pub smtp_port: u16,
    /// Addresses to deliver from; empty lets the system choose.
    pub source_addresses: Vec<IpAddr>,
    /// Networks that deliveries may reach beside public addresses.
    pub deliver_to_private: Vec<IpNet>,
    /// The operator's routes.
    pub routes: Vec<Route>,
    /// How long to wait at each stage.
    pub timeouts: Timeouts,
    /// How long and how often connections are used again.
    pub reuse: Reuse,
}

/// Recipient domains that take a fixed host instead of their MX.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which recipient domains.
    pub pattern: DomainPattern,
    /// The host.
    pub host: RouteHost,
    /// Its port.
    pub port: u16,
    /// The least protection that the operator demands on this route.
    pub minimum: Minimum,
    /// For AUTH. Only ever sent within verified TLS.
    pub credentials: Option<Credentials>,
}

/// The host of a route. Its name, or its address, is what a certificate is checked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteHost {
    /// By name: A and AAAA are looked up, MX is not.
    Name(Domain),
    /// By address.
    Address(IpAddr),
}

impl fmt::Display for RouteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteHost::Name(name) => name.fmt(f),
            RouteHost::Address(address) => address.fmt(f),
        }
    }
}

/// A user name and its password, which no log ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The authentication identity (RFC 4616 §2).
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How long to wait at each stage (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For TCP.
    pub connect: Duration,
    /// For the greeting.
    pub greeting: Duration,
    /// For EHLO, STARTTLS, AUTH.
    pub command: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For MAIL.
    pub mail: Duration,
    /// For each RCPT.
    pub rcpt: Duration,
    /// For DATA.
    pub data: Duration,
    /// For each block of content to be taken.
    pub data_block: Duration,
    /// For the answer to the final dot.
    pub data_termination: Duration,
    /// For the attempt as a whole, all hosts together.
    pub attempt: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: limits::CONNECT_TIMEOUT,
            greeting: limits::GREETING_TIMEOUT,
            command: limits::COMMAND_TIMEOUT,
            handshake: limits::HANDSHAKE_TIMEOUT,
            mail: limits::MAIL_TIMEOUT,
            rcpt: limits::RCPT_TIMEOUT,
            data: limits::DATA_TIMEOUT,
            data_block: limits::DATA_BLOCK_TIMEOUT,
            data_termination: limits::DATA_TERMINATION_TIMEOUT,
            attempt: limits::ATTEMPT_TIMEOUT,
        }
    }
}

impl Timeouts {
    /// The same, with no wait for a host longer than `most`. The attempt as a whole keeps its own time.
    pub fn capped(mut self, most: Duration) -> Timeouts {
        for timeout in [
            &mut self.connect,
            &mut self.greeting,
            &mut self.command,
            &mut self.handshake,
            &mut self.mail,
            &mut self.rcpt,
            &mut self.data,
            &mut self.data_block,
            &mut self.data_termination,
        ] {
            *timeout = (*timeout).min(most);
        }
        self
    }
}

/// Where to connect to: a host's name and one of its addresses.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) host: RouteHost,
    pub(crate) address: SocketAddr,
    /// What DANE means for the host (RFC 7672).
    pub(crate) dane: Arc<Dane>,
    /// The operator's rules for it.
    pub(crate) rules: Arc<Ruling>,
}

impl Target {
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}
