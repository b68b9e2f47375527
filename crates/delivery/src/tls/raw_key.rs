//! The handshake signature checked with the bare public key, for certificates that the real verifier cannot use:
//! X.509 version 1, unknown critical extensions, RSA below 2048 bits.
//!
//! Such a certificate is never valid. But a host that proves its key can be encrypted to where validity is not
//! demanded, and that is better than plaintext.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use std::sync::Arc;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// How the host proved that it holds the private key of the certificate that it showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyProof {
    /// By a signature that the real verifier accepts: the only proof that a valid certificate may rest on.
    Webpki,
    /// By a signature checked with the bare public key: the certificate, its key or the signature is too old or too
    /// odd for the real verifier.
    Raw,
    /// Not at all: the signature is of a kind that cannot be checked here, since the RSA key is too short.
    None,
}

impl KeyProof {
    /// Whether the host proved at all that it holds the certificate's key. Whoever pins a key or a certificate, as
    /// DANE does, must ask: what was not proved was perhaps copied.
    pub fn is_proved(self) -> bool {
        matches!(self, KeyProof::Webpki | KeyProof::Raw)
    }
}

/// What we offer beyond the real verifier's schemes, after all of them. TLS 1.3 has no such signatures.
pub(super) const LEGACY_SCHEME: SignatureScheme = SignatureScheme::RSA_PKCS1_SHA1;

/// The versions differ in which schemes they allow (RFC 8446 §4.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// Why the host's key cannot be used, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct KeyUnsupported(&'static str);

impl From<KeyUnsupported> for Error {
    fn from(error: KeyUnsupported) -> Error {
        CertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

/// Checks the handshake's signature with the key of `certificate`, whatever else is in that.
///
/// # Errors
/// When the signature was checked and is wrong, when the host used a scheme that it was not offered or that its key
/// does not fit, and when the key is of a kind that is not known here.
pub(super) fn check(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    version: Version,
) -> Result<KeyProof, Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| KeyUnsupported("the host's certificate cannot be read"))?;
    let spki = parsed.public_key();
    let Some(algorithm) = algorithm_of(Key::of(spki)?, signed.scheme, version)? else { return Ok(KeyProof::None) };
    let key = UnparsedPublicKey::new(algorithm, &spki.subject_public_key.data);
    match key.verify(message, signed.signature()) {
        Ok(()) => Ok(KeyProof::Raw),
        Err(_) => Err(CertificateError::BadSignature.into()),
    }
}

/// A kind of key whose signatures may be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Rsa { bits: usize },
    P256,
    P384,
    P521,
    Ed25519,
}

impl Key {
    fn of(spki: &SubjectPublicKeyInfo<'_>) -> Result<Key, KeyUnsupported> {
        match spki.algorithm.algorithm.to_id_string().as_str() {
            // rsaEncryption (RFC 3279 §2.3.1).
            "1.2.840.113549.1.1.1" => match spki.parsed() {
                Ok(PublicKey::RSA(key)) => Ok(Key::Rsa { bits: bits_of(key.modulus) }),
                _ => Err(KeyUnsupported("the host's RSA key cannot be read")),
            },
            // id-ecPublicKey with a named curve (RFC 5480 §2.1.1.1).
            "1.2.840.10045.2.1" => {
                let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
                match curve.map(|oid| oid.to_id_string()).as_deref() {
                    Some("1.2.840.10045.3.1.7") => Ok(Key::P256),
                    Some("1.3.132.0.34") => Ok(Key::P384),
                    Some("1.3.132.0.35") => Ok(Key::P521),
                    _ => Err(KeyUnsupported("the host's key is on an elliptic curve that is not supported")),
                }
            }
            "1.3.101.112" => Ok(Key::Ed25519),
            "1.2.840.113549.1.1.10" => Err(KeyUnsupported("keys for RSA-PSS alone are not supported")),
            "1.2.840.10040.4.1" => Err(KeyUnsupported("DSA keys are not supported")),
            "1.3.101.113" => Err(KeyUnsupported("Ed448 keys are not supported")),
            _ => Err(KeyUnsupported("the host's key is of a kind that is not supported")),
        }
    }
}

/// How to check a signature; `None` when the scheme is in order and the key is too short (or too long) to be checked.
fn algorithm_of(
    key: Key,
    scheme: SignatureScheme,
    version: Version,
) -> Result<Option<&'static dyn VerificationAlgorithm>, PeerMisbehaved> {
    use SignatureScheme as Scheme;
    let (algorithm, least_bits): (&'static dyn VerificationAlgorithm, usize) = match (key, scheme, version) {
        (Key::Rsa { .. }, Scheme::RSA_PSS_SHA256, _) => (&RSA_PSS_2048_8192_SHA256, 2048),
        (Key::Rsa { .. }, Scheme::RSA_PSS_SHA384, _) => (&RSA_PSS_2048_8192_SHA384, 2048),
        (Key::Rsa { .. }, Scheme::RSA_PSS_SHA512, _) => (&RSA_PSS_2048_8192_SHA512, 2048),
        (Key::Rsa { .. }, Scheme::RSA_PKCS1_SHA1, Version::Tls12) => {
            (&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, 1024)
        }
        (Key::Rsa { .. }, Scheme::RSA_PKCS1_SHA256, Version::Tls12) => {
            (&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, 1024)
        }
        (Key::Rsa { .. }, Scheme::RSA_PKCS1_SHA384, Version::Tls12) => (&RSA_PKCS1_2048_8192_SHA384, 2048),
        (Key::Rsa { .. }, Scheme::RSA_PKCS1_SHA512, Version::Tls12) => {
            (&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, 1024)
        }
        (Key::P256 | Key::P384 | Key::P521, scheme, version) => (ecdsa(key, scheme, version)?, 0),
        (Key::Ed25519, Scheme::ED25519, _) => (&ED25519, 0),
        _ => return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme),
    };
    /// Longest RSA key that is worth the time: longer ones are somebody's joke.
    const MOST_BITS: usize = 8192;
    match key {
        Key::Rsa { bits } if bits < least_bits || bits > MOST_BITS => Ok(None),
        _ => Ok(Some(algorithm)),
    }
}

