//! The certificate chain that a host shows, against the TLSA records of its domain (RFC 7671 §5, RFC 7672 §3).

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use policy::dane::{Association, Matching, Selector, TlsaSet, Usage};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs as engine;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, Der, DnsName, ServerName, TrustAnchor, UnixTime};
use smtp::Domain;
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use super::verifier::{Verification, is_self_signed};

/// What DANE says of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaneVerdict {
    /// Whether a record authenticates the host, or why none does.
    pub verification: Verification,
    /// The three numbers of the record that does, such as `3 1 1`.
    pub matched: Option<String>,
}

/// Most authorities that are tried: the work that a stranger's records can cause is bounded.
const ANCHORS: usize = 10;

impl DaneVerdict {
    pub(super) fn invalid(reason: &'static str, detail: impl Into<String>) -> DaneVerdict {
        DaneVerdict { verification: Verification::invalid(reason, detail), matched: None }
    }
}

/// The verdict of `set` on a chain, leaf first. Any one record is enough (RFC 7671 §5).
pub(super) fn verify(set: &TlsaSet, chain: &[CertificateDer<'_>], now: UnixTime) -> DaneVerdict {
    let Some((leaf, issuers)) = chain.split_first() else {
        return DaneVerdict::invalid("validation-failure", "the host shows no certificate");
    };
    // The record vouches for this very certificate: neither its names nor its dates matter (RFC 7672 §3.1.1).
    let of_leaf = |association: &&Association| association.usage == Usage::DaneEe && matches(association, leaf);
    if let Some(association) = set.associations.iter().find(of_leaf) {
        return authenticated(association);
    }
    let mut failure = None;
    for (association, anchor) in anchors(set, issuers, chain) {
        match anchor.and_then(|anchor| leads_to(&anchor, set, leaf, issuers, now)) {
            Ok(()) => return authenticated(association),
            Err(why) => failure = failure.or(Some(why)),
        }
    }
    let verification = failure.unwrap_or_else(|| Verification::invalid("validation-failure", mismatch(set)));
    DaneVerdict { verification, matched: None }
}

fn authenticated(association: &Association) -> DaneVerdict {
    DaneVerdict { verification: Verification::Ok, matched: Some(association.to_string()) }
}

fn mismatch(set: &TlsaSet) -> String {
    let mut kinds: Vec<String> = set.associations.iter().map(ToString::to_string).collect();
    kinds.dedup();
    kinds.truncate(5);
    let count = set.associations.len();
    format!("the certificate matches none of the {count} TLSA records of {} ({})", set.base, kinds.join(", "))
}

/// Whether a record speaks of this certificate.
fn matches(association: &Association, certificate: &CertificateDer<'_>) -> bool {
    let compare = |subject: &[u8]| match association.matching {
        Matching::Exact => association.data == subject,
        Matching::Sha256 => association.data == digest(&SHA256, subject).as_ref(),
        Matching::Sha512 => association.data == digest(&SHA512, subject).as_ref(),
    };
    match association.selector {
        Selector::Certificate => compare(certificate),
        Selector::PublicKey => {
            parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| compare(parsed.public_key().raw))
        }
    }
}

/// An authority that a record vouches for.
struct Anchor {
    trusted: TrustAnchor<'static>,
    /// Its certificate, where there is one: its dates count too.
    certificate: Option<CertificateDer<'static>>,
}

type Candidate<'a> = (&'a Association, Result<Anchor, Verification>);

/// The authorities that the records vouch for: certificates of the chain, and what a record has whole.
fn anchors<'a>(set: &'a TlsaSet, issuers: &[CertificateDer<'_>], chain: &[CertificateDer<'_>]) -> Vec<Candidate<'a>> {
    let mut found: Vec<Candidate<'a>> = Vec::new();
    for association in set.associations.iter().filter(|association| association.usage == Usage::DaneTa) {
        let in_chain = issuers.iter().filter(|issuer| matches(association, issuer));
        let mut anchors: Vec<_> = in_chain.map(|issuer| anchor_of(issuer)).collect();
        if anchors.is_empty() && association.matching == Matching::Exact {
            match association.selector {
                Selector::Certificate => anchors.push(anchor_of(&CertificateDer::from(association.data.as_slice()))),
                Selector::PublicKey => anchors.extend(anchors_of_key(&association.data, chain).map(Ok)),
            }
        }
        for anchor in anchors {
            let known = |(_, other): &Candidate<'_>| match (other, &anchor) {
                (Ok(other), Ok(anchor)) => other.trusted == anchor.trusted && other.certificate == anchor.certificate,
                _ => false,
            };
            if found.len() < ANCHORS && !found.iter().any(known) {
                found.push((association, anchor));
            }
        }
    }
    found
}

