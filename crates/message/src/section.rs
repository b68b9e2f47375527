//! The header section of a message that somebody else built, field by field, byte by byte (RFC 5322 §2.2).

use crate::accept::AcceptError;
use crate::limits::{HEADER_FIELDS, HEADER_LINE_OCTETS, HEADER_OCTETS};
use crate::lines::{excerpt, lines};

/// A message in two: its fields in order, and its body.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) fields: Vec<RawField<'a>>,
    /// Everything behind the empty line.
    pub(crate) body: &'a [u8],
}

/// One field as it was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawField<'a> {
    pub(crate) name: &'a str,
    /// All its lines, with their CRLF.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Section<'a> {
    /// Reads the header section of `content`, whose lines all end in CRLF. The empty line may be missing when there is no
    /// body (RFC 5322 §3.5); anything else that is not a field is refused, since readers disagree on what it is.
    pub(crate) fn parse(content: &'a [u8]) -> Result<Section<'a>, AcceptError> {
        let mut fields: Vec<RawField<'a>> = Vec::new();
        let (mut start, mut at, mut number) = (0, 0, 0);
        for line in lines(content) {
            number += 1;
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            if text.is_empty() {
                return Ok(Section { fields, body: &content[at + line.len()..] });
            }
            at += line.len();
            if at > HEADER_OCTETS {
                return Err(AcceptError::HeaderTooLarge);
            }
            let is_continuation = matches!(text.first(), Some(b' ' | b'\t'));
            match fields.last_mut().filter(|_| is_continuation) {
                Some(field) => field.bytes = &content[start..at],
                None => {
                    let name = field_name(text).ok_or_else(|| not_a_field(number, text))?;
                    start = at - line.len();
                    if fields.len() == HEADER_FIELDS {
                        return Err(AcceptError::TooManyFields);
                    }
                    fields.push(RawField { name, bytes: line });
                }
            }
            if text.len() > HEADER_LINE_OCTETS {
                return Err(AcceptError::LineTooLong(fields.last().map(|f| f.name.to_owned()).unwrap_or_default()));
            }
        }
        Ok(Section { fields, body: &[] })
    }

    /// The first field of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&RawField<'a>> {
        self.fields.iter().find(|field| field.is_named(name))
    }
}

impl RawField<'_> {
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value, unfolded (RFC 5322 §2.2.3). Octets that are not UTF-8 are shown as U+FFFD.
    pub(crate) fn value(&self) -> String {
        let value = self.bytes.iter().position(|b| *b == b':').map_or(self.bytes, |colon| &self.bytes[colon + 1..]);
        String::from_utf8_lossy(value).replace("\r\n", "").trim().to_owned()
    }
}

/// The name before the colon. White space between the two is obsolete, but read as what it is (RFC 5322 §4.5), so that
/// nothing hides behind it.
fn field_name(line: &[u8]) -> Option<&str> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = str::from_utf8(&line[..colon]).ok()?.trim_end_matches([' ', '\t']);
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())).then_some(name)
}

fn not_a_field(line: usize, text: &[u8]) -> AcceptError {
    AcceptError::NotAField { line, text: excerpt(&String::from_utf8_lossy(&text[..text.len().min(400)])) }
}
