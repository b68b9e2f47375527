//! Where mail for a domain goes (RFC 5321 §5.1, RFC 7505), and which addresses it may never go to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use smtp::Domain;
use smtp::limits::MX_HOSTS;

/// One MX record: a preference and the exchange, `None` for the root, `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxRecord {
    /// Lower is tried first.
    pub preference: u16,
    /// The host's name.
    pub exchange: Option<Domain>,
}

/// A host that mail for the domain may be handed to. Its name is what a certificate is checked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxHost {
    /// The name in the MX record, or the domain itself.
    pub name: Domain,
    /// The preference; 0 for an implicit MX.
    pub preference: u16,
}

/// What the DNS said about a domain's MX records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxAnswer {
    /// The records that name a host or the root. None of them, when what is published names neither.
    Records(Vec<MxRecord>),
    /// The domain exists and has no MX record.
    NoRecords,
    /// The domain does not exist.
    NoSuchDomain,
}

/// Why a domain takes no mail. All of these are permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMailHost {
    /// It says so: a null MX (RFC 7505).
    NullMx,
    /// It does not exist.
    NoSuchDomain,
    /// It has MX records, and none of them names a host.
    NoUsableHost,
}

/// The hosts for a domain, in the order in which they are to be tried, at most [`MX_HOSTS`].
///
/// `shuffle_key` gives a random number for each record, so that hosts of equal preference are tried in random order
/// (RFC 5321 §5.1) while this function stays a function.
///
/// # Errors
/// When the domain takes no mail at all.
pub fn hosts(
    domain: &Domain,
    answer: MxAnswer,
    mut shuffle_key: impl FnMut() -> u64,
) -> Result<Vec<MxHost>, NoMailHost> {
    let records = match answer {
        MxAnswer::Records(records) => records,
        // The implicit MX of RFC 5321 §5.1: the domain's own address, with preference 0.
        MxAnswer::NoRecords => return Ok(vec![MxHost { name: domain.clone(), preference: 0 }]),
        MxAnswer::NoSuchDomain => return Err(NoMailHost::NoSuchDomain),
    };
    if records.is_empty() {
        return Err(NoMailHost::NoUsableHost);
    }
    let mut hosts: Vec<(u16, u64, Domain)> =
        records.into_iter().filter_map(|record| Some((record.preference, shuffle_key(), record.exchange?))).collect();
    if hosts.is_empty() {
        return Err(NoMailHost::NullMx);
    }
    hosts.sort();
    let mut ordered: Vec<MxHost> = Vec::new();
    for (preference, _, name) in hosts {
        if ordered.len() < MX_HOSTS && ordered.iter().all(|host| host.name != name) {
            ordered.push(MxHost { name, preference });
        }
    }
    Ok(ordered)
}

/// Why an address is never connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prohibited {
    /// Loopback, private, link-local, multicast or otherwise not a public unicast address (RFC 6890).
    NotPublic,
    /// One of this machine's own: mail would come back to us.
    OurOwn,
}

/// Whether a delivery may reach an address. What the operator allows explicitly is always allowed.
///
/// # Errors
/// Why not.
pub fn may_reach(address: IpAddr, is_our_own: bool, allowed: &[IpNet]) -> Result<(), Prohibited> {
    let address = address.to_canonical();
    if allowed.iter().any(|network| network.contains(&address)) {
        return Ok(());
    }
    let is_public = match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    };
    match (is_public, is_our_own) {
        (false, _) => Err(Prohibited::NotPublic),
        (true, true) => Err(Prohibited::OurOwn),
        (true, false) => Ok(()),
    }
}

/// The special-purpose blocks of RFC 6890 and its registry, less those that are public unicast after all.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0 // "this network", RFC 791
        || (a == 100 && (64..128).contains(&b)) // shared address space, RFC 6598
        || (a == 192 && b == 0 && c == 0) // IETF protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relay anycast, deprecated by RFC 7526
        || (a == 198 && (18..20).contains(&b)) // benchmarking, RFC 2544
        || a >= 224; // multicast, reserved, broadcast
    !special
}

