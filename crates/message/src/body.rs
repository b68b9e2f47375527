//! The MIME parts of a composed message (RFC 2045, RFC 2046).

use mail_builder::encoders::base64::Base64Encoder;
use mail_builder::encoders::quoted_printable::QuotedPrintableEncoder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::mime::MimePart;
use mail_parser::{MessageParser, MimeHeaders};

use crate::compose::{Attachment, ComposeError, Draft};
use crate::identity::Identity;
use crate::limits::{CONTENT_TYPE_OCTETS, FILENAME_OCTETS};
use crate::lines::{excerpt, has_control, to_crlf};
use crate::summary::AttachmentSummary;

/// What a file is when nobody says (RFC 2046 §4.5.1).
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Each boundary starts so. Neither quoted-printable nor base64 has these two octets in a row (RFC 2045 §6.7).
const BOUNDARY_START: &str = "=_";

/// The tree of parts, and what it carries beside text:
///
/// ```text
/// multipart/mixed                     with attachments
/// ├ multipart/alternative             with more than one of text, AMP, HTML
/// │ ├ text/plain
/// │ ├ text/x-amp-html
/// │ └ multipart/related               with HTML and inline files
/// │   ├ text/html
/// │   └ inline files
/// └ attachments                       and inline files when there is no HTML to show them
/// ```
pub(crate) fn build(
    draft: &Draft,
    identity: &Identity,
) -> Result<(MimePart<'static>, Vec<AttachmentSummary>), ComposeError> {
    let mut boundaries = Boundaries { identity, used: 0 };
    let mut summaries = Vec::new();
    let mut files = |files: &[Attachment], disposition| {
        let parts = files.iter().map(|attachment| file_part(attachment, disposition, &mut summaries));
        parts.collect::<Result<Vec<_>, _>>()
    };
    // In the order in which the message has them.
    let mut inline = files(&draft.inline, Disposition::Inline)?;
    let mut attachments = files(&draft.attachments, Disposition::Attachment)?;

    let mut versions = Vec::new();
    versions.extend(draft.text.as_deref().map(|text| text_part("text/plain", text)));
    versions.extend(draft.amp_html.as_deref().map(|amp| text_part("text/x-amp-html", amp)));
    if let Some(html) = &draft.html {
        let mut related = vec![text_part("text/html", html)];
        related.append(&mut inline);
        versions.push(boundaries.multipart("multipart/related", related));
    }
    if versions.is_empty() {
        return Err(ComposeError::NoText);
    }
    let mut parts = vec![boundaries.multipart("multipart/alternative", versions)];
    parts.append(&mut inline);
    parts.append(&mut attachments);
    Ok((boundaries.multipart("multipart/mixed", parts), summaries))
}

/// Numbers the boundaries of one message.
struct Boundaries<'a> {
    identity: &'a Identity,
    used: usize,
}

impl Boundaries<'_> {
    /// The parts under one heading; a single part needs none.
    fn multipart(&mut self, content_type: &'static str, mut parts: Vec<MimePart<'static>>) -> MimePart<'static> {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        self.used += 1;
        let boundary = format!("{BOUNDARY_START}{}_{}", self.identity.boundary(), self.used);
        let mut content_type = ContentType::new(content_type).attribute("boundary", boundary);
        if content_type.c_type == "multipart/related" {
            // RFC 2387 §3.1 asks for the type of the root part.
            content_type = content_type.attribute("type", "text/html");
        }
        MimePart::new(content_type, parts)
    }
}

