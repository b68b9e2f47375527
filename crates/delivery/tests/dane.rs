//! DANE's lookups against signed zones that a real authority serves, through a real resolver, by both of our ways to
//! secure an answer.

#[path = "dane/shapes.rs"]
mod shapes;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use delivery::dnssec::{AdTest, Anchors, Dnssec, DnssecStatus, Mode};
use delivery::resolve::{Dns, DnsError};
use policy::dane::{Dane, NextHop, Security};
use policy::mx::MxAnswer;
use smtp::Domain;
use testkit::signed::{Delegation, Served, SignedTree, SignedZone, Signing, tools_or_skip};

/// What the records of these zones say: nobody shows such a certificate.
const TLSA: &str = "TLSA 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa";
const OTHER: &str = "TLSA 3 1 1 00000000000000000000000000000000000000000000000000000000000000bb";

/// A domain whose mail goes to `mx` in it, which has a TLSA record.
fn usual() -> String {
    format!("@ MX 10 mx\nmx A 192.0.2.1\n_25._tcp.mx {TLSA}\n")
}

fn zones() -> Vec<SignedZone> {
    use Signing::{Expired, Nsec, Nsec3, Unsigned};
    let odd = format!(
        "none A 192.0.2.1\n\
         nodata A 192.0.2.1\n_25._tcp.nodata TXT x\n\
         wild A 192.0.2.1\n*.wild {TLSA}\n\
         six AAAA 2001:db8::1\n_25._tcp.six {TLSA}\n\
         far A 192.0.2.1\n_25._tcp.far CNAME tlsa.nsec.test.\n\
         farther A 192.0.2.1\n_25._tcp.farther CNAME tlsa.plain.test.\n\
         alias CNAME mx.nsec.test.\n_25._tcp.alias {OTHER}\n\
         half CNAME none\n_25._tcp.half {OTHER}\n\
         out CNAME mx.plain.test.\n_25._tcp.out {OTHER}\n\
         outbare CNAME mx.plain.test.\n\
         unusable A 192.0.2.1\n_25._tcp.unusable TLSA 1 1 1 {}\n_25._tcp.unusable TLSA 3 1 9 abcd\n\
         mixed A 192.0.2.1\n_25._tcp.mixed TLSA 0 0 1 {}\n_25._tcp.mixed {TLSA}\n\
         gone A 192.0.2.1\n\
         slow A 192.0.2.1\n",
        "00".repeat(32),
        "00".repeat(32),
    );
    let failing = |name, served| SignedZone { served, ..SignedZone::new(name, Unsigned, "") };
    vec![
        SignedZone::new(".", Nsec, ""),
        SignedZone::new("test.", Nsec3, ""),
        SignedZone::new("sec.test.", Nsec3, usual() + &odd),
        SignedZone::new("nsec.test.", Nsec, usual() + &odd + &format!("tlsa {TLSA}\n")),
        SignedZone::new("plain.test.", Unsigned, usual() + &format!("tlsa {TLSA}\n")),
        SignedZone::new("outside.test.", Nsec, "@ MX 10 mx.plain.test.\n@ MX 20 mx.brokentlsa.test.\n"),
        SignedZone::new("implicit.test.", Nsec, format!("@ A 192.0.2.1\n_25._tcp {TLSA}\n")),
        SignedZone { delegation: Delegation::Wrong, ..SignedZone::new("badds.test.", Nsec, usual()) },
        SignedZone {
            forged: Some(("00000000000000aa".to_owned(), "00000000000000cc".to_owned())),
            ..SignedZone::new("badsig.test.", Nsec, usual())
        },
        SignedZone::new("expired.test.", Expired, usual()),
        SignedZone::new("brokentlsa.test.", Unsigned, "@ MX 10 mx\nmx A 192.0.2.1\n"),
        failing("_tcp.mx.brokentlsa.test.", Served::Gone),
        failing("_tcp.gone.sec.test.", Served::Gone),
        failing("_tcp.gone.nsec.test.", Served::Gone),
        failing("_tcp.slow.sec.test.", Served::Silent),
        failing("_tcp.slow.nsec.test.", Served::Silent),
    ]
}

fn name(text: &str) -> Domain {
    text.parse().unwrap()
}