/// Global unicast is 2000::/3; within it, what embeds or stands for something else is excluded.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    let protocol_assignments = segments[0] == 0x2001 && segments[1] < 0x0200; // Teredo, ORCHID, benchmarking …
    let documentation = (segments[0] == 0x2001 && segments[1] == 0x0db8) || segments[0] == 0x3fff;
    let six_to_four = segments[0] == 0x2002; // carries an IPv4 address, private ones too
    global_unicast && !protocol_assignments && !documentation && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        name.parse().unwrap()
    }

    fn record(preference: u16, exchange: &str) -> MxRecord {
        MxRecord { preference, exchange: exchange.parse().ok() }
    }

    fn names(records: &[MxRecord], keys: &[u64]) -> Vec<String> {
        let mut keys = keys.iter().copied();
        let answer = MxAnswer::Records(records.to_vec());
        let hosts = hosts(&domain("d.test"), answer, || keys.next().unwrap()).unwrap();
        hosts.into_iter().map(|host| host.name.to_string()).collect()
    }

    #[test]
    fn hosts_are_ordered_by_preference_then_by_lot() {
        let records = [record(20, "c.test"), record(10, "a.test"), record(10, "b.test")];
        assert_eq!(names(&records, &[0, 1, 2]), ["a.test", "b.test", "c.test"]);
        assert_eq!(names(&records, &[0, 2, 1]), ["b.test", "a.test", "c.test"]);
    }

    #[test]
    fn a_host_is_listed_once_and_many_hosts_are_cut() {
        assert_eq!(names(&[record(10, "a.test"), record(20, "a.test")], &[0, 0]), ["a.test"]);
        let many: Vec<_> = (0..40).map(|i| record(i, &format!("mx{i}.test"))).collect();
        assert_eq!(names(&many, &[0; 40]).len(), MX_HOSTS);
    }

    #[test]
    fn a_null_mx_takes_no_mail_but_is_ignored_beside_others() {
        let null = || MxRecord { preference: 0, exchange: None };
        assert_eq!(hosts(&domain("d.test"), MxAnswer::Records(vec![null()]), || 0), Err(NoMailHost::NullMx));
        assert_eq!(names(&[null(), record(10, "a.test")], &[0, 0]), ["a.test"]);
    }

    #[test]
    fn without_mx_the_domain_is_its_own_host() {
        let host = MxHost { name: domain("d.test"), preference: 0 };
        assert_eq!(hosts(&domain("d.test"), MxAnswer::NoRecords, || 0), Ok(vec![host]));
        let nowhere = hosts(&domain("d.test"), MxAnswer::NoSuchDomain, || 0);
        assert_eq!(nowhere, Err(NoMailHost::NoSuchDomain));
        // Records that name no host do not make the domain its own host: it has MX records.
        let unusable = hosts(&domain("d.test"), MxAnswer::Records(Vec::new()), || 0);
        assert_eq!(unusable, Err(NoMailHost::NoUsableHost));
    }

    #[test]
    fn only_public_addresses_are_reached() {
        let may = |address: &str| may_reach(address.parse().unwrap(), false, &[]);
        for address in ["8.8.8.8", "192.0.1.1", "100.63.0.1", "2a00:1450::1", "2001:4860::1", "2606:4700::1"] {
            assert_eq!(may(address), Ok(()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "2001::1",
            "3fff::1",
            "100::1",
        ] {
            assert_eq!(may(address), Err(Prohibited::NotPublic), "{address}");
        }
    }

    #[test]
    fn what_the_operator_allows_is_reached() {
        let allowed = ["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let may = |address: &str, own| may_reach(address.parse().unwrap(), own, &allowed);
        assert_eq!(may("127.0.0.2", true), Ok(()));
        assert_eq!(may("::ffff:127.0.0.2", true), Ok(()));
        assert_eq!(may("fd00::1", false), Ok(()));
        assert_eq!(may("10.0.0.1", false), Err(Prohibited::NotPublic));
        assert_eq!(may("8.8.8.8", true), Err(Prohibited::OurOwn));
    }
}
