//! Header fields: which may be handed over beside a message, and how each is written (RFC 5322 §2.2, §3.6).

use std::borrow::Cow;

use mail_builder::encoders::base64::Base64Encoder;
use mail_builder::headers::Header as _;
use mail_builder::headers::address::{Address, EmailAddress};
use mail_builder::headers::message_id::MessageId;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_parser::DateTime;

use crate::limits::{
    HEADER_FIELDS, HEADER_LINE_OCTETS, HEADER_NAME_OCTETS, HEADER_VALUE_OCTETS, MESSAGE_ID_OCTETS, SUBJECT_OCTETS,
};
use crate::lines::{excerpt, has_control};
use crate::mailbox::{Mailbox, MailboxError};

/// Why a header field cannot be written. Each variant names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name has a character that no field name has (RFC 5322 §3.6.8).
    #[error("Header name must be pure ASCII: {0}")]
    Name(String),
    /// The name is too long to fit a line.
    #[error("Header name is too long: {0}")]
    NameTooLong(String),
    /// The field would contradict the structure that we give the message, or reveal whom it was copied to.
    #[error("header {0} cannot be set")]
    Reserved(String),
    /// A field that a message has once (RFC 5322 §3.6) was handed over more than once.
    #[error("header {0} may be given only once")]
    Repeated(String),
    /// The value has a CR, LF, NUL or another control character.
    #[error("{0} must not contain line breaks or other control characters")]
    Control(String),
    /// The value is longer than its limit, or has a part that no fold can bring into a line of 998 octets.
    #[error("{0} is too long")]
    TooLong(String),
    /// The value is not what this field takes.
    #[error("{name} is not valid: {reason}")]
    Invalid {
        /// The name of the field.
        name: String,
        /// What it takes.
        reason: &'static str,
    },
    /// The value is no list of mailboxes.
    #[error("{name} is not valid: {source}")]
    Mailbox {
        /// The name of the field.
        name: String,
        /// What is wrong with the list.
        source: MailboxError,
    },
    /// More than [`HEADER_FIELDS`].
    #[error("there are more than {HEADER_FIELDS} headers")]
    TooMany,
}

/// Fields that a message has at most once (RFC 5322 §3.6).
const SINGLE: [&str; 11] =
    ["From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject", "Date"];
/// Fields whose value is a list of mailboxes.
const MAILBOXES: [&str; 5] = ["From", "Sender", "Reply-To", "To", "Cc"];
/// Fields that name the hidden recipients (RFC 5322 §3.6.3, §3.6.6).
const BLIND: [&str; 2] = ["Bcc", "Resent-Bcc"];

/// Whether the value is a list of mailboxes.
pub(crate) fn holds_mailboxes(name: &str) -> bool {
    is_one_of(name, &MAILBOXES)
}

/// Whether a message has the field at most once.
pub(crate) fn is_single(name: &str) -> bool {
    is_one_of(name, &SINGLE)
}

/// Whether the field names recipients that the others must not see.
pub(crate) fn is_blind(name: &str) -> bool {
    is_one_of(name, &BLIND)
}

/// The fields that are handed over beside a message, checked, each in its final bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra(Vec<Field>);

impl Extra {
    /// Checks names and values. A field that a message has once may be given once; others as often as wanted.
    pub(crate) fn parse(headers: &[(String, String)]) -> Result<Extra, HeaderError> {
        if headers.len() > HEADER_FIELDS {
            return Err(HeaderError::TooMany);
        }
        let mut extra = Extra::default();
        for (name, value) in headers {
            let field = Field::given(name, value)?;
            if is_single(name) && extra.has(name) {
                return Err(HeaderError::Repeated(name.clone()));
            }
            extra.0.push(field);
        }
        Ok(extra)
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.0
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }
}

/// One header field: what it says, and its bytes, folded and ending in CRLF.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    name: String,
    /// What people read: the value before it was encoded.
    pub(crate) value: String,
    /// The mailboxes of a field that holds some.
    pub(crate) mailboxes: Vec<Mailbox>,
    /// `Name: value`, folded, with its CRLF.
    pub(crate) bytes: Vec<u8>,
}

impl Field {
    /// A field as somebody else named and filled it.
    pub(crate) fn given(name: &str, value: &str) -> Result<Field, HeaderError> {
        check_name(name)?;
        let value = checked_value(name, value, HEADER_VALUE_OCTETS)?;
        let invalid = |reason| HeaderError::Invalid { name: name.to_owned(), reason };
        if holds_mailboxes(name) {
            let mailboxes = Mailbox::parse_list(value);
            let mailboxes = mailboxes.map_err(|source| HeaderError::Mailbox { name: name.to_owned(), source })?;
            if is_one_of(name, &["From", "Sender"]) && mailboxes.len() > 1 {
                return Err(HeaderError::Mailbox { name: name.to_owned(), source: MailboxError::NotOne });
            }
            return Field::mailboxes(name, &mailboxes);
        }
        if name.eq_ignore_ascii_case("Subject") {
            return Field::subject(name, value);
        }
        if name.eq_ignore_ascii_case("Message-ID") {
            let id = parse_message_id(value).ok_or_else(|| invalid("it must have the form <unique@domain>"))?;
            return Field::message_id(name, id);
        }
        if name.eq_ignore_ascii_case("Date") && DateTime::parse_rfc822(value).is_none_or(|date| !date.is_valid()) {
            return Err(invalid("it must be a date of RFC 5322"));
        }
        if is_structured(name) && !value.is_ascii() {
            return Err(invalid("it must be ASCII"));
        }
        // What is ASCII was written for the wire, with encoded words and all.
        if value.is_ascii() && (folds_well(value) || is_structured(name)) {
            return Field::verbatim(name, value);
        }
        Field::text(name, value)
    }

