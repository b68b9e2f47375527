//! The operator's rules per destination: which apply at a host, and what they demand together.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use smtp::Domain;

use crate::route::DomainPattern;
use crate::tls::{Fallback, Minimum, RuleDemand};

/// What the operator demands at some destinations. It adds to what others demand and takes nothing away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The recipients' domains; empty: any.
    pub destinations: Vec<DomainPattern>,
    /// The hosts' names, as MX records or a route give them; empty: any. Of the two lists at least one has a pattern.
    pub hosts: Vec<DomainPattern>,
    /// The least protection.
    pub minimum: Minimum,
    /// Which certificate the host must show. It implies [`Minimum::Verified`].
    pub pin: Option<Arc<Pin>>,
    /// The least that an invalid certificate leads to where nobody insists on anything.
    pub fallback: Option<Fallback>,
    /// From this time on, in Unix seconds, the rule applies no more.
    pub until: Option<i64>,
    /// Why there is such a rule, for people.
    pub reason: Option<String>,
}

impl Rule {
    /// Whether its time is over at `now`, in Unix seconds.
    pub fn has_ended(&self, now: i64) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// What it demands, the pin included.
    fn minimum(&self) -> Minimum {
        if self.pin.is_some() { Minimum::Verified } else { self.minimum }
    }

    /// The rule as it is told where it applies; `None` where it does not.
    fn matches(&self, destination: &Domain, host: Option<&Domain>) -> Option<Matched> {
        if self.destinations.is_empty() && self.hosts.is_empty() {
            return None;
        }
        Some(Matched {
            destination: covering(&self.destinations, Some(destination))?,
            host: covering(&self.hosts, host)?,
            minimum: self.minimum(),
            pin: self.pin.as_deref().map(Pin::as_str),
            tls_fallback: self.fallback,
            reason: self.reason.clone(),
        })
    }
}

/// The pattern that covers a name; `Some(None)` where there is none to meet. A host without a name is any.
fn covering(patterns: &[DomainPattern], name: Option<&Domain>) -> Option<Option<String>> {
    if patterns.is_empty() {
        return Some(None);
    }
    let covers = |pattern: &&DomainPattern| match name {
        Some(name) => pattern.covers(name),
        None => **pattern == DomainPattern::Any,
    };
    patterns.iter().find(covers).map(|pattern| Some(pattern.to_string()))
}

/// Which certificates are good at a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Those whose chain ends at one of these authorities, each a certificate in DER. In date, and for the host's name.
    Authorities(Vec<Vec<u8>>),
    /// These very ones, whatever their dates and names.
    Certificates(Vec<Fingerprint>),
}

impl Pin {
    /// The setting that made it.
    fn as_str(&self) -> &'static str {
        match self {
            Pin::Authorities(_) => "ca",
            Pin::Certificates(_) => "certificate",
        }
    }
}

