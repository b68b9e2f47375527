//! Mail that a host took and of which it is said later that it was not delivered.

use serde_json::Value;
use smtp::{Address, EnhancedCode};

use crate::{RecipientId, Store, StoreError, Timestamp};

/// What is said of a recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct DelayedBounce {
    /// A recipient of the transaction that it is about.
    pub transaction: RecipientId,
    /// When its message was accepted, in whole seconds: numbers of recipients come back when old ones are purged.
    pub accepted_at: i64,
    /// Which recipient of that transaction; `None` is the one above.
    pub address: Option<Address>,
    /// The code of the reply that refused it.
    pub code: u16,
    /// The enhanced code (RFC 3463).
    pub enhanced_code: Option<EnhancedCode>,
    /// Why, in the words of the one who refused it.
    pub message: String,
    /// Whether it also puts the recipient on the sending domain's bounces.
    pub no_such_mailbox: bool,
    /// What else the report says. Kept as it is and given back as it is.
    pub report: Value,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The recipient has failed, and an event tells it.
    Failed,
    /// It is no failure, and will be told to the sender, who asked for it.
    Noted,
    /// The recipient had failed before; or what is no failure was told before, or nobody asked.
    Known,
    /// The recipient is not delivered yet: the report was quicker than the outcome that it is about.
    Early,
    /// There is no such recipient, or not any more.
    Unknown,
}

impl Store {
    /// Turns a delivered recipient into a failed one, with the event that tells it, once.
    pub async fn record_bounce(&self, now: Timestamp, bounce: DelayedBounce) -> Result<Recorded, StoreError> {
        self.engine().record_bounce(now, bounce).await
    }
}
