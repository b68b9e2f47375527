//! Where a delivery may go: the route or the MX hosts of a destination, and the addresses of each that may be reached.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::dane::{Dane, NextHop, NotDane, Security};
use policy::disposition::Stage;
use policy::mx::{MxAnswer, NoMailHost, Prohibited, may_reach};
use policy::site::Leads;
use smtp::{Domain, EnhancedCode};
use tokio::time::{Instant, timeout_at};

use crate::attempt::step;
use crate::client::{Client, NoSource, Route, RouteHost};
use crate::mta_sts::Found;
use crate::report::{Problem, Step};
use crate::resolve::{DnsError, MxLookup};

/// What is said of an address of a family that `source_addresses` does not have.
const NO_SOURCE: &str = "no source address of this family is configured (source_addresses)";

impl Client {
    /// Looks up where the mail of a destination goes: the first step of an attempt, which begins here.
    pub async fn next_hops(&self, destination: &Domain) -> NextHops {
        let began = Instant::now();
        let deadline = began + self.options.timeouts.attempt;
        let found = timeout_at(deadline, self.hosts(destination, self.route_for(destination))).await.ok();
        NextHops { found, began, deadline, crowd: None }
    }

    /// The hosts to try, in order.
    pub(crate) async fn hosts(&self, destination: &Domain, route: Option<&Route>) -> Result<Hosts, NoHosts> {
        if let Some(route) = route {
            let next_hop = NextHop::Route { flagged: false };
            let leads = Leads::Route(format!("{}:{}", route.host, route.port));
            return Ok(Hosts { names: vec![route.host.clone()], next_hop, leads });
        }
        let MxLookup { answer, security } =
            self.dns.mx_lookup(destination).await.map_err(|error| NoHosts::for_now(destination, error))?;
        // Neither MX nor address: nobody there takes mail (RFC 5321 §5.1). An MX host without an address is another
        // matter, somebody's passing mistake.
        if answer == MxAnswer::NoRecords && self.dns.addresses(destination).await.is_ok_and(|found| found.is_empty()) {
            return Err(NoHosts::no_address(destination, security));
        }
        let is_itself = answer == MxAnswer::NoRecords;
        let hosts = policy::mx::hosts(destination, answer, rand::random);
        let hosts = hosts.map_err(|why| NoHosts::for_good(destination, why, security.clone()))?;
        let names = hosts.iter().map(|host| RouteHost::Name(host.name.clone())).collect();
        let leads = if is_itself { Leads::Itself(destination.clone()) } else { Leads::Mx(hosts) };
        Ok(Hosts { names, next_hop: NextHop::Mx(security), leads })
    }

    /// The addresses of a host that may be connected to, a step for each that may not, and what DANE means for it.
    pub(crate) async fn place(
        &self,
        destination: &Domain,
        host: &RouteHost,
        next_hop: &NextHop,
        route: Option<&Route>,
    ) -> Place {
        let port = route.map_or(self.options.smtp_port, |route| route.port);
        let nowhere = |reason, detail| Place {
            addresses: Vec::new(),
            skipped: vec![step(host, None, "skipped", Some(reason), detail)],
            dane: Dane::DoesNotApply { why: NotDane::NoHostName },
            security: None,
        };
        match host {
            RouteHost::Address(address) => {
                let (addresses, skipped) = self.reachable(host, vec![*address], port, route);
                Place { addresses, skipped, dane: Dane::DoesNotApply { why: NotDane::NoHostName }, security: None }
            }
            RouteHost::Name(name) => match self.dns.host(name).await {
                Ok(found) if found.addresses.is_empty() => nowhere("no-address", format!("{name} has no address")),
                Ok(found) => {
                    let dane = self.dns.dane(next_hop, destination, name, port, &found).await;
                    let (addresses, skipped) = self.reachable(host, found.addresses, port, route);
                    Place { addresses, skipped, dane, security: Some(found.security) }
                }
                Err(error) => nowhere(error.code(), error.to_string()),
            },
        }
    }

    fn reachable(
        &self,
        host: &RouteHost,
        found: Vec<IpAddr>,
        port: u16,
        route: Option<&Route>,
    ) -> (Vec<SocketAddr>, Vec<Step>) {
        let mut skipped = Vec::new();
        // Before anything counts as tried: an address that no configured source can reach is no chance lost.
        let reachable = |address: &IpAddr| match self.source_for(*address) {
            Ok(_) => true,
            Err(NoSource) => {
                skipped.push(step(host, Some(*address), "skipped", Some("no-source-address"), NO_SOURCE.to_owned()));
                false
            }
        };
        let found: Vec<IpAddr> = found.into_iter().filter(reachable).collect();
        // A route names its host on purpose, wherever it is; what the DNS names is a stranger's choice.
        let allowed = |address: &IpAddr| match may_reach(
            *address,
            self.own.contain(*address),
            &self.options.deliver_to_private,
        ) {
            Err(why) if route.is_none() => {
                let words = match why {
                    Prohibited::NotPublic => "not a public address (see deliver_to_private)",
                    Prohibited::OurOwn => "an address of this machine: mail would loop (see deliver_to_private)",
                };
                skipped.push(step(host, Some(*address), "skipped", Some("address-prohibited"), words.to_owned()));
                false
            }
            _ => true,
        };
        let addresses = found.into_iter().filter(allowed).map(|ip| SocketAddr::new(ip, port)).collect();
        (addresses, skipped)
    }
}

