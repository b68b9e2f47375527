//! The DNS, as far as a delivery needs it: MX, A, AAAA, TLSA, TXT.
//!
//! Questions go to the configured resolver, or to the system's, in order, until one gives an answer that is neither
//! silence nor SERVFAIL. [`crate::dnssec`] judges how far an answer can be trusted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use domain::base::iana::Rcode;
use domain::base::rdata::{ParseRecordData, UnknownRecordData};
use domain::base::{Message, Name, Rtype, ToName};
use domain::rdata::{A, Aaaa, Mx, Ptr, Txt};
use domain::resolv::stub::conf::ResolvConf;
use policy::dane::{self, Dane, HostAnswer, NextHop, Security, TlsaAnswer, base_domains, either_family, judge};
use policy::mx::{MxAnswer, MxRecord};
use smtp::Domain;
use smtp::limits::ADDRESSES_PER_HOST;

use crate::dnssec::servers::{NoAnswer, Servers};
use crate::dnssec::{Answer, Dnssec, DnssecStatus, NoneSecured, Secured};

/// Why the DNS gave no answer. Always temporary: a domain that does not exist is an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// Every resolver stayed silent, was out of reach, or sent what is no DNS message.
    #[error("no resolver answered for {0}")]
    NoAnswer(String),
    /// A resolver could not find out: SERVFAIL, REFUSED and their like.
    #[error("the resolver answered {rcode} for {name}")]
    Failed {
        /// The question.
        name: String,
        /// The response code.
        rcode: String,
    },
    /// There is an answer, it should be signed, and its signatures do not hold: as good as none.
    #[error("the answer for {name} is bogus (DNSSEC): {reason}")]
    Bogus {
        /// The question.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl DnsError {
    /// The error as one code: `dnssec-invalid` (RFC 8460 §4.3.2.1) for a bogus answer, else `dns-failed`.
    pub fn code(&self) -> &'static str {
        match self {
            DnsError::NoAnswer(_) | DnsError::Failed { .. } => "dns-failed",
            DnsError::Bogus { .. } => "dnssec-invalid",
        }
    }
}

/// A stub resolver. Clones share its connections. It asks each question anew, for those who want to see what the DNS says
/// at this moment; deliveries use one that [remembers](Dns::remembering).
#[derive(Clone)]
pub struct Dns {
    secured: Arc<Secured>,
    remembers: bool,
}

/// What the DNS says about a domain's mail hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxLookup {
    /// The answer.
    pub answer: MxAnswer,
    /// How far it can be trusted; never [`Security::Bogus`], which is an error.
    pub security: Security,
}

/// What the DNS says about a host's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLookup {
    /// IPv4 and IPv6 in turn.
    pub addresses: Vec<IpAddr>,
    /// How far the better of the two families can be trusted.
    pub security: Security,
    /// The name at the end of the aliases, when the host's name is an alias.
    pub expanded: Option<Domain>,
}

/// Most resolvers asked; `resolv.conf` itself allows three.
const SERVERS: usize = 3;
/// Most TLSA records of one host that are looked at.
const TLSA_RECORDS: usize = 100;
/// Most names of one address that are looked at.
const REVERSE_NAMES: usize = 10;

impl Dns {
    /// Asks `resolver`, or the servers in the system's `resolv.conf` when there is none, without DNSSEC. Must be
    /// called within a tokio runtime.
    pub fn new(resolver: Option<SocketAddr>) -> Dns {
        Dns::secured(resolver, Dnssec::Off)
    }

    /// The same, with answers secured as `dnssec` says. Must be called within a tokio runtime.
    pub fn secured(resolver: Option<SocketAddr>, dnssec: Dnssec) -> Dns {
        let servers: Vec<SocketAddr> = match resolver {
            Some(address) => vec![address],
            None => ResolvConf::default().servers.iter().map(|server| server.addr).take(SERVERS).collect(),
        };
        Dns { secured: Arc::new(Secured::new(Servers::new(servers), dnssec)), remembers: false }
    }