/// In TLS 1.2 the scheme names the hash alone and the curve is the key's; in TLS 1.3 it names both (RFC 8446 §4.2.3).
fn ecdsa(
    key: Key,
    scheme: SignatureScheme,
    version: Version,
) -> Result<&'static dyn VerificationAlgorithm, PeerMisbehaved> {
    use SignatureScheme as Scheme;
    Ok(match (key, scheme, version) {
        (Key::P256, Scheme::ECDSA_NISTP256_SHA256, _) => &ECDSA_P256_SHA256_ASN1,
        (Key::P384, Scheme::ECDSA_NISTP384_SHA384, _) => &ECDSA_P384_SHA384_ASN1,
        (Key::P521, Scheme::ECDSA_NISTP521_SHA512, _) => &ECDSA_P521_SHA512_ASN1,
        (Key::P256, Scheme::ECDSA_NISTP384_SHA384, Version::Tls12) => &ECDSA_P256_SHA384_ASN1,
        (Key::P256, Scheme::ECDSA_NISTP521_SHA512, Version::Tls12) => &ECDSA_P256_SHA512_ASN1,
        (Key::P384, Scheme::ECDSA_NISTP256_SHA256, Version::Tls12) => &ECDSA_P384_SHA256_ASN1,
        (Key::P384, Scheme::ECDSA_NISTP521_SHA512, Version::Tls12) => &ECDSA_P384_SHA512_ASN1,
        (Key::P521, Scheme::ECDSA_NISTP256_SHA256, Version::Tls12) => &ECDSA_P521_SHA256_ASN1,
        (Key::P521, Scheme::ECDSA_NISTP384_SHA384, Version::Tls12) => &ECDSA_P521_SHA384_ASN1,
        _ => return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme),
    })
}

/// The length of an unsigned number, leading zeros not counted.
fn bits_of(number: &[u8]) -> usize {
    let Some(first) = number.iter().position(|byte| *byte != 0) else { return 0 };
    (number.len() - first) * 8 - number[first].leading_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA_1024: Key = Key::Rsa { bits: 1024 };

    /// `Some(true)`: checked; `Some(false)`: cannot be checked; `None`: refused.
    fn fate(key: Key, scheme: SignatureScheme, version: Version) -> Option<bool> {
        algorithm_of(key, scheme, version).ok().map(|algorithm| algorithm.is_some())
    }

    #[test]
    fn what_each_key_may_sign_with() {
        use SignatureScheme::*;
        use Version::{Tls12, Tls13};
        let rsa = |bits| Key::Rsa { bits };
        for (key, scheme, in_12, in_13) in [
            (rsa(2048), RSA_PSS_SHA256, Some(true), Some(true)),
            (rsa(2047), RSA_PSS_SHA384, Some(false), Some(false)),
            (RSA_1024, RSA_PSS_SHA512, Some(false), Some(false)),
            (RSA_1024, RSA_PKCS1_SHA1, Some(true), None),
            (RSA_1024, RSA_PKCS1_SHA256, Some(true), None),
            (RSA_1024, RSA_PKCS1_SHA384, Some(false), None),
            (rsa(2048), RSA_PKCS1_SHA384, Some(true), None),
            (RSA_1024, RSA_PKCS1_SHA512, Some(true), None),
            (rsa(1023), RSA_PKCS1_SHA256, Some(false), None),
            (rsa(16384), RSA_PKCS1_SHA256, Some(false), None),
            (RSA_1024, ECDSA_NISTP256_SHA256, None, None),
            (RSA_1024, ED25519, None, None),
            (Key::P256, ECDSA_NISTP256_SHA256, Some(true), Some(true)),
            (Key::P256, ECDSA_NISTP384_SHA384, Some(true), None),
            (Key::P384, ECDSA_NISTP256_SHA256, Some(true), None),
            (Key::P521, ECDSA_NISTP521_SHA512, Some(true), Some(true)),
            (Key::P521, ECDSA_NISTP256_SHA256, Some(true), None),
            // Never offered, so never taken.
            (Key::P256, ECDSA_SHA1_Legacy, None, None),
            (Key::P256, RSA_PSS_SHA256, None, None),
            (Key::Ed25519, SignatureScheme::ED25519, Some(true), Some(true)),
            (Key::Ed25519, ED448, None, None),
        ] {
            assert_eq!(fate(key, scheme, Tls12), in_12, "{key:?} {scheme:?} 1.2");
            assert_eq!(fate(key, scheme, Tls13), in_13, "{key:?} {scheme:?} 1.3");
        }
    }

    #[test]
    fn bits_are_counted_from_the_first_that_is_set() {
        assert_eq!([bits_of(&[]), bits_of(&[0, 0]), bits_of(&[0, 0x80]), bits_of(&[1, 0])], [0, 0, 8, 9]);
    }
}