/// Where the mail of a destination goes, and an attempt that has begun with finding out.
pub struct NextHops {
    /// `None`: the time of the attempt was over before it was known.
    pub(crate) found: Option<Result<Hosts, NoHosts>>,
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
    pub(crate) crowd: Option<Crowd>,
}

/// Who else may be connected to the same place.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    /// The place, by whatever name.
    pub(crate) site: Arc<str>,
    /// How many connections may wait there for another message beside those in use.
    pub(crate) spare: usize,
}

impl NextHops {
    /// The same attempt as one of those to `site`, whatever its hosts are: before it makes a connection, those to the site that
    /// wait for another message are ended until `spare` are left.
    pub fn at(self, site: &str, spare: usize) -> NextHops {
        NextHops { crowd: Some(Crowd { site: site.into(), spare }), ..self }
    }

    /// What says which site it is; `None` where there are no hosts, or they could not be found out.
    pub fn leads(&self) -> Option<&Leads> {
        match &self.found {
            Some(Ok(hosts)) => Some(&hosts.leads),
            Some(Err(_)) | None => None,
        }
    }
}

/// The hosts of a destination, in the order in which they are tried.
pub(crate) struct Hosts {
    pub(crate) names: Vec<RouteHost>,
    /// How far their names can be trusted.
    pub(crate) next_hop: NextHop,
    /// What says which site it is.
    pub(crate) leads: Leads,
}

/// Where a host is, and what its DNS demands.
pub(crate) struct Place {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) skipped: Vec<Step>,
    pub(crate) dane: Dane,
    /// How far the addresses can be trusted; `None` where the DNS gave none.
    pub(crate) security: Option<Security>,
}

/// Whether something says that `host` is the domain's: the operator does on a route, signed MX records do, an enforced
/// policy does by name.
pub(crate) fn is_authentic(host: &RouteHost, routed: bool, mx_is_signed: bool, published: &Found) -> bool {
    let is_named = || match host {
        RouteHost::Name(name) => published.enforces() && published.names(name) == Some(true),
        RouteHost::Address(_) => false,
    };
    routed || mx_is_signed || is_named()
}

/// Why there is no host to try.
#[derive(Debug)]
pub struct NoHosts {
    /// The reason.
    pub problem: Problem,
    /// Whether it holds for good.
    pub permanent: bool,
    /// How far the answer of the DNS can be trusted; `None` when there was none.
    pub security: Option<Security>,
}

impl NoHosts {
    fn for_now(destination: &Domain, error: DnsError) -> NoHosts {
        let words = format!("the MX lookup of {destination} failed: {error}");
        let problem = Problem::ours(Stage::Lookup, (451, EnhancedCode::new(4, 4, 3)), error.code(), words);
        let security = match error {
            DnsError::Bogus { reason, .. } => Some(Security::Bogus(reason)),
            DnsError::NoAnswer(_) | DnsError::Failed { .. } => None,
        };
        NoHosts { problem, permanent: false, security }
    }

    fn no_address(destination: &Domain, security: Security) -> NoHosts {
        let words = format!("{destination} has neither an MX record nor an address");
        let problem = Problem::ours(Stage::Lookup, (550, EnhancedCode::new(5, 4, 4)), "no-address", words);
        NoHosts { problem, permanent: true, security: Some(security) }
    }

    fn for_good(destination: &Domain, why: NoMailHost, security: Security) -> NoHosts {
        let (code, reason, words) = match why {
            NoMailHost::NullMx => {
                ((556, EnhancedCode::new(5, 1, 10)), "null-mx", format!("{destination} takes no mail (null MX)"))
            }
            NoMailHost::NoSuchDomain => {
                ((550, EnhancedCode::new(5, 1, 2)), "no-such-domain", format!("{destination} does not exist"))
            }
            NoMailHost::NoUsableHost => (
                (550, EnhancedCode::new(5, 4, 4)),
                "no-usable-mx",
                format!("no MX record of {destination} names a host"),
            ),
        };
        let problem = Problem::ours(Stage::Lookup, code, reason, words);
        NoHosts { problem, permanent: true, security: Some(security) }
    }
}
