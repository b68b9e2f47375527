//! Zones in the shapes that large mail providers have, and that validators got wrong: what is signed well is never bogus.

use super::*;

const MANY_KEYS: [&str; 4] =
    ["-k -a RSASHA256 -b 2048", "-a RSASHA256 -b 1024", "-k -a ECDSAP256SHA256", "-a ECDSAP256SHA256"];
const RSA: [&str; 3] = ["-k -a RSASHA256 -b 2048", "-a RSASHA256 -b 1280", "-a RSASHA256 -b 1024"];
const RSA_SHA1: [&str; 1] = ["-k -a RSASHA1-NSEC3-SHA1 -b 1024"];
const RSA_SHA512: [&str; 1] = ["-k -a RSASHA512 -b 2048"];
const P384: [&str; 1] = ["-k -a ECDSAP384SHA384"];
const ED25519: [&str; 1] = ["-k -a ED25519"];

fn zone(name: &'static str, signing: Signing, keys: &'static [&'static str], records: &str) -> SignedZone {
    SignedZone { keys, ..SignedZone::new(name, signing, records) }
}

/// Hosts deep in the zone, several of them, with more records than fit into a datagram.
fn big() -> String {
    let hosts: String = (0..6)
        .map(|n| {
            let records: String = (0..12).map(|r| format!("_25._tcp.mx{n}.out.emig TLSA 3 1 1 {:064x}\n", r)).collect();
            format!("@ MX 10 mx{n}.out.emig\nmx{n}.out.emig A 192.0.2.{n}\n{records}_25._tcp.mx{n}.out.emig {TLSA}\n")
        })
        .collect();
    hosts + "none.out.emig A 192.0.2.9\n"
}

fn tree() -> Vec<SignedZone> {
    use Signing::{Nsec, Nsec3, OptOut, Salted, Unsigned};
    const ONE: &[&str] = &["-k -a ECDSAP256SHA256"];
    let usual = usual();
    let chains = format!(
        "@ MX 10 Mx.MIXED\nmX.mixed A 192.0.2.1\n_25._TCP.mx.Mixed {TLSA}\n\
         long A 192.0.2.1\n_25._tcp.long CNAME one\none CNAME TWO.many.test.\n\
         far CNAME farther.many.test.\n\
         three CNAME three.one\nthree.one CNAME three.two\nthree.two A 192.0.2.1\n_25._tcp.three.two {TLSA}\n\
         lost A 192.0.2.1\n_25._tcp.lost CNAME nowhere.many.test.\n\
         dead A 192.0.2.1\n_25._tcp.dead CNAME mx.many.test.\n"
    );
    let wild = format!(
        "@ MX 10 any.thing\n* A 192.0.2.1\nany.thing A 192.0.2.1\n*.any.thing {TLSA}\n\
         *._tcp.below {TLSA}\nbelow A 192.0.2.1\n*._tcp.led CNAME tlsa\nled A 192.0.2.1\ntlsa {TLSA}\n\
         text A 192.0.2.1\n*._tcp.text TXT x\n"
    );
    let many = usual.clone()
        + &format!("two CNAME _25._tcp.mx\nfarther CNAME mx\nempty A 192.0.2.1\n_25._tcp.farther {OTHER}\n");
    let two_families =
        "@ MX 10 mx\nmx A 192.0.2.1\nmx AAAA 2001:db8::77\n".to_owned() + &format!("_25._tcp.mx {TLSA}\n");
    let forged = |name, from: &str, to: &str| SignedZone {
        forged: Some((from.to_owned(), to.to_owned())),
        ..zone(name, Nsec, ONE, &two_families)
    };
    vec![
        SignedZone::new(".", Nsec, ""),
        zone("test.", OptOut, &RSA, ""),
        zone("many.test.", Nsec, &MANY_KEYS, &many),
        zone("rsa.test.", Nsec3, &RSA, &usual),
        zone("big.test.", OptOut, ONE, &big()),
        zone("chains.test.", Nsec3, ONE, &chains),
        zone("wild.test.", Nsec3, ONE, &wild),
        zone("wildnsec.test.", Nsec, ONE, &wild),
        zone("salted.test.", Salted, &RSA_SHA1, &usual),
        zone("sha512.test.", Nsec, &RSA_SHA512, &usual),
        SignedZone { delegation: Delegation::RightAndNext, ..zone("rolls.test.", Nsec3, ONE, &usual) },
        // The host and its TLSA records are zones of their own, of one owner or two.
        zone("split.test.", Nsec3, ONE, "@ MX 10 mx\n@ MX 20 half\nhalf A 192.0.2.1\n"),
        zone("mx.split.test.", Nsec, &RSA, "@ A 192.0.2.1\n"),
        zone("_tcp.mx.split.test.", Nsec3, ONE, &format!("_25 {TLSA}\n")),
        zone("_tcp.half.split.test.", Unsigned, ONE, &format!("_25 {TLSA}\n")),
        // Unsigned, below one that opts out: no denial names it.
        zone("plain.test.", Unsigned, ONE, &usual),
        zone("island.plain.test.", Nsec, ONE, &usual),
        zone("leads.test.", Nsec3, ONE, "@ MX 10 mx.plain.test.\n"),
        zone("p384.test.", Nsec, &P384, &usual),
        zone("ed25519.test.", Nsec3, &ED25519, &usual),
        forged("six.test.", "192.0.2.1", "192.0.2.2"),
        forged("four.test.", "2001:db8::77", "2001:db8::78"),
    ]
}

/// Domain, host, what that means validated here, and where a resolver's word is taken if that is something else.
fn expected() -> Vec<(&'static str, &'static str, &'static str, Option<&'static str>)> {
    let same = |domain, host, expected| (domain, host, expected, None);
    vec![
        same("many.test", "mx.many.test", "usable mx.many.test aa"),
        same("many.test", "empty.many.test", "no-tlsa"),
        same("many.test", "mx.rsa.test", "usable mx.rsa.test aa"),
        same("big.test", "mx5.out.emig.big.test", "usable mx5.out.emig.big.test"),
        // Where a zone opts out a denial proves no more than that nothing signed is there.
        same("big.test", "none.out.emig.big.test", "no dane"),
        same("chains.test", "mx.mixed.chains.test", "usable mx.mixed.chains.test aa"),
        same("chains.test", "long.chains.test", "usable long.chains.test aa"),
        same("chains.test", "far.chains.test", "usable mx.many.test aa"),
        same("chains.test", "three.chains.test", "usable three.two.chains.test aa"),
        same("chains.test", "lost.chains.test", "no-tlsa"),
        same("chains.test", "dead.chains.test", "no-tlsa"),
        same("wild.test", "any.thing.wild.test", "usable any.thing.wild.test aa"),
        same("wild.test", "other.wild.test", "no-tlsa"),
        same("wild.test", "below.wild.test", "usable below.wild.test aa"),
        same("wild.test", "led.wild.test", "usable led.wild.test aa"),
        same("wild.test", "text.wild.test", "no-tlsa"),
        same("wildnsec.test", "any.thing.wildnsec.test", "usable any.thing.wildnsec.test aa"),
        same("wildnsec.test", "other.wildnsec.test", "no-tlsa"),
        same("wildnsec.test", "led.wildnsec.test", "usable led.wildnsec.test aa"),
        same("wildnsec.test", "text.wildnsec.test", "no-tlsa"),
        same("salted.test", "mx.salted.test", "usable mx.salted.test aa"),
        same("sha512.test", "mx.sha512.test", "usable mx.sha512.test aa"),
        same("rolls.test", "mx.rolls.test", "usable mx.rolls.test aa"),
        same("split.test", "mx.split.test", "usable mx.split.test aa"),
        same("split.test", "half.split.test", "tlsa-insecure"),
        same("plain.test", "mx.plain.test", "mx-insecure"),
        same("island.plain.test", "mx.island.plain.test", "mx-insecure"),
        same("leads.test", "mx.plain.test", "address-insecure"),
        same("leads.test", "mx.island.plain.test", "address-insecure"),
        // Validated here these algorithms are unknown, and what is signed by them alone counts as unsigned.
        ("p384.test", "mx.p384.test", "mx-insecure", Some("usable mx.p384.test aa")),
        ("ed25519.test", "mx.ed25519.test", "mx-insecure", Some("usable mx.ed25519.test aa")),
        // One family is forged: the other one counts, and leads the way.
        same("six.test", "mx.six.test", "usable mx.six.test aa"),
        same("four.test", "mx.four.test", "usable mx.four.test aa"),
    ]
}

async fn check_shapes(dns: &Dns, mode: Mode) {
    assert_eq!(dns.dnssec().await, DnssecStatus::On(mode));
    let mut wrong = Vec::new();
    for (domain, host, here, believed) in expected() {
        let expected = if mode == Mode::TrustAd { believed.unwrap_or(here) } else { here };
        let found = dane(dns, domain, host).await;
        let is_right = match expected {
            "no dane" => ["no-tlsa", "tlsa-insecure"].contains(&found.as_str()),
            whole if whole.ends_with(" aa") || !whole.contains(' ') => found == whole,
            start => found.starts_with(start),
        };
        if !is_right {
            wrong.push(format!("{domain} at {host}: {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{mode:?}: {wrong:#?}");
    for (host, address) in [("mx.six.test", "2001:db8::77"), ("mx.four.test", "192.0.2.1")] {
        assert_eq!(dns.addresses(&name(host)).await.unwrap(), [address.parse::<std::net::IpAddr>().unwrap()]);
    }
    // The domain that is not there is denied, also where its parent opts out.
    let none = dns.mx_lookup(&name("nothing.test")).await.unwrap();
    assert_eq!(none.answer, MxAnswer::NoSuchDomain);
    assert_eq!(dns.mx_lookup(&name("big.test")).await.unwrap().security, Security::Secure);
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_in_the_shapes_of_large_providers() {
    if !tools_or_skip("zones_in_the_shapes_of_large_providers") {
        return;
    }
    let tree = SignedTree::start(tree()).unwrap();
    for validates in [true, false] {
        let resolver = tree.resolver(validates).unwrap();
        // From the resolver's cache, too, where times to live have run down.
        for _ in 0..2 {
            check_shapes(&validating(&tree, resolver.address()), Mode::Validate).await;
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        if validates {
            let test = AdTest { signed: "rsa.test".to_owned(), bogus: None };
            check_shapes(&Dns::secured(Some(resolver.address()), Dnssec::TrustAd(test)), Mode::TrustAd).await;
        }
    }
}
