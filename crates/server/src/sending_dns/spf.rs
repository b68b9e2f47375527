//! Whether the SPF record of a domain lets an address send for it (RFC 7208 §4), asked of the real DNS.

use std::net::IpAddr;

use delivery::resolve::Dns;
use policy::mx::MxAnswer;
use policy::sending_dns::Finding;
use policy::spf::{LOOKUPS, Mechanism, NoRecord, Prefix, Qualifier, find};
use smtp::Domain;

/// Most mail hosts of one `mx` whose addresses are asked for (RFC 7208 §4.6.4).
const HOSTS: usize = 10;

/// Whether all of `addresses` may send for `domain`.
pub(super) async fn check(dns: &Dns, domain: &Domain, addresses: &[IpAddr]) -> Finding {
    for address in addresses {
        let mut evaluation = Evaluation { dns, address: *address, lookups: 0, depends: None };
        let depends = match evaluation.record(domain).await {
            Ok(Outcome::Matched(Qualifier::Pass)) => continue,
            Ok(Outcome::Matched(_) | Outcome::NoMatch) => evaluation.depends.take(),
            Err(Stopped::Unknown(why)) => return Finding::unknown(why),
            Err(Stopped::Error(why)) => return Finding::invalid(why),
        };
        return match depends {
            Some(term) => Finding::unknown(format!("{term} decides for each message whether {address} may send")),
            None => {
                Finding::invalid(format!("the SPF record does not include {address}, from which this server sends"))
            }
        };
    }
    Finding::valid()
}

/// One address against one domain's records.
struct Evaluation<'a> {
    dns: &'a Dns,
    address: IpAddr,
    lookups: usize,
    /// A term that was passed over, since it depends on the message.
    depends: Option<String>,
}

enum Outcome {
    Matched(Qualifier),
    NoMatch,
}

/// Why an evaluation has no outcome.
enum Stopped {
    /// The records are wrong (*permerror*).
    Error(String),
    /// The DNS gave no answer (*temperror*).
    Unknown(String),
}

impl Evaluation<'_> {
    /// The outcome of the domain's own record, and of those that it leads to.
    async fn record(&mut self, domain: &Domain) -> Result<Outcome, Stopped> {
        let mut domain = domain.clone();
        loop {
            let texts = self.dns.txt(&domain).await.map_err(|error| Stopped::Unknown(error.to_string()))?;
            let record = find(&texts).map_err(|error: NoRecord| Stopped::Error(format!("{domain}: {error}")))?;
            for (qualifier, mechanism) in record.directives {
                if self.matches(&domain, mechanism).await? {
                    return Ok(Outcome::Matched(qualifier));
                }
            }
            match record.redirect {
                None => return Ok(Outcome::NoMatch),
                Some(next) => {
                    self.count()?;
                    domain = next;
                }
            }
        }
    }

    async fn matches(&mut self, domain: &Domain, mechanism: Mechanism) -> Result<bool, Stopped> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network) => Ok(matches!(self.address, IpAddr::V4(address) if network.contains(&address))),
            Mechanism::Ip6(network) => Ok(matches!(self.address, IpAddr::V6(address) if network.contains(&address))),
            Mechanism::Depends(term) => {
                self.count()?;
                self.depends.get_or_insert(term);
                Ok(false)
            }
            Mechanism::Include(other) => {
                self.count()?;
                Ok(matches!(Box::pin(self.record(&other)).await?, Outcome::Matched(Qualifier::Pass)))
            }
            Mechanism::A(other, prefix) => {
                self.count()?;
                self.is_at(other.as_ref().unwrap_or(domain), prefix).await
            }
            Mechanism::Mx(other, prefix) => {
                self.count()?;
                let answer = self.dns.mx(other.as_ref().unwrap_or(domain)).await;
                let MxAnswer::Records(records) = answer.map_err(|error| Stopped::Unknown(error.to_string()))? else {
                    return Ok(false);
                };
                for host in records.into_iter().filter_map(|record| record.exchange).take(HOSTS) {
                    if self.is_at(&host, prefix).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    async fn is_at(&self, host: &Domain, prefix: Prefix) -> Result<bool, Stopped> {
        let found = self.dns.addresses(host).await.map_err(|error| Stopped::Unknown(error.to_string()))?;
        Ok(found.into_iter().any(|address| prefix.matches(address, self.address)))
    }

    fn count(&mut self) -> Result<(), Stopped> {
        self.lookups += 1;
        match self.lookups > LOOKUPS {
            true => {
                Err(Stopped::Error(format!("the SPF records ask the DNS more than {LOOKUPS} times (RFC 7208 §4.6.4)")))
            }
            false => Ok(()),
        }
    }
}