/// What came of it, in a word or two: `usable base first-octet`, or the code.
async fn dane(dns: &Dns, domain: &str, host: &str) -> String {
    let (domain, host) = (name(domain), name(host));
    let mx = match dns.mx_lookup(&domain).await {
        Ok(lookup) => lookup.security,
        Err(error) => return in_words(&error),
    };
    let lookup = match dns.host(&host).await {
        Ok(lookup) => lookup,
        Err(error) => return in_words(&error),
    };
    match dns.dane(&NextHop::Mx(mx), &domain, &host, 25, &lookup).await {
        Dane::Usable(set) => {
            let last = set.associations[0].data.last().unwrap();
            format!("usable {} {last:x}", set.base)
        }
        other => other.code().to_owned(),
    }
}

fn in_words(error: &DnsError) -> String {
    match error {
        DnsError::Bogus { .. } => "lookup bogus".to_owned(),
        other => other.to_string(),
    }
}

/// Domain, host, and what DANE means there.
fn table() -> Vec<(String, String, &'static str)> {
    let mut table = Vec::new();
    for zone in ["sec.test", "nsec.test"] {
        for (host, expected) in [
            ("mx", "usable mx.ZONE aa"),
            ("none", "no-tlsa"),
            ("nodata", "no-tlsa"),
            ("wild", "usable wild.ZONE aa"),
            ("six", "usable six.ZONE aa"),
            ("far", "usable far.ZONE aa"),
            ("farther", "tlsa-insecure"),
            ("alias", "usable mx.nsec.test aa"),
            ("half", "usable half.ZONE bb"),
            ("out", "usable out.ZONE bb"),
            ("outbare", "no-tlsa"),
            ("unusable", "tlsa-invalid"),
            ("mixed", "usable mixed.ZONE aa"),
            ("gone", "tlsa-lookup-failed"),
        ] {
            table.push((zone.to_owned(), format!("{host}.{zone}"), expected));
        }
    }
    for (domain, host, expected) in [
        ("plain.test", "mx.plain.test", "mx-insecure"),
        ("plain.test", "mx.sec.test", "mx-insecure"),
        ("outside.test", "mx.plain.test", "address-insecure"),
        ("outside.test", "mx.brokentlsa.test", "address-insecure"),
        ("implicit.test", "implicit.test", "usable implicit.test aa"),
        ("badds.test", "mx.badds.test", "lookup bogus"),
        ("expired.test", "mx.expired.test", "lookup bogus"),
        ("outside.test", "mx.badds.test", "lookup bogus"),
        ("badsig.test", "mx.badsig.test", "dnssec-invalid"),
    ] {
        table.push((domain.to_owned(), host.to_owned(), expected));
    }
    table
}

