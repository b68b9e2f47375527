//! What the operator's rules pin, against the certificate that a host shows.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use policy::rule::{Fingerprint, Pin};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs as engine;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::parse_x509_certificate;

use super::dane::is_no_authority;
use super::verifier::{Verification, is_self_signed};
use super::{TlsSetupError, read_certificates};

/// The certificate is another one than the operator's rule pins.
const NOT_PINNED: &str = "certificate-not-pinned";

/// The authorities of a PEM file, each a certificate in DER, for [`Pin::Authorities`].
///
/// # Errors
/// When the file cannot be read, has none, or has a certificate that is no authority's: what is meant to be pinned is not
/// left out silently.
pub fn read_authorities(path: &Path) -> Result<Vec<Vec<u8>>, TlsSetupError> {
    let certificates = read_certificates(path)?;
    let shown = || path.display().to_string();
    for (index, certificate) in certificates.iter().enumerate() {
        let is_authority = parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| !is_no_authority(&parsed))
            && RootCertStore::empty().add(certificate.clone()).is_ok();
        if !is_authority {
            return Err(TlsSetupError::NoAuthority(shown(), index + 1));
        }
    }
    match certificates.is_empty() {
        true => Err(TlsSetupError::NoRoots(shown())),
        false => Ok(certificates.into_iter().map(|certificate| certificate.to_vec()).collect()),
    }
}

/// The verdict of all pins on a certificate: each must be met.
pub(super) fn verify(
    pins: &[Arc<Pin>],
    leaf: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
    host: &ServerName<'_>,
    now: UnixTime,
) -> Verification {
    let verdicts = pins.iter().map(|pin| match &**pin {
        Pin::Authorities(authorities) => issued_by(authorities, leaf, issuers, host, now),
        Pin::Certificates(fingerprints) => is_one_of(fingerprints, leaf),
    });
    verdicts.into_iter().find(|verdict| !verdict.is_ok()).unwrap_or(Verification::Ok)
}

/// As certificates are verified by the trusted roots, with these in their place.
fn issued_by(
    authorities: &[Vec<u8>],
    leaf: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
    host: &ServerName<'_>,
    now: UnixTime,
) -> Verification {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().map(|authority| CertificateDer::from(authority.as_slice())));
    let algorithms = engine::default_provider().signature_verification_algorithms;
    let verified = ParsedCertificate::try_from(leaf).and_then(|parsed| {
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, issuers, now, algorithms.all)?;
        verify_server_name(&parsed, host)
    });
    match verified.map_err(|error| Verification::of_error(&error, is_self_signed(leaf))) {
        Ok(()) => Verification::Ok,
        Err(verdict) if verdict.code() == "certificate-not-trusted" => Verification::invalid(
            NOT_PINNED,
            "the certificate's chain does not end at a CA that the operator's rule pins",
        ),
        Err(verdict) => verdict,
    }
}

/// Whether it is one of these, by itself or by its key.
fn is_one_of(fingerprints: &[Fingerprint], leaf: &CertificateDer<'_>) -> Verification {
    let is_pinned = |subject: &[u8]| fingerprints.iter().any(|pinned| pinned.0 == digest(&SHA256, subject).as_ref());
    let by_key = || parse_x509_certificate(leaf).is_ok_and(|(_, parsed)| is_pinned(parsed.public_key().raw));
    if is_pinned(leaf) || by_key() {
        return Verification::Ok;
    }
    Verification::invalid(NOT_PINNED, "the certificate is none of those that the operator's rule pins")
}
