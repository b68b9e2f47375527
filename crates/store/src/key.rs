//! API keys. The store never sees a key, only its hash.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use smtp::Domain;

use crate::{Store, StoreError, Timestamp};

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

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRole {
    /// Everything.
    Admin,
    /// Everything but keys.
    Developer,
    /// Look at everything and change nothing.
    Basic,
    /// Send, and nothing else.
    Sending,
}

impl KeyRole {
    /// All of them.
    pub const ALL: [KeyRole; 4] = [KeyRole::Admin, KeyRole::Developer, KeyRole::Basic, KeyRole::Sending];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyRole::Admin => "admin",
            KeyRole::Developer => "developer",
            KeyRole::Basic => "basic",
            KeyRole::Sending => "sending",
        }
    }
}

impl FromStr for KeyRole {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyRole, String> {
        let found = KeyRole::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| "must be one of: admin, developer, basic, sending".to_owned())
    }
}

/// What a key opens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyScope {
    /// Every domain, and what belongs to none.
    Account,
    /// One domain. The key goes when the domain goes.
    Domain(Domain),
}

impl KeyScope {
    /// The domain, if it is one.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            KeyScope::Account => None,
            KeyScope::Domain(domain) => Some(domain),
        }
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
    /// What it opens.
    pub scope: KeyScope,
    /// What it may do there.
    pub role: KeyRole,
    /// From when on it opens nothing any more.
    pub expires_at: Option<Timestamp>,
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
    /// What it opens.
    pub scope: KeyScope,
    /// What it may do there.
    pub role: KeyRole,
    /// From when on it opens nothing any more.
    pub expires_at: Option<Timestamp>,
    /// Since when.
    pub created_at: Timestamp,
}

impl ApiKey {
    /// Whether it opens nothing any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl Store {
    /// Makes an API key; [`StoreError::Conflict`] when there is one with that hash, [`StoreError::Invalid`] when it is
    /// to open a domain that there is not.
    pub async fn create_key(&self, key: NewKey) -> Result<ApiKey, StoreError> {
        self.engine().create_key(key).await
    }

    /// The API key with that hash, expired or not.
    pub async fn find_key(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
        self.engine().find_key(hash).await
    }

    /// All API keys, oldest first.
    pub async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.engine().list_keys().await
    }

    /// Deletes an API key and says whether there was one.
    pub async fn delete_key(&self, id: i64) -> Result<bool, StoreError> {
        self.engine().delete_key(id).await
    }

    /// Whether there is any API key of the account.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        self.engine().has_keys().await
    }
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
