//! A message as it is accepted, and what is told about it afterwards.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use policy::tls::Resolved;
use serde::{Deserialize, Serialize};
use smtp::{Address, Domain};

use crate::dsn::DsnRequest;
use crate::template::TemplateUse;
use crate::{NewCopies, Timestamp};

/// The store's own number of a message, for those inside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(crate) i64);

/// The name of a kept message for those outside: random, URL-safe, not to be guessed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageKey(pub(crate) String);

impl MessageKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Over the HTTP API.
    Http,
    /// Over SMTP submission.
    Smtp,
}

impl Method {
    /// `http` or `smtp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Http => "http",
            Method::Smtp => "smtp",
        }
    }
}

/// What events tell about an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentSummary {
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// Its size in octets, decoded.
    pub size: u64,
}

/// A message to accept. Every text was checked by the one who hands it over.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The sending domain.
    pub domain: Domain,
    /// Its Message-ID, without brackets.
    pub message_id: String,
    /// The reverse-path, empty for the null one (RFC 5321 §4.5.5).
    pub return_path: String,
    /// The From header as the application wrote it.
    pub header_from: String,
    /// The To header as the application wrote it.
    pub header_to: String,
    /// The subject, decoded.
    pub subject: String,
    /// Size of the message in octets, before dot-stuffing.
    pub size: u64,
    /// The content as DATA sends it: CRLF, dot-stuffed, without the final dot (RFC 5321 §4.5.2).
    pub wire: Bytes,
    /// Its attachments.
    pub attachments: Vec<AttachmentSummary>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The application's own variables, given back in every event.
    pub user_variables: serde_json::Map<String, serde_json::Value>,
    /// What the sender asked for, message over domain.
    pub tls: Resolved,
    /// Whether it is signed with the keys of the sending domain when it goes out.
    pub dkim: bool,
    /// How it came in.
    pub method: Method,
    /// Accepted and never sent.
    pub test_mode: bool,
    /// Not to be sent before.
    pub deliver_at: Option<Timestamp>,
    /// Not to be tried after; what is still waiting then has failed.
    pub expires_at: Option<Timestamp>,
    /// To whom, in order; at least one. An address is there twice only where each gets a copy of its own.
    pub recipients: Vec<Address>,
    /// Which template it was made of.
    pub template: Option<TemplateUse>,
    /// What each recipient's own copy is made with; `None` when the content goes to all as it is.
    pub copies: Option<NewCopies>,
    /// How what its recipients do is tracked, each by links of its own. Kept as it is and given back as it is.
    pub tracking: Option<serde_json::Value>,
    /// Of what its sender is to be told by mail; `None` when of nothing.
    pub dsn: Option<DsnRequest>,
    /// The API key that was used.
    pub api_key_id: Option<i64>,
    /// The address of the client that handed it over.
    pub originating_ip: Option<IpAddr>,
}

/// What every event of a message tells about it.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageSummary {
    /// The store's own number.
    pub id: MessageId,
    /// The name for those outside.
    pub key: MessageKey,
    /// The sending domain.
    pub domain: Domain,
    /// Its Message-ID, without brackets.
    pub message_id: String,
    /// The reverse-path, empty for the null one.
    pub return_path: String,
    /// The From header.
    pub header_from: String,
    /// The To header.
    pub header_to: String,
    /// The subject, decoded.
    pub subject: String,
    /// Size in octets, before dot-stuffing.
    pub size: u64,
    /// Its attachments.
    pub attachments: Vec<AttachmentSummary>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The application's own variables.
    pub user_variables: serde_json::Map<String, serde_json::Value>,
    /// What the sender asked for, and where each half of it comes from.
    pub tls: Resolved,
    /// How it came in.
    pub method: Method,
    /// Accepted and never sent.
    pub test_mode: bool,
    /// Not to be sent before.
    pub deliver_at: Option<Timestamp>,
    /// All its recipients, in order.
    pub recipients: Vec<Address>,
    /// Whether each of them gets a copy of its own.
    pub is_individual: bool,
    /// Which template it was made of.
    pub template: Option<TemplateUse>,
    /// The API key that was used.
    pub api_key_id: Option<i64>,
    /// The address of the client that handed it over.
    pub originating_ip: Option<IpAddr>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}
