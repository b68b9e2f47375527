//! A message with other words in it: from what was composed once to the copy of one recipient.
//!
//! Words are changed where they are words: a header value or a text is decoded, changed and encoded anew, so that nothing
//! that is put in can break a line, start a header field or end a part. What does not change keeps its octets; attachments
//! always do. One pass over the lines, as in `parts`.

use mail_builder::headers::Header as _;
use mail_builder::headers::content_type::ContentType;
use mail_parser::{MessageParser, MimeHeaders, PartType};

use crate::accept::AcceptError;
use crate::body::{base64, content_type, encode_text};
use crate::header::{Extra, Field, HeaderError, holds_mailboxes, is_structured};
use crate::limits::{MIME_DEPTH, PART_HEADER_OCTETS};
use crate::lines::{lines, printable, to_crlf};
use crate::mailbox::{Mailbox, MailboxError, decode_words};
use crate::parts::delimiter;
use crate::section::{RawField, Section};

/// What is to be changed. Each answers with the new words, with `None` where the old ones stay, or with the reason why
/// there can be no copy.
pub trait Changes {
    /// A header value, decoded and unfolded; of an address list each name and each address by itself. A field whose new
    /// value is empty is left out.
    fn header(&mut self, name: &str, value: &str) -> Result<Option<String>, String>;

    /// A text that is shown, decoded, of that media type (`text/html`, in lower case). Its lines end in CRLF; those of the
    /// answer may end in anything.
    fn text(&mut self, media_type: &str, text: &str) -> Result<Option<String>, String>;

    /// Fields that go behind all others, once [`Changes::header`] saw those. Their values are plain words.
    fn further_headers(&mut self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether texts may change that are signed or encrypted by others (RFC 1847), which no signature survives.
    fn changes_sealed(&self) -> bool {
        true
    }
}

/// Why there is no copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The message is none.
    #[error(transparent)]
    Message(#[from] AcceptError),
    /// A header field cannot be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// An address or a name that was changed is none any more.
    #[error("{name}: {source}")]
    Mailbox {
        /// The header field.
        name: String,
        /// What is wrong.
        source: MailboxError,
    },
    /// [`Changes`] says so.
    #[error("{0}")]
    Refused(String),
    /// The copy is longer than it may be.
    #[error("the message would be longer than {0} octets")]
    TooLarge(usize),
}

/// Fields that are about the way of a message or that name it: never changed.
const FIXED: [&str; 8] = [
    "Date",
    "Message-ID",
    "MIME-Version",
    "Received",
    "Return-Path",
    "DKIM-Signature",
    "Authentication-Results",
    "Bcc",
];

/// Makes a copy of `content`, whose lines all end in CRLF. `headers` take the place of their namesakes; those that have none
/// go behind the others. Control characters in new header values become spaces.
///
/// # Errors
/// When a field cannot be written with its new value, `changes` refuses, or the copy exceeds `limit` octets.
pub fn rewrite(
    content: &[u8],
    headers: &[(String, String)],
    changes: &mut dyn Changes,
    limit: usize,
) -> Result<Vec<u8>, RewriteError> {
    let section = Section::parse(content)?;
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), writable(name, value))).collect();
    let extra = Extra::parse(&headers)?;
    let mut out = Vec::with_capacity(content.len() + content.len() / 8);
    let mut about_body = Vec::new();
    let mut replaced: Vec<&str> = Vec::new();
    for field in &section.fields {
        if describes_body(field.name) {
            about_body.extend_from_slice(field.bytes);
        } else if extra.has(field.name) {
            if !replaced.iter().any(|name| field.is_named(name)) {
                replaced.push(field.name);
                extra.fields().iter().filter(|new| new.is_named(field.name)).for_each(|new| out.extend(&new.bytes));
            }
        } else {
            match changed(field, changes)? {
                Some(new) => out.extend(new.iter().flat_map(|field| &field.bytes)),
                None => out.extend_from_slice(field.bytes),
            }
        }
    }
    let is_new = |new: &&Field| !replaced.iter().any(|name| new.is_named(name));
    extra.fields().iter().filter(is_new).for_each(|new| out.extend_from_slice(&new.bytes));
    let further = changes.further_headers().into_iter();
    let further: Vec<_> = further.map(|(name, value)| (name.clone(), writable(&name, &value))).collect();
    Extra::parse(&further)?.fields().iter().for_each(|new| out.extend_from_slice(&new.bytes));

    let mut walk = Walk {
        parser: MessageParser::new().with_mime_headers(),
        boundaries: Vec::new(),
        sealed_within: None,
        state: State::Verbatim,
        has_version: section.get("MIME-Version").is_some(),
        out,
        changes,
        limit,
    };
    walk.begin(about_body)?;
    for line in lines(section.body) {
        walk.line(line)?;
    }
    walk.end_part(false)?;
    Ok(walk.out)
}

