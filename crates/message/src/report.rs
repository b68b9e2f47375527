//! The parts of a report (RFC 6522), as little of them as can be: they come from strangers.
//!
//! One pass over the lines, with a stack of boundaries: the cost is bounded by the size of the mail, whatever its
//! structure. What a report gives back of a message is passed over line by line and never taken for parts of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{MessageParser, MimeHeaders};
use smtp::Address;

use crate::limits::{DSN_TEXT_OCTETS, HEADER_OCTETS, PART_HEADER_OCTETS, REPORT_PARTS};
use crate::lines::printable;
use crate::parts::delimiter;

/// A part that was wanted.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its type, in lower case.
    pub(crate) kind: String,
    /// Its content, decoded, as far as it was wanted.
    pub(crate) content: Vec<u8>,
}

/// The parts that `wants`, asked with type and file name in lower case, names a limit of octets for, down to multiparts of
/// that depth. A mail that is no multipart is one part. Its lines end in CRLF.
pub(crate) fn parts(mail: &[u8], depth: usize, wants: impl Fn(&str, &str) -> Option<usize>) -> Vec<Found> {
    let Some(end) = mail.windows(4).take(HEADER_OCTETS).position(|four| four == b"\r\n\r\n") else { return Vec::new() };
    let (header, body) = mail.split_at(end + 4);
    let parser = MessageParser::new().with_mime_headers();
    let mut walk =
        Walk { parser, wants, depth, boundaries: Vec::new(), seen: 0, state: State::Skipped, found: Vec::new() };
    walk.begin(&header[..header.len() - 2]);
    for line in body.split_inclusive(|b| *b == b'\n') {
        if walk.seen > REPORT_PARTS {
            break;
        }
        walk.line(line);
    }
    walk.end_part();
    walk.found
}

struct Walk<W> {
    parser: MessageParser,
    wants: W,
    depth: usize,
    /// Of the multiparts that are open, outermost first.
    boundaries: Vec<String>,
    /// How many headers were read.
    seen: usize,
    state: State,
    found: Vec<Found>,
}

enum State {
    /// In a preamble, an epilogue, or a part that nobody asks about.
    Skipped,
    /// In the header of a part, as far as it was read.
    Header(Vec<u8>),
    /// In the content of one that is wanted.
    Content { part: Found, limit: usize, coding: Coding },
}

#[derive(Clone, Copy)]
enum Coding {
    Plain,
    Base64,
    QuotedPrintable,
}

impl<W: Fn(&str, &str) -> Option<usize>> Walk<W> {
    fn line(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        if let Some((depth, closes)) = delimiter(&self.boundaries, text) {
            self.end_part();
            self.boundaries.truncate(if closes { depth } else { depth + 1 });
            self.state = if closes { State::Skipped } else { State::Header(Vec::new()) };
            return;
        }
        match &mut self.state {
            State::Skipped => {}
            State::Header(header) if text.is_empty() => {
                let header = std::mem::take(header);
                self.begin(&header);
            }
            State::Header(header) if header.len() + line.len() > PART_HEADER_OCTETS => self.state = State::Skipped,
            State::Header(header) => header.extend_from_slice(line),
            State::Content { part, limit, .. } if part.content.len() + line.len() > *limit => self.end_part(),
            State::Content { part, .. } => part.content.extend_from_slice(line),
        }
    }

    /// Reads a header, and so whether what follows is wanted.
    fn begin(&mut self, header: &[u8]) {
        self.state = State::Skipped;
        self.seen += 1;
        let bytes = [header, b"\r\n"].concat();
        let Some(part) = self.parser.parse_headers(&bytes) else { return };
        let Some(content_type) = part.content_type() else { return };
        if content_type.c_type.eq_ignore_ascii_case("multipart") {
            let boundary = content_type.attribute("boundary").filter(|boundary| !boundary.is_empty());
            if let Some(boundary) = boundary.filter(|_| self.boundaries.len() < self.depth) {
                self.boundaries.push(boundary.to_owned());
            }
            return;
        }
        let subtype = content_type.c_subtype.as_deref().unwrap_or_default();
        let kind = format!("{}/{subtype}", content_type.c_type).to_ascii_lowercase();
        let name = part.attachment_name().unwrap_or_default().to_ascii_lowercase();
        if let Some(limit) = (self.wants)(&kind, &name) {
            let coding = part.content_transfer_encoding().map(|coding| coding.trim().to_ascii_lowercase());
            let coding = match coding.as_deref() {
                Some("base64") => Coding::Base64,
                Some("quoted-printable") => Coding::QuotedPrintable,
                _ => Coding::Plain,
            };
            self.state = State::Content { part: Found { kind, content: Vec::new() }, limit, coding };
        }
    }

