//! API keys. The store never sees a key, only its hash.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use crate::Timestamp;

/// The SHA-256 of a key.
///
/// A plain hash is enough: a key is random and too long to be guessed, so there is nothing for salt or slowness to
/// protect, and it can be looked up by an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub(crate) [u8; 32]);

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &str) -> KeyHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
        KeyHash(hash)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its hash.
    pub hash: KeyHash,
    /// What it is for, in the operator's words.
    pub description: String,
    /// Its last four characters, by which people tell keys apart.
    pub hint: String,
    /// The time that it is made.
    pub now: Timestamp,
}

/// A key as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The store's own number.
    pub id: i64,
    /// What it is for.
    pub description: String,
    /// Its last four characters.
    pub hint: String,
    /// Since when.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_sha256() {
        // FIPS 180-4's own example.
        let hash = KeyHash::of("abc");
        assert_eq!(hash.0[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(format!("{hash:?}"), "KeyHash(…)");
    }
}
