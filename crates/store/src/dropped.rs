//! What waits for a domain is dropped.

use smtp::Domain;

use crate::{Store, StoreError, Timestamp};

impl Store {
    /// Drops what a domain has waiting, also what is scheduled, and says how many recipients that were: each fails for good,
    /// and an event tells it. In small transactions, so that other operations go on between them.
    ///
    /// What is being tried at that moment is not touched, since only its attempt knows what became of it. If it fails, its
    /// window has ended: there is no further attempt. What is accepted meanwhile stays.
    pub async fn drop_queued(&self, domain: &Domain) -> Result<u64, StoreError> {
        self.engine().drop_queued(domain).await
    }

    /// Whether the queue of a domain was dropped since a message was accepted: for who claimed it before, and has not begun.
    pub fn was_dropped(&self, domain: &Domain, accepted_at: Timestamp) -> bool {
        self.engine().was_dropped(domain, accepted_at)
    }
}