/// The SHA-256 of a certificate, or of its public key (SubjectPublicKeyInfo), both in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl FromStr for Fingerprint {
    type Err = String;

    /// 64 hexadecimal digits, with or without colons between the octets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let digits = match text.contains(':') {
                true => text.split(':').map(|pair| (pair.len() == 2).then_some(pair)).collect::<Option<String>>()?,
                false => text.to_owned(),
            };
            if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            let mut octets = [0; 32];
            for (index, octet) in octets.iter_mut().enumerate() {
                *octet = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
            }
            Some(Fingerprint(octets))
        };
        parse().ok_or_else(|| format!("'{text}' is not a SHA-256 fingerprint: 64 hexadecimal digits"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A rule that applies at a host, as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Matched {
    /// The pattern that covers the recipients' domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The pattern that covers the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The least protection that it demands.
    pub minimum: Minimum,
    /// What it pins: `ca` or `certificate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<&'static str>,
    /// Its own word on invalid certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_fallback: Option<Fallback>,
    /// Why there is such a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// All rules that apply at a host, taken together: the strictest of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruling {
    /// What the host's certificate must meet, every one of them.
    pub pins: Vec<Arc<Pin>>,
    /// The rules, in their order.
    pub matched: Vec<Matched>,
}

impl Ruling {
    /// What they demand, for [`crate::tls::strengthen`].
    pub fn demand(&self) -> RuleDemand {
        RuleDemand {
            minimum: self.matched.iter().map(|rule| rule.minimum).max().unwrap_or(Minimum::None),
            fallback: self.matched.iter().filter_map(|rule| rule.tls_fallback).max(),
            pinned: !self.pins.is_empty(),
        }
    }
}

/// The rules that apply at `now`, in Unix seconds, to mail for `destination` at `host`; `None` is a host that a route
/// gives by address.
pub fn ruling(rules: &[Rule], destination: &Domain, host: Option<&Domain>, now: i64) -> Ruling {
    let mut ruling = Ruling::default();
    for rule in rules.iter().filter(|rule| !rule.has_ended(now)) {
        let Some(matched) = rule.matches(destination, host) else { continue };
        ruling.matched.push(matched);
        ruling.pins.extend(rule.pin.clone().filter(|pin| !ruling.pins.contains(pin)));
    }
    ruling
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<DomainPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn rule(destinations: &[&str], hosts: &[&str]) -> Rule {
        Rule {
            destinations: patterns(destinations),
            hosts: patterns(hosts),
            minimum: Minimum::Encrypted,
            pin: None,
            fallback: None,
            until: None,
            reason: None,
        }
    }

    fn pin(octet: u8) -> Option<Arc<Pin>> {
        Some(Arc::new(Pin::Certificates(vec![Fingerprint([octet; 32])])))
    }

    fn at(rules: &[Rule], destination: &str, host: &str, now: i64) -> Ruling {
        let name = host.parse().ok().filter(|_| host != "address");
        ruling(rules, &destination.parse().unwrap(), name.as_ref(), now)
    }

    #[test]
    fn a_rule_applies_where_every_list_that_it_has_covers() {
        for (destinations, hosts, destination, host, expected) in [
            (&["d.test"][..], &[][..], "d.test", "mx.other.test", Some((Some("d.test"), None))),
            (&["d.test"], &[], "D.test", "address", Some((Some("d.test"), None))),
            (&["d.test"], &[], "sub.d.test", "mx.d.test", None),
            (&["a.test", "*.d.test"], &[], "sub.d.test", "mx.d.test", Some((Some("*.d.test"), None))),
            (&["*"], &[], "d.test", "mx.d.test", Some((Some("*"), None))),
            (&[], &["*.mail.test"], "d.test", "mx.mail.test", Some((None, Some("*.mail.test")))),
            (&[], &["*.mail.test"], "mx.mail.test", "mail.test", None),
            (&[], &["*.mail.test"], "d.test", "address", None),
            (&[], &["*"], "d.test", "address", Some((None, Some("*")))),
            (&["d.test"], &["mx.d.test"], "d.test", "mx.d.test", Some((Some("d.test"), Some("mx.d.test")))),
            (&["d.test"], &["mx.d.test"], "d.test", "mx2.d.test", None),
            (&["d.test"], &["mx.d.test"], "e.test", "mx.d.test", None),
            (&[], &[], "d.test", "mx.d.test", None),
        ] {
            let ruling = at(&[rule(destinations, hosts)], destination, host, 0);
            let found = ruling.matched.first().map(|rule| (rule.destination.as_deref(), rule.host.as_deref()));
            assert_eq!(found, expected, "{destinations:?} {hosts:?} {destination} {host}");
        }
    }

    #[test]
    fn of_several_rules_the_strictest_counts_in_each_respect() {
        let any = || rule(&["*"], &[]);
        let none = Minimum::None;
        let rules = [
            Rule { fallback: Some(Fallback::Defer), minimum: none, ..any() },
            Rule { fallback: Some(Fallback::Plaintext), reason: Some("why".to_owned()), ..any() },
            Rule { minimum: none, ..any() },
        ];
        let demand = RuleDemand { minimum: Minimum::Encrypted, fallback: Some(Fallback::Defer), pinned: false };
        let ruling = at(&rules, "d.test", "mx.d.test", 0);
        assert_eq!((ruling.demand(), ruling.matched.len()), (demand, 3));
        assert_eq!(ruling.matched[1].reason.as_deref(), Some("why"));
        assert_eq!(at(&[], "d.test", "mx.d.test", 0).demand(), RuleDemand::default());
        // A pin demands a good certificate, whatever else the rule says; pins of several rules must all be met.
        let rules = [
            Rule { pin: pin(1), minimum: none, ..any() },
            Rule { pin: pin(2), ..any() },
            Rule { pin: pin(1), ..any() },
            Rule { pin: pin(3), ..rule(&["other.test"], &[]) },
        ];
        let ruling = at(&rules, "d.test", "mx.d.test", 0);
        assert_eq!(ruling.pins, [pin(1).unwrap(), pin(2).unwrap()]);
        assert_eq!(ruling.demand(), RuleDemand { minimum: Minimum::Verified, fallback: None, pinned: true });
        assert_eq!((ruling.matched[0].minimum, ruling.matched[0].pin), (Minimum::Verified, Some("certificate")));
    }

    #[test]
    fn a_rule_ends_at_its_time() {
        let rules = [Rule { until: Some(100), ..rule(&["*"], &[]) }];
        for (now, applies) in [(i64::MIN, true), (99, true), (100, false), (101, false)] {
            assert_eq!(at(&rules, "d.test", "mx.d.test", now).matched.len(), usize::from(applies), "{now}");
            assert_eq!(rules[0].has_ended(now), !applies);
        }
        assert!(!rule(&["*"], &[]).has_ended(i64::MAX));
    }

    #[test]
    fn fingerprints() {
        let plain = "00ff".repeat(16);
        let with_colons = ["00:FF"; 16].join(":");
        for text in [plain.as_str(), &with_colons] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), plain);
        }
        let long = "00".repeat(33);
        let badly_split = format!("0:0{}", &plain[2..]);
        let signed = format!("+0{}", &plain[2..]);
        let broad = format!("é{}", &plain[2..]);
        for text in ["", ":", &plain[1..], &long, &badly_split, &signed, &broad, &"g0".repeat(32)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text:?}");
        }
    }
}