    /// The same, content with answers that still hold by their TTL, for five minutes at most.
    pub fn remembering(&self) -> Dns {
        Dns { remembers: true, ..self.clone() }
    }

    /// The same, asking each question anew.
    pub fn fresh(&self) -> Dns {
        Dns { remembers: false, ..self.clone() }
    }

    /// Whether DNSSEC works, or why not. The first call asks the resolvers.
    pub async fn dnssec(&self) -> DnssecStatus {
        self.secured.status().await
    }

    /// The resolvers that are asked, in order.
    pub fn resolvers(&self) -> Vec<SocketAddr> {
        self.secured.resolvers()
    }

    /// The names that the reverse DNS has for an address (RFC 1035 §3.5), at most [`REVERSE_NAMES`]; none is an answer too.
    ///
    /// # Errors
    /// When no resolver gave an answer.
    pub async fn names_of(&self, address: IpAddr) -> Result<Vec<Domain>, DnsError> {
        let answer = self.ask(&reverse_name(address), Rtype::PTR).await?;
        let names = records_of::<Ptr<_>>(&answer.message).filter_map(|ptr| ptr.ptrdname().to_string().parse().ok());
        Ok(names.take(REVERSE_NAMES).collect())
    }

    /// The domain's MX records.
    ///
    /// # Errors
    /// When no resolver gave an answer, or a bogus one.
    pub async fn mx(&self, domain: &Domain) -> Result<MxAnswer, DnsError> {
        self.mx_lookup(domain).await.map(|lookup| lookup.answer)
    }

    /// The domain's MX records, and how far they can be trusted.
    ///
    /// # Errors
    /// When no resolver gave an answer, or a bogus one.
    pub async fn mx_lookup(&self, domain: &Domain) -> Result<MxLookup, DnsError> {
        let Answer { message, security } = self.ask(domain.as_str(), Rtype::MX).await?;
        let (mut published, mut records) = (false, Vec::new());
        for mx in records_of::<Mx<_>>(&message) {
            published = true;
            let exchange = mx.exchange().to_string();
            match (exchange.as_str(), exchange.parse()) {
                ("." | "", _) => records.push(MxRecord { preference: mx.preference(), exchange: None }),
                (_, Ok(host)) => records.push(MxRecord { preference: mx.preference(), exchange: Some(host) }),
                // An address, or something that no host can be called: not an exchange (RFC 5321 §5.1).
                (_, Err(_)) => {}
            }
        }
        let answer = match (published, message.header().rcode()) {
            (true, _) => MxAnswer::Records(records),
            (false, Rcode::NXDOMAIN) => MxAnswer::NoSuchDomain,
            (false, _) => MxAnswer::NoRecords,
        };
        Ok(MxLookup { answer, security })
    }

    /// The host's addresses, as in [`Dns::host`].
    ///
    /// # Errors
    /// When no resolver gave an answer for either family.
    pub async fn addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, DnsError> {
        self.host(host).await.map(|lookup| lookup.addresses)
    }

    /// The host's addresses, IPv4 and IPv6 in turn, at most [`ADDRESSES_PER_HOST`], and how far they can be trusted;
    /// none is an answer too. The addresses of a family whose answer is bogus are left out.
    ///
    /// IPv4 comes first: senders without a reverse name for their IPv6 address are refused by large receivers for
    /// good, not for a while.
    ///
    /// # Errors
    /// When no resolver gave an answer for either family.
    pub async fn host(&self, host: &Domain) -> Result<HostLookup, DnsError> {
        let (v4, v6) = tokio::join!(self.ask(host.as_str(), Rtype::A), self.ask(host.as_str(), Rtype::AAAA));
        let error = v4.as_ref().err().or(v6.as_ref().err()).cloned();
        let v4 = Family::of(v4.ok(), |message| records_of::<A>(message).map(|a| a.addr().into()).collect());
        let v6 = Family::of(v6.ok(), |message| records_of::<Aaaa>(message).map(|a| a.addr().into()).collect());
        let security = either_family(v4.security.clone(), v6.security.clone());
        let expanded = if v4.security.as_ref() == Some(&security) { v4.end.or(v6.end) } else { v6.end.or(v4.end) };
        let expanded = expanded.filter(|end| end != host);
        let (mut v4, mut v6, mut addresses) = (v4.addresses.into_iter(), v6.addresses.into_iter(), Vec::new());
        loop {
            match (v4.next(), v6.next()) {
                (None, None) => break,
                (a, b) => addresses.extend(a.into_iter().chain(b)),
            }
        }
        addresses.truncate(ADDRESSES_PER_HOST);
        match error {
            Some(error) if addresses.is_empty() => Err(error),
            _ => Ok(HostLookup { addresses, security, expanded }),
        }
    }