fn describes_body(name: &str) -> bool {
    name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Content-"))
}

/// The field with its new value, if that changes; nothing when none is left.
fn changed(field: &RawField<'_>, changes: &mut dyn Changes) -> Result<Option<Option<Field>>, RewriteError> {
    if FIXED.iter().any(|fixed| field.is_named(fixed)) {
        return Ok(None);
    }
    let value = field.value();
    if holds_mailboxes(field.name)
        && let Ok(mailboxes) = Mailbox::parse_list(&value)
    {
        return Ok(changed_mailboxes(field.name, &mailboxes, changes)?.map(Some));
    }
    let new = changes.header(field.name, decode_words(&value).trim()).map_err(RewriteError::Refused)?;
    let Some(new) = new.map(|new| writable(field.name, &new)) else { return Ok(None) };
    if new.trim().is_empty() { Ok(Some(None)) } else { Ok(Some(Some(Field::given(field.name, &new)?))) }
}

fn changed_mailboxes(
    name: &str,
    mailboxes: &[Mailbox],
    changes: &mut dyn Changes,
) -> Result<Option<Field>, RewriteError> {
    let at_fault = |source| RewriteError::Mailbox { name: name.to_owned(), source };
    let mut is_changed = false;
    let mut change = |text: &str| {
        let new = changes.header(name, text).map_err(RewriteError::Refused)?;
        is_changed |= new.is_some();
        Ok::<_, RewriteError>(new.map_or_else(|| text.to_owned(), |new| printable(&new)))
    };
    let mut new = Vec::with_capacity(mailboxes.len());
    for mailbox in mailboxes {
        let display = mailbox.name().map(&mut change).transpose()?;
        let address = change(&mailbox.address().to_string())?;
        let address = address.parse::<Mailbox>().map_err(at_fault)?;
        new.push(Mailbox::new(display.as_deref(), address.address().clone()).map_err(at_fault)?);
    }
    if is_changed { Ok(Some(Field::mailboxes(name, &new)?)) } else { Ok(None) }
}

/// The value without control characters; where encoded words have no place, as in `List-Unsubscribe`, what is not ASCII is
/// percent-encoded, as URLs write it.
fn writable(name: &str, value: &str) -> String {
    let value = printable(value);
    if !is_structured(name) || value.is_ascii() {
        return value;
    }
    let mut ascii = String::with_capacity(value.len() * 2);
    for c in value.chars() {
        match c {
            c if c.is_ascii() => ascii.push(c),
            c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|octet| ascii.push_str(&format!("%{octet:02X}"))),
        }
    }
    ascii
}

struct Walk<'c> {
    parser: MessageParser,
    /// Of the multiparts that are open, outermost first.
    boundaries: Vec<String>,
    /// How many of them are open within what is signed or encrypted and must not change.
    sealed_within: Option<usize>,
    state: State,
    /// The message says that it is MIME. One that does not has a text without encoding.
    has_version: bool,
    out: Vec<u8>,
    changes: &'c mut dyn Changes,
    limit: usize,
}

enum State {
    /// In what is copied as it is.
    Verbatim,
    /// In the header of a part, as far as it was read.
    Header(Vec<u8>),
    /// In a text that is shown.
    Text { header: Vec<u8>, media_type: String, raw: Vec<u8> },
}

