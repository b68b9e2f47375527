//! A certificate authority that lives as long as the process, and the certificates that receivers show.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A throw-away root: ECDSA P-256, its key never leaves the process.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate is to say. [`Issue::new`] is a good one; a test overrides what it is about.
#[derive(Clone, Debug, Default)]
pub struct Issue {
    /// The subject alternative names, host names or IP addresses. Empty: the certificate has no SAN at all.
    pub names: Vec<String>,
    /// The subject's common name; without it the first of `names`.
    pub common_name: Option<String>,
    /// When the certificate is valid.
    pub validity: Validity,
    /// The CA/B Forum's validation level, as a certificate policy.
    pub level: Option<ValidationLevel>,
    /// The kind of key.
    pub key: KeyKind,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday, for 90 days.
    #[default]
    Good,
    /// It ended yesterday.
    Expired,
    /// It begins tomorrow.
    NotYetValid,
    /// From, until.
    Between(SystemTime, SystemTime),
}

/// How well the CA says to know the subject (CA/B Forum Baseline Requirements §7.1.6.1, EV Guidelines).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidationLevel {
    /// Domain validated, 2.23.140.1.2.1.
    Dv,
    /// Organisation validated, 2.23.140.1.2.2.
    Ov,
    /// Individual validated, 2.23.140.1.2.3.
    Iv,
    /// Extended validation, 2.23.140.1.1.
    Ev,
}

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256: made in no time.
    #[default]
    EcdsaP256,
    /// RSA with 2048 bits: takes a moment to make.
    Rsa2048,
    /// Ed25519.
    Ed25519,
}

/// A certificate chain, leaf first, and the leaf's private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The chain as it is sent, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key. Nothing checks that it fits the leaf: a receiver with another's key is a behaviour too.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl Ca {
    /// A new root, named apart from every other so that a verifier never takes one for the other.
    pub fn new() -> io::Result<Ca> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::default();
        let tag: String = key.public_key_raw().iter().skip(1).take(4).map(|b| format!("{b:02x}")).collect();
        params.distinguished_name = named(&format!("Waxwing throw-away CA {tag}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        date(&mut params, Validity::Good);
        Ok(Ca { issuer: CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)? })
    }

    /// The root in PEM, as a file of trusted roots has it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The root in DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A store that trusts this root alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates([self.der()]);
        roots
    }

    /// A certificate signed by this root. Fails on a name that no certificate can hold.
    pub fn issue(&self, issue: &Issue) -> io::Result<Identity> {
        let key = issue.key.generate()?;
        let leaf = params(issue)?.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        Ok(Identity::new(leaf.der().clone(), &key))
    }
}

impl Identity {
    /// A certificate signed by its own key, which no root vouches for.
    pub fn self_signed(issue: &Issue) -> io::Result<Identity> {
        let key = issue.key.generate()?;
        let leaf = params(issue)?.self_signed(&key).map_err(io::Error::other)?;
        Ok(Identity::new(leaf.der().clone(), &key))
    }

    fn new(leaf: CertificateDer<'static>, key: &KeyPair) -> Identity {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Identity { chain: vec![leaf], key: Arc::new(key) }
    }
}

impl Issue {
    /// A good certificate for one name.
    pub fn new(name: impl Into<String>) -> Issue {
        Issue { names: vec![name.into()], ..Issue::default() }
    }

    /// A certificate that has its name in the subject only, as they were made before RFC 6125: valid for no host.
    pub fn without_san(common_name: impl Into<String>) -> Issue {
        Issue { common_name: Some(common_name.into()), ..Issue::default() }
    }
}

impl KeyKind {
    fn generate(self) -> io::Result<KeyPair> {
        let algorithm = match self {
            KeyKind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
        };
        KeyPair::generate_for(algorithm).map_err(io::Error::other)
    }
}

impl ValidationLevel {
    /// The `certificatePolicies` extension (RFC 5280 §4.2.1.4) that names this level and nothing else.
    fn extension(self) -> CustomExtension {
        // 2.23.140 is 67 81 0C, the CA/B Forum's arc.
        let oid: &[u8] = match self {
            ValidationLevel::Dv => &[0x67, 0x81, 0x0c, 1, 2, 1],
            ValidationLevel::Ov => &[0x67, 0x81, 0x0c, 1, 2, 2],
            ValidationLevel::Iv => &[0x67, 0x81, 0x0c, 1, 2, 3],
            ValidationLevel::Ev => &[0x67, 0x81, 0x0c, 1, 1],
        };
        let tagged = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let policies = tagged(0x30, &tagged(0x30, &tagged(0x06, oid)));
        CustomExtension::from_oid_content(&[2, 5, 29, 32], policies)
    }
}

fn params(issue: &Issue) -> io::Result<CertificateParams> {
    let mut params = CertificateParams::new(issue.names.clone()).map_err(io::Error::other)?;
    let name = issue.common_name.as_deref().or(issue.names.first().map(String::as_str)).unwrap_or("nobody");
    params.distinguished_name = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.custom_extensions = issue.level.map(ValidationLevel::extension).into_iter().collect();
    date(&mut params, issue.validity);
    Ok(params)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn date(params: &mut CertificateParams, validity: Validity) {
    let now = SystemTime::now();
    let (from, until) = match validity {
        Validity::Good => (now - DAY, now + 90 * DAY),
        Validity::Expired => (now - 91 * DAY, now - DAY),
        Validity::NotYetValid => (now + DAY, now + 91 * DAY),
        Validity::Between(from, until) => (from, until),
    };
    let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(from);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(until);
}
