//! What the DNS said of a sending domain's records when it was last asked.

use std::sync::Arc;

use serde_json::Value;
use smtp::Domain;

use crate::{Store, StoreError, Timestamp};

/// The outcome of looking at a domain's records.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsCheck {
    /// When.
    pub checked_at: Timestamp,
    /// Whether the domain is verified from now on; `None` leaves that as it was.
    pub verified: Option<bool>,
    /// What was found, for the one who asked.
    pub found: Value,
}

impl Store {
    /// Keeps the outcome in place of the one before, and says whether there is such a domain.
    pub async fn put_dns_check(&self, domain: &Domain, check: DnsCheck) -> Result<bool, StoreError> {
        self.engine().put_dns_check(domain, check).await
    }

    /// The last outcome; its `verified` is what holds.
    pub async fn dns_check(&self, domain: &Domain) -> Result<Option<Arc<DnsCheck>>, StoreError> {
        self.engine().dns_check(domain).await
    }
}
