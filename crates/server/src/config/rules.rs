//! The operator's rules per destination, as they are written.

use std::path::PathBuf;
use std::sync::Arc;

use delivery::tls::read_authorities;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use policy::rule::{self, Fingerprint, Pin};
use policy::tls::{Fallback, Minimum};

use super::Config;
use super::error::Fault;
use super::read::{LIST_ITEMS, Read};
use super::source::{Node, Value, unknown};

/// Each delivery looks at all of them, at each host.
const RULES: usize = 1000;
/// A reason stands in every event to which its rule applied.
const REASON_OCTETS: usize = 500;

/// What the operator demands at some destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The rule.
    pub rule: rule::Rule,
    /// The file that its authorities were read from.
    ca: Option<PathBuf>,
    /// Its end as it was written.
    until: Option<String>,
}

impl Rule {
    /// The same as it would be written.
    pub(super) fn table(&self) -> toml::Table {
        let rule::Rule { destinations, hosts, minimum, pin, fallback, until: _, reason } = &self.rule;
        let texts = |texts: Vec<String>| toml::Value::Array(texts.into_iter().map(toml::Value::from).collect());
        let mut table = toml::Table::new();
        let mut insert = |name: &str, value: Option<toml::Value>| value.map(|value| table.insert(name.into(), value));
        for (name, patterns) in [("destinations", destinations), ("hosts", hosts)] {
            let shown = texts(patterns.iter().map(ToString::to_string).collect());
            insert(name, (!patterns.is_empty()).then_some(shown));
        }
        insert("minimum", Some(super::keys::minimum(*minimum).into()));
        insert("ca", self.ca.as_ref().map(|path| path.display().to_string().into()));
        if let Some(Pin::Certificates(fingerprints)) = pin.as_deref() {
            insert("certificate", Some(texts(fingerprints.iter().map(ToString::to_string).collect())));
        }
        insert("tls_fallback", fallback.map(|fallback| fallback.as_str().into()));
        insert("until", self.until.as_deref().map(Into::into));
        insert("reason", reason.as_deref().map(Into::into));
        table
    }
}

impl Config {
    /// The rules that apply no more at `now`, in Unix seconds, each in words.
    pub fn ended_rules(&self, now: i64) -> Vec<String> {
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| rule.rule.has_ended(now));
        rules
            .map(|(index, rule)| {
                let until = rule.until.as_deref().unwrap_or_default();
                format!("rules[{}] has ended (until {until}) and applies no more", index + 1)
            })
            .collect()
    }
}

/// What a table says, each as far as it is there.
#[derive(Default)]
struct Written {
    destinations: Vec<policy::route::DomainPattern>,
    hosts: Vec<policy::route::DomainPattern>,
    minimum: Option<Minimum>,
    ca: Option<(PathBuf, Vec<Vec<u8>>)>,
    certificate: Option<Vec<Fingerprint>>,
    tls_fallback: Option<Fallback>,
    until: Option<(String, i64)>,
    reason: Option<String>,
}

impl Node {
    /// The operator's rules.
    pub(super) fn rules(&self) -> Read<Vec<Rule>> {
        self.list(RULES, Node::rule)
    }

    fn rule(&self) -> Read<Rule> {
        let Value::Table(entries) = &self.value else {
            return Err(self.wrong_type("a table such as { destinations = [\"example.com\"], minimum = \"verified\" }"));
        };
        let mut written = Written::default();
        let mut faults = Vec::new();
        for (name, place, node) in entries {
            let read = match name.as_str() {
                "destinations" => node.some(Node::explained).map(|value| written.destinations = value),
                "hosts" => node.some(Node::explained).map(|value| written.hosts = value),
                "minimum" => node.minimum().map(|value| written.minimum = Some(value)),
                "ca" => node.authorities().map(|value| written.ca = Some(value)),
                "certificate" => node.some(Node::explained).map(|value| written.certificate = Some(value)),
                "tls_fallback" => node.explained().map(|value| written.tls_fallback = Some(value)),
                "until" => node.end().map(|value| written.until = Some(value)),
                "reason" => node.reason().map(|value| written.reason = Some(value)),
                _ => {
                    let known =
                        ["destinations", "hosts", "minimum", "ca", "certificate", "tls_fallback", "until", "reason"];
                    let what = unknown("key", name, known.map(str::to_owned).into_iter());
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
        written.into_rule().map_err(|what| self.fault(what))
    }

    /// A list of one item at least.
    fn some<T>(&self, item: impl Fn(&Node) -> Read<T>) -> Read<Vec<T>> {
        match self.list(LIST_ITEMS, item)? {
            items if items.is_empty() => Err(self.fault("is empty")),
            items => Ok(items),
        }
    }

    /// A file of authorities, and what it has.
    fn authorities(&self) -> Read<(PathBuf, Vec<Vec<u8>>)> {
        let path = self.readable_file()?;
        let authorities = read_authorities(&path).map_err(|error| self.fault(error))?;
        Ok((path, authorities))
    }

    /// The end of a date, which is still in, or a time; in Unix seconds.
    fn end(&self) -> Read<(String, i64)> {
        let text = match &self.value {
            Value::Time(text) => text,
            _ => self.text()?,
        };
        let of_date = |date: Date| date.tomorrow()?.to_zoned(TimeZone::UTC).map(|next| next.timestamp());
        // A date alone, not one with a time and without an offset.
        let date = if text.len() == "2027-01-31".len() { text.parse().and_then(of_date).ok() } else { None };
        match date.or_else(|| text.parse().ok()) {
            Some(end) => Ok((text.to_owned(), end.as_second())),
            None => Err(self.fault(format_args!(
                "'{text}' is not a date such as 2027-01-31, nor a time such as 2027-01-31T12:00:00Z"
            ))),
        }
    }

    fn reason(&self) -> Read<String> {
        match self.owned_text()? {
            reason if reason.len() > REASON_OCTETS => {
                Err(self.fault(format_args!("is longer than {REASON_OCTETS} octets")))
            }
            reason => Ok(reason),
        }
    }
}

impl Written {
    fn into_rule(self) -> Result<Rule, &'static str> {
        if self.destinations.is_empty() && self.hosts.is_empty() {
            return Err("has neither 'destinations' nor 'hosts'");
        }
        let (ca, pin) = match (self.ca, self.certificate) {
            (None, None) => (None, None),
            (Some((path, authorities)), None) => (Some(path), Some(Pin::Authorities(authorities))),
            (None, Some(fingerprints)) => (None, Some(Pin::Certificates(fingerprints))),
            (Some(_), Some(_)) => {
                return Err("has both a 'ca' and a 'certificate'; where both must hold, write two rules");
            }
        };
        let minimum = match (self.minimum, &pin) {
            (None | Some(Minimum::Verified), Some(_)) => Minimum::Verified,
            (Some(_), Some(_)) => return Err("pins a certificate, which means minimum = \"verified\""),
            (minimum, None) => minimum.unwrap_or(Minimum::None),
        };
        if minimum == Minimum::None && self.tls_fallback.is_none() {
            return Err("demands nothing: it takes a 'minimum', 'ca', 'certificate' or 'tls_fallback'; \
                        a rule adds to what others demand and takes nothing away");
        }
        let (until, end) = self.until.unzip();
        let rule = rule::Rule {
            destinations: self.destinations,
            hosts: self.hosts,
            minimum,
            pin: pin.map(Arc::new),
            fallback: self.tls_fallback,
            until: end,
            reason: self.reason,
        };
        Ok(Rule { rule, ca, until })
    }
}