/// A text in UTF-8, encoded so that no relay has a reason to touch it.
fn text_part(content_type: &'static str, text: &str) -> MimePart<'static> {
    let content_type = ContentType::new(content_type).attribute("charset", "utf-8");
    let (encoding, encoded) = encode_text(to_crlf(text.as_bytes()));
    MimePart::new(content_type, encoded).transfer_encoding(encoding)
}

/// The name of the encoding that fits the text, whose lines end in CRLF, and the text in it.
pub(crate) fn encode_text(text: Vec<u8>) -> (&'static str, Vec<u8>) {
    match text_encoding(&text) {
        Encoding::SevenBit => ("7bit", text),
        Encoding::QuotedPrintable => {
            let mut encoded = Vec::with_capacity(text.len() * 5 / 4);
            QuotedPrintableEncoder::new().preserve_line_breaks().encode_into(&text, &mut encoded);
            ("quoted-printable", encoded)
        }
        Encoding::Base64 => ("base64", base64(&text)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Encoding {
    SevenBit,
    QuotedPrintable,
    Base64,
}

/// Text that is as RFC 5322 §2.1.1 recommends goes as it is; other text in the shorter of the two encodings.
fn text_encoding(text: &[u8]) -> Encoding {
    const RECOMMENDED_LINE_OCTETS: usize = 78;
    let is_plain_line = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let ends_in_space = matches!(line.last(), Some(b' ' | b'\t'));
        // mbox files escape such a line, which would break a signature.
        let starts_like_mbox = line.starts_with(b"From ");
        let may_be_boundary = line.starts_with(b"--") && line[2..].starts_with(BOUNDARY_START.as_bytes());
        line.len() <= RECOMMENDED_LINE_OCTETS && !ends_in_space && !starts_like_mbox && !may_be_boundary
    };
    // The encoder of quoted-printable leaves them as they are.
    let has_control = text.iter().any(|b| b.is_ascii_control() && !matches!(b, b'\t' | b'\r' | b'\n'));
    let escaped = text.iter().filter(|b| !b.is_ascii() || **b == b'=').count();
    if has_control {
        Encoding::Base64
    } else if text.is_ascii() && text.split(|b| *b == b'\n').all(is_plain_line) {
        Encoding::SevenBit
    } else if escaped * 6 <= text.len() {
        Encoding::QuotedPrintable
    } else {
        Encoding::Base64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Attachment,
    Inline,
}

/// A file in base64. Its name stands in `filename` (RFC 2183 §2.3, RFC 2231 beyond ASCII) and, for old readers, with
/// `_` for what is not ASCII in the `name` of its content type.
fn file_part(
    file: &Attachment,
    disposition: Disposition,
    summaries: &mut Vec<AttachmentSummary>,
) -> Result<MimePart<'static>, ComposeError> {
    let filename = &file.filename;
    if filename.is_empty() || filename.len() > FILENAME_OCTETS || has_control(filename) || filename.contains('\t') {
        return Err(ComposeError::Filename(excerpt(filename)));
    }
    let content_type = content_type(&file.content_type).ok_or_else(|| ComposeError::ContentType(excerpt(filename)))?;
    summaries.push(AttachmentSummary {
        filename: filename.clone(),
        content_type: content_type.c_type.to_string(),
        size: file.bytes.len(),
    });

    let ascii_name: String = filename.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let word = if disposition == Disposition::Inline { "inline" } else { "attachment" };
    let part = MimePart::new(content_type.attribute("name", ascii_name), base64(&file.bytes))
        .header("Content-Disposition", ContentType::new(word).attribute("filename", filename.clone()))
        .transfer_encoding("base64");
    Ok(if disposition == Disposition::Inline { part.cid(content_id(filename)) } else { part })
}

/// The content type in parts. A nested message or multipart may not be base64 (RFC 2046 §5.1, §5.2.1), and only base64
/// keeps a file's bytes, so such a file travels as plain octets.
pub(crate) fn content_type(given: &str) -> Option<ContentType<'static>> {
    let given = if given.trim().is_empty() { UNKNOWN_TYPE } else { given.trim() };
    if given.len() > CONTENT_TYPE_OCTETS || has_control(given) || !given.is_ascii() {
        return None;
    }
    let (media_type, _) = given.split_once(';').unwrap_or((given, ""));
    let (kind, subtype) = media_type.trim().split_once('/')?;
    if !is_token(kind) || !is_token(subtype) {
        return None;
    }
    if ["message", "multipart"].iter().any(|composite| kind.eq_ignore_ascii_case(composite)) {
        return Some(ContentType::new(UNKNOWN_TYPE));
    }

    let mut content_type = ContentType::new(format!("{kind}/{subtype}").to_ascii_lowercase());
    let field = format!("Content-Type: {given}\r\n\r\n");
    let message = MessageParser::new().with_mime_headers().parse_headers(&field)?;
    for attribute in message.content_type().and_then(|parsed| parsed.attributes()).unwrap_or_default() {
        let is_ours = ["name", "boundary"].iter().any(|ours| attribute.name.eq_ignore_ascii_case(ours));
        if is_token(&attribute.name) && !has_control(&attribute.value) && !is_ours {
            content_type = content_type.attribute(attribute.name.to_string(), attribute.value.to_string());
        }
    }
    Some(content_type)
}

/// `token` of RFC 2045 §5.1.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=*'%".contains(&b))
}

/// The file name as a Content-ID: what has no place in one is percent-encoded, as `cid:` URLs write it (RFC 2392 §2).
fn content_id(filename: &str) -> String {
    let mut id = String::with_capacity(filename.len());
    for b in filename.bytes() {
        if b.is_ascii_alphanumeric() || b"!#$&'*+-./=?^_`{|}~@".contains(&b) {
            id.push(char::from(b));
        } else {
            id.push_str(&format!("%{b:02X}"));
        }
    }
    id
}

pub(crate) fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len() / 3 * 4 + bytes.len() / 28 + 8);
    Base64Encoder::new().wrap_lines().encode_into(bytes, &mut encoded);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_plain_only_when_nobody_has_a_reason_to_touch_it() {
        let long = "a".repeat(79);
        for (text, encoding) in [
            ("", Encoding::SevenBit),
            ("hello\r\n\tworld = 1\r\n.\r\n", Encoding::SevenBit),
            ("trailing \r\nspace", Encoding::QuotedPrintable),
            ("From here\r\n", Encoding::QuotedPrintable),
            ("what might be a boundary\r\n--=_0", Encoding::QuotedPrintable),
            ("some long, mostly plain text with one \0", Encoding::Base64),
            ("Grüße aus dem schönen und meist regnerischen Bremen", Encoding::QuotedPrintable),
            ("山田太郎", Encoding::Base64),
            (&long, Encoding::QuotedPrintable),
        ] {
            assert_eq!(text_encoding(text.as_bytes()), encoding, "{text:?}");
        }
    }

    #[test]
    fn content_types_are_read_and_not_copied() {
        let shown = |given: &str| {
            let parsed = content_type(given)?;
            let attributes: String = parsed.attributes.iter().map(|(name, value)| format!(";{name}={value}")).collect();
            Some(format!("{}{attributes}", parsed.c_type))
        };
        for (given, want) in [
            ("", Some("application/octet-stream")),
            ("Image/PNG", Some("image/png")),
            ("text/calendar; method=REQUEST; charset=\"utf-8\"", Some("text/calendar;method=REQUEST;charset=utf-8")),
            ("text/csv; name=\"other.csv\"; header=present", Some("text/csv;header=present")),
            ("multipart/mixed; boundary=x", Some("application/octet-stream")),
            ("message/rfc822", Some("application/octet-stream")),
            ("text", None),
            ("text/", None),
            ("text/html/x", None),
            ("te xt/html", None),
            ("text/html\r\nBcc: x@y.z", None),
            ("text/plain\0", None),
            ("text/plän", None),
        ] {
            assert_eq!(shown(given).as_deref(), want, "{given:?}");
        }
    }

    #[test]
    fn a_content_id_is_the_file_name_as_a_cid_url_writes_it() {
        assert_eq!(content_id("logo_2.png"), "logo_2.png");
        assert_eq!(content_id("my <æ>%.png"), "my%20%3C%C3%A6%3E%25.png");
    }
}
