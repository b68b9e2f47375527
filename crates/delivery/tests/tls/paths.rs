//! Chains of certificates and the names in them (RFC 5280 §6, RFC 9525): what makes a valid one, and what does not.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use policy::tls::Observed::{Unverified, Verified};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

const NOT_TRUSTED: &str = "certificate-not-trusted";
const MISMATCH: &str = "certificate-host-mismatch";
const EXPIRED: &str = "certificate-expired";
const FAULT: &str = "validation-failure";

/// Authorities below the one root that is trusted, and strangers.
struct Pki {
    root: Issuer,
    /// The root's own key and name, vouched for by an older root that nobody trusts any more and that has ended.
    root_by_old: CertificateDer<'static>,
    old_root: Issuer,
    good: Issuer,
    below_good: Issuer,
    ended: Issuer,
    begins: Issuer,
    no_authority: Issuer,
    signs_no_certificates: Issuer,
    for_clients: Issuer,
    no_deeper: Issuer,
    below_no_deeper: Issuer,
    permits_d: Issuer,
    permits_other: Issuer,
    excludes_d: Issuer,
    /// An authority of another's making that has the good one's name.
    namesake: Issuer,
}

static PKI: LazyLock<Pki> = LazyLock::new(Pki::new);

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// In days from now.
fn dated(mut params: CertificateParams, from: i64, until: i64) -> CertificateParams {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    let at = |days: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(now + days * 24 * 60 * 60).unwrap())
    };
    (params.not_before, params.not_after) = (at(from), at(until));
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dated(params, -1, 30)
}

/// An authority that is unusual in one thing.
fn odd(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = authority(name);
    change(&mut params);
    params
}

fn constrained(name: &str, permitted: &[&str], excluded: &[&str]) -> CertificateParams {
    let names = |names: &[&str]| names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect();
    let constraints = NameConstraints { permitted_subtrees: names(permitted), excluded_subtrees: names(excluded) };
    odd(name, |params| params.name_constraints = Some(constraints))
}

impl Pki {
    fn new() -> Pki {
        let own = |params| CertifiedIssuer::self_signed(params, key()).unwrap();
        let root_key = key();
        let old_root = own(dated(authority("old root"), -90, -1));
        let root_by_old = authority("root").signed_by(&root_key, &old_root).unwrap().der().clone();
        let root = CertifiedIssuer::self_signed(authority("root"), root_key).unwrap();
        let by = |params, issuer: &Issuer| CertifiedIssuer::signed_by(params, key(), issuer).unwrap();
        let good = by(authority("good"), &root);
        let no_deeper = odd("no deeper", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
        let no_deeper = by(no_deeper, &root);
        let clients = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let for_clients = odd("for clients", |params| params.extended_key_usages = clients);
        let no_authority = odd("no authority", |params| params.is_ca = IsCa::ExplicitNoCa);
        let signing = vec![KeyUsagePurpose::DigitalSignature];
        let signs_no_certificates = odd("signs none", |params| params.key_usages = signing);
        Pki {
            below_good: by(authority("below good"), &good),
            ended: by(dated(authority("ended"), -90, -1), &root),
            begins: by(dated(authority("begins"), 1, 30), &root),
            no_authority: by(no_authority, &root),
            signs_no_certificates: by(signs_no_certificates, &root),
            for_clients: by(for_clients, &root),
            below_no_deeper: by(authority("below no deeper"), &no_deeper),
            permits_d: by(constrained("permits d.test", &["d.test"], &[]), &root),
            permits_other: by(constrained("permits other.test", &["other.test"], &[]), &root),
            excludes_d: by(constrained("excludes d.test", &[], &["d.test"]), &root),
            namesake: own(authority("good")),
            root,
            root_by_old,
            old_root,
            good,
            no_deeper,
        }
    }
}

/// A certificate with these names, signed by the first of these, which are all sent.
fn chain(names: &[&str], signer: &Issuer, sent: &[CertificateDer<'static>]) -> Option<Identity> {
    let mut params = dated(CertificateParams::default(), -1, 30);
    params.distinguished_name.push(DnType::CommonName, "mx.d.test");
    let san = |name: &&str| SanType::DnsName(Ia5String::try_from(*name).unwrap());
    params.subject_alt_names = names.iter().map(san).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = key();
    let leaf = params.signed_by(&key, signer).unwrap().der().clone();
    let chain = std::iter::once(leaf).chain(sent.iter().cloned()).collect();
    Some(Identity { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())).into() })
}

/// A good leaf below these, nearest first; all of them are sent.
fn below(authorities: &[&Issuer]) -> Option<Identity> {
    let sent: Vec<_> = authorities.iter().map(|authority| authority.der().clone()).collect();
    chain(&[HOST], authorities[0], &sent)
}