    /// The subject. Line breaks are refused, not folded: whoever sends one did not mean to send two lines.
    pub(crate) fn subject(name: &str, value: &str) -> Result<Field, HeaderError> {
        let value = checked_value(name, value, SUBJECT_OCTETS)?;
        Field::text(name, value)
    }

    /// A list of mailboxes. Names are quoted or encoded; a local-part beyond ASCII stays UTF-8 (RFC 6532 §3.2).
    pub(crate) fn mailboxes(name: &str, mailboxes: &[Mailbox]) -> Result<Field, HeaderError> {
        let list = mailboxes.iter().map(|mailbox| {
            let name = mailbox.name().map(Cow::Borrowed);
            Address::Address(EmailAddress { name, email: mailbox.address().to_string().into() })
        });
        let list = Address::List(list.collect());
        let value = Mailbox::join_list(mailboxes);
        let mut field = Field::write(name, value, |out, column| list.write_header(out, column))?;
        field.mailboxes = mailboxes.to_vec();
        Ok(field)
    }

    /// A Message-ID, given without its brackets.
    pub(crate) fn message_id(name: &str, id: &str) -> Result<Field, HeaderError> {
        Field::write(name, id.to_owned(), |out, column| MessageId::new(id).write_header(out, column))
    }

    /// A value that is folded and else left alone. The caller vouches for its characters.
    pub(crate) fn verbatim(name: &str, value: &str) -> Result<Field, HeaderError> {
        Field::write(name, value.to_owned(), |out, column| Raw::new(value).write_header(out, column))
    }

    /// Text for people, as encoded words where it needs them (RFC 2047 §2).
    fn text(name: &str, value: &str) -> Result<Field, HeaderError> {
        Field::write(name, value.to_owned(), |out, column| {
            // The text is what people shall read, so what merely looks like an encoded word is encoded too.
            if folds_well(value) && !value.contains("=?") {
                Text::new(value).write_header(out, column);
            } else {
                write_encoded_words(value, column, out);
            }
        })
    }

    fn write(name: &str, value: String, write_value: impl FnOnce(&mut Vec<u8>, usize)) -> Result<Field, HeaderError> {
        let mut bytes = Vec::with_capacity(name.len() + value.len() + 16);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        write_value(&mut bytes, name.len() + 2);
        if bytes.split(|b| *b == b'\n').any(|line| line.len() > HEADER_LINE_OCTETS + 1) {
            return Err(HeaderError::TooLong(name.to_owned()));
        }
        Ok(Field { name: name.to_owned(), value, mailboxes: Vec::new(), bytes })
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// The id of a Message-ID field without its brackets, or `None` when no reader could take it for one (RFC 5322 §3.6.4).
pub(crate) fn parse_message_id(value: &str) -> Option<&str> {
    let value = value.trim();
    let id = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(value);
    let fits = id.len() <= MESSAGE_ID_OCTETS && id.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>'));
    let (left, right) = id.split_once('@')?;
    (fits && !left.is_empty() && !right.is_empty()).then_some(id)
}

/// A field name is printable ASCII without the colon (RFC 5322 §2.2), and not one of those that are ours.
fn check_name(name: &str) -> Result<(), HeaderError> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err(HeaderError::Name(excerpt(name)));
    }
    if name.len() > HEADER_NAME_OCTETS {
        return Err(HeaderError::NameTooLong(excerpt(name)));
    }
    let structure = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Content-"));
    if structure || is_blind(name) || is_one_of(name, &["MIME-Version", "Return-Path"]) {
        return Err(HeaderError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// The value without the white space around it.
fn checked_value<'a>(name: &str, value: &'a str, limit: usize) -> Result<&'a str, HeaderError> {
    if has_control(value) {
        return Err(HeaderError::Control(name.to_owned()));
    }
    if value.len() > limit {
        return Err(HeaderError::TooLong(name.to_owned()));
    }
    Ok(value.trim_matches([' ', '\t']))
}

/// Whether the field has a syntax of its own, in which encoded words have no place (RFC 2047 §5).
pub(crate) fn is_structured(name: &str) -> bool {
    let list = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("List-"));
    list || is_one_of(name, &["References", "In-Reply-To", "DKIM-Signature", "Received", "Date"])
}

/// Whether folding alone brings the value into lines: no word, and no run of white space, is long.
fn folds_well(value: &str) -> bool {
    const LONGEST_RUN: usize = 200;
    let is_space = |b: &u8| matches!(b, b' ' | b'\t');
    value.as_bytes().chunk_by(|a, b| is_space(a) == is_space(b)).all(|run| run.len() <= LONGEST_RUN)
}

/// The whole text as encoded words of whole characters, one on a line of at most 76 octets (RFC 2047 §2, §5).
fn write_encoded_words(text: &str, column: usize, out: &mut Vec<u8>) {
    const LINE_OCTETS: usize = 76;
    const FRAME_OCTETS: usize = "=?utf-8?B??=".len();
    let (mut rest, mut column) = (text, column);
    loop {
        let room = LINE_OCTETS.saturating_sub(column + FRAME_OCTETS) / 4 * 3;
        let end = (0..=room.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or_default();
        let (word, after) = rest.split_at(end);
        if !word.is_empty() {
            out.extend_from_slice(b"=?utf-8?B?");
            Base64Encoder::new().encode_into(word.as_bytes(), out);
            out.extend_from_slice(b"?=");
        }
        out.extend_from_slice(b"\r\n");
        if after.is_empty() {
            return;
        }
        out.push(b' ');
        (rest, column) = (after, 1);
    }
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}
