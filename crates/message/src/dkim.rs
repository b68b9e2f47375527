//! Signing (DKIM, RFC 6376): one field that goes before a finished message.
//!
//! `relaxed/relaxed`, SHA-256, by RSA (RFC 8301) or Ed25519 (RFC 8463). The whole body is signed; there is no `l=`, which
//! would let anybody add to a signed message. Fields that say who and what are signed once more than they occur, so that
//! no second one can be put before the first (RFC 6376 §5.4.2).
//!
//! The arithmetic is aws-lc-rs's, which does no I/O; the time is handed in.

mod canonical;
mod key;

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp::Domain;

use crate::accept::AcceptError;
use crate::section::Section;
pub use key::{GenerateError, KeyError, KeyKind, SigningKey};

/// Fields that are signed, all of them that occur (RFC 6376 §5.4.1).
const SIGNED: [&str; 25] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Sender",
    "In-Reply-To",
    "References",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "TLS-Report-Domain",
    "TLS-Report-Submitter",
    "CFBL-Address",
    "CFBL-Feedback-ID",
];
/// How many of them, from the first, are signed once more than they occur.
const OVERSIGNED: usize = 9;
/// Where a line of the field is folded, at the latest after the word that reaches it (RFC 5322 §2.1.1).
const LINE: usize = 76;

/// Signs for one domain with one key.
#[derive(Debug)]
pub struct Signer {
    domain: Domain,
    selector: Domain,
    key: Arc<SigningKey>,
}

/// Why a message cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Its header section cannot be read.
    #[error(transparent)]
    Header(#[from] AcceptError),
    /// It has no `From`, which every signature covers (RFC 6376 §5.4).
    #[error("the message has no From")]
    NoFrom,
    /// It has a CR or LF that ends no line, and would be changed on its way.
    #[error("the message has a line that does not end in CRLF")]
    LineEnding,
    /// The key did not sign.
    #[error("the key did not sign")]
    Key,
}

impl Signer {
    /// A signer for `domain`, whose public key is published at `{selector}._domainkey.{domain}`.
    pub fn new(domain: Domain, selector: Domain, key: impl Into<Arc<SigningKey>>) -> Signer {
        Signer { domain, selector, key: key.into() }
    }

    /// The name and the text of the TXT record to publish (RFC 6376 §3.6.1).
    pub fn record(&self) -> (String, String) {
        let name = format!("{}._domainkey.{}", self.selector, self.domain);
        (name, self.key.record())
    }

    /// The `DKIM-Signature` field for `content`, with its CRLF, to be put before everything else. `content` is the
    /// message as it will travel, before dots are doubled.
    ///
    /// # Errors
    /// When the content is no message that can travel as it is, or the key fails.
    pub fn sign(&self, content: &[u8], unix_seconds: u64) -> Result<Vec<u8>, SignError> {
        if has_stray_line_ending(content) {
            return Err(SignError::LineEnding);
        }
        let section = Section::parse(content)?;
        let names = signed_names(&section);
        if section.get("From").is_none() {
            return Err(SignError::NoFrom);
        }
        let body_hash = STANDARD.encode(canonical::body_hash(section.body));
        let unsigned = self.field_without_signature(&names, &body_hash, unix_seconds);
        let mut data = canonical::header(&section, &names);
        canonical::field(unsigned.as_bytes(), &mut data);
        // The field that carries the signature is hashed last and without its line ending (RFC 6376 §3.7).
        data.truncate(data.len() - 2);
        let signature = STANDARD.encode(self.key.sign(&data).map_err(|_| SignError::Key)?);
        Ok(with_signature(unsigned, &signature))
    }

    /// The field up to and with `b=`.
    fn field_without_signature(&self, names: &[&str], body_hash: &str, unix_seconds: u64) -> String {
        let mut field = Folded::default();
        field.word("DKIM-Signature: v=1;", false);
        let algorithm = format!("a={};", self.key.algorithm());
        let (domain, selector) = (format!("d={};", self.domain), format!("s={};", self.selector));
        for tag in [&algorithm, "c=relaxed/relaxed;", &domain, &selector, &format!("t={unix_seconds};")] {
            field.word(tag, true);
        }
        for (index, name) in names.iter().enumerate() {
            let (start, end) = (if index == 0 { "h=" } else { "" }, if index + 1 == names.len() { ";" } else { ":" });
            field.word(&format!("{start}{name}{end}"), index == 0);
        }
        field.word(&format!("bh={body_hash};"), true);
        field.break_line();
        field.text.push_str("b=");
        field.text
    }
}

/// A header field that is folded between words (RFC 5322 §2.2.3).
#[derive(Default)]
struct Folded {
    text: String,
    line: usize,
}

impl Folded {
    /// Adds a word, after a space or on a line of its own where it does not fit.
    fn word(&mut self, word: &str, after_space: bool) {
        if self.line + word.len() + usize::from(after_space) > LINE {
            self.break_line();
        } else if after_space {
            self.text.push(' ');
            self.line += 1;
        }
        self.text.push_str(word);
        self.line += word.len();
    }

    fn break_line(&mut self) {
        self.text.push_str("\r\n ");
        self.line = 1;
    }
}

/// White space in `b=` counts for nothing (RFC 6376 §3.5), so the signature is folded where a line is full.
fn with_signature(mut field: String, signature: &str) -> Vec<u8> {
    for (index, octet) in signature.chars().enumerate() {
        if index > 0 && index % (LINE - 4) == 0 {
            let _ = write!(field, "\r\n  ");
        }
        field.push(octet);
    }
    field.push_str("\r\n");
    field.into_bytes()
}

/// The names for `h=`: each as often as it occurs, and some once more.
fn signed_names(section: &Section<'_>) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (index, name) in SIGNED.iter().enumerate() {
        let count = section.fields.iter().filter(|field| field.is_named(name)).count();
        names.extend(std::iter::repeat_n(*name, count + usize::from(index < OVERSIGNED)));
    }
    names
}

fn has_stray_line_ending(content: &[u8]) -> bool {
    let mut previous = 0;
    let stray = content.iter().any(|octet| {
        let stray = (*octet == b'\n') != (previous == b'\r');
        previous = *octet;
        stray
    });
    stray || previous == b'\r'
}

#[cfg(test)]
mod tests;
