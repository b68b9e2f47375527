//! The values of a configuration that are more than a number or a text.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use policy::rate::Rate;
use policy::route::DomainPattern;
use policy::tls::Minimum;
use smtp::Domain;

/// A text that must not be seen: it never appears in logs, in errors or in `waxwing config`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What stands in the place of every secret that is shown.
    pub const REDACTED: &str = "(redacted)";

    /// Keeps a text from being shown.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one who must use it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Secret::REDACTED)
    }
}

/// How answers of the DNS are secured (RFC 4033), which DANE rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dnssec {
    /// Signatures are checked here.
    Validate,
    /// The resolver's AD bit is believed.
    TrustAd,
    /// Not at all.
    Off,
}

impl FromStr for Dnssec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "validate" => Ok(Dnssec::Validate),
            "trust-ad" => Ok(Dnssec::TrustAd),
            "off" => Ok(Dnssec::Off),
            other => Err(format!("'{other}' is not one of validate, trust-ad, off")),
        }
    }
}

impl fmt::Display for Dnssec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dnssec::Validate => "validate",
            Dnssec::TrustAd => "trust-ad",
            Dnssec::Off => "off",
        })
    }
}

/// A switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" => Ok(Switch::On),
            "off" => Ok(Switch::Off),
            other => Err(format!("'{other}' is not one of on, off")),
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Switch::On { "on" } else { "off" })
    }
}

/// A host by name or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name to be looked up.
    Name(Domain),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => write!(f, "{name}"),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Recipient domains that go to one host, a smarthost, whatever their MX records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which recipient domains. The most specific pattern wins.
    pub domain: DomainPattern,
    /// Where they go.
    pub host: Host,
    /// At which port.
    pub port: u16,
    /// What the operator demands on this way, whatever the sender asked for.
    pub tls: Minimum,
    /// The login, only ever sent on verified TLS; [`Route::tls`] is then [`Minimum::Verified`].
    pub credentials: Option<Credentials>,
}

/// A site that the operator draws: the recipient domains whose most preferred MX hosts are these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSite {
    /// Patterns of host names, at least one. The first is the site's name.
    pub hosts: Vec<DomainPattern>,
    /// Connections at the same time, where it is not `concurrency_per_site`.
    pub concurrency: Option<u16>,
    /// Messages in a time, where it is not `rate_per_site`.
    pub rate: Option<Rate>,
}

/// A login at a smarthost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// The proof.
    pub password: Secret,
}

/// What EHLO says we are (RFC 5321 §4.1.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EhloName {
    /// A host name.
    Name(Domain),
    /// An address literal (RFC 5321 §4.1.3), for a machine without a name.
    Literal(IpAddr),
}

impl EhloName {
    /// The machine's host name, `localhost` when it has none that is a domain.
    pub fn of_this_machine() -> EhloName {
        ["/proc/sys/kernel/hostname", "/etc/hostname"]
            .iter()
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .find_map(|text| text.trim().parse().ok())
            .unwrap_or_else(|| EhloName::Name("localhost".parse().expect("localhost is a name")))
    }

    /// Whether receivers can make something of it: an address literal, or a name with a dot in it. Many refuse mail
    /// from a bare host name.
    pub fn is_fully_qualified(&self) -> bool {
        match self {
            EhloName::Name(name) => name.as_str().contains('.') && !name.as_str().ends_with(".localdomain"),
            EhloName::Literal(_) => true,
        }
    }
}

impl FromStr for EhloName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(literal) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
            return text.parse().map(EhloName::Name).map_err(|error: smtp::DomainError| error.to_string());
        };
        let address = match literal.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => literal[5..].parse().map(IpAddr::V6),
            _ => literal.parse().map(IpAddr::V4),
        };
        address
            .map(EhloName::Literal)
            .map_err(|_| format!("'{text}' is not an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]"))
    }
}

impl fmt::Display for EhloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EhloName::Name(name) => write!(f, "{name}"),
            EhloName::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            EhloName::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ehlo_names() {
        for (text, shown, qualified) in [
            ("mail.Example.com", "mail.example.com", true),
            ("mailhost", "mailhost", false),
            ("localhost.localdomain", "localhost.localdomain", false),
            ("[192.0.2.1]", "[192.0.2.1]", true),
            ("[IPv6:2001:DB8::1]", "[IPv6:2001:db8::1]", true),
        ] {
            let name: EhloName = text.parse().unwrap();
            assert_eq!((name.to_string().as_str(), name.is_fully_qualified()), (shown, qualified));
        }
        for text in ["", "192.0.2.1", "[2001:db8::1]", "[mail]", "a b", "[€uro:1]"] {
            assert!(text.parse::<EhloName>().is_err(), "{text:?}");
        }
        EhloName::of_this_machine();
    }

    #[test]
    fn secrets_are_not_seen() {
        let route = Credentials { username: "me".into(), password: Secret::new("hunter2") };
        assert!(!format!("{route:?}").contains("hunter2"));
    }
}
