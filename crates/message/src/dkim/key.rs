//! Private keys, from PEM.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::PublicKeyX509Der;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest PEM text that is read, in octets: an RSA key of 8192 bits with room to spare.
const PEM_OCTETS: usize = 32 * 1024;
/// Fewest bits of an RSA key (RFC 8301 §3.2 asks for 2048).
const RSA_BITS: usize = 2048;

/// A key that signs.
pub struct SigningKey(Pair);

enum Pair {
    Rsa { pair: RsaKeyPair, public: Vec<u8> },
    Ed25519(Ed25519KeyPair),
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
    /// A block that is no base64, or no key.
    #[error("the private key is damaged, or not an RSA key of 2048 to 8192 bits or an Ed25519 key")]
    Unreadable,
}

impl SigningKey {
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
        if let Ok(pair) = rsa {
            let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(|_| KeyError::Unreadable)?;
            let strong = pair.public_modulus_len() * 8 >= RSA_BITS;
            let public = public.as_ref().to_vec();
            return strong.then_some(SigningKey(Pair::Rsa { pair, public })).ok_or(KeyError::Unreadable);
        }
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::Unreadable)?;
        Ok(SigningKey(Pair::Ed25519(pair)))
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
