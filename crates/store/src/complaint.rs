//! Complaints: a recipient says that a message is not wanted.

use serde_json::Value;
use smtp::Address;

use crate::{RecipientId, Store, StoreError, Timestamp};

/// A complaint of a recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Complaint {
    /// A recipient of the transaction that brought the message.
    pub transaction: RecipientId,
    /// When the message was accepted, in whole seconds: numbers of recipients come back when old ones are purged.
    pub accepted_at: i64,
    /// Which recipient of that transaction; `None` is the one above.
    pub address: Option<Address>,
    /// Whether it also puts the recipient on the sending domain's complaints.
    pub suppress: bool,
    /// What the report says. Kept as it is and given back as it is.
    pub report: Value,
}

/// What became of a complaint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// An event tells it.
    Told,
    /// The recipient had complained about this message before.
    Known,
    /// There is no such recipient, or not any more.
    Unknown,
}

impl Store {
    /// Writes the event of a complaint, once for each recipient of a message.
    pub async fn record_complaint(&self, now: Timestamp, complaint: Complaint) -> Result<Heard, StoreError> {
        self.engine().record_complaint(now, complaint).await
    }
}
