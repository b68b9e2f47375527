//! A message that somebody else built: checked, completed, and otherwise left alone.

use mail_parser::MessageParser;

use crate::header::{Extra, Field, HeaderError, is_blind, is_single, parse_message_id};
use crate::identity::Identity;
use crate::limits::{HEADER_FIELDS, HEADER_LINE_OCTETS, HEADER_OCTETS, SUBJECT_OCTETS};
use crate::lines::{in_crlf, printable};
use crate::mailbox::{Mailbox, MailboxError};
use crate::parts::attachments;
use crate::section::{RawField, Section};
use crate::summary::Message;

/// Why a message cannot be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// A NUL, which no transport carries (RFC 6152 §3, RFC 5322 §4).
    #[error("the message has a NUL")]
    Nul,
    /// A line before the body that is neither a field nor the continuation of one.
    #[error("line {line} of the message is not a header field: '{text}'")]
    NotAField {
        /// Counted from one.
        line: usize,
        /// The line, shortened.
        text: String,
    },
    /// A control character other than TAB in a header field.
    #[error("header {0} of the message has control characters")]
    Control(String),
    /// A line of the field exceeds [`HEADER_LINE_OCTETS`].
    #[error("header {0} of the message has a line of more than {HEADER_LINE_OCTETS} octets")]
    LineTooLong(String),
    /// More than [`HEADER_FIELDS`].
    #[error("the message has more than {HEADER_FIELDS} header fields")]
    TooManyFields,
    /// The header section exceeds [`HEADER_OCTETS`].
    #[error("the header of the message exceeds {HEADER_OCTETS} octets")]
    HeaderTooLarge,
    /// A field that a message has once (RFC 5322 §3.6) is there twice, and readers disagree on which one counts.
    #[error("the message has more than one header {0}")]
    Repeated(String),
    /// Every message has an author (RFC 5322 §3.6.2).
    #[error("the message has no From")]
    NoFrom,
    /// `From` is no list of mailboxes.
    #[error("From of the message is not valid: {0}")]
    From(#[source] MailboxError),
    /// `Message-ID` is there, but is none.
    #[error("Message-ID of the message is not valid")]
    MessageId,
    /// A field handed over beside the message cannot be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Accepts a whole message. What changes, and nothing else does, so that the sender's own DKIM signature survives:
///
/// - line endings become CRLF, and the last line gets one;
/// - `Bcc` and `Resent-Bcc` fields are removed;
/// - `headers` are put before the message's own fields, whose namesakes are removed;
/// - `Date` and `Message-ID` are put before them when they are missing.
///
/// Lines of the body may exceed 998 octets, since breaking them would change the message.
pub fn accept(given: &[u8], headers: &[(String, String)], identity: &Identity) -> Result<Message, AcceptError> {
    accept_behind("", given, headers, identity)
}

/// The same, with trace fields (RFC 5321 §4.4) before all others. They end in CRLF, and the caller vouches for them.
pub fn accept_behind(
    trace: &str,
    given: &[u8],
    headers: &[(String, String)],
    identity: &Identity,
) -> Result<Message, AcceptError> {
    if memchr::memchr(0, given).is_some() {
        return Err(AcceptError::Nul);
    }
    let extra = Extra::parse(headers)?;
    let normal = in_crlf(given);
    let mut section = Section::parse(&normal)?;
    section.fields.retain(|field| !is_blind(field.name) && !extra.has(field.name));
    check(&section)?;

    let mut content = Vec::with_capacity(trace.len() + normal.len() + 512);
    content.extend_from_slice(trace.as_bytes());
    for field in additions(&section, &extra, identity)? {
        content.extend_from_slice(&field.bytes);
    }
    for field in &section.fields {
        content.extend_from_slice(field.bytes);
        if !content.ends_with(b"\r\n") {
            content.extend_from_slice(b"\r\n");
        }
    }
    let has_utf8_header = !content.is_ascii();
    content.extend_from_slice(b"\r\n");
    content.extend_from_slice(section.body);
    if !content.ends_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }
    describe(content, trace.len(), has_utf8_header)
}

/// What no field may be, whether it stays or not.
fn check(section: &Section<'_>) -> Result<(), AcceptError> {
    for (at, field) in section.fields.iter().enumerate() {
        if field.bytes.iter().any(|b| b.is_ascii_control() && !matches!(b, b'\t' | b'\r' | b'\n')) {
            return Err(AcceptError::Control(field.name.to_owned()));
        }
        if is_single(field.name) && section.fields[..at].iter().any(|earlier| earlier.is_named(field.name)) {
            return Err(AcceptError::Repeated(field.name.to_owned()));
        }
    }
    Ok(())
}

/// The fields that go before the message's own.
fn additions(section: &Section<'_>, extra: &Extra, identity: &Identity) -> Result<Vec<Field>, HeaderError> {
    let is_missing = |name: &str| section.get(name).is_none() && !extra.has(name);
    let mut fields = Vec::new();
    if is_missing("Date") {
        fields.push(Field::verbatim("Date", identity.date())?);
    }
    if is_missing("Message-ID") {
        fields.push(Field::message_id("Message-ID", identity.message_id())?);
    }
    fields.extend_from_slice(extra.fields());
    Ok(fields)
}

/// Reads from the finished content, behind its trace fields, what events tell about it.
fn describe(content: Vec<u8>, trace: usize, has_utf8_header: bool) -> Result<Message, AcceptError> {
    let section = Section::parse(&content[trace..])?;
    let from = section.get("From").ok_or(AcceptError::NoFrom)?.value();
    let from = Mailbox::parse_list(&from).map_err(AcceptError::From)?;
    let message_id = section.get("Message-ID").map(|field| field.value()).unwrap_or_default();
    let message_id = parse_message_id(&message_id).ok_or(AcceptError::MessageId)?.to_owned();
    let to = section.get("To").map(|field| field.value()).unwrap_or_default();
    let to = Mailbox::parse_list(&to).map_or_else(|_| printable(&to), |list| Mailbox::join_list(&list));

    let subject = section.get("Subject").map(subject).unwrap_or_default();
    let attachments = attachments(&section);
    Ok(Message { message_id, from, to, subject, attachments, has_utf8_header, content })
}

/// The subject, decoded; no more of it than [`SUBJECT_OCTETS`].
fn subject(field: &RawField<'_>) -> String {
    let bytes = [&field.bytes[..field.bytes.len().min(SUBJECT_OCTETS)], b"\r\n\r\n"].concat();
    let parsed = MessageParser::new().header_text("Subject").parse_headers(&bytes);
    parsed.as_ref().and_then(|message| message.subject()).map(printable).unwrap_or_default()
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
