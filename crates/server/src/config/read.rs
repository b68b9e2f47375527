//! From a [`Node`] to a typed value, or to what is wrong with it and where.

use std::collections::HashSet;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use policy::retry::Schedule;
use policy::tls::Minimum;
use smtp::Domain;
use url::Url;

use super::duration;
use super::error::Fault;
use super::source::{Node, Value, unknown};
use super::types::{Credentials, Host, OwnSite, Route, Secret};

/// A value, or all that is wrong with it.
pub(super) type Read<T> = Result<T, Vec<Fault>>;

/// Texts of a configuration are short; nothing here needs more.
const TEXT_OCTETS: usize = 4096;
/// Lists of a configuration are short too.
pub(super) const LIST_ITEMS: usize = 10_000;
/// Names in one certificate: authorities take no more.
const CERTIFICATE_NAMES: usize = 100;
/// Waits of a retry schedule.
const RETRY_WAITS: usize = 100;

impl Node {
    pub(super) fn fault(&self, what: impl Display) -> Vec<Fault> {
        vec![Fault { place: self.place.clone(), path: String::new(), what: what.to_string() }]
    }

    pub(super) fn wrong_type(&self, expected: &str) -> Vec<Fault> {
        let found = match &self.value {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a number",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Time(_) => "a time",
            Value::Other(name) => name,
        };
        self.fault(format_args!("must be {expected}, not {found}"))
    }

    /// A text without control characters.
    pub(super) fn text(&self) -> Read<&str> {
        let Value::Text(text) = &self.value else { return Err(self.wrong_type("a text")) };
        if text.len() > TEXT_OCTETS {
            return Err(self.fault(format_args!("is longer than {TEXT_OCTETS} octets")));
        }
        if text.chars().any(char::is_control) {
            return Err(self.fault("has control characters"));
        }
        Ok(text)
    }

    /// The same, to keep.
    pub(super) fn owned_text(&self) -> Read<String> {
        match self.text()? {
            "" => Err(self.fault("is empty")),
            text => Ok(text.to_owned()),
        }
    }

    /// A text that reads as `T`; `expected` says with an example what such a text looks like.
    fn parsed<T: FromStr>(&self, expected: &str) -> Read<T> {
        let text = self.text()?;
        text.parse().map_err(|_| self.fault(format_args!("'{text}' is not {expected}")))
    }

    /// A text that reads as `T`, whose own error says what is wrong.
    pub(super) fn explained<T: FromStr<Err: Display>>(&self) -> Read<T> {
        self.text()?.parse().map_err(|error| self.fault(error))
    }

