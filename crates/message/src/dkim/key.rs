//! Private keys, from PEM.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest PEM text that is read, in octets: an RSA key of 8192 bits with room to spare.
const PEM_OCTETS: usize = 32 * 1024;
/// Characters in a line of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// A key that signs.
pub struct SigningKey(Pair);

enum Pair {
    Rsa { pair: RsaKeyPair, public: Vec<u8> },
    Ed25519(Ed25519KeyPair),
}

/// What key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of 2048 bits, which every verifier takes (RFC 8301 §3.2) and whose record most DNS panels do.
    Rsa2048,
    /// RSA of 4096 bits, the longest that every verifier takes.
    Rsa4096,
    /// Ed25519 (RFC 8463), which many verifiers do not know yet: beside an RSA key, not in its place.
    Ed25519,
}

/// Why a text is no key that can sign. None of them quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No block of PEM with a private key in it.
    #[error("there is no private key in PEM form (BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY)")]
    NoKey,
    /// It needs a passphrase.
    #[error("the private key is encrypted; write it without a passphrase")]
    Encrypted,
    /// An RSA key of less than 2048 bits.
    #[error("the RSA key is shorter than the 2048 bits that signers should use (RFC 8301 §3.2)")]
    Short,
    /// A block that is no base64, or no key.
    #[error("the private key is damaged, or not an RSA key of 2048 to 8192 bits or an Ed25519 key")]
    Unreadable,
}

/// The system gave no randomness, or a key could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key could not be made")]
pub struct GenerateError;

impl SigningKey {
    /// Makes a key. RSA takes a good part of a second, on a thread where that keeps nobody waiting.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(kind: KeyKind) -> Result<SigningKey, GenerateError> {
        let rsa = |size| RsaKeyPair::generate(size).ok().and_then(SigningKey::of_rsa);
        let made = match kind {
            KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyKind::Ed25519 => Ed25519KeyPair::generate().ok().map(|pair| SigningKey(Pair::Ed25519(pair))),
        };
        made.ok_or(GenerateError)
    }

    /// Reads the first private key of a PEM text: PKCS#8 (RSA, Ed25519) or PKCS#1 (RSA), as `openssl genpkey` and
    /// `openssl genrsa` write them.
    ///
    /// # Errors
    /// When there is none, or it is none of these.
    pub fn from_pem(text: &str) -> Result<SigningKey, KeyError> {
        let (label, der) = first_private_key(text)?;
        let rsa = match label {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
            _ => RsaKeyPair::from_pkcs8(&der),
        };
        match rsa {
            Ok(pair) => return SigningKey::of_rsa(pair).ok_or(KeyError::Unreadable),
            // aws-lc-rs makes no signer of less than 2048 bits.
            Err(error) if error.to_string() == "TooSmall" => return Err(KeyError::Short),
            Err(_) => {}
        }
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::Unreadable)?;
        Ok(SigningKey(Pair::Ed25519(pair)))
    }

    fn of_rsa(pair: RsaKeyPair) -> Option<SigningKey> {
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).ok()?.as_ref().to_vec();
        Some(SigningKey(Pair::Rsa { pair, public }))
    }

    /// The private key as PEM, PKCS#8: what [`SigningKey::from_pem`] reads. To be kept as a secret.
    ///
    /// # Errors
    /// When the key cannot be written.
    pub fn to_pem(&self) -> Result<String, GenerateError> {
        let der = match &self.0 {
            Pair::Rsa { pair, .. } => AsDer::<Pkcs8V1Der<'_>>::as_der(pair),
            Pair::Ed25519(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair),
        };
        let text = STANDARD.encode(der.map_err(|_| GenerateError)?.as_ref());
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        for (index, octet) in text.chars().enumerate() {
            if index > 0 && index % PEM_LINE == 0 {
                pem.push('\n');
            }
            pem.push(octet);
        }
        Ok(pem + "\n-----END PRIVATE KEY-----\n")
    }

    /// The text of the TXT record that publishes the key (RFC 6376 §3.6.1).
    pub fn record(&self) -> String {
        format!("v=DKIM1; k={}; p={}", self.kind(), STANDARD.encode(self.public()))
    }

    /// Whether it is an RSA key, and of how many bits; `None` is Ed25519.
    pub fn rsa_bits(&self) -> Option<usize> {
        match &self.0 {
            Pair::Rsa { pair, .. } => Some(pair.public_modulus_len() * 8),
            Pair::Ed25519(_) => None,
        }
    }

    /// The value of `a=` (RFC 6376 §3.3, RFC 8463 §3).
    pub(super) fn algorithm(&self) -> &'static str {
        match self.0 {
            Pair::Rsa { .. } => "rsa-sha256",
            Pair::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// The value of `k=`.
    pub(super) fn kind(&self) -> &'static str {
        match self.0 {
            Pair::Rsa { .. } => "rsa",
            Pair::Ed25519(_) => "ed25519",
        }
    }

    /// What `p=` publishes: a SubjectPublicKeyInfo for RSA, which is what everybody publishes and reads (RFC 6376
    /// erratum 3017), the bare 32 octets for Ed25519 (RFC 8463 §4.2).
    pub(super) fn public(&self) -> &[u8] {
        match &self.0 {
            Pair::Rsa { public, .. } => public,
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// Signs the SHA-256 of `data`.
    pub(super) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match &self.0 {
            Pair::Rsa { pair, .. } => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)?;
                Ok(signature)
            }
            // Here the digest itself is the message (RFC 8463 §3).
            Pair::Ed25519(pair) => {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
                Ok(pair.sign(digest.as_ref()).as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kind())
    }
}

/// The label and the octets of the first block that is a private key (RFC 7468 §2).
fn first_private_key(text: &str) -> Result<(&str, Vec<u8>), KeyError> {
    if text.len() > PEM_OCTETS {
        return Err(KeyError::NoKey);
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(KeyError::NoKey)?;
        let (block, after) = after.split_once(&format!("-----END {label}-----")).ok_or(KeyError::Unreadable)?;
        match label {
            "PRIVATE KEY" | "RSA PRIVATE KEY" if block.contains("ENCRYPTED") => return Err(KeyError::Encrypted),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            "PRIVATE KEY" | "RSA PRIVATE KEY" => {
                let base64: String = block.split_ascii_whitespace().collect();
                return Ok((label, STANDARD.decode(base64).map_err(|_| KeyError::Unreadable)?));
            }
            _ => rest = after,
        }
    }
    Err(KeyError::NoKey)
}
