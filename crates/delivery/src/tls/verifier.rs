//! Verify always, obey by policy: a verifier that asks the real one, keeps its verdict, and lets the handshake go on.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use policy::dane::TlsaSet;
use policy::rule::Pin;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::printable;
use super::dane::{self, DaneVerdict};
use super::pin;
use super::raw_key::{self, KeyProof, Version};
use super::{Expected, Verifiers};

/// The verdict on a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// It chains to a trusted root, is in date, and carries the host's name.
    Ok,
    /// It does not.
    Invalid {
        /// One code: a result type of RFC 8460 §4.3 where one fits.
        reason: &'static str,
        /// In words.
        detail: String,
    },
}

impl Verification {
    /// Whether the certificate is valid.
    pub fn is_ok(&self) -> bool {
        *self == Verification::Ok
    }

    /// `ok`, or the reason why not.
    pub fn code(&self) -> &'static str {
        match self {
            Verification::Ok => "ok",
            Verification::Invalid { reason, .. } => reason,
        }
    }

    /// Why not, in words.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Verification::Ok => None,
            Verification::Invalid { detail, .. } => Some(detail),
        }
    }

    pub(super) fn invalid(reason: &'static str, detail: impl Into<String>) -> Verification {
        Verification::Invalid { reason, detail: detail.into() }
    }

    /// The verdict that an error of the real verifier amounts to.
    pub(super) fn of_error(error: &Error, is_self_signed: bool) -> Verification {
        let Error::InvalidCertificate(error) = error else {
            return Verification::invalid("validation-failure", error.to_string());
        };
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Verification::invalid("certificate-expired", "the certificate has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Verification::invalid("certificate-not-yet-valid", "the certificate is not valid yet")
            }
            CertificateError::NotValidForName => {
                Verification::invalid("certificate-host-mismatch", "the certificate does not name this host")
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                Verification::invalid("certificate-host-mismatch", name_mismatch(&expected.to_str(), presented))
            }
            CertificateError::UnknownIssuer if is_self_signed => {
                Verification::invalid("certificate-not-trusted", "the certificate is self-signed")
            }
            CertificateError::UnknownIssuer => Verification::invalid(
                "certificate-not-trusted",
                "the certificate was not issued by a trusted authority, or the chain is incomplete",
            ),
            CertificateError::Revoked => Verification::invalid("certificate-revoked", "the certificate is revoked"),
            CertificateError::Other(other) if is_ca_as_end_entity(other) => Verification::invalid(
                "certificate-not-trusted",
                if is_self_signed {
                    "the certificate is self-signed"
                } else {
                    "the certificate is one of an authority"
                },
            ),
            other => Verification::invalid("validation-failure", fault_in_words(other)),
        }
    }
}

/// The rarer faults, which the real verifier names in its own language.
fn fault_in_words(error: &CertificateError) -> String {
    let webpki = match error {
        CertificateError::Other(other) => format!("{:?}", other.0),
        _ => String::new(),
    };
    let words = match (error, webpki.as_str()) {
        (_, "UnsupportedCertVersion") => "the certificate is of X.509 version 1 or 2",
        (_, "UnsupportedCriticalExtension") => "the certificate has a critical extension that is not known here",
        (_, "MaximumPathDepthExceeded") => "the chain has more than six authorities between root and certificate",
        (CertificateError::UnsupportedSignatureAlgorithmContext { .. }, _) => {
            "the certificate or its chain is signed with an algorithm that is not trusted, such as SHA-1"
        }
        (CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }, _) => {
            "the certificate is not for servers"
        }
        (CertificateError::BadEncoding, _) => "the certificate cannot be read",
        _ => return format!("{error}"),
    };
    words.to_owned()
}

/// webpki reports a self-signed certificate that is marked as an authority by its own word.
fn is_ca_as_end_entity(error: &rustls::OtherError) -> bool {
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

fn name_mismatch(expected: &str, presented: &[String]) -> String {
    /// A certificate may carry hundreds of names; a log line need not.
    const SHOWN: usize = 5;
    if presented.is_empty() {
        return format!("the certificate names no host; {expected} was expected");
    }
    // Names come as `DnsName("a.example")`: the inside is what people read.
    let bare = |name: &String| printable(name.split('"').nth(1).unwrap_or(name));
    let mut names = presented.iter().take(SHOWN).map(bare).collect::<Vec<_>>().join(", ");
    if presented.len() > SHOWN {
        let _ = write!(names, " and {} more", presented.len() - SHOWN);
    }
    format!("the certificate is for {names}, not for {expected}")
}

/// The verifier of one handshake.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    verifiers: Verifiers,
    /// The name that a valid certificate carries. SNI may say another: that of the TLSA records.
    host: ServerName<'static>,
    tlsa: Option<TlsaSet>,
    dane: OnceLock<DaneVerdict>,
    pins: Vec<Arc<Pin>>,
    pin: OnceLock<Verification>,
    verdict: OnceLock<Verification>,
    chains_to_public_root: OnceLock<bool>,
    key_proof: OnceLock<KeyProof>,
}

impl RecordingVerifier {
    pub(super) fn new(verifiers: Verifiers, host: ServerName<'static>, expected: Expected<'_>) -> Self {
        RecordingVerifier {
            verifiers,
            host,
            tlsa: expected.tlsa.cloned(),
            dane: OnceLock::new(),
            pins: expected.pins.to_vec(),
            pin: OnceLock::new(),
            verdict: OnceLock::new(),
            chains_to_public_root: OnceLock::new(),
            key_proof: OnceLock::new(),
        }
    }

