//! Where policies are kept. The program keeps them in its store; a command or a test in memory.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use policy::mta_sts::{Cached, UnixSeconds};
use smtp::Domain;

/// Why a cache could not do it, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CacheError(pub String);

/// What a cache will answer.
pub type CacheResult<'a, T> = Pin<Box<dyn Future<Output = Result<T, CacheError>> + Send + 'a>>;

/// Keeps one policy for each domain, over restarts of the program.
pub trait PolicyCache: Send + Sync {
    /// The domain's policy, expired or not.
    fn get<'a>(&'a self, domain: &'a Domain) -> CacheResult<'a, Option<Cached>>;

    /// Keeps a policy in place of what there was.
    fn put<'a>(&'a self, domain: &'a Domain, cached: &'a Cached) -> CacheResult<'a, ()>;

    /// Sets `refresh_at` and `used_at` of the domain's policy if it is still this one, by its id and `fetched_at`.
    fn note<'a>(&'a self, domain: &'a Domain, cached: &'a Cached) -> CacheResult<'a, ()>;

    /// Policies that are due for a refresh ([`Cached::is_due`]), longest due first, at most `limit`.
    fn due<'a>(&'a self, now: UnixSeconds, limit: usize) -> CacheResult<'a, Vec<(Domain, Cached)>>;

    /// Drops what has expired.
    fn forget_expired<'a>(&'a self, now: UnixSeconds) -> CacheResult<'a, ()>;
}

/// A cache that lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemoryCache {
    policies: Mutex<HashMap<Domain, Cached>>,
}

impl MemoryCache {
    fn policies(&self) -> MutexGuard<'_, HashMap<Domain, Cached>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PolicyCache for MemoryCache {
    fn get<'a>(&'a self, domain: &'a Domain) -> CacheResult<'a, Option<Cached>> {
        let kept = self.policies().get(domain).cloned();
        Box::pin(async { Ok(kept) })
    }

    fn put<'a>(&'a self, domain: &'a Domain, cached: &'a Cached) -> CacheResult<'a, ()> {
        self.policies().insert(domain.clone(), cached.clone());
        Box::pin(async { Ok(()) })
    }

    fn note<'a>(&'a self, domain: &'a Domain, cached: &'a Cached) -> CacheResult<'a, ()> {
        if let Some(kept) = self.policies().get_mut(domain)
            && (&kept.id, kept.fetched_at) == (&cached.id, cached.fetched_at)
        {
            (kept.refresh_at, kept.used_at) = (cached.refresh_at, cached.used_at);
        }
        Box::pin(async { Ok(()) })
    }

    fn due<'a>(&'a self, now: UnixSeconds, limit: usize) -> CacheResult<'a, Vec<(Domain, Cached)>> {
        let is_due =
            |(domain, cached): (&Domain, &Cached)| cached.is_due(now).then(|| (domain.clone(), cached.clone()));
        let mut due: Vec<_> = self.policies().iter().filter_map(is_due).collect();
        due.sort_by_key(|(_, cached)| cached.refresh_at);
        due.truncate(limit);
        Box::pin(async { Ok(due) })
    }

    fn forget_expired<'a>(&'a self, now: UnixSeconds) -> CacheResult<'a, ()> {
        self.policies().retain(|_, cached| cached.is_valid(now));
        Box::pin(async { Ok(()) })
    }
}
