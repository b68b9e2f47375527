//! Keys that were looked up a moment ago, so that a batch of requests does not ask the store for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use store::{ApiKey, KeyHash, Store, StoreError};

use crate::api::limits::{KEY_FRESH, KEYS_REMEMBERED};

/// Keys that were good lately.
///
/// What the store said of a key holds for [`KEY_FRESH`], since another process may delete it. What this process deletes
/// is gone at once: [`KnownKeys::forget`].
#[derive(Debug, Default)]
pub(crate) struct KnownKeys {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts what was forgotten: an answer of the store from before may not be remembered after.
    generation: u64,
    /// When the store was asked, and what it said.
    keys: HashMap<KeyHash, (Instant, Arc<ApiKey>)>,
}

impl KnownKeys {
    /// The key with this hash, expired or not.
    pub(crate) async fn find(&self, store: &Store, hash: KeyHash) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let (generation, known) = self.fresh(&hash, Instant::now());
        if known.is_some() {
            return Ok(known);
        }
        // Since before it is asked, so that no answer holds for longer than it should.
        let asked_at = Instant::now();
        let found = store.find_key(&hash).await?.map(Arc::new);
        self.remember(generation, hash, found.clone(), asked_at);
        Ok(found)
    }

    /// Forgets what the store said: keys were deleted.
    pub(crate) fn forget(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.generation += 1;
        inner.keys.clear();
    }

    fn fresh(&self, hash: &KeyHash, now: Instant) -> (u64, Option<Arc<ApiKey>>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = inner.keys.get(hash).filter(|(at, _)| now.duration_since(*at) < KEY_FRESH);
        (inner.generation, fresh.map(|(_, key)| key.clone()))
    }

    fn remember(&self, generation: u64, hash: KeyHash, found: Option<Arc<ApiKey>>, at: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = found.filter(|_| inner.generation == generation) else { return };
        if inner.keys.len() >= KEYS_REMEMBERED && !inner.keys.contains_key(&hash) {
            let oldest = inner.keys.iter().min_by_key(|(_, (at, _))| *at).map(|(hash, _)| *hash);
            oldest.map(|hash| inner.keys.remove(&hash));
        }
        inner.keys.insert(hash, (at, key));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store::{KeyRole, KeyScope, Timestamp};

    use super::*;

    fn key(id: i64) -> Arc<ApiKey> {
        let (scope, role, created_at) = (KeyScope::Account, KeyRole::Admin, Timestamp::from_secs(0));
        Arc::new(ApiKey {
            id,
            description: String::new(),
            hint: String::new(),
            scope,
            role,
            expires_at: None,
            created_at,
        })
    }

    #[test]
    fn an_answer_holds_for_a_moment_and_never_beyond_a_deletion() {
        let (known, hash, now) = (KnownKeys::default(), KeyHash::of("a"), Instant::now());
        known.remember(0, hash, Some(key(1)), now);
        assert_eq!(known.fresh(&hash, now).1, Some(key(1)));
        assert_eq!(known.fresh(&hash, now + KEY_FRESH).1, None);
        known.forget();
        assert_eq!(known.fresh(&hash, now), (1, None));
        // An answer that the store gave before the deletion comes after it.
        known.remember(0, hash, Some(key(1)), now);
        assert_eq!(known.fresh(&hash, now), (1, None));
        known.remember(1, hash, Some(key(2)), now);
        assert_eq!(known.fresh(&hash, now), (1, Some(key(2))));
    }

    #[test]
    fn no_more_keys_are_remembered_than_the_limit() {
        let (known, now) = (KnownKeys::default(), Instant::now());
        for number in 0..=KEYS_REMEMBERED {
            let at = now + Duration::from_millis(number as u64);
            known.remember(0, KeyHash::of(&number.to_string()), Some(key(1)), at);
        }
        assert_eq!(known.inner.lock().unwrap().keys.len(), KEYS_REMEMBERED);
        assert_eq!(known.fresh(&KeyHash::of("0"), now).1, None, "the oldest goes");
        assert!(known.fresh(&KeyHash::of("1"), now).1.is_some());
    }
}