/// A leaf with these names below a good authority.
fn named(names: &[&str]) -> Option<Identity> {
    chain(names, &PKI.good, &[PKI.good.der().clone()])
}

fn case(name: &'static str, observed: Observed, code: &'static str, made: fn(&Lab) -> Option<Identity>) -> State {
    let root = |_: &Lab| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(PKI.root.der().clone()).unwrap();
        Roots::of(roots)
    };
    State { roots: Some(root), ..certificate(name, observed, code, made) }
}

fn paths() -> Vec<State> {
    let valid = |name, made| case(name, Verified, "ok", made);
    let invalid = |name, code, made| case(name, Unverified, code, made);
    vec![
        valid("one authority between", |_| below(&[&PKI.good])),
        valid("two authorities between", |_| below(&[&PKI.below_good, &PKI.good])),
        valid("in the wrong order", |_| {
            chain(&[HOST], &PKI.below_good, &[PKI.good.der().clone(), PKI.below_good.der().clone()])
        }),
        valid("with the root", |_| below(&[&PKI.good, &PKI.root])),
        valid("with a stranger's", |_| below(&[&PKI.good, &PKI.namesake, &PKI.old_root])),
        valid("without what is between, which the root did not need", |_| chain(&[HOST], &PKI.root, &[])),
        // As when the root of a great authority was vouched for by an older one that ended.
        valid("cross-signed by a root that ended", |_| {
            let sent = [PKI.good.der().clone(), PKI.root_by_old.clone(), PKI.old_root.der().clone()];
            chain(&[HOST], &PKI.good, &sent)
        }),
        // That it is an authority is what counts: its key usage, which does not say so, is not looked at.
        valid("below one whose key usage is another", |_| below(&[&PKI.signs_no_certificates])),
        valid("within the names that its authority may use", |_| below(&[&PKI.permits_d])),
        invalid("without what is between", NOT_TRUSTED, |_| chain(&[HOST], &PKI.good, &[])),
        invalid("without one of two between", NOT_TRUSTED, |_| below(&[&PKI.below_good])),
        invalid("a root that is not trusted", NOT_TRUSTED, |_| below(&[&PKI.namesake])),
        invalid("a root that ended and is not trusted", EXPIRED, |_| below(&[&PKI.old_root])),
        // The signature is none of the authority's whose name it has.
        invalid("an authority of the same name", FAULT, |_| chain(&[HOST], &PKI.namesake, &[PKI.good.der().clone()])),
        invalid("an authority that ended", EXPIRED, |_| below(&[&PKI.ended])),
        invalid("an authority that begins", "certificate-not-yet-valid", |_| below(&[&PKI.begins])),
        invalid("one that is no authority", FAULT, |_| below(&[&PKI.no_authority])),
        invalid("one for clients alone", FAULT, |_| below(&[&PKI.for_clients])),
        invalid("one too deep", FAULT, |_| below(&[&PKI.below_no_deeper, &PKI.no_deeper])),
        invalid("outside the names that its authority may use", FAULT, |_| below(&[&PKI.permits_other])),
        invalid("a name that its authority may not use", FAULT, |_| below(&[&PKI.excludes_d])),
    ]
}

fn names() -> Vec<State> {
    let valid = |name, made| case(name, Verified, "ok", made);
    let mismatch = |name, made| case(name, Unverified, MISMATCH, made);
    vec![
        valid("one of many", |_| named(&["a.test", "*.b.test", HOST, "c.test"])),
        valid("in capitals", |_| named(&["MX.D.Test"])),
        valid("wildcard in capitals", |_| named(&["*.D.TEST"])),
        mismatch("no name", |_| named(&[])),
        mismatch("wildcard for two labels", |_| named(&["*.test"])),
        mismatch("wildcard for none", |_| named(&["*.mx.d.test"])),
        mismatch("part of a label", |_| named(&["m*.d.test", "*x.d.test"])),
        mismatch("wildcard in the middle", |_| named(&["mx.*.test"])),
        mismatch("two wildcards", |_| named(&["*.*.test"])),
        mismatch("a wildcard alone", |_| named(&["*", "*."])),
        mismatch("the end of the name", |_| named(&["d.test", ".d.test", "xmx.d.test"])),
        mismatch("more than the name", |_| named(&["mx.d.test.evil.test"])),
        mismatch("cut short by a zero", |_| named(&["mx.d.test\0.evil.test"])),
    ]
}

#[tokio::test]
async fn chains_of_certificates() {
    walk(paths()).await;
}

#[tokio::test]
async fn names_in_certificates() {
    walk(names()).await;
}
