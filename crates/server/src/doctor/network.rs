//! What is reached over the network: resolver, DNSSEC, trusted roots, our own name, the outgoing port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use delivery::Client;
use delivery::dnssec::{DnssecStatus, Mode};
use delivery::probe::Probe;
use delivery::resolve::{Dns, DnsError};
use delivery::tls::TlsEngine;
use policy::disposition::Stage;
use policy::mx::may_reach;
use smtp::Domain;

use super::Point;
use crate::config::{self, Config, EhloName};
use crate::queue::roots_of;

/// Signatures were checked here, and hold.
pub(super) const VALIDATING: DnssecStatus = DnssecStatus::On(Mode::Validate);

pub(super) fn roots(config: &Config) -> Point {
    let about = "trust roots";
    let found = roots_of(config).and_then(|roots| {
        let shown = roots.to_string();
        TlsEngine::new(roots).map(|_| shown)
    });
    match found {
        Ok(shown) => Point::ok(about, shown),
        Err(error) => Point::problem(about, format!("trust_roots: {error}"), "the server does not start with it"),
    }
}

/// Whether the resolver answers, and whether it is worth asking more.
pub(super) async fn resolver(config: &Config, dns: &Dns, ours: Option<&Domain>) -> (Point, bool) {
    let about = "resolver";
    let resolvers: Vec<String> = dns.resolvers().iter().map(SocketAddr::to_string).collect();
    let shown = resolvers.join(", ");
    if resolvers.is_empty() {
        let point = Point::problem(about, "there is none", "name one in /etc/resolv.conf or by `resolver`");
        return (point, false);
    }
    // A name of our own, so that no stranger is asked.
    let ours = match (ours, &config.ehlo_name) {
        (Some(domain), _) => domain.clone(),
        (None, EhloName::Name(name)) => name.clone(),
        (None, EhloName::Literal(_)) => return (Point::ok(about, format!("{shown}; not asked for anything")), true),
    };
    match dns.mx(&ours).await {
        Ok(_) | Err(DnsError::Bogus { .. }) => (Point::ok(about, format!("{shown} answers")), true),
        Err(error @ DnsError::Failed { .. }) => {
            let advice = "nothing is delivered where it cannot find out; is it connected, or may we ask it?";
            (Point::warning(about, format!("{shown}: {error}"), advice), true)
        }
        Err(error @ DnsError::NoAnswer(_)) => {
            let advice = "nothing is delivered without one: see `resolver`, and that port 53 is open to it";
            (Point::problem(about, format!("{shown}: {error}"), advice), false)
        }
    }
}

pub(super) async fn dnssec(config: &Config, dns: &Dns) -> Point {
    let (about, status) = ("DNSSEC", dns.dnssec().await);
    match (&status, config.dnssec) {
        (DnssecStatus::On(_), _) | (_, config::Dnssec::Off) => Point::ok(about, status.to_string()),
        (DnssecStatus::Off { .. }, config::Dnssec::Validate | config::Dnssec::TrustAd) => {
            let advice = "DANE is not used: let `resolver` name one that passes signatures on, such as unbound here";
            Point::warning(about, status.to_string(), advice)
        }
    }
}

/// Whether receivers will find that we are who EHLO says we are (RFC 5321 §4.1.4).
pub(super) async fn name(config: &Config, dns: Option<&Dns>) -> Vec<Point> {
    let about = "ehlo_name";
    let ehlo = match &config.ehlo_name {
        EhloName::Name(name) if config.ehlo_name.is_fully_qualified() => name,
        EhloName::Name(name) => {
            let advice = "many receivers refuse mail from such a host: set ehlo_name to a name that leads here";
            return vec![Point::warning(about, format!("'{name}' is not a full host name"), advice)];
        }
        EhloName::Literal(address) => {
            let advice = "some receivers refuse that: give the machine a name and set ehlo_name to it";
            return vec![Point::warning(about, format!("the address {address}, no name"), advice)];
        }
    };
    let Some(dns) = dns else {
        return vec![Point::warning(about, format!("{ehlo}, not looked up"), "mend the resolver first")];
    };
    let advice = "publish an A or AAAA record for it that leads to this machine";
    let forward = match dns.addresses(ehlo).await {
        Ok(addresses) if addresses.is_empty() => {
            return vec![Point::warning(about, format!("{ehlo} has no address"), advice)];
        }
        Ok(addresses) => addresses,
        Err(error) => return vec![Point::warning(about, format!("{ehlo}: {error}"), advice)],
    };
    let shown: Vec<String> = forward.iter().map(IpAddr::to_string).collect();
    let mut points = vec![Point::ok(about, format!("{ehlo} leads to {}", shown.join(", ")))];
    for address in sources(config) {
        points.push(reverse(dns, ehlo, &forward, address).await);
    }
    points
}