fn anchor_of(certificate: &CertificateDer<'_>) -> Result<Anchor, Verification> {
    let mut store = RootCertStore::empty();
    let unusable = |why: String| {
        Verification::invalid("tlsa-invalid", format!("the authority that the TLSA records name cannot be used: {why}"))
    };
    store.add(certificate.clone().into_owned()).map_err(|error| unusable(error.to_string()))?;
    let trusted = store.roots.pop().ok_or_else(|| unusable("no certificate".to_owned()))?;
    Ok(Anchor { trusted, certificate: Some(certificate.clone().into_owned()) })
}

/// A bare key has no name: it may be that of whoever issued a certificate of the chain (RFC 7671 §5.2.2).
fn anchors_of_key(key: &[u8], chain: &[CertificateDer<'_>]) -> impl Iterator<Item = Anchor> {
    let key = contents(key).map(|key| Der::from(key.to_vec()));
    let issuer = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        Some(contents(parsed.issuer().as_raw())?.to_vec())
    };
    let mut issuers: Vec<Vec<u8>> = chain.iter().filter_map(issuer).collect();
    issuers.dedup();
    issuers.into_iter().filter_map(move |subject| {
        let trusted =
            TrustAnchor { subject: Der::from(subject), subject_public_key_info: key.clone()?, name_constraints: None };
        Some(Anchor { trusted, certificate: None })
    })
}

/// Whether the leaf chains to the authority, all is in date, and a name fits (RFC 7672 §3.1.2, §3.2.2).
fn leads_to(
    anchor: &Anchor,
    set: &TlsaSet,
    leaf: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Verification> {
    if let Some(certificate) = &anchor.certificate {
        may_issue(certificate, now)?;
    }
    let verdict = |error: &rustls::Error| Verification::of_error(error, is_self_signed(leaf));
    let parsed = ParsedCertificate::try_from(leaf).map_err(|error| verdict(&error))?;
    let roots = RootCertStore { roots: vec![anchor.trusted.clone()] };
    let algorithms = engine::default_provider().signature_verification_algorithms;
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, issuers, now, algorithms.all)
        .map_err(|error| verdict(&error))?;
    let names = |name: &Domain| {
        let name = DnsName::try_from(name.as_str().to_owned()).map(ServerName::DnsName);
        name.map_or(Err(rustls::CertificateError::NotValidForName.into()), |name| verify_server_name(&parsed, &name))
    };
    match names(&set.base) {
        Err(error) if !set.also.iter().any(|name| names(name).is_ok()) => Err(verdict(&error)),
        _ => Ok(()),
    }
}

/// What a path builder takes for granted of its anchors, and what we must not: here an anchor is a certificate like any
/// other, in date and an authority's.
fn may_issue(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Verification> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Ok(()) };
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if parsed.validity().not_after.timestamp() < seconds {
        return Err(Verification::invalid("certificate-expired", "the authority's certificate has expired"));
    }
    if parsed.validity().not_before.timestamp() > seconds {
        let words = "the authority's certificate is not valid yet";
        return Err(Verification::invalid("certificate-not-yet-valid", words));
    }
    if is_no_authority(&parsed) {
        let words = "the TLSA records name as an authority a certificate that is none";
        return Err(Verification::invalid("validation-failure", words));
    }
    Ok(())
}

/// Version 1 certificates say nothing of it, and none is as good as one where somebody pinned it.
pub(super) fn is_no_authority(certificate: &X509Certificate<'_>) -> bool {
    certificate.basic_constraints().ok().flatten().is_some_and(|constraints| !constraints.value.ca)
}

/// What is inside of a DER SEQUENCE.
fn contents(der: &[u8]) -> Option<&[u8]> {
    let (first, rest) = (*der.get(1)?, der.get(2..)?);
    if der[0] != 0x30 {
        return None;
    }
    match first {
        0..=0x7f => rest.get(..usize::from(first)),
        0x81..=0x84 => {
            let (length, content) = rest.split_at_checked(usize::from(first & 0x7f))?;
            content.get(..length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "dane_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "dane_handshake_tests.rs"]
mod handshake_tests;
