//! Chains against records: every rule of RFC 7671 §5 and RFC 7672 §3 as a line.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use policy::dane::Tlsa;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use super::*;

type Shown = CertificateDer<'static>;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When something is valid, in days from now.
#[derive(Clone, Copy)]
struct Days(i32, i32);

const NOW: Days = Days(-1, 90);
const PAST: Days = Days(-90, -1);
const FUTURE: Days = Days(1, 90);

/// Root, intermediate, leaf: the intermediate is what DANE-TA records speak of.
struct World {
    root: CertifiedIssuer<'static, KeyPair>,
    middle: CertifiedIssuer<'static, KeyPair>,
    leaf: Shown,
}

fn params(names: &[&str], days: Days) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let at = |days: i32| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let moved = DAY * days.unsigned_abs();
        rcgen::date_time_ymd(1970, 1, 1) + if days < 0 { now - moved } else { now + moved }
    };
    (params.not_before, params.not_after) = (at(days.0), at(days.1));
    params
}

fn authority(name: &str, days: Days) -> CertificateParams {
    let mut params = params(&[], days);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

impl World {
    fn new(leaf_names: &[&str], leaf_days: Days, middle_days: Days) -> World {
        let root = CertifiedIssuer::self_signed(authority("root", NOW), key()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority("middle", middle_days), key(), &root).unwrap();
        let mut leaf = params(leaf_names, leaf_days);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&key(), &middle).unwrap().der().clone();
        World { root, middle, leaf }
    }

    fn good() -> World {
        World::new(&["mx.d.test"], NOW, NOW)
    }

    /// Leaf and intermediate, as most hosts send them.
    fn chain(&self) -> Vec<Shown> {
        vec![self.leaf.clone(), self.middle.der().clone()]
    }
}

fn spki(certificate: &Shown) -> Vec<u8> {
    parse_x509_certificate(certificate).unwrap().1.public_key().raw.to_vec()
}

/// The record of these numbers that is about this certificate.
fn record(usage: u8, selector: u8, matching: u8, about: &Shown) -> Tlsa {
    let subject = if selector == 0 { about.to_vec() } else { spki(about) };
    let data = match matching {
        0 => subject,
        1 => digest::digest(&digest::SHA256, &subject).as_ref().to_vec(),
        _ => digest::digest(&digest::SHA512, &subject).as_ref().to_vec(),
    };
    Tlsa { usage, selector, matching, data }
}

fn set(records: &[Tlsa]) -> TlsaSet {
    let associations = records.iter().map(|record| record.association().unwrap()).collect();
    TlsaSet { base: "mx.d.test".parse().unwrap(), also: vec!["d.test".parse().unwrap()], associations }
}

/// The record that matched, or the reason why none did.
fn verdict(records: &[Tlsa], chain: &[Shown]) -> Result<String, &'static str> {
    let verdict = verify(&set(records), chain, UnixTime::now());
    match verdict.verification {
        Verification::Ok => Ok(verdict.matched.unwrap()),
        ref invalid => {
            assert_eq!(verdict.matched, None);
            Err(invalid.code())
        }
    }
}

fn ok(numbers: &str) -> Result<String, &'static str> {
    Ok(numbers.to_owned())
}

#[test]
fn every_kind_of_record_about_the_hosts_own_certificate() {
    let (world, other) = (World::good(), World::good());
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            let numbers = format!("3 {selector} {matching}");
            let chain = world.chain();
            assert_eq!(verdict(&[record(3, selector, matching, &world.leaf)], &chain), ok(&numbers));
            // Alone, without the rest of its chain, it is as good.
            assert_eq!(verdict(&[record(3, selector, matching, &world.leaf)], &chain[..1]), ok(&numbers));
            assert_eq!(verdict(&[record(3, selector, matching, &other.leaf)], &chain), Err("validation-failure"));
            // It is about the leaf and nothing else.
            assert_eq!(
                verdict(&[record(3, selector, matching, world.middle.der())], &chain),
                Err("validation-failure")
            );
        }
    }
    assert_eq!(verdict(&[record(3, 1, 1, &world.leaf)], &[]), Err("validation-failure"));
}

#[test]
fn names_and_dates_do_not_matter_where_the_certificate_itself_is_published() {
    for (names, days) in [(&["other.test"][..], NOW), (&[], NOW), (&["mx.d.test"], PAST), (&["mx.d.test"], FUTURE)] {
        let world = World::new(names, days, PAST);
        assert_eq!(verdict(&[record(3, 1, 1, &world.leaf)], &world.chain()), ok("3 1 1"));
        assert_eq!(verdict(&[record(3, 0, 2, &world.leaf)], &world.chain()), ok("3 0 2"));
    }
}

#[test]
fn every_kind_of_record_about_an_authority() {
    let (world, other) = (World::good(), World::good());
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            let numbers = format!("2 {selector} {matching}");
            let about = |certificate| [record(2, selector, matching, certificate)];
            assert_eq!(verdict(&about(world.middle.der()), &world.chain()), ok(&numbers));
            // The root, where the host sends it too.
            let long = [world.chain(), vec![world.root.der().clone()]].concat();
            assert_eq!(verdict(&about(world.root.der()), &long), ok(&numbers));
            // Another's authority, sent along with a chain of one's own: it did not issue this leaf.
            let foreign = [world.chain(), vec![other.middle.der().clone()]].concat();
            assert!(verdict(&about(other.middle.der()), &foreign).is_err(), "{numbers}");
            // The leaf is no authority over itself.
            assert!(verdict(&about(&world.leaf), &world.chain()[..1]).is_err(), "{numbers}");
        }
    }
}