/// The addresses that deliveries leave from, as far as this machine knows.
fn sources(config: &Config) -> Vec<IpAddr> {
    if !config.source_addresses.is_empty() {
        return config.source_addresses.clone();
    }
    // What a connection to the outside would leave from. Nothing is sent to find out: these are addresses of nobody
    // (RFC 5737, RFC 3849).
    let outside: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), [192, 0, 2, 1].into()),
        (Ipv6Addr::UNSPECIFIED.into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
    ];
    let source = |(anywhere, outside): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind((anywhere, 0)).ok()?;
        socket.connect((outside, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    outside.into_iter().filter_map(source).collect()
}

/// Forward-confirmed reverse DNS: the address has a name, which leads back to it.
async fn reverse(dns: &Dns, ehlo: &Domain, forward: &[IpAddr], address: IpAddr) -> Point {
    let about = "reverse DNS";
    let names = match dns.names_of(address).await {
        Ok(names) => names,
        Err(error) => {
            return Point::warning(about, format!("{address}: {error}"), "ask again when the resolver can tell");
        }
    };
    if names.contains(ehlo) && forward.contains(&address) {
        return Point::ok(about, format!("{address} is {ehlo}, and back"));
    }
    let mut confirmed = None;
    for name in &names {
        if dns.addresses(name).await.is_ok_and(|addresses| addresses.contains(&address)) {
            confirmed = Some(name);
        }
    }
    let is_public = may_reach(address, false, &[]).is_ok();
    match (confirmed, is_public) {
        (Some(name), _) => Point::warning(
            about,
            format!("{address} is {name}, and back; EHLO says {ehlo}"),
            "some receivers want both to be the same (ehlo_name)",
        ),
        (None, true) => Point::warning(
            about,
            match names.first() {
                Some(name) => format!("{address} is called {name}, which does not lead back to it"),
                None => format!("{address} has no name"),
            },
            format!("large receivers refuse mail from it: have its provider set the PTR record to {ehlo}"),
        ),
        (None, false) => Point::warning(
            about,
            format!("{address} is not a public address: receivers see another one, which is not known here"),
            format!("see that its PTR record names {ehlo}, and that this name leads to it"),
        ),
    }
}

/// Whether the hosts of a destination that the operator named can be spoken to.
pub(super) async fn outgoing(config: &Config, client: &Client, domain: &Domain) -> Point {
    let about = "outgoing connections";
    let Probe { no_hosts, hosts, skipped, .. } = client.probe(domain).await;
    if let Some(none) = no_hosts {
        return Point::problem(about, none.problem.message, "try a domain that has mail hosts");
    }
    let answered = hosts.iter().find(|host| host.seen.is_ok());
    if let Some(host) = answered {
        return Point::ok(about, format!("{} [{}] answers", host.host, host.address));
    }
    let first = hosts.iter().find_map(|host| host.seen.as_ref().err());
    match (first, skipped.first()) {
        // It spoke, or hung up on us: the way there is open.
        (Some(problem), _) if problem.stage != Stage::Connect => {
            let advice = "the way there is open; the words of the host say what it has against us";
            Point::warning(about, format!("no host of {domain} lets us in: {}", problem.message), advice)
        }
        (Some(problem), _) => {
            let advice = format!("many providers block outgoing connections to port {} until asked", config.smtp_port);
            Point::problem(about, format!("no host of {domain} can be reached: {}", problem.message), advice)
        }
        (None, step) => {
            let why = step.map_or("it has none with an address", |step| step.detail.as_str());
            Point::problem(about, format!("no host of {domain} was tried: {why}"), "try a domain that has mail hosts")
        }
    }
}
