//! What the log says about a host's certificate.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

/// Most alternative names that the log keeps of one certificate.
const NAMES: usize = 50;
/// Most characters that the log keeps of one name.
const NAME_CHARS: usize = 256;

/// A host's certificate, as evidence.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// The subject alternative names that are host names or addresses, at most 50.
    pub sans: Vec<String>,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// In date from, RFC 3339.
    pub not_before: String,
    /// In date until, RFC 3339.
    pub not_after: String,
    /// SHA-256 of the whole certificate, hexadecimal.
    pub sha256: String,
    /// The kind of public key.
    pub key_type: KeyType,
    /// Its size in bits.
    pub key_bits: usize,
    /// How well the authority checked the subject; `None` unless the chain leads to a public root, since anyone can
    /// write any policy into a certificate of his own.
    pub validation_level: Option<ValidationLevel>,
}

/// The kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyType {
    /// RSA.
    Rsa,
    /// An elliptic curve.
    Ec,
    /// Ed25519 and Ed448.
    EdDsa,
    /// Anything else.
    Other,
}

/// The policies of the CA/Browser Forum's Baseline Requirements §7.1.6.1 and EV Guidelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ValidationLevel {
    /// Domain validated, 2.23.140.1.2.1.
    Dv,
    /// Organization validated, 2.23.140.1.2.2.
    Ov,
    /// Individual validated, 2.23.140.1.2.3.
    Iv,
    /// Extended validation, 2.23.140.1.1.
    Ev,
}

impl Certificate {
    /// Reads a certificate; `None` when it is not one. `chains_to_public_root` lets its validation level count.
    pub(super) fn read(der: &CertificateDer<'_>, chains_to_public_root: bool) -> Option<Certificate> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        let (key_type, key_bits) = key_of(&parsed);
        Some(Certificate {
            subject: name_of(parsed.subject()),
            sans: sans_of(&parsed),
            issuer: name_of(parsed.issuer()),
            not_before: date(parsed.validity().not_before.timestamp()),
            not_after: date(parsed.validity().not_after.timestamp()),
            sha256: digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            key_type,
            key_bits,
            validation_level: if chains_to_public_root { level_of(&parsed) } else { None },
        })
    }
}

fn name_of(name: &X509Name<'_>) -> String {
    printable(&name.to_string())
}

fn sans_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let shown = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(octets) => address(octets).map(|ip| ip.to_string()),
        _ => None,
    });
    shown.take(NAMES).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn key_of(certificate: &X509Certificate<'_>) -> (KeyType, usize) {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => (KeyType::Rsa, key.key_size()),
        Ok(PublicKey::EC(key)) => (KeyType::Ec, key.key_size()),
        Ok(PublicKey::Unknown(key)) => {
            let oid = certificate.public_key().algorithm.algorithm.to_id_string();
            // id-Ed25519 and id-Ed448 (RFC 8410 §3).
            let key_type = if oid == "1.3.101.112" || oid == "1.3.101.113" { KeyType::EdDsa } else { KeyType::Other };
            (key_type, key.len() * 8)
        }
        _ => (KeyType::Other, 0),
    }
}

/// The strictest level among the certificate's policies.
fn level_of(certificate: &X509Certificate<'_>) -> Option<ValidationLevel> {
    let policies = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CertificatePolicies(policies) => Some(policies),
        _ => None,
    })?;
    let has = |oid: &str| policies.iter().any(|policy| policy.policy_id.to_id_string() == oid);
    [
        ("2.23.140.1.1", ValidationLevel::Ev),
        ("2.23.140.1.2.3", ValidationLevel::Iv),
        ("2.23.140.1.2.2", ValidationLevel::Ov),
        ("2.23.140.1.2.1", ValidationLevel::Dv),
    ]
    .into_iter()
    .find_map(|(oid, level)| has(oid).then_some(level))
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|timestamp| timestamp.to_string()).unwrap_or_default()
}

/// A stranger wrote these names: no control character and no endless text reaches the log.
pub(super) fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(NAME_CHARS).map(clean).collect()
}
