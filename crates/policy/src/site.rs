//! Which recipient domains count together: those whose mail goes to the same place.
//!
//! A provider counts connections and messages from one sender over all the domains that it serves, so limits must too.
//! The hosts of one provider are told by their registrable domain: `example-com.mail.protection.outlook.com` and
//! `other-com.mail.protection.outlook.com` are different hosts of one place.

use std::fmt;

use smtp::Domain;

use crate::mx::MxHost;
use crate::route::{self, DomainPattern};

/// Most registrable domains in the name of one site. A domain that spreads its mail wider counts with those that begin
/// alike, which only makes limits stricter.
const NAMES: usize = 3;

/// What stands before the name of a domain of which nobody knows yet where its mail goes.
const UNKNOWN: char = '?';

/// The name of a place that mail goes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(String);

impl Site {
    /// The site of a domain whose hosts nobody has looked up: its own.
    pub fn unknown(destination: &Domain) -> Site {
        Site(format!("{UNKNOWN}{destination}"))
    }

    /// A name that [`Site::as_str`] gave.
    pub fn named(name: impl Into<String>) -> Site {
        Site(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nobody has looked yet.
    pub fn is_unknown(&self) -> bool {
        self.0.starts_with(UNKNOWN)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the mail of a destination goes, as far as it says which site that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// To the hosts of its MX records.
    Mx(Vec<MxHost>),
    /// It has no MX record and is its own host (RFC 5321 §5.1).
    Itself(Domain),
    /// To the host and port of an operator's route.
    Route(String),
}

/// The site of a destination. `own` are the operator's sites, the patterns of each; the most specific that covers one of
/// the hosts wins, and its first pattern is the site's name.
///
/// Of MX hosts only the most preferred count, those that get the mail while they live: a second provider that stands by
/// makes no other site. A route is a site of its own, as is a host without MX records.
pub fn of(leads: &Leads, own: &[Vec<DomainPattern>]) -> Site {
    match leads {
        Leads::Route(host) => Site(host.clone()),
        Leads::Itself(host) => own_site([host].into_iter(), own).unwrap_or_else(|| Site(host.to_string())),
        Leads::Mx(hosts) => {
            let preferred = preferred(hosts);
            own_site(preferred.iter().copied(), own).unwrap_or_else(|| by_registrable_domains(&preferred))
        }
    }
}

/// The most preferred hosts, in the order of their names: the DNS gives them in any.
fn preferred(hosts: &[MxHost]) -> Vec<&Domain> {
    let least = hosts.iter().map(|host| host.preference).min();
    let mut names: Vec<&Domain> =
        hosts.iter().filter(|host| Some(host.preference) == least).map(|host| &host.name).collect();
    names.sort_unstable();
    names
}

fn own_site<'a>(mut hosts: impl Iterator<Item = &'a Domain>, own: &[Vec<DomainPattern>]) -> Option<Site> {
    let patterns: Vec<(&DomainPattern, &DomainPattern)> = own
        .iter()
        .filter_map(|site| Some((site, site.first()?)))
        .flat_map(|(site, name)| site.iter().map(move |p| (p, name)))
        .collect();
    hosts.find_map(|host| route::find(host, &patterns, |(pattern, _)| pattern)).map(|(_, name)| Site(name.to_string()))
}

fn by_registrable_domains(hosts: &[&Domain]) -> Site {
    let mut names: Vec<&str> = hosts.iter().map(|host| registrable(host)).collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(NAMES);
    Site(names.join("+"))
}

/// The name that somebody registered, by the Public Suffix List; the host's own where there is none above it.
pub fn registrable(host: &Domain) -> &str {
    psl::domain_str(host.as_str()).unwrap_or(host.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mx(hosts: &[(u16, &str)]) -> Leads {
        let host = |(preference, name): &(u16, &str)| MxHost { name: name.parse().unwrap(), preference: *preference };
        Leads::Mx(hosts.iter().map(host).collect())
    }

    fn site(hosts: &[(u16, &str)]) -> String {
        of(&mx(hosts), &[]).to_string()
    }

    #[test]
    fn domains_behind_one_provider_count_together() {
        for (hosts, expected) in [
            // Hosted mail with a host name for each customer.
            (&[(0, "example-com.mail.protection.outlook.com")][..], "outlook.com"),
            (&[(10, "other-com.mail.protection.outlook.com")], "outlook.com"),
            (&[(0, "example-com.p-v1.mx.microsoft")], "mx.microsoft"),
            (&[(10, "mx0a-00148503.pphosted.com"), (10, "mx0b-00148503.pphosted.com")], "pphosted.com"),
            (&[(10, "mx1.hc1234-56.eu.iphmx.com"), (20, "mx2.hc1234-56.eu.iphmx.com")], "iphmx.com"),
            (&[(10, "d123456a.ess.barracudanetworks.com")], "barracudanetworks.com"),
            (&[(10, "eu-smtp-inbound-1.mimecast.com"), (10, "eu-smtp-inbound-2.mimecast.com")], "mimecast.com"),
            // One set of hosts for all, with a second domain among those that stand by.
            (&[(1, "aspmx.l.google.com"), (5, "alt1.aspmx.l.google.com"), (10, "aspmx2.googlemail.com")], "google.com"),
            (&[(1, "smtp.google.com")], "google.com"),
            (&[(5, "gmail-smtp-in.l.google.com"), (10, "alt1.gmail-smtp-in.l.google.com")], "google.com"),
            (&[(1, "mta5.am0.yahoodns.net"), (1, "mta6.am0.yahoodns.net")], "yahoodns.net"),
            (&[(10, "mx01.mail.icloud.com"), (10, "mx02.mail.icloud.com")], "icloud.com"),
            (&[(10, "mx00.ionos.co.uk"), (10, "mx01.ionos.co.uk")], "ionos.co.uk"),
            // Two providers at once.
            (&[(10, "in.one.net"), (10, "in.other.net")], "one.net+other.net"),
            (&[(10, "in.other.net"), (10, "in.one.net")], "one.net+other.net"),
            // A backup at a provider.
            (&[(10, "mail.example.com"), (20, "backup.provider.net")], "example.com"),
            // No name above them that somebody registered, or a suffix below which strangers live.
            (&[(10, "mailhost")], "mailhost"),
            (&[(10, "co.uk")], "co.uk"),
            (&[(10, "ec2-192-0-2-1.compute-1.amazonaws.com")], "ec2-192-0-2-1.compute-1.amazonaws.com"),
            (&[(10, "mx.d.test")], "d.test"),
        ] {
            assert_eq!(site(hosts), expected, "{hosts:?}");
        }
    }

    #[test]
    fn what_is_no_mx_is_a_site_of_its_own() {
        assert_eq!(of(&Leads::Itself("www.example.com".parse().unwrap()), &[]).as_str(), "www.example.com");
        assert_eq!(of(&Leads::Route("smart.example:587".to_owned()), &[]).as_str(), "smart.example:587");
        let unknown = Site::unknown(&"example.com".parse().unwrap());
        assert!(unknown.is_unknown() && Site::named(unknown.as_str()) == unknown);
        assert!(!Site::named("example.com").is_unknown());
    }

    #[test]
    fn the_operator_draws_sites_otherwise() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let own: Vec<Vec<DomainPattern>> = vec![
            patterns(&["*.google.com", "*.googlemail.com"]),
            patterns(&["*.mail.protection.outlook.com"]),
            patterns(&["*.outlook.com"]),
            patterns(&[]),
        ];
        for (hosts, expected) in [
            (&[(1, "aspmx2.googlemail.com")][..], "*.google.com"),
            (&[(1, "a.mail.protection.outlook.com")], "*.mail.protection.outlook.com"),
            (&[(1, "hotmail-com.olc.protection.outlook.com")], "*.outlook.com"),
            (&[(1, "in.one.net"), (1, "mx.google.com")], "*.google.com"),
            (&[(1, "in.one.net"), (2, "mx.google.com")], "one.net"),
        ] {
            assert_eq!(of(&mx(hosts), &own).as_str(), expected, "{hosts:?}");
        }
        // A route goes where the operator said, whatever its host is called.
        assert_eq!(of(&Leads::Route("mx.google.com:25".to_owned()), &own).as_str(), "mx.google.com:25");
    }

    proptest! {
        /// The order in which the DNS gives the records makes no difference, and the name is never one of the unknown.
        #[test]
        fn the_order_of_records_does_not_matter(
            mut hosts in prop::collection::vec((0..3u16, "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}\\.(com|co\\.uk|test)"), 1..8),
            seed: u64,
        ) {
            let as_leads = |hosts: &[(u16, String)]| {
                mx(&hosts.iter().map(|(preference, name)| (*preference, name.as_str())).collect::<Vec<_>>())
            };
            let one = of(&as_leads(&hosts), &[]);
            let middle = (seed % hosts.len() as u64) as usize;
            hosts.rotate_left(middle);
            hosts.reverse();
            prop_assert_eq!(&of(&as_leads(&hosts), &[]), &one);
            prop_assert!(!one.is_unknown() && !one.as_str().is_empty());
        }
    }
}