    /// What DANE means for `host`, one of the mail hosts of `domain`, at `port`. `lookup` is what [`Dns::host`] said.
    ///
    /// TLSA records are asked for only where they could count ([`base_domains`]).
    pub async fn dane(
        &self,
        next_hop: &NextHop,
        domain: &Domain,
        host: &Domain,
        port: u16,
        lookup: &HostLookup,
    ) -> Dane {
        if let DnssecStatus::Off { because } = self.dnssec().await {
            return Dane::Off { because };
        }
        let answer = match self.host_answer(next_hop, host, lookup).await {
            Ok(answer) => answer,
            Err(failed) => return failed,
        };
        let bases = match base_domains(next_hop, host, &answer) {
            Ok(bases) => bases,
            Err(holds) => return holds,
        };
        // The next-hop domain is a name that the host may show only where it leads to the host securely; a route
        // leads nowhere that the domain knows of (RFC 7672 §3.2.2).
        let also = match next_hop {
            NextHop::Mx(_) => std::slice::from_ref(domain),
            NextHop::Route { .. } => &[],
        };
        let mut why = dane::NotDane::NoTlsa;
        for base in &bases {
            match judge(base, also, self.tlsa(base, port).await) {
                Ok(found) => return found,
                Err(dane::NotDane::TlsaInsecure) => why = dane::NotDane::TlsaInsecure,
                Err(_) => {}
            }
        }
        Dane::DoesNotApply { why }
    }

    /// The lookup with the one question that is asked only where its answer matters: an alias whose end is unsigned,
    /// is it signed itself?
    async fn host_answer(&self, next_hop: &NextHop, host: &Domain, lookup: &HostLookup) -> Result<HostAnswer, Dane> {
        let HostLookup { security, expanded, .. } = lookup.clone();
        let mut answer = HostAnswer { addresses: security, expanded, alias: None };
        let matters = matches!(next_hop, NextHop::Mx(Security::Secure) | NextHop::Route { flagged: true });
        if matters && answer.expanded.is_some() && !answer.addresses.is_secure() {
            answer.alias = match self.ask(host.as_str(), Rtype::CNAME).await {
                Ok(found) => Some(found.security),
                Err(DnsError::Bogus { reason, .. }) => Some(Security::Bogus(reason)),
                Err(error) => return Err(Dane::LookupFailed { bogus: false, why: error.to_string() }),
            };
        }
        Ok(answer)
    }

    /// The TLSA records of a base domain, aliases followed (RFC 7672 §2.2.3).
    async fn tlsa(&self, base: &Domain, port: u16) -> TlsaAnswer {
        let name = format!("_{port}._tcp.{base}");
        let Answer { message, security } = match self.ask(&name, Rtype::TLSA).await {
            Ok(answer) => answer,
            Err(DnsError::Bogus { reason, .. }) => return TlsaAnswer::Bogus(reason),
            Err(error) => return TlsaAnswer::Failed(error.to_string()),
        };
        let records: Vec<_> = records_of::<UnknownRecordData<Bytes>>(&message)
            .filter(|record| record.rtype() == Rtype::TLSA)
            .take(TLSA_RECORDS)
            .map(|record| tlsa_of(record.data()))
            .collect();
        match security {
            Security::Secure if records.is_empty() => TlsaAnswer::Denied,
            Security::Secure => TlsaAnswer::Records(records),
            Security::Insecure | Security::Indeterminate => TlsaAnswer::Insecure,
            Security::Bogus(why) => TlsaAnswer::Bogus(why),
        }
    }