#[test]
fn an_authority_that_the_host_does_not_send_can_be_published_whole() {
    let world = World::good();
    let chain = world.chain();
    for selector in [0, 1] {
        let numbers = format!("2 {selector} 0");
        assert_eq!(verdict(&[record(2, selector, 0, world.root.der())], &chain), ok(&numbers));
        assert_eq!(verdict(&[record(2, selector, 0, world.middle.der())], &chain[..1]), ok(&numbers));
        // By its digest it cannot be known.
        assert_eq!(verdict(&[record(2, selector, 1, world.root.der())], &chain), Err("validation-failure"));
    }
    let junk = Tlsa { usage: 2, selector: 0, matching: 0, data: vec![0x30, 3, 2, 1, 5] };
    assert_eq!(verdict(&[junk], &chain), Err("tlsa-invalid"));
}

#[test]
fn below_an_authority_names_and_dates_matter() {
    let case = |names: &[&str], leaf, middle| {
        let world = World::new(names, leaf, middle);
        [
            verdict(&[record(2, 0, 1, world.middle.der())], &world.chain()),
            verdict(&[record(2, 1, 0, world.middle.der())], &world.chain()),
        ]
    };
    let all = |result: Result<String, &'static str>, found: [Result<String, &'static str>; 2]| match result {
        Ok(_) => assert!(found.iter().all(Result::is_ok), "{found:?}"),
        Err(reason) => assert_eq!(found, [Err(reason), Err(reason)]),
    };
    all(ok(""), case(&["mx.d.test"], NOW, NOW));
    // The next-hop domain will do as well, and a wildcard.
    all(ok(""), case(&["d.test"], NOW, NOW));
    all(ok(""), case(&["*.d.test"], NOW, NOW));
    all(Err("certificate-host-mismatch"), case(&["other.test"], NOW, NOW));
    all(Err("certificate-host-mismatch"), case(&["*.test"], NOW, NOW));
    all(Err("certificate-host-mismatch"), case(&[], NOW, NOW));
    all(Err("certificate-expired"), case(&["mx.d.test"], PAST, NOW));
    all(Err("certificate-not-yet-valid"), case(&["mx.d.test"], FUTURE, NOW));
    all(Err("certificate-expired"), case(&["mx.d.test"], NOW, PAST));
    all(Err("certificate-not-yet-valid"), case(&["mx.d.test"], NOW, FUTURE));
}

#[test]
fn the_next_hop_domain_counts_only_where_it_is_given() {
    let world = World::new(&["d.test"], NOW, NOW);
    let mut set = set(&[record(2, 0, 1, world.middle.der())]);
    assert!(verify(&set, &world.chain(), UnixTime::now()).verification.is_ok());
    set.also.clear();
    assert_eq!(verify(&set, &world.chain(), UnixTime::now()).verification.code(), "certificate-host-mismatch");
}

#[test]
fn any_one_record_is_enough() {
    let (world, other) = (World::good(), World::good());
    let wrong_leaf = record(3, 1, 1, &other.leaf);
    let wrong_authority = record(2, 0, 1, other.middle.der());
    let chain = world.chain();
    assert_eq!(verdict(&[wrong_leaf.clone(), record(2, 1, 1, world.middle.der())], &chain), ok("2 1 1"));
    assert_eq!(verdict(&[wrong_authority.clone(), record(3, 0, 1, &world.leaf)], &chain), ok("3 0 1"));
    assert_eq!(verdict(&[wrong_leaf, wrong_authority], &chain), Err("validation-failure"));
    // The authority fits and the name does not; the leaf's own record makes that good.
    let misnamed = World::new(&["other.test"], PAST, NOW);
    let both = [record(2, 0, 1, misnamed.middle.der()), record(3, 1, 1, &misnamed.leaf)];
    assert_eq!(verdict(&both, &misnamed.chain()), ok("3 1 1"));
    assert_eq!(verdict(&both[..1], &misnamed.chain()), Err("certificate-expired"));
}

#[test]
fn a_certificate_that_is_no_authoritys_issues_nothing() {
    let root = CertifiedIssuer::self_signed(authority("root", NOW), key()).unwrap();
    let mut impostor = authority("impostor", NOW);
    impostor.is_ca = IsCa::ExplicitNoCa;
    let impostor = CertifiedIssuer::signed_by(impostor, key(), &root).unwrap();
    let leaf = params(&["mx.d.test"], NOW).signed_by(&key(), &impostor).unwrap().der().clone();
    let chain = [leaf, impostor.der().clone(), root.der().clone()];
    assert_eq!(verdict(&[record(2, 0, 1, impostor.der())], &chain), Err("validation-failure"));
    // Nor below an authority that is published.
    assert!(verdict(&[record(2, 0, 1, root.der())], &chain).is_err());
}

#[test]
fn what_a_mismatch_is_called() {
    let (world, other) = (World::good(), World::good());
    let records = [record(3, 1, 1, &other.leaf), record(2, 0, 1, other.middle.der())];
    let verdict = verify(&set(&records), &world.chain(), UnixTime::now());
    let words = "the certificate matches none of the 2 TLSA records of mx.d.test (3 1 1, 2 0 1)";
    assert_eq!(verdict.verification.detail(), Some(words));
}

#[test]
fn a_strangers_records_cause_bounded_work() {
    let world = World::good();
    let many: Vec<Tlsa> = (0..100).map(|_| record(2, 0, 0, World::good().root.der())).collect();
    let started = std::time::Instant::now();
    assert!(verdict(&many, &world.chain()).is_err());
    assert_eq!(anchors(&set(&many), &world.chain()[1..], &world.chain()).len(), ANCHORS);
    assert!(started.elapsed() < Duration::from_secs(10));
}
