//! SPF records (RFC 7208), as far as it takes to say whether a domain lets this server send for it.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use smtp::Domain;

/// Most terms that ask the DNS, of all records together (RFC 7208 §4.6.4).
pub const LOOKUPS: usize = 10;
/// Most terms of a record that are read.
const TERMS: usize = 200;

/// The prefix of a directive (RFC 7208 §4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`, or nothing.
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

/// What a directive matches (RFC 7208 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// Everything.
    All,
    /// What that domain's record passes.
    Include(Domain),
    /// The addresses of the domain, or of the record's own.
    A(Option<Domain>, Prefix),
    /// The addresses of its mail hosts.
    Mx(Option<Domain>, Prefix),
    /// A network.
    Ip4(Ipv4Net),
    /// A network.
    Ip6(Ipv6Net),
    /// `exists`, `ptr`, and whatever has a macro in it: it depends on each message.
    Depends(String),
}

/// How many bits of an address must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Of an IPv4 address.
    pub v4: u8,
    /// Of an IPv6 address.
    pub v6: u8,
}

impl Prefix {
    /// Whether the two addresses are alike in these bits.
    pub fn matches(self, one: IpAddr, other: IpAddr) -> bool {
        match (one, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                Ipv4Net::new(one, self.v4).is_ok_and(|network| network.contains(&other))
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                Ipv6Net::new(one, self.v6).is_ok_and(|network| network.contains(&other))
            }
            _ => false,
        }
    }
}

/// A record that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its directives, in order.
    pub directives: Vec<(Qualifier, Mechanism)>,
    /// Whose record counts where none of them matches.
    pub redirect: Option<Domain>,
}

/// Why a domain has no record that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRecord {
    /// None of its TXT records is one.
    #[error("no SPF record is published")]
    Absent,
    /// More than one is, which counts as an error (RFC 7208 §4.5).
    #[error("{0} SPF records are published, and with more than one none counts (RFC 7208 §4.5)")]
    Several(usize),
    /// A term that is none.
    #[error("the SPF record has a term that cannot be read: {0}")]
    Syntax(String),
}

/// Whether a TXT record is an SPF record (RFC 7208 §4.5).
pub fn is_record(text: &[u8]) -> bool {
    let (version, rest) = text.split_at(text.len().min(6));
    version.eq_ignore_ascii_case(b"v=spf1") && rest.first().is_none_or(|octet| *octet == b' ')
}

/// The one SPF record among the TXT records of a name.
///
/// # Errors
/// When there is none, or none that counts.
pub fn find(records: &[Vec<u8>]) -> Result<Record, NoRecord> {
    let found: Vec<_> = records.iter().filter(|record| is_record(record)).collect();
    match found[..] {
        [] => Err(NoRecord::Absent),
        [record] => read(record),
        _ => Err(NoRecord::Several(found.len())),
    }
}

fn read(record: &[u8]) -> Result<Record, NoRecord> {
    let text = String::from_utf8_lossy(record);
    let mut read = Record { directives: Vec::new(), redirect: None };
    for (index, term) in text.split(' ').skip(1).filter(|term| !term.is_empty()).enumerate() {
        let wrong = || NoRecord::Syntax(term.chars().take(100).collect());
        if index == TERMS {
            return Err(wrong());
        }
        match term.split_once('=') {
            Some((name, value)) if !name.contains([':', '/']) => match name.to_ascii_lowercase().as_str() {
                "redirect" if read.redirect.is_some() => return Err(wrong()),
                "redirect" => read.redirect = Some(value.parse().map_err(|_| wrong())?),
                // Other modifiers change nothing (RFC 7208 §6).
                _ => {}
            },
            _ => read.directives.push(directive(term).ok_or_else(wrong)?),
        }
    }
    Ok(read)
}

fn directive(term: &str) -> Option<(Qualifier, Mechanism)> {
    let (qualifier, rest) = match term.as_bytes()[0] {
        b'+' => (Qualifier::Pass, &term[1..]),
        b'-' => (Qualifier::Fail, &term[1..]),
        b'~' => (Qualifier::SoftFail, &term[1..]),
        b'?' => (Qualifier::Neutral, &term[1..]),
        _ => (Qualifier::Pass, term),
    };
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, value) = rest.split_at(end);
    let name = name.to_ascii_lowercase();
    let value = value.strip_prefix(':').map_or((None, value), |value| (Some(value), ""));
    let mechanism = match (name.as_str(), value) {
        ("all", (None, "")) => Mechanism::All,
        ("ip4", (Some(network), _)) => Mechanism::Ip4(network_of(network)?),
        ("ip6", (Some(network), _)) => Mechanism::Ip6(network_of(network)?),
        ("ptr", _) | ("exists", (Some(_), _)) => Mechanism::Depends(term.to_owned()),
        ("include" | "a" | "mx", (Some(value), _)) if value.contains('%') => Mechanism::Depends(term.to_owned()),
        ("include", (Some(domain), _)) => Mechanism::Include(domain.parse().ok()?),
        ("a" | "mx", (value, bits)) => {
            let value = value.unwrap_or(bits);
            let (domain, bits) = value.split_at(value.find('/').unwrap_or(value.len()));
            let domain = if domain.is_empty() { None } else { Some(domain.parse().ok()?) };
            let prefix = prefix(bits)?;
            if name == "a" { Mechanism::A(domain, prefix) } else { Mechanism::Mx(domain, prefix) }
        }
        _ => return None,
    };
    Some((qualifier, mechanism))
}

