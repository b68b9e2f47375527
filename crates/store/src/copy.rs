//! Individual copies: each recipient of a message gets one made for it alone (`docs/decisions/0010-individual-copies.md`).

use serde_json::{Map, Value};

/// How the copies of a message are made of its content, and what each is made with.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCopies {
    /// The same for all of them. Kept as it is and given back as it is.
    pub plan: Value,
    /// One for each of the message's recipients, in their order.
    pub copies: Vec<NewCopy>,
}

/// An [`IndividualCopy`] to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCopy {
    /// The mailbox that its To shows.
    pub to: String,
    /// A JSON object. Kept as text: those of a thousand recipients take many times as much room in any other form.
    pub variables: String,
}

/// What the copy of one recipient is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndividualCopy {
    /// The mailbox that its To shows. Who got the copy as well, by Cc or Bcc, is another recipient with the same.
    pub to: String,
    /// What the application says about this recipient.
    pub variables: Map<String, Value>,
}