    fn end_part(&mut self) {
        if let State::Content { part, coding, .. } = std::mem::replace(&mut self.state, State::Skipped)
            && let Some(content) = coding.decoded(part.content)
        {
            self.found.push(Found { content, ..part });
        }
    }
}

impl Coding {
    /// `None` when it is not in that coding.
    fn decoded(self, content: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Coding::Plain => Some(content),
            Coding::QuotedPrintable => quoted_printable_decode(&content),
            Coding::Base64 => {
                let mut digits = content;
                digits.retain(|b| !b.is_ascii_whitespace());
                // One that was cut gives what there is.
                digits.truncate(digits.len() - digits.len() % 4);
                STANDARD.decode(digits).ok()
            }
        }
    }
}

/// Groups of fields, with empty lines between them (RFC 3464 §2.1).
pub(crate) struct Groups<'a>(pub(crate) std::str::Lines<'a>);

impl Iterator for Groups<'_> {
    type Item = Vec<(String, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in self.0.by_ref() {
            match line.split_once(':') {
                _ if line.trim().is_empty() && fields.is_empty() => {}
                _ if line.trim().is_empty() => break,
                _ if line.starts_with([' ', '\t']) => {
                    if let Some((_, value)) = fields.last_mut() {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                }
                Some((name, value)) => fields.push((name.trim().to_owned(), value.trim().to_owned())),
                None => {}
            }
        }
        (!fields.is_empty()).then_some(fields)
    }
}

/// The values of all fields of that name.
pub(crate) fn all<'a>(fields: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    fields.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The first field of that name.
pub(crate) fn get<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    all(fields, name).next()
}

/// An address, which some write with angle brackets and some without.
pub(crate) fn address(text: &str) -> Option<Address> {
    let text = text.trim();
    text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text).parse().ok()
}

/// What stands behind the type (`dns; mx.example`), cut to what people read.
pub(crate) fn without_type(value: &str) -> String {
    shown(value.split_once(';').map_or(value, |(_, text)| text).trim())
}

/// Cut to what people read.
pub(crate) fn shown(text: &str) -> String {
    let cut = (0..=DSN_TEXT_OCTETS.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    printable(&text[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mail: &str, depth: usize) -> Vec<(String, String)> {
        let wants = |kind: &str, name: &str| (kind == "text/wanted" || name == "wanted").then_some(20);
        let found = parts(mail.as_bytes(), depth, wants);
        found.into_iter().map(|part| (part.kind, String::from_utf8(part.content).unwrap())).collect()
    }

    #[test]
    fn parts_are_found_to_a_depth_and_decoded() {
        let inner = "Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\nContent-Type: text/wanted\r\n\r\nb\r\n--in--\r\n";
        let mail = format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/report; boundary=out\r\n\r\nto all\r\n--out\r\n{inner}--out\r\n\
             Content-Type: application/x; name=Wanted\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ\r\n==\r\n--out\r\n\
             Content-Type: message/rfc822\r\n\r\n{inner}--out\r\nContent-Type: Text/Wanted\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\na=3D=\r\nb\r\n--out--\r\n--out\r\nContent-Type: text/wanted\r\n\r\nlate"
        );
        let part = |kind: &str, content: &str| (kind.to_owned(), content.to_owned());
        let shallow = [part("application/x", "a"), part("text/wanted", "a=b\r\n")];
        assert_eq!(found(&mail, 1), shallow);
        assert_eq!(found(&mail, 2), [&[part("text/wanted", "b\r\n")][..], &shallow].concat());
        let alone = "Content-Type: text/wanted\r\n\r\n0123456789\r\n0123456789\r\n";
        assert_eq!(found(alone, 1), [part("text/wanted", "0123456789\r\n")], "as much as was wanted");
        for other in
            ["", "\r\n\r\n", "Content-Type: multipart/mixed\r\n\r\n--\r\nContent-Type: text/wanted\r\n\r\nx\r\n"]
        {
            assert_eq!(found(other, 9), []);
        }
    }

    #[test]
    fn no_more_parts_are_read_than_a_report_has() {
        let part = "--b\r\nContent-Type: text/wanted\r\n\r\nx\r\n";
        let mail = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", part.repeat(3 * REPORT_PARTS));
        assert!(found(&mail, 1).len() <= REPORT_PARTS);
    }
}