/// A network; an address alone is one of a single address.
fn network_of<T: std::str::FromStr>(text: &str) -> Option<T> {
    let bits = if text.contains(':') { "128" } else { "32" };
    if text.contains('/') { text.parse().ok() } else { format!("{text}/{bits}").parse().ok() }
}

/// `/24`, `//64`, `/24//64`, or nothing.
fn prefix(text: &str) -> Option<Prefix> {
    let (v4, v6) = text.split_once("//").map_or((text, None), |(v4, v6)| (v4, Some(v6)));
    let v4 = if v4.is_empty() { 32 } else { v4.strip_prefix('/')?.parse().ok().filter(|bits| *bits <= 32)? };
    let v6 = v6.map_or(Some(128), |bits| bits.parse().ok().filter(|bits| *bits <= 128))?;
    Some(Prefix { v4, v6 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(term: &str) -> Option<(Qualifier, Mechanism)> {
        let record = find(&[format!("v=spf1 {term}").into_bytes()]).ok()?;
        record.directives.into_iter().next()
    }

    #[test]
    fn terms_are_read() {
        use Mechanism::*;
        use Qualifier::*;
        let domain = |name: &str| name.parse::<Domain>().unwrap();
        let whole = Prefix { v4: 32, v6: 128 };
        for (term, expected) in [
            ("-all", Some((Fail, All))),
            ("~ALL", Some((SoftFail, All))),
            ("include:_spf.example.com", Some((Pass, Include(domain("_spf.example.com"))))),
            ("a", Some((Pass, A(None, whole)))),
            ("?mx/24", Some((Neutral, Mx(None, Prefix { v4: 24, v6: 128 })))),
            ("a:x.example//64", Some((Pass, A(Some(domain("x.example")), Prefix { v4: 32, v6: 64 })))),
            ("mx:x.example/24//64", Some((Pass, Mx(Some(domain("x.example")), Prefix { v4: 24, v6: 64 })))),
            ("ip4:192.0.2.1", Some((Pass, Ip4("192.0.2.1/32".parse().unwrap())))),
            ("+ip4:192.0.2.0/24", Some((Pass, Ip4("192.0.2.0/24".parse().unwrap())))),
            ("ip6:2001:db8::1", Some((Pass, Ip6("2001:db8::1/128".parse().unwrap())))),
            ("ip6:2001:db8::/32", Some((Pass, Ip6("2001:db8::/32".parse().unwrap())))),
            ("exists:%{i}.x.example", Some((Pass, Depends("exists:%{i}.x.example".to_owned())))),
            ("ptr", Some((Pass, Depends("ptr".to_owned())))),
            ("include:%{d}.x.example", Some((Pass, Depends("include:%{d}.x.example".to_owned())))),
            ("ip4:192.0.2.300", None),
            ("ip6:192.0.2.1", None),
            ("a:x.example/33", None),
            ("include", None),
            ("all:x", None),
            ("-", None),
            ("ipv4:192.0.2.1", None),
        ] {
            assert_eq!(one(term), expected, "{term}");
        }
    }

    #[test]
    fn one_record_counts() {
        let records = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(find(&records(&["google-site-verification=x", "v=spf10 all"])), Err(NoRecord::Absent));
        assert_eq!(find(&records(&["v=spf1 -all", "V=SPF1"])), Err(NoRecord::Several(2)));
        assert_eq!(find(&records(&["v=spf1 al"])), Err(NoRecord::Syntax("al".to_owned())));
        let record = find(&records(&["x", "v=spf1  mx exp=e.example redirect=r.example "])).unwrap();
        assert_eq!((record.directives.len(), record.redirect.unwrap().as_str()), (1, "r.example"));
        assert!(find(&records(&["v=spf1 redirect=a.example redirect=b.example"])).is_err());
        assert!(find(&records(&[&format!("v=spf1{}", " mx".repeat(201))])).is_err());
    }

    #[test]
    fn addresses_match_in_the_bits_that_count() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let prefix = Prefix { v4: 24, v6: 64 };
        assert!(prefix.matches(ip("192.0.2.1"), ip("192.0.2.200")));
        assert!(!prefix.matches(ip("192.0.2.1"), ip("192.0.3.1")));
        assert!(prefix.matches(ip("2001:db8::1"), ip("2001:db8::2")));
        assert!(!prefix.matches(ip("2001:db8::1"), ip("192.0.2.1")));
    }
}
