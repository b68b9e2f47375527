//! Where a delivery may go: the route or the MX hosts of a destination, and the addresses of each that may be reached.

use std::net::{IpAddr, SocketAddr};

use policy::disposition::Stage;
use policy::mx::{MxAnswer, NoMailHost, Prohibited, may_reach};
use smtp::{Domain, EnhancedCode};

use crate::attempt::step;
use crate::client::{Client, NoSource, Route, RouteHost, is_our_own};
use crate::report::{Problem, Step};

/// What is said of an address of a family that `source_addresses` does not have.
const NO_SOURCE: &str = "no source address of this family is configured (source_addresses)";

impl Client {
    /// The hosts to try, in order.
    pub(crate) async fn hosts(&self, destination: &Domain, route: Option<&Route>) -> Result<Vec<RouteHost>, NoHosts> {
        if let Some(route) = route {
            return Ok(vec![route.host.clone()]);
        }
        let answer = self.dns.mx(destination).await.map_err(|error| {
            NoHosts::for_now("dns-failed", format!("the MX lookup of {destination} failed: {error}"))
        })?;
        // Neither MX nor address: nobody there takes mail (RFC 5321 §5.1). An MX host without an address is another
        // matter, somebody's passing mistake.
        if answer == MxAnswer::NoRecords && self.dns.addresses(destination).await.is_ok_and(|found| found.is_empty()) {
            return Err(NoHosts::no_address(destination));
        }
        policy::mx::hosts(destination, answer, rand::random)
            .map(|hosts| hosts.into_iter().map(|host| RouteHost::Name(host.name)).collect())
            .map_err(|why| NoHosts::for_good(destination, why))
    }

    /// The addresses of a host that may be connected to, and a step for each that may not.
    pub(crate) async fn addresses(&self, host: &RouteHost, route: Option<&Route>) -> (Vec<SocketAddr>, Vec<Step>) {
        let port = route.map_or(self.options.smtp_port, |route| route.port);
        let no_address = |reason, detail| (Vec::new(), vec![step(host, None, "skipped", Some(reason), detail)]);
        let found = match host {
            RouteHost::Address(address) => vec![*address],
            RouteHost::Name(name) => match self.dns.addresses(name).await {
                Ok(found) if found.is_empty() => {
                    return no_address("no-address", format!("{name} has no address"));
                }
                Ok(found) => found,
                Err(error) => return no_address("dns-failed", error.to_string()),
            },
        };
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
        let allowed =
            |address: &IpAddr| match may_reach(*address, is_our_own(*address), &self.options.deliver_to_private) {
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

/// Why there is no host to try.
#[derive(Debug)]
pub struct NoHosts {
    /// The reason.
    pub problem: Problem,
    /// Whether it holds for good.
    pub permanent: bool,
}

impl NoHosts {
    fn for_now(reason: &'static str, words: String) -> NoHosts {
        let problem = Problem::ours(Stage::Lookup, (451, EnhancedCode::new(4, 4, 3)), reason, words);
        NoHosts { problem, permanent: false }
    }

    fn no_address(destination: &Domain) -> NoHosts {
        let words = format!("{destination} has neither an MX record nor an address");
        let problem = Problem::ours(Stage::Lookup, (550, EnhancedCode::new(5, 4, 4)), "no-address", words);
        NoHosts { problem, permanent: true }
    }

    fn for_good(destination: &Domain, why: NoMailHost) -> NoHosts {
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
        NoHosts { problem: Problem::ours(Stage::Lookup, code, reason, words), permanent: true }
    }
}