    /// The name's TXT records, each with its strings joined, aliases followed. None is an answer too, whether the name
    /// exists or not.
    ///
    /// # Errors
    /// When no resolver gave an answer.
    pub async fn txt(&self, name: &Domain) -> Result<Vec<Vec<u8>>, DnsError> {
        let answer = self.ask(name.as_str(), Rtype::TXT).await?;
        Ok(records_of::<Txt<_>>(&answer.message).map(|txt| txt.text::<Vec<u8>>()).collect())
    }

    async fn ask(&self, name: &str, rtype: Rtype) -> Result<Answer, DnsError> {
        let shown = || name.to_owned();
        let asked = Name::vec_from_str(name).map_err(|_| DnsError::NoAnswer(shown()))?;
        let answer = match self.remembers {
            true => self.secured.recall(&asked, rtype).await,
            false => Box::pin(self.secured.ask(&asked, rtype)).await,
        };
        answer.map_err(|none| match none {
            NoneSecured::None(NoAnswer::Silence) => DnsError::NoAnswer(shown()),
            NoneSecured::None(NoAnswer::Code(rcode)) => DnsError::Failed { name: shown(), rcode: rcode.to_string() },
            NoneSecured::Bogus(reason) => DnsError::Bogus { name: shown(), reason },
        })
    }
}

/// Where the reverse DNS has the names of an address (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_name(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

/// Read by hand, so that a record that is too short counts as one that cannot be used, not as none.
fn tlsa_of(data: &[u8]) -> dane::Tlsa {
    match data {
        [usage, selector, matching, data @ ..] => {
            dane::Tlsa { usage: *usage, selector: *selector, matching: *matching, data: data.to_vec() }
        }
        short => dane::Tlsa { usage: u8::MAX, selector: u8::MAX, matching: u8::MAX, data: short.to_vec() },
    }
}

/// One family of a host's addresses.
struct Family {
    addresses: Vec<IpAddr>,
    /// Of the answer; `None` when it has no address.
    security: Option<Security>,
    /// The end of the aliases.
    end: Option<Domain>,
}

impl Family {
    fn of(answer: Option<Answer>, read: impl Fn(&Message<Bytes>) -> Vec<IpAddr>) -> Family {
        let Some(Answer { message, security }) = answer else {
            return Family { addresses: Vec::new(), security: None, end: None };
        };
        let addresses = shuffled(read(&message));
        let end = message.canonical_name().and_then(|name| name.to_string().parse().ok());
        Family { security: (!addresses.is_empty()).then_some(security), addresses, end }
    }
}

/// The records that answer the question, at the end of its aliases. What else is in the answer is nobody's word: only
/// these have the message's security.
fn records_of<'a, Data>(message: &'a Message<Bytes>) -> impl Iterator<Item = Data> + 'a
where
    Data: ParseRecordData<'a, Bytes> + 'a,
{
    let end: Option<Name<Vec<u8>>> = message.canonical_name().map(|name| name.to_name());
    message
        .answer()
        .into_iter()
        .flat_map(|section| section.limit_to_in::<Data>())
        .flatten()
        .filter(move |record| end.as_ref().is_some_and(|end| record.owner().name_eq(end)))
        .map(|record| record.into_data())
}

/// By lot, so that a host's addresses share the load whatever order the resolver keeps (RFC 5321 §5.1).
fn shuffled(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_cached_key(|_| rand::random::<u64>());
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_names_in_the_reverse_dns() {
        for (address, name) in [
            ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
            ("::ffff:192.0.2.1", "1.2.0.192.in-addr.arpa"),
            ("2001:db8::1a", "a.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
        ] {
            assert_eq!(reverse_name(address.parse().unwrap()), name);
        }
    }
}