impl Walk<'_> {
    fn line(&mut self, line: &[u8]) -> Result<(), RewriteError> {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        if let Some((depth, closes)) = delimiter(&self.boundaries, text) {
            self.end_part(true)?;
            self.boundaries.truncate(if closes { depth } else { depth + 1 });
            self.sealed_within = self.sealed_within.filter(|within| self.boundaries.len() >= *within);
            self.write(line)?;
            self.state = if closes { State::Verbatim } else { State::Header(Vec::new()) };
            return Ok(());
        }
        match &mut self.state {
            State::Verbatim => self.write(line)?,
            State::Header(header) if text.is_empty() => {
                let header = std::mem::take(header);
                self.begin(header)?;
            }
            State::Header(header) => header.extend_from_slice(line),
            State::Text { raw, .. } => raw.extend_from_slice(line),
        }
        Ok(())
    }

    /// Reads the header of a part, and so what becomes of its content. The header of a text waits for its text.
    fn begin(&mut self, header: Vec<u8>) -> Result<(), RewriteError> {
        let bytes = [&header[..], b"\r\n"].concat();
        let part = if header.len() <= PART_HEADER_OCTETS { self.parser.parse_headers(&bytes) } else { None };
        let content_type = part.as_ref().and_then(|part| part.content_type());
        let kind = content_type.map_or("text", |t| t.ctype()).to_ascii_lowercase();
        let subtype = content_type.and_then(|t| t.subtype()).unwrap_or("plain").to_ascii_lowercase();
        let boundary = content_type.and_then(|t| t.attribute("boundary")).filter(|boundary| !boundary.is_empty());
        if let Some(boundary) = boundary.filter(|_| kind == "multipart" && self.boundaries.len() < MIME_DEPTH) {
            self.boundaries.push(boundary.to_owned());
            if self.sealed_within.is_none()
                && matches!(&*subtype, "signed" | "encrypted")
                && !self.changes.changes_sealed()
            {
                self.sealed_within = Some(self.boundaries.len());
            }
        }
        let is_file = part.as_ref().is_some_and(|part| {
            part.attachment_name().is_some() || part.content_disposition().is_some_and(|d| d.is_attachment())
        });
        if kind == "text" && !is_file && self.sealed_within.is_none() && (part.is_some() || header.is_empty()) {
            self.state = State::Text { header, media_type: format!("{kind}/{subtype}"), raw: Vec::new() };
            return Ok(());
        }
        self.state = State::Verbatim;
        self.write(&header)?;
        self.write(b"\r\n")
    }

    /// `delimited`: a boundary follows, to which the last line break belongs (RFC 2046 §5.1.1).
    fn end_part(&mut self, delimited: bool) -> Result<(), RewriteError> {
        match std::mem::replace(&mut self.state, State::Verbatim) {
            State::Verbatim => Ok(()),
            State::Header(header) => self.write(&header),
            State::Text { header, media_type, raw } => {
                let content = if delimited { raw.strip_suffix(b"\r\n").unwrap_or(&raw) } else { &raw[..] };
                let new = match decoded(&header, content) {
                    Some(text) => self.changes.text(&media_type, &text).map_err(RewriteError::Refused)?,
                    None => None,
                };
                match new {
                    Some(text) => self.write_text(&header, &media_type, &text, delimited),
                    None => self.write(&[&header[..], b"\r\n", &raw].concat()),
                }
            }
        }
    }

    fn write_text(&mut self, header: &[u8], media_type: &str, text: &str, delimited: bool) -> Result<(), RewriteError> {
        let text = to_crlf(text.as_bytes());
        let (mut encoding, mut encoded) = encode_text(text.clone());
        // Boundaries of others may be anything, and only base64 has no line that starts with `--`.
        if encoded.split(|b| *b == b'\n').any(|line| line.starts_with(b"--")) {
            (encoding, encoded) = ("base64", base64(&text));
        }
        let whole = [header, b"\r\n"].concat();
        let fields = Section::parse(&whole).map(|section| section.fields).unwrap_or_default();
        let given = fields.iter().find(|field| field.is_named("Content-Type")).map(RawField::value);
        let rest = fields
            .iter()
            .filter(|field| !field.is_named("Content-Type") && !field.is_named("Content-Transfer-Encoding"));
        let rest: Vec<u8> = rest.flat_map(|field| field.bytes).copied().collect();

        let needs_version = !self.has_version && self.boundaries.is_empty();
        let mut lines = if needs_version { b"MIME-Version: 1.0\r\n".to_vec() } else { Vec::new() };
        lines.extend_from_slice(b"Content-Type: ");
        in_utf8(media_type, given.as_deref()).write_header(&mut lines, "Content-Type: ".len());
        lines.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
        lines.extend_from_slice(&rest);
        lines.extend_from_slice(b"\r\n");
        self.write(&lines)?;
        self.write(&encoded)?;
        if delimited || !self.out.ends_with(b"\r\n") { self.write(b"\r\n") } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RewriteError> {
        if self.out.len() + bytes.len() > self.limit {
            return Err(RewriteError::TooLarge(self.limit));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// The text of a part, from its transfer encoding and its charset.
fn decoded(header: &[u8], content: &[u8]) -> Option<String> {
    let part = [header, b"\r\n", content].concat();
    let parsed = MessageParser::new().with_mime_headers().parse(&part)?;
    match &parsed.parts.first()?.body {
        PartType::Text(text) | PartType::Html(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The content type with all its parameters but the charset.
fn in_utf8(media_type: &str, given: Option<&str>) -> ContentType<'static> {
    let given = given.and_then(content_type).unwrap_or_else(|| ContentType::new(media_type.to_owned()));
    let kept = given.attributes.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("charset"));
    let start = ContentType::new(given.c_type).attribute("charset", "utf-8");
    kept.fold(start, |content_type, (name, value)| content_type.attribute(name, value))
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
