//! What SMTP carries around a message (RFC 5321 §2.3.1); not its header fields.

use std::fmt;

use crate::Address;

/// The reverse-path of MAIL: an address, or the null path `<>` of a notification (RFC 5321 §4.5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnPath {
    /// `<>`: nobody is told about failures.
    Null,
    /// Where failures are reported to.
    Address(Address),
}

impl fmt::Display for ReturnPath {
    /// The path without its angle brackets; the null path is the empty text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReturnPath::Null => Ok(()),
            ReturnPath::Address(address) => address.fmt(f),
        }
    }
}

/// Sender and recipients of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path.
    pub return_path: ReturnPath,
    /// The forward-paths, at least one.
    pub recipients: Vec<Address>,
}

impl Envelope {
    /// Whether any path can only travel with SMTPUTF8 (RFC 6531 §3.4).
    pub fn needs_smtputf8(&self) -> bool {
        let return_path = matches!(&self.return_path, ReturnPath::Address(a) if a.needs_smtputf8());
        return_path || self.recipients.iter().any(Address::needs_smtputf8)
    }
}
