//! Address lists as people write them (RFC 5322 §3.4), and mailboxes as we keep them.

use std::fmt;
use std::str::FromStr;

use mail_parser::MessageParser;
use smtp::{Address, AddressError};

use crate::limits::{DISPLAY_NAME_OCTETS, MAILBOX_LIST_OCTETS, MAILBOX_OCTETS, MAILBOXES};
use crate::lines::{excerpt, has_control};

/// An address, with the name that its owner goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    name: Option<String>,
    address: Address,
}

impl Mailbox {
    /// A mailbox of its two parts. Runs of white space in the name become one space; an empty name is none.
    pub fn new(name: Option<&str>, address: Address) -> Result<Mailbox, MailboxError> {
        let at_fault = |fault| MailboxError::Entry { entry: address.to_string(), fault };
        let name = name.map(checked_name).transpose().map_err(at_fault)?.flatten();
        Ok(Mailbox { name, address })
    }

    /// Reads a list of mailboxes separated by commas: `b@example.net,C <c@example.net>`.
    ///
    /// Display names may be quoted, hold any Unicode, or be encoded words (RFC 2047 §5); comments are passed over. Empty
    /// entries are too (RFC 5322 §4.4), but a list must have one mailbox. One bad entry spoils the list.
    pub fn parse_list(list: &str) -> Result<Vec<Mailbox>, MailboxError> {
        if list.len() > MAILBOX_LIST_OCTETS {
            return Err(MailboxError::TooLong);
        }
        let mut mailboxes = Vec::new();
        for entry in split_list(list).into_iter().map(str::trim).filter(|entry| !entry.is_empty()) {
            if mailboxes.len() == MAILBOXES {
                return Err(MailboxError::TooMany);
            }
            let at_fault = |fault| MailboxError::Entry { entry: excerpt(entry), fault };
            mailboxes.push(parse_entry(entry).map_err(at_fault)?);
        }
        if mailboxes.is_empty() { Err(MailboxError::Empty) } else { Ok(mailboxes) }
    }

    /// The mailboxes as one text, as people read an address list.
    pub fn join_list(mailboxes: &[Mailbox]) -> String {
        mailboxes.iter().map(Mailbox::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The display name, if there is one. It has no control characters.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// Why a text is not a list of mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailboxError {
    /// No mailbox in it.
    #[error("there is no address")]
    Empty,
    /// More than one mailbox where one is wanted.
    #[error("there is more than one address")]
    NotOne,
    /// The text is longer than [`MAILBOX_LIST_OCTETS`].
    #[error("the address list is too long")]
    TooLong,
    /// More than [`MAILBOXES`] in one list.
    #[error("there are more than {MAILBOXES} addresses")]
    TooMany,
    /// One entry is no mailbox.
    #[error("'{entry}': {fault}")]
    Entry {
        /// The entry as given, shortened.
        entry: String,
        /// What is wrong with it.
        fault: EntryFault,
    },
}

/// Why one entry of a list is not a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// A CR, LF, NUL or other control, plain or hidden in an encoded word.
    #[error("control characters are not allowed")]
    Control,
    /// A quote, comment or angle bracket without its other half, or text after the address.
    #[error("quotes or brackets do not match")]
    Unbalanced,
    /// A group (RFC 5322 §3.4), or `;` between addresses.
    #[error("groups are not supported; separate addresses by commas")]
    Group,
    /// The display name is longer than [`DISPLAY_NAME_OCTETS`].
    #[error("the name is too long")]
    NameTooLong,
    /// The whole entry is longer than [`MAILBOX_OCTETS`].
    #[error("it is too long")]
    TooLong,
    /// What should be the address is none.
    #[error("{0}")]
    Address(#[from] AddressError),
}

impl FromStr for Mailbox {
    type Err = MailboxError;

    /// Exactly one mailbox.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Mailbox::parse_list(text)?.as_mut_slice() {
            [one] => Ok(one.clone()),
            _ => Err(MailboxError::NotOne),
        }
    }
}

impl fmt::Display for Mailbox {
    /// `Name <address>`, the name as people read it; in quotes only where a reader could mistake it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.name else { return self.address.fmt(f) };
        if name.contains(['"', '\\', '<', '>', '(', ')', ',', ':', ';']) || name.contains("=?") {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "\"{escaped}\" <{}>", self.address)
        } else {
            write!(f, "{name} <{}>", self.address)
        }
    }
}