    /// A whole number within a range.
    pub(super) fn number<T: TryFrom<i64> + Display + PartialOrd>(&self, range: RangeInclusive<T>) -> Read<T> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let Value::Integer(number) = self.value else { return Err(self.wrong_type(&wanted)) };
        let number = number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number));
        number.ok_or_else(|| self.fault(format_args!("must be {wanted}")))
    }

    /// A duration within a range.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Read<Duration> {
        let text = match &self.value {
            Value::Text(_) => self.text()?,
            _ => return Err(self.wrong_type("a duration such as \"30s\", \"10m\" or \"1h30m\"")),
        };
        let Some(duration) = duration::parse(text) else {
            return Err(self.fault(format_args!("'{text}' is not a duration such as 500ms, 30s, 10m, 1h30m or 30d")));
        };
        if !range.contains(&duration) {
            let (least, most) = (duration::format(*range.start()), duration::format(*range.end()));
            return Err(self.fault(format_args!("'{text}' is not between {least} and {most}")));
        }
        Ok(duration)
    }

    /// A list, each item read by `item`; the faults of all items are told.
    pub(super) fn list<T>(&self, most: usize, item: impl Fn(&Node) -> Read<T>) -> Read<Vec<T>> {
        let Value::List(items) = &self.value else { return Err(self.wrong_type("a list")) };
        if items.len() > most {
            return Err(self.fault(format_args!("has more than {most} items")));
        }
        let mut values = Vec::with_capacity(items.len());
        let mut faults = Vec::new();
        for (index, node) in items.iter().enumerate() {
            match item(node) {
                Ok(value) => values.push(value),
                Err(inner) => faults.extend(inner.into_iter().map(|fault| fault.within(&format!("[{}]", index + 1)))),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }

    /// An address and port.
    pub(super) fn socket_address(&self) -> Read<SocketAddr> {
        self.parsed("an IP address and port such as 127.0.0.1:8025 or [::1]:8025")
    }

    /// A resolver's address; port 53 unless it is given.
    pub(super) fn resolver(&self) -> Read<SocketAddr> {
        let text = self.text()?;
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)).or_else(|_| text.parse());
        match address {
            Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
            _ => Err(self.fault(format_args!("'{text}' is not an IP address and port such as 192.0.2.53:53"))),
        }
    }

    /// Networks or single addresses.
    pub(super) fn networks(&self) -> Read<Vec<IpNet>> {
        self.list(LIST_ITEMS, |item| {
            if let Ok(address) = item.text()?.parse::<IpAddr>() {
                return Ok(IpNet::from(address));
            }
            item.parsed::<IpNet>("an address or network such as 10.0.0.0/8").map(|network| network.trunc())
        })
    }

    /// Addresses that a socket can be bound to.
    pub(super) fn source_addresses(&self) -> Read<Vec<IpAddr>> {
        self.list(LIST_ITEMS, |item| {
            let address: IpAddr = item.parsed("an IP address")?;
            if address.is_unspecified() || address.is_multicast() {
                return Err(item.fault(format_args!("'{address}' is not the address of one machine")));
            }
            Ok(address)
        })
    }

    /// The waits of a retry schedule.
    pub(super) fn schedule(&self) -> Read<Schedule> {
        let range = Duration::from_secs(1)..=30 * duration::DAY;
        self.list(RETRY_WAITS, |item| item.duration(range.clone())).map(Schedule::new)
    }

    /// A file that can be opened now, so that a wrong path is told at the start.
    pub(super) fn readable_file(&self) -> Read<PathBuf> {
        let path = PathBuf::from(self.text()?);
        let opened = std::fs::File::open(&path).and_then(|file| file.metadata());
        match opened {
            Ok(metadata) if metadata.is_file() => Ok(path),
            Ok(_) => Err(self.fault(format_args!("'{}' is not a file", path.display()))),
            Err(error) => Err(self.fault(format_args!("'{}' cannot be read: {error}", path.display()))),
        }
    }

    /// A path, of something that need not be there yet.
    pub(super) fn path(&self) -> Read<PathBuf> {
        match self.text()? {
            "" => Err(self.fault("is empty")),
            text => Ok(PathBuf::from(text)),
        }
    }

    /// The base of our URLs.
    pub(super) fn base_url(&self) -> Read<Url> {
        let text = self.text()?;
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        let Some(mut url) = url else {
            // Not quoted: it may hold a password.
            return Err(self.fault("must be a plain http or https URL such as https://mail.example.com"));
        };
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(url)
    }

    /// Directives of the log filter.
    /// A URL of an ACME authority's directory (RFC 8555 §6.1).
    pub(super) fn https_url(&self) -> Read<Url> {
        let url = Url::parse(self.text()?).ok().filter(|url| {
            url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
        });
        // Not quoted: it may hold a password.
        url.ok_or_else(|| self.fault("must be an https URL such as https://ca.example/directory"))
    }

    /// Names of hosts for one certificate.
    pub(super) fn host_names(&self) -> Read<Vec<Domain>> {
        self.list(CERTIFICATE_NAMES, Node::explained)
    }

    pub(super) fn log_filter(&self) -> Read<String> {
        let text = self.text()?;
        let filter = tracing_subscriber::EnvFilter::try_new(text);
        filter.map(|_| text.to_owned()).map_err(|_| {
            self.fault(format_args!("'{text}' is not a log level or filter such as info or warn,delivery=debug"))
        })
    }

    /// An API key of the operator's choice.
    pub(super) fn api_key(&self) -> Read<Secret> {
        let secret = self.secret()?;
        match secret.expose() {
            key if key.len() < 16 => Err(self.fault("is shorter than 16 characters")),
            key if key.len() > 256 => Err(self.fault("is longer than 256 characters")),
            key if !key.bytes().all(|b| b.is_ascii_graphic()) => {
                Err(self.fault("must have letters, digits and ASCII punctuation only"))
            }
            _ => Ok(secret),
        }
    }

    fn secret(&self) -> Read<Secret> {
        match self.text()? {
            "" => Err(self.fault("is empty")),
            Secret::REDACTED => Err(self.fault("is what `waxwing config` shows in place of a secret, not the secret")),
            text => Ok(Secret::new(text)),
        }
    }

    /// The operator's routes.
    pub(super) fn routes(&self) -> Read<Vec<Route>> {
        self.list(LIST_ITEMS, Node::route)
    }

    fn route(&self) -> Read<Route> {
        let Value::Table(entries) = &self.value else {
            return Err(self.wrong_type("a table such as { domain = \"*\", host = \"smart.example:587\" }"));
        };
        let mut faults = Vec::new();
        let (mut domain, mut host, mut tls, mut username, mut password) = (None, None, None, None, None);
        for (name, place, node) in entries {
            let read = match name.as_str() {
                "domain" => node.explained().map(|value| domain = Some(value)),
                "host" => node.host_and_port().map(|value| host = Some(value)),
                "tls" => node.minimum().map(|value| tls = Some(value)),
                "username" => node.text().map(|value| username = Some(value.to_owned())),
                "password" => node.secret().map(|value| password = Some(value)),
                _ => {
                    let known = ["domain", "host", "tls", "username", "password"].map(str::to_owned);
                    let what = unknown("key", name, known.into_iter());
                    faults.push(Fault { place: place.clone(), path: String::new(), what });
                    continue;
                }
            };
            faults.extend(read.err().into_iter().flatten().map(|fault| fault.within(&format!(".{name}"))));
        }
        // What is missing can only be told when what is there could be read.
        if !faults.is_empty() {
            return Err(faults);
        }
        let Some(domain) = domain else { return Err(self.fault("has no 'domain'")) };
        let Some((host, port)) = host else { return Err(self.fault("has no 'host'")) };
        let tls = tls.unwrap_or(Minimum::None);
        let credentials = match (username, password) {
            (None, None) => None,
            (Some(_), None) => return Err(self.fault("has a 'username' without a 'password'")),
            (None, Some(_)) => return Err(self.fault("has a 'password' without a 'username'")),
            (Some(_), Some(_)) if tls != Minimum::Verified => {
                return Err(self.fault("has credentials, which are only sent on verified TLS: set tls = \"verified\""));
            }
            (Some(username), Some(password)) => Some(Credentials { username, password }),
        };
        Ok(Route { domain, host, port, tls, credentials })
    }

    /// The sites that the operator draws.
    pub(super) fn sites(&self) -> Read<Vec<OwnSite>> {
        let sites = self.list(LIST_ITEMS, Node::site)?;
        let mut names = HashSet::new();
        match sites
            .iter()
            .flat_map(|site| &site.hosts)
            .map(ToString::to_string)
            .find(|name| !names.insert(name.clone()))
        {
            Some(twice) => Err(self.fault(format_args!("has '{twice}' in more than one place"))),
            None => Ok(sites),
        }
    }

    fn site(&self) -> Read<OwnSite> {
        let Value::Table(entries) = &self.value else {
            return Err(self.wrong_type("a table such as { hosts = [\"*.google.com\"], concurrency = 20 }"));
        };
        let mut faults = Vec::new();
        let mut site = OwnSite { hosts: Vec::new(), concurrency: None, rate: None };
        for (name, place, node) in entries {
            let read = match name.as_str() {
                "hosts" => node.list(LIST_ITEMS, Node::explained).map(|value| site.hosts = value),
                "concurrency" => node.number(1u16..=10_000).map(|value| site.concurrency = Some(value)),
                "rate" => node.explained().map(|value| site.rate = Some(value)),
                _ => {
                    let known = ["hosts", "concurrency", "rate"].map(str::to_owned);
                    let what = unknown("key", name, known.into_iter());
                    faults.push(Fault { place: place.clone(), path: String::new(), what });
                    continue;
                }
            };
            faults.extend(read.err().into_iter().flatten().map(|fault| fault.within(&format!(".{name}"))));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        match site.hosts.is_empty() {
            true => Err(self.fault("has no 'hosts'")),
            false => Ok(site),
        }
    }

    fn host_and_port(&self) -> Read<(Host, u16)> {
        let text = self.text()?;
        let bad = || {
            self.fault(format_args!("'{text}' is not a host and port such as smart.example:587 or [2001:db8::1]:587"))
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: std::net::Ipv6Addr = literal.parse().map_err(|_| bad())?;
            return Ok((Host::Address(address.into()), port));
        }
        match host.parse::<std::net::Ipv4Addr>() {
            Ok(address) => Ok((Host::Address(address.into()), port)),
            Err(_) => host.parse().map(|name| (Host::Name(name), port)).map_err(|_| bad()),
        }
    }

    pub(super) fn minimum(&self) -> Read<Minimum> {
        match self.text()? {
            "none" => Ok(Minimum::None),
            "encrypted" => Ok(Minimum::Encrypted),
            "verified" => Ok(Minimum::Verified),
            other => Err(self.fault(format_args!("'{other}' is not one of none, encrypted, verified"))),
        }
    }
}