async fn check(dns: &Dns, mode: Mode) {
    assert_eq!(dns.dnssec().await, DnssecStatus::On(mode));
    let mut wrong = Vec::new();
    for (domain, host, expected) in table() {
        let zone = host.split_once('.').unwrap().1;
        let expected = expected.replace("ZONE", zone);
        let found = dane(dns, &domain, &host).await;
        if found != expected {
            wrong.push(format!("{domain} at {host}: {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{mode:?}: {wrong:#?}");
}

/// What no lookup of DANE tells apart, and a delivery must.
async fn check_lookups(dns: &Dns) {
    for (domain, security) in [("sec.test", Security::Secure), ("plain.test", Security::Insecure)] {
        let lookup = dns.mx_lookup(&name(domain)).await.unwrap();
        assert!(matches!(&lookup.answer, MxAnswer::Records(records) if records.len() == 1), "{domain}: {lookup:?}");
        assert_eq!(lookup.security, security, "{domain}");
    }
    let none = dns.mx_lookup(&name("nothing.sec.test")).await.unwrap();
    assert_eq!((none.answer, none.security), (MxAnswer::NoSuchDomain, Security::Secure));
    let none = dns.mx_lookup(&name("implicit.test")).await.unwrap();
    assert_eq!((none.answer, none.security), (MxAnswer::NoRecords, Security::Secure));
    let out = dns.host(&name("out.sec.test")).await.unwrap();
    assert_eq!((out.security, out.expanded), (Security::Insecure, Some(name("mx.plain.test"))));
    // Bogus answers are no answers, whoever asks.
    assert!(matches!(dns.mx(&name("badds.test")).await, Err(DnsError::Bogus { .. })));
    assert!(matches!(dns.addresses(&name("mx.expired.test")).await, Err(DnsError::Bogus { .. })));
}

/// Silence is waited for, once, and is no reason to do without DANE.
async fn check_silence(dns: &Dns) {
    let started = Instant::now();
    assert_eq!(dane(dns, "sec.test", "slow.sec.test").await, "tlsa-lookup-failed");
    assert!(started.elapsed() < Duration::from_secs(60));
}

fn validating(tree: &SignedTree, resolver: SocketAddr) -> Dns {
    std::fs::write(tree.anchor_file(), tree.anchor()).unwrap();
    Dns::secured(Some(resolver), Dnssec::Validate(Anchors::from_file(&tree.anchor_file()).unwrap()))
}

fn trusting(resolver: SocketAddr) -> Dns {
    let test = AdTest { signed: "sec.test".to_owned(), bogus: Some("mx.badds.test".to_owned()) };
    Dns::secured(Some(resolver), Dnssec::TrustAd(test))
}

async fn because(dns: &Dns) -> String {
    match dns.dnssec().await {
        DnssecStatus::Off { because } => because,
        on @ DnssecStatus::On(_) => panic!("{on:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validated_here_through_a_resolver_that_validates_too() {
    if !tools_or_skip("validated_here_through_a_resolver_that_validates_too") {
        return;
    }
    let tree = SignedTree::start(zones()).unwrap();
    let resolver = tree.resolver(true).unwrap();
    let dns = validating(&tree, resolver.address());
    check(&dns, Mode::Validate).await;
    check_lookups(&dns).await;
    check_silence(&dns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validated_here_through_a_resolver_that_does_not_validate() {
    if !tools_or_skip("validated_here_through_a_resolver_that_does_not_validate") {
        return;
    }
    let tree = SignedTree::start(zones()).unwrap();
    let resolver = tree.resolver(false).unwrap();
    let dns = validating(&tree, resolver.address());
    check(&dns, Mode::Validate).await;
    check_lookups(&dns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn believed_of_a_resolver_that_validates() {
    if !tools_or_skip("believed_of_a_resolver_that_validates") {
        return;
    }
    let tree = SignedTree::start(zones()).unwrap();
    let resolver = tree.resolver(true).unwrap();
    let dns = trusting(resolver.address());
    check(&dns, Mode::TrustAd).await;
    check_lookups(&dns).await;
    check_silence(&dns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_does_not_do_its_part_means_off() {
    if !tools_or_skip("a_resolver_that_does_not_do_its_part_means_off") {
        return;
    }
    let tree = SignedTree::start(zones()).unwrap();
    // A resolver that does not validate has no AD bit to be believed.
    let plain = tree.resolver(false).unwrap();
    let dns = trusting(plain.address());
    assert!(because(&dns).await.contains("lacks the AD bit"), "{}", because(&dns).await);
    assert_eq!(dane(&dns, "sec.test", "mx.sec.test").await, "off");
    assert!(dns.mx(&name("badds.test")).await.is_ok());
    // One that says AD of everything gives itself away by the bogus name.
    let careless = trusting_bogus_as_good(tree.resolver(true).unwrap());
    assert!(because(&careless.0).await.contains("bogus address"), "{}", because(&careless.0).await);
    // A trust anchor that is not this root's: everything would be bogus.
    let wrong = Dns::secured(Some(plain.address()), Dnssec::Validate(Anchors::root()));
    assert!(because(&wrong).await.contains("trust anchor"), "{}", because(&wrong).await);
    assert!(dns.mx(&name("sec.test")).await.is_ok());
    assert_eq!(because(&Dns::new(Some(plain.address()))).await, "dnssec is set to off");
}

/// A resolver that gives the name that it should hold back.
fn trusting_bogus_as_good(resolver: testkit::signed::Server) -> (Dns, testkit::signed::Server) {
    let test = AdTest { signed: "sec.test".to_owned(), bogus: Some("mx.sec.test".to_owned()) };
    (Dns::secured(Some(resolver.address()), Dnssec::TrustAd(test)), resolver)
}

/// Needs no tools: a resolver that knows nothing of DNSSEC, such as many a router.
#[tokio::test]
async fn a_resolver_that_strips_signatures_means_off_and_mail_goes_on() {
    let lab = testkit::Lab::empty().await.unwrap();
    lab.dns().update(|zone| zone.mx("d.test", 10, "mx.d.test").a("mx.d.test", std::net::Ipv4Addr::LOCALHOST));
    let dns = Dns::secured(Some(lab.dns_addr()), Dnssec::Validate(Anchors::root()));
    assert!(because(&dns).await.contains(&lab.dns_addr().to_string()));
    assert!(matches!(dns.mx(&name("d.test")).await, Ok(MxAnswer::Records(records)) if records.len() == 1));
    assert_eq!(dane(&dns, "d.test", "mx.d.test").await, "off");
    // The test is not repeated for every question.
    assert!(lab.dns().queries().iter().filter(|asked| asked.name.is_empty() || asked.name == ".").count() <= 2);
}