/// A piece of an address list, comments left out.
#[derive(Debug, Clone, Copy)]
enum Token<'a> {
    /// A quoted string, with its quotes.
    Quoted(&'a str),
    /// What stands between angle brackets.
    Angle(&'a str),
    /// A comment, with its parentheses.
    Comment,
    /// A comma outside everything else.
    Comma(usize),
    /// Anything else.
    Text(&'a str),
    /// Half of a pair, to the end of the text.
    Unbalanced,
}

/// The entries between the commas that are outside quotes, comments and brackets.
fn split_list(list: &str) -> Vec<&str> {
    let mut entries = Vec::new();
    let mut start = 0;
    for token in Tokens::of(list) {
        if let Token::Comma(at) = token {
            entries.push(&list[start..at]);
            start = at + 1;
        }
    }
    entries.push(&list[start..]);
    entries
}

fn parse_entry(entry: &str) -> Result<Mailbox, EntryFault> {
    if has_control(entry) {
        return Err(EntryFault::Control);
    }
    if entry.len() > MAILBOX_OCTETS {
        return Err(EntryFault::TooLong);
    }
    let (mut name, mut bare, mut angle) = (String::new(), String::new(), None);
    let mut grouped = false;
    for token in Tokens::of(entry) {
        match token {
            Token::Unbalanced | Token::Comma(_) => return Err(EntryFault::Unbalanced),
            Token::Comment => {
                name.push(' ');
                bare.push(' ');
            }
            Token::Text(text) if angle.is_some() && text.trim().is_empty() => {}
            _ if angle.is_some() => return Err(EntryFault::Unbalanced),
            Token::Angle(inner) => angle = Some(inner),
            Token::Quoted(quoted) => {
                name.push_str(&unquote(quoted));
                bare.push_str(quoted);
            }
            Token::Text(text) => {
                grouped |= text.contains([':', ';']);
                name.push_str(&decode_words(text));
                bare.push_str(text);
            }
        }
    }
    match angle {
        Some(_) if grouped => Err(EntryFault::Group),
        Some(inner) => Ok(Mailbox { name: checked_name(&name)?, address: inner.trim().parse()? }),
        None => match bare.trim().parse() {
            Err(_) if grouped => Err(EntryFault::Group),
            parsed => Ok(Mailbox { name: None, address: parsed? }),
        },
    }
}

/// The text of a quoted string: without its quotes and the backslashes that quote (RFC 5322 §3.2.4).
fn unquote(quoted: &str) -> String {
    let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

/// Decodes encoded words (RFC 2047 §5); other text stays as it is.
pub(crate) fn decode_words(text: &str) -> String {
    if !text.contains("=?") {
        return text.to_owned();
    }
    let field = format!("Subject: {text}\r\n\r\n");
    let decoded = MessageParser::new().header_text("Subject").parse_headers(&field);
    let decoded = decoded.as_ref().and_then(|message| message.subject()).unwrap_or(text);
    format!(" {decoded} ")
}

/// The name with its white space in order; `None` when nothing is left.
fn checked_name(name: &str) -> Result<Option<String>, EntryFault> {
    if name.chars().any(|c| c.is_control() && c != '\t') {
        return Err(EntryFault::Control);
    }
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.len() > DISPLAY_NAME_OCTETS {
        return Err(EntryFault::NameTooLong);
    }
    Ok((!name.is_empty()).then_some(name))
}

/// Reads the tokens of a list from left to right, without recursion.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0 }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = &self.text[self.at..];
        let (token, length) = match *rest.as_bytes().first()? {
            b',' => (Token::Comma(self.at), 1),
            b'"' => closed(quoted_length(rest), |length| Token::Quoted(&rest[..length])),
            b'(' => closed(comment_length(rest), |_| Token::Comment),
            b'<' => closed(angle_length(rest), |length| Token::Angle(&rest[1..length - 1])),
            b'>' | b')' => closed(None, |_| Token::Unbalanced),
            _ => {
                let length = rest.find([',', '"', '(', ')', '<', '>']).unwrap_or(rest.len());
                (Token::Text(&rest[..length]), length)
            }
        };
        self.at = self.at.saturating_add(length).min(self.text.len());
        Some(token)
    }
}

/// A token of that length, or half of a pair that swallows the rest.
fn closed<'a>(length: Option<usize>, token: impl Fn(usize) -> Token<'a>) -> (Token<'a>, usize) {
    length.map_or((Token::Unbalanced, usize::MAX), |length| (token(length), length))
}

/// The length of the quoted string that the text starts with.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, b) in text.bytes().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of the comment that the text starts with. Comments nest (RFC 5322 §3.2.2).
fn comment_length(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0usize, false);
    for (at, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The length of the bracketed address that the text starts with. A quoted local-part may hold `>`.
fn angle_length(text: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        match *text.as_bytes().get(at)? {
            b'"' => at += quoted_length(&text[at..])?,
            b'>' => return Some(at + 1),
            b'<' => return None,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
