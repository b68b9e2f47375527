//! DKIM keys of sending domains.

use std::fmt;
use std::sync::Arc;

use smtp::Domain;

use crate::{Store, StoreError, Timestamp};

/// Most keys of one domain: two kinds, each with its predecessor and its successor, and some room.
pub const DKIM_KEYS_PER_DOMAIN: usize = 10;

/// The store's own number of a DKIM key. No other key ever gets it, so what was read of a key holds for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DkimKeyId(pub(crate) i64);

/// A private key as PEM text. Never shown, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PrivateKey {
    /// Of PEM text.
    pub fn new(pem: String) -> PrivateKey {
        PrivateKey(pem)
    }

    /// The PEM text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// A key to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDkimKey {
    /// Where it is published: `{selector}._domainkey.{domain}`.
    pub selector: Domain,
    /// Bits of an RSA key; `None` is Ed25519.
    pub rsa_bits: Option<u32>,
    /// The private key.
    pub private: PrivateKey,
    /// The text of the TXT record that publishes it.
    pub record: String,
    /// Whether it signs.
    pub active: bool,
    /// The time that it is made.
    pub now: Timestamp,
}

/// A key as it is told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// The store's own number.
    pub id: DkimKeyId,
    /// The sending domain.
    pub domain: Domain,
    /// Where it is published.
    pub selector: Domain,
    /// Bits of an RSA key; `None` is Ed25519.
    pub rsa_bits: Option<u32>,
    /// The text of the TXT record that publishes it.
    pub record: String,
    /// Whether it signs.
    pub active: bool,
    /// Since when.
    pub created_at: Timestamp,
}

impl DkimKey {
    /// The name of the TXT record that publishes it (RFC 6376 §3.6.2.1).
    pub fn record_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }
}

/// What signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimSigner {
    /// The store's own number.
    pub id: DkimKeyId,
    /// Where the public key is published.
    pub selector: Domain,
    /// The private key.
    pub private: PrivateKey,
}

/// Which keys are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DkimKeyQuery {
    /// Those of one domain.
    pub domain: Option<Domain>,
    /// Those of one selector.
    pub selector: Option<Domain>,
    /// At most so many.
    pub limit: usize,
    /// Leave out so many first.
    pub skip: usize,
}

/// What became of a request to delete a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DkimKeyDeletion {
    /// It is gone.
    Deleted,
    /// It stays: no other key of its domain signs.
    LastActive,
    /// There is none.
    NotFound,
}

impl Store {
    /// Keeps a key for a sending domain; `None` when there is no such domain.
    ///
    /// [`StoreError::Conflict`] when the domain has a key of that selector, [`StoreError::Invalid`] when it has
    /// [`DKIM_KEYS_PER_DOMAIN`].
    pub async fn create_dkim_key(&self, domain: &Domain, key: NewDkimKey) -> Result<Option<DkimKey>, StoreError> {
        self.engine().create_dkim_key(domain, key).await
    }

    /// How many keys match, and the page of them that was asked for, by domain and age.
    pub async fn dkim_keys(&self, query: DkimKeyQuery) -> Result<(u64, Vec<DkimKey>), StoreError> {
        self.engine().dkim_keys(query).await
    }

    /// The active keys of a domain with their private halves, RSA before Ed25519, then by age.
    pub async fn dkim_signers(&self, domain: &Domain) -> Result<Arc<[DkimSigner]>, StoreError> {
        self.engine().dkim_signers(domain).await
    }

    /// Turns a key on or off; `None` when there is none.
    pub async fn set_dkim_key_active(
        &self,
        domain: &Domain,
        selector: &Domain,
        active: bool,
    ) -> Result<Option<DkimKey>, StoreError> {
        self.engine().set_dkim_key_active(domain, selector, active).await
    }

    /// Gives a key another selector; `None` when there is no such key, [`StoreError::Conflict`] when the selector is
    /// another key's.
    pub async fn rename_dkim_key(&self, id: DkimKeyId, selector: &Domain) -> Result<Option<DkimKey>, StoreError> {
        self.engine().rename_dkim_key(id, selector).await
    }

    /// Deletes a key, but not the last one of its domain that signs.
    pub async fn delete_dkim_key(&self, domain: &Domain, selector: &Domain) -> Result<DkimKeyDeletion, StoreError> {
        self.engine().delete_dkim_key(domain, selector).await
    }
}
