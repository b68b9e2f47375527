//! DKIM keys that take the place of others: made first, signing only once their records are published.

use std::time::Duration;

use smtp::Domain;

use crate::dkim::{DkimKey, DkimKeyId, NewDkimKey};
use crate::{Store, StoreError, Timestamp};

/// Whether and when the keys of a domain are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DkimRotation {
    /// Whether that begins by itself.
    pub enabled: bool,
    /// How old a key that signs becomes.
    pub interval: Duration,
}

/// A key that waits for its record to be published, to take the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimSuccessor {
    /// The key. It does not sign yet.
    pub key: DkimKey,
    /// The one that signs until then.
    pub replaces: DkimKeyId,
}

impl Store {
    /// What was set for a domain; `None` was never.
    pub async fn dkim_rotation(&self, domain: &Domain) -> Result<Option<DkimRotation>, StoreError> {
        self.engine().dkim_rotation(domain).await
    }

    /// Sets it; `false` when there is no such domain.
    pub async fn set_dkim_rotation(&self, domain: &Domain, rotation: DkimRotation) -> Result<bool, StoreError> {
        self.engine().set_dkim_rotation(domain, rotation).await
    }

    /// The domains whose rotation begins by itself and has a key that is old enough and has no successor yet.
    pub async fn dkim_rotations_due(&self, now: Timestamp) -> Result<Vec<Domain>, StoreError> {
        self.engine().dkim_rotations_due(now).await
    }

    /// Keeps a key that is to take the place of another; `None` when that one is gone, does not sign, or has a successor
    /// already. The same errors as [`Store::create_dkim_key`].
    pub async fn create_dkim_successor(
        &self,
        replaces: DkimKeyId,
        key: NewDkimKey,
    ) -> Result<Option<DkimKey>, StoreError> {
        self.engine().create_dkim_successor(replaces, key).await
    }

    /// The keys that wait to take the place of others, of one domain or of all.
    pub async fn dkim_successors(&self, domain: Option<&Domain>) -> Result<Vec<DkimSuccessor>, StoreError> {
        self.engine().dkim_successors(domain).await
    }

    /// Has a successor sign and its predecessor no more, which is retired; `false` when there is no such successor.
    pub async fn promote_dkim_successor(&self, key: DkimKeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.engine().promote_dkim_successor(key, now).await
    }

    /// Deletes keys that were retired before this time. What a person activated since stays.
    pub async fn delete_retired_dkim_keys(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.engine().delete_retired_dkim_keys(before).await
    }
}
