//! Messages as they are kept, for those who want to see or send them once more.

use bytes::Bytes;
use serde_json::Value;
use smtp::{Address, Domain};

use crate::{IndividualCopy, MessageSummary, Store, StoreError};

/// A message with its content.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// What is told about it.
    pub message: MessageSummary,
    /// Whether it is signed with the keys of the sending domain.
    pub dkim: bool,
    /// How each recipient's own copy is made of the content.
    pub copy_plan: Option<Value>,
    /// What the copy of the recipient that was asked for is made with.
    pub copy: Option<IndividualCopy>,
    /// What it wants to know of its recipients, as [`crate::NewMessage::tracking`].
    pub tracking: Option<Value>,
    /// The content in the form of DATA.
    pub wire: Bytes,
}

impl Store {
    /// The message of that key, if it is the domain's and its content is still kept. With `recipient`, the one whose copy is
    /// wanted: `None` unless the message is individual and goes to it.
    pub async fn stored_message(
        &self,
        domain: &Domain,
        key: &str,
        recipient: Option<&Address>,
    ) -> Result<Option<StoredMessage>, StoreError> {
        self.engine().stored_message(domain, key, recipient).await
    }
}
