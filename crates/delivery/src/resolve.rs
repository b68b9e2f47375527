//! The DNS, as far as a delivery needs it: MX, A, AAAA, TXT.
//!
//! Questions go to the configured resolver, or to the system's, in order, until one gives an answer that is neither
//! silence nor SERVFAIL. Validation (DNSSEC) will wrap the same transports.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use domain::base::iana::{Class, Rcode};
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::net::client::dgram_stream;
use domain::net::client::protocol::{TcpConnect, UdpConnect};
use domain::net::client::request::{RequestMessage, SendRequest};
use domain::rdata::{A, Aaaa, Mx, Txt};
use domain::resolv::stub::conf::ResolvConf;
use policy::mx::{MxAnswer, MxRecord};
use smtp::Domain;
use smtp::limits::ADDRESSES_PER_HOST;

type Transport = dgram_stream::Connection<UdpConnect, RequestMessage<Vec<u8>>>;

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
}

/// A stub resolver. Clones share its connections.
#[derive(Clone)]
pub struct Dns {
    servers: Vec<Transport>,
}

/// How long one resolver may take, its retries included, before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one datagram may take.
const DATAGRAM_PATIENCE: Duration = Duration::from_secs(3);
/// Most resolvers asked; `resolv.conf` itself allows three.
const SERVERS: usize = 3;

impl Dns {
    /// Asks `resolver`, or the servers in the system's `resolv.conf` when there is none. Must be called within a
    /// tokio runtime.
    pub fn new(resolver: Option<SocketAddr>) -> Dns {
        let servers = match resolver {
            Some(address) => vec![address],
            None => ResolvConf::default().servers.iter().map(|server| server.addr).take(SERVERS).collect(),
        };
        Dns { servers: servers.into_iter().map(transport_to).collect() }
    }

    /// The domain's MX records.
    ///
    /// # Errors
    /// When no resolver gave an answer.
    pub async fn mx(&self, domain: &Domain) -> Result<MxAnswer, DnsError> {
        let answer = self.ask(domain, Rtype::MX).await?;
        let (mut published, mut records) = (false, Vec::new());
        for record in answer.answer().into_iter().flat_map(|section| section.limit_to::<Mx<_>>()).flatten() {
            published = true;
            let mx = record.data();
            let exchange = mx.exchange().to_string();
            match (exchange.as_str(), exchange.parse()) {
                ("." | "", _) => records.push(MxRecord { preference: mx.preference(), exchange: None }),
                (_, Ok(host)) => records.push(MxRecord { preference: mx.preference(), exchange: Some(host) }),
                // An address, or something that no host can be called: not an exchange (RFC 5321 §5.1).
                (_, Err(_)) => {}
            }
        }
        Ok(match (published, answer.header().rcode()) {
            (true, _) => MxAnswer::Records(records),
            (false, Rcode::NXDOMAIN) => MxAnswer::NoSuchDomain,
            (false, _) => MxAnswer::NoRecords,
        })
    }

    /// The host's addresses, IPv4 and IPv6 in turn, at most [`ADDRESSES_PER_HOST`]; none is an answer too.
    ///
    /// IPv4 comes first: senders without a reverse name for their IPv6 address are refused by large receivers for
    /// good, not for a while.
    ///
    /// # Errors
    /// When no resolver gave an answer for either family.
    pub async fn addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, DnsError> {
        let (v4, v6) = tokio::join!(self.ask(host, Rtype::A), self.ask(host, Rtype::AAAA));
        let error = v4.as_ref().err().or(v6.as_ref().err()).cloned();
        let mut v4 = v4.ok().map(|message| ipv4_of(&message)).unwrap_or_default().into_iter();
        let mut v6 = v6.ok().map(|message| ipv6_of(&message)).unwrap_or_default().into_iter();
        let mut addresses = Vec::new();
        loop {
            match (v4.next(), v6.next()) {
                (None, None) => break,
                (a, b) => addresses.extend(a.into_iter().chain(b)),
            }
        }
        addresses.truncate(ADDRESSES_PER_HOST);
        match error {
            Some(error) if addresses.is_empty() => Err(error),
            _ => Ok(addresses),
        }
    }

    /// The name's TXT records, each with its strings joined, aliases followed. None is an answer too, whether the name
    /// exists or not.
    ///
    /// # Errors
    /// When no resolver gave an answer.
    pub async fn txt(&self, name: &Domain) -> Result<Vec<Vec<u8>>, DnsError> {
        let answer = self.ask(name, Rtype::TXT).await?;
        let records = answer.answer().into_iter().flat_map(|section| section.limit_to::<Txt<_>>()).flatten();
        Ok(records.map(|record| record.data().text::<Vec<u8>>()).collect())
    }

    /// Asks each server in turn. An answer of NOERROR or NXDOMAIN is one; others, and silence, are not.
    async fn ask(&self, name: &Domain, rtype: Rtype) -> Result<Message<bytes::Bytes>, DnsError> {
        let mut error = DnsError::NoAnswer(name.to_string());
        for server in &self.servers {
            let Some(request) = request_for(name, rtype) else { break };
            let mut pending = server.send_request(request);
            match tokio::time::timeout(PATIENCE, pending.get_response()).await {
                Ok(Ok(message)) if matches!(message.header().rcode(), Rcode::NOERROR | Rcode::NXDOMAIN) => {
                    return Ok(message);
                }
                Ok(Ok(message)) => {
                    error = DnsError::Failed { name: name.to_string(), rcode: message.header().rcode().to_string() };
                }
                Ok(Err(reason)) => tracing::debug!(%name, %rtype, %reason, "resolver failed"),
                Err(_) => tracing::debug!(%name, %rtype, "resolver timed out"),
            }
        }
        Err(error)
    }
}

fn transport_to(server: SocketAddr) -> Transport {
    let mut config = dgram_stream::Config::new();
    config.dgram_mut().set_read_timeout(DATAGRAM_PATIENCE);
    config.dgram_mut().set_max_retries(2);
    // Small enough to travel unfragmented (RFC 9715 §3.1); larger answers come by TCP.
    config.dgram_mut().set_udp_payload_size(Some(1232));
    let (connection, tcp) =
        dgram_stream::Connection::with_config(UdpConnect::new(server), TcpConnect::new(server), config);
    tokio::spawn(tcp.run());
    connection
}

fn request_for(name: &Domain, rtype: Rtype) -> Option<RequestMessage<Vec<u8>>> {
    let name = Name::vec_from_str(name.as_str()).ok()?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((name, rtype, Class::IN)).ok()?;
    RequestMessage::new(message).ok()
}

fn ipv4_of(message: &Message<bytes::Bytes>) -> Vec<IpAddr> {
    let records = message.answer().into_iter().flat_map(|section| section.limit_to::<A>()).flatten();
    shuffled(records.map(|record| IpAddr::V4(record.data().addr())).collect())
}

fn ipv6_of(message: &Message<bytes::Bytes>) -> Vec<IpAddr> {
    let records = message.answer().into_iter().flat_map(|section| section.limit_to::<Aaaa>()).flatten();
    shuffled(records.map(|record| IpAddr::V6(record.data().addr())).collect())
}

/// By lot, so that a host's addresses share the load whatever order the resolver keeps (RFC 5321 §5.1).
fn shuffled(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_cached_key(|_| rand::random::<u64>());
    addresses
}