    /// What was found. A handshake that asked for no verdict is not verified, and neither is one whose signature the
    /// real verifier did not accept: a good certificate is no good in the hands of somebody else.
    pub(super) fn verdict(&self) -> Verification {
        let none = || Verification::invalid("validation-failure", "the handshake showed no certificate");
        match (self.verdict.get().cloned().unwrap_or_else(none), self.key_proof()) {
            (Verification::Ok, KeyProof::Raw | KeyProof::None) => Verification::invalid(
                "validation-failure",
                "the certificate is in order, but its key or the signature in the handshake is too weak",
            ),
            (verdict, _) => verdict,
        }
    }

    /// What the TLSA records say, when there are any. They vouch for a key, so the host must have proved that it holds
    /// it; by which path does not matter, since an odd certificate that is published is meant.
    pub(super) fn dane(&self) -> Option<DaneVerdict> {
        let _ = self.tlsa.as_ref()?;
        let none = || DaneVerdict::invalid("validation-failure", "the handshake showed no certificate");
        let verdict = self.dane.get().cloned().unwrap_or_else(none);
        if verdict.verification.is_ok() && !self.key_proof().is_proved() {
            let words = "the certificate is the published one, but the host did not prove that it holds its key";
            return Some(DaneVerdict::invalid("validation-failure", words));
        }
        Some(verdict)
    }

    /// What the pins say, when there are any. An authority vouches for a certificate as the trusted roots do, so the key
    /// must have been proved as for them; a pinned certificate is meant, as a published one is.
    pub(super) fn pin(&self) -> Option<Verification> {
        if self.pins.is_empty() {
            return None;
        }
        let none = || Verification::invalid("validation-failure", "the handshake showed no certificate");
        let verdict = self.pin.get().cloned().unwrap_or_else(none);
        let by_authority = self.pins.iter().any(|pin| matches!(**pin, Pin::Authorities(_)));
        let is_proved = if by_authority { self.key_proof() == KeyProof::Webpki } else { self.key_proof().is_proved() };
        if verdict.is_ok() && !is_proved {
            let words = "the certificate is as pinned, but its key or the signature in the handshake is too weak";
            return Some(Verification::invalid("validation-failure", words));
        }
        Some(verdict)
    }

    /// How the host proved that it holds the certificate's key.
    pub(super) fn key_proof(&self) -> KeyProof {
        self.key_proof.get().copied().unwrap_or(KeyProof::None)
    }

    /// Whether the host got as far as showing a certificate.
    pub(super) fn saw_certificate(&self) -> bool {
        self.verdict.get().is_some()
    }

    /// Whether the chain leads to a public root, whatever name it carries.
    pub(super) fn chains_to_public_root(&self) -> bool {
        self.chains_to_public_root.get().copied().unwrap_or(false)
    }
}

impl RecordingVerifier {
    /// Records the proof. A signature that is wrong by the bare key too ends the handshake.
    fn proved(
        &self,
        by_webpki: Result<HandshakeSignatureValid, Error>,
        raw: impl FnOnce() -> Result<KeyProof, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let proof = if by_webpki.is_ok() { KeyProof::Webpki } else { raw()? };
        let _ = self.key_proof.set(proof);
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _sni: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ask = |verifier: &Arc<WebPkiServerVerifier>| {
            verifier.verify_server_cert(end_entity, intermediates, &self.host, ocsp_response, now)
        };
        let verdict = match ask(&self.verifiers.all) {
            Ok(_) => Verification::Ok,
            Err(error) => Verification::of_error(&error, is_self_signed(end_entity)),
        };
        // The name is checked after the chain: a mismatch says that the chain itself is good.
        let public = self.verifiers.public.as_ref().is_some_and(|public| match ask(public) {
            Ok(_) => true,
            Err(Error::InvalidCertificate(error)) => {
                matches!(error, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
            }
            Err(_) => false,
        });
        if let Some(tlsa) = &self.tlsa {
            let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
            let _ = self.dane.set(dane::verify(tlsa, &chain, now));
        }
        let _ = self.pin.set(pin::verify(&self.pins, end_entity, intermediates, &self.host, now));
        let _ = self.verdict.set(verdict);
        let _ = self.chains_to_public_root.set(public);
        Ok(ServerCertVerified::assertion())
    }

    // The peer must prove that it holds the certificate's key, in every mode: skipping the verification of the
    // certificate does not skip this. What webpki cannot check is checked with the bare key; `raw_key` says what is
    // left over.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let by_webpki = self.verifiers.all.verify_tls12_signature(message, certificate, signature);
        self.proved(by_webpki, || raw_key::check(message, certificate, signature, Version::Tls12))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let by_webpki = self.verifiers.all.verify_tls13_signature(message, certificate, signature);
        self.proved(by_webpki, || raw_key::check(message, certificate, signature, Version::Tls13))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.verifiers.all.supported_verify_schemes();
        schemes.push(raw_key::LEGACY_SCHEME);
        schemes
    }
}

pub(super) fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| parsed.issuer() == parsed.subject())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_a_stranger_wrote_are_shown_within_bounds() {
        let long = format!("DnsName(\"{}\")", "a".repeat(60_000));
        let presented = vec![long; 200];
        let words = name_mismatch("mx.d.test", &presented);
        assert!(words.len() < 2000 && words.ends_with("and 195 more, not for mx.d.test"), "{}", words.len());
        let words = name_mismatch("mx.d.test", &["DnsName(\"evil\u{1b}[2J.test\")".to_owned()]);
        assert!(!words.contains(char::is_control), "{words:?}");
        assert_eq!(name_mismatch("a.test", &[]), "the certificate names no host; a.test was expected");
    }
}
