//! One look at a domain for all who ask at the same time, and a short memory of what it found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use smtp::Domain;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Found;

/// Most answers remembered. Beyond it the oldest go, which costs a lookup and nothing else.
const REMEMBERED: usize = 4096;

#[derive(Default)]
pub(super) struct Looks {
    by_domain: Mutex<HashMap<Domain, Arc<Look>>>,
}

/// A look that is under way, or what it found and until when that holds.
struct Look {
    begun: Instant,
    answer: OnceCell<(Found, Instant)>,
}

impl Look {
    fn new() -> Arc<Look> {
        Arc::new(Look { begun: Instant::now(), answer: OnceCell::new() })
    }

    /// Whether it serves somebody who asks now and wants nothing as old as `after`.
    fn serves(&self, after: Option<Instant>) -> bool {
        match self.answer.get() {
            None => true,
            Some((_, until)) => Instant::now() < *until && after.is_none_or(|after| self.begun > after),
        }
    }
}

impl Looks {
    /// What the look at `domain` finds: one that is under way, one that is remembered and begun after `after`, or a new
    /// one. When the one who looks goes away the next who waits takes over.
    pub(super) async fn shared<F>(&self, domain: &Domain, after: Option<Instant>, look: impl FnOnce() -> F) -> Found
    where
        F: Future<Output = (Found, Instant)>,
    {
        let shared = self.at(domain, after);
        shared.answer.get_or_init(look).await.0.clone()
    }

    /// Forgets what was found, since something newer is kept.
    pub(super) fn forget(&self, domain: &Domain) {
        self.by_domain.lock().unwrap_or_else(PoisonError::into_inner).remove(domain);
    }

    fn at(&self, domain: &Domain, after: Option<Instant>) -> Arc<Look> {
        let mut looks = self.by_domain.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = looks.get(domain).filter(|look| look.serves(after)) {
            return look.clone();
        }
        if looks.len() >= REMEMBERED {
            looks.retain(|_, look| look.serves(None));
        }
        if looks.len() >= REMEMBERED {
            looks.retain(|_, look| !look.answer.initialized());
        }
        let look = Look::new();
        looks.insert(domain.clone(), look.clone());
        look
    }
}
