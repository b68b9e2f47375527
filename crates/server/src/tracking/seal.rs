//! What a link says, sealed: nobody but this server can read it or make one.
//!
//! AES-256-GCM-SIV (RFC 8452) with a key of this installation. It both hides and authenticates, so no address and no target
//! stands in a link for those who see it pass, no link leads where its message did not lead, and a nonce that comes twice
//! among many links would give away no key.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use store::tracking::TrackedCopy;
use store::{Store, StoreError};
use tokio::sync::OnceCell;

use super::LINK_OCTETS;

/// Longest sealed text: a link, JSON around it that may double each octet, and base64.
pub(crate) const SEALED_OCTETS: usize = (2 * LINK_OCTETS + 512) * 4 / 3;

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Claim {
    /// A copy was opened.
    #[serde(rename = "o")]
    Open(String),
    /// A link of a copy was followed, to there.
    #[serde(rename = "c")]
    Click(String, String),
    /// The recipient of a copy unsubscribes: sending domain, address, and from which tags; none is everything. It holds
    /// when the message was purged.
    #[serde(rename = "u")]
    Unsubscribe(String, String, String, Vec<String>),
}

impl Claim {
    /// The copy that it is about.
    pub(crate) fn copy(&self) -> Option<TrackedCopy> {
        let (Claim::Open(copy) | Claim::Click(copy, _) | Claim::Unsubscribe(copy, ..)) = self;
        copy.parse().ok()
    }
}

/// Seals and opens.
#[derive(Debug)]
pub(crate) struct Seal(LessSafeKey);

impl Seal {
    fn new(key: &[u8; 32]) -> Seal {
        let key = UnboundKey::new(&AES_256_GCM_SIV, key).expect("32 octets are a key");
        Seal(LessSafeKey::new(key))
    }

    /// The claim as a text for URLs.
    pub(crate) fn close(&self, claim: &Claim) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = serde_json::to_vec(claim).ok()?;
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// What it says, if it comes from here and is whole.
    pub(crate) fn open(&self, text: &str) -> Option<Claim> {
        if text.len() > SEALED_OCTETS {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

/// The seal of a store, once it was asked for its key.
#[derive(Debug, Default)]
pub(crate) struct Seals(OnceCell<Arc<Seal>>);

impl Seals {
    /// The seal.
    pub(crate) async fn of(&self, store: &Store) -> Result<Arc<Seal>, StoreError> {
        let made = || async { Ok(Arc::new(Seal::new(&store.tracking_key().await?))) };
        self.0.get_or_try_init(made).await.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_and_nothing_else() {
        let seal = Seal::new(&[7; 32]);
        let claim = Claim::Click("4d2.5a".to_owned(), format!("https://x.test/?q=\"{}\"", "ü".repeat(1000)));
        let text = seal.close(&claim).unwrap();
        assert_eq!(seal.open(&text), Some(claim.clone()));
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_ne!(seal.close(&claim).unwrap(), text, "equal links are not seen to be equal");
        assert_eq!(Seal::new(&[8; 32]).open(&text), None, "another installation's");

        let short = seal.close(&Claim::Open("1.2".to_owned())).unwrap();
        for at in 0..short.len() {
            let mut other = short.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(seal.open(std::str::from_utf8(&other).unwrap()), None, "changed at {at}");
            assert_eq!(seal.open(&short[..at]), None, "cut at {at}");
        }
        assert_eq!(seal.open(&format!("{short}A")), None);
        assert_eq!(seal.open(&"A".repeat(SEALED_OCTETS + 1)), None);
    }
}
