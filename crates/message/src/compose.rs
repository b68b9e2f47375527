//! A message from its parts: what an application hands over becomes RFC 5322 and MIME.

use crate::body;
use crate::header::{Extra, Field, HeaderError};
use crate::identity::Identity;
use crate::limits::ATTACHMENTS;
use crate::mailbox::Mailbox;
use crate::summary::Message;

/// The parts of a message that is yet to be composed. Hidden recipients (Bcc) are the envelope's matter, not its.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Who writes.
    pub from: Vec<Mailbox>,
    /// `To`; the field is left out when there are none.
    pub to: Vec<Mailbox>,
    /// `Cc`; the field is left out when there are none.
    pub cc: Vec<Mailbox>,
    /// `Subject`. A line break in it is refused.
    pub subject: String,
    /// The text for readers without HTML. An empty text is a text.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// The AMP for Email version of the HTML.
    pub amp_html: Option<String>,
    /// Files beside the text.
    pub attachments: Vec<Attachment>,
    /// Files that the HTML shows as `cid:<filename>`.
    pub inline: Vec<Attachment>,
    /// Further header fields, in order. `From`, `Sender`, `Reply-To`, `To`, `Cc`, `Subject`, `Date` and `Message-ID` take
    /// the place of ours; `Bcc`, `Return-Path`, `MIME-Version` and `Content-*` are refused.
    pub headers: Vec<(String, String)>,
}

impl Draft {
    /// A draft with nothing but its author and subject.
    pub fn new(from: Mailbox, subject: impl Into<String>) -> Draft {
        Draft {
            from: vec![from],
            to: Vec::new(),
            cc: Vec::new(),
            subject: subject.into(),
            text: None,
            html: None,
            amp_html: None,
            attachments: Vec::new(),
            inline: Vec::new(),
            headers: Vec::new(),
        }
    }
}

/// A file to be carried along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, any Unicode.
    pub filename: String,
    /// `type/subtype` with parameters; empty means unknown, `application/octet-stream`.
    pub content_type: String,
    /// Its content, carried unchanged.
    pub bytes: Vec<u8>,
}

/// Why a draft is no message. Each says which part of the draft is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// Neither text nor HTML nor AMP.
    #[error("the message has neither text nor html")]
    NoText,
    /// A header field cannot be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// More than [`ATTACHMENTS`] files.
    #[error("there are more than {ATTACHMENTS} attachments")]
    TooManyAttachments,
    /// A file name is empty, too long, or has control characters.
    #[error("attachment '{0}': the file name is empty, too long, or has line breaks or other control characters")]
    Filename(String),
    /// A content type is not `type/subtype` with parameters (RFC 2045 §5.1).
    #[error("attachment '{0}': the content type is not valid")]
    ContentType(String),
}

/// Composes the draft: text and HTML become alternatives, inline files relate to the HTML, attachments stand beside.
///
/// The content is 7-bit, its lines at most 998 octets, and the same for the same input. Only an address whose
/// local-part is beyond ASCII brings UTF-8 into the header (RFC 6532 §3.2).
pub fn compose(draft: &Draft, identity: &Identity) -> Result<Message, ComposeError> {
    if draft.attachments.len() + draft.inline.len() > ATTACHMENTS {
        return Err(ComposeError::TooManyAttachments);
    }
    let extra = Extra::parse(&draft.headers)?;
    let fields = fields(draft, identity, &extra)?;
    let (body, attachments) = body::build(draft, identity)?;

    let mut content: Vec<u8> = fields.iter().flat_map(|field| &field.bytes).copied().collect();
    let has_utf8_header = !content.is_ascii();
    content.extend_from_slice(b"MIME-Version: 1.0\r\n");
    body.write_part(&mut content);
    if !content.ends_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }

    let find = |name: &str| fields.iter().find(|field| field.is_named(name));
    let value = |name: &str| find(name).map(|field| field.value.clone()).unwrap_or_default();
    Ok(Message {
        content,
        message_id: value("Message-ID"),
        from: find("From").map(|field| field.mailboxes.clone()).unwrap_or_default(),
        to: value("To"),
        subject: value("Subject"),
        attachments,
        has_utf8_header,
    })
}

/// All fields but those of MIME: ours in the usual order, each replaced by its namesake in `extra`, then the rest.
fn fields(draft: &Draft, identity: &Identity, extra: &Extra) -> Result<Vec<Field>, HeaderError> {
    let list = |name: &str, mailboxes: &[Mailbox]| -> Result<Option<Field>, HeaderError> {
        (!mailboxes.is_empty()).then(|| Field::mailboxes(name, mailboxes)).transpose()
    };
    let ours = [
        ("Date", Some(Field::verbatim("Date", identity.date())?)),
        ("From", list("From", &draft.from)?),
        // Several authors need one who sends (RFC 5322 §3.6.2).
        ("Sender", list("Sender", if draft.from.len() > 1 { &draft.from[..1] } else { &[] })?),
        ("To", list("To", &draft.to)?),
        ("Cc", list("Cc", &draft.cc)?),
        ("Subject", Some(Field::subject("Subject", &draft.subject)?)),
        ("Message-ID", Some(Field::message_id("Message-ID", identity.message_id())?)),
    ];
    let is_ours = |field: &&Field| ours.iter().any(|(name, _)| field.is_named(name));
    let rest = extra.fields().iter().filter(|field| !is_ours(field)).cloned();
    let fields = ours.iter().filter_map(|(name, field)| extra.get(name).or(field.as_ref()).cloned());
    Ok(fields.chain(rest).collect())
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
