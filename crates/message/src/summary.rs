//! A finished message, and what events tell about it.

use crate::mailbox::Mailbox;

/// A message ready to be kept and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Header and body. Every line ends in CRLF; dots are not stuffed.
    pub content: Vec<u8>,
    /// The Message-ID, without its brackets.
    pub message_id: String,
    /// The mailboxes of `From`, at least one.
    pub from: Vec<Mailbox>,
    /// `To` as people read it; empty when there is none.
    pub to: String,
    /// The subject, decoded; empty when there is none.
    pub subject: String,
    /// The files that it carries.
    pub attachments: Vec<AttachmentSummary>,
    /// Whether the header section has octets above 127, which only a host with SMTPUTF8 takes (RFC 6531 §3.1).
    pub has_utf8_header: bool,
}

impl Message {
    /// `From` as people read it.
    pub fn from_text(&self) -> String {
        Mailbox::join_list(&self.from)
    }

    /// Whether any octet is above 127, so that a host must offer 8BITMIME (RFC 6152).
    pub fn is_eight_bit(&self) -> bool {
        smtp::data::is_eight_bit(&self.content)
    }
}

/// A file that a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentSummary {
    /// Its name; empty when it has none.
    pub filename: String,
    /// `type/subtype`.
    pub content_type: String,
    /// Its size in octets, decoded.
    pub size: usize,
}
