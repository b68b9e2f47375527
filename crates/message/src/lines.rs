//! Line endings, and the characters that must never reach a header.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use smtp::receive::has_bare_line_end;

/// The text with every line ending as CRLF: a bare CR or a bare LF is one too (RFC 5322 §2.2, §3.5).
pub(crate) fn to_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32 + 2);
    let mut rest = text;
    while let Some(end) = memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(b"\r\n");
        rest = &rest[end..];
        rest = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    }
    out.extend_from_slice(rest);
    out
}

/// The same without a copy where nothing changes.
pub(crate) fn in_crlf(text: &[u8]) -> Cow<'_, [u8]> {
    if has_bare_line_end(text) { Cow::Owned(to_crlf(text)) } else { Cow::Borrowed(text) }
}

/// The lines with their ends; an LF ends each.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// Whether the text has a CR, LF, NUL or any other ASCII control but TAB. None of them may stand in a header value
/// (RFC 5322 §2.2), and a line break there would start a field, or a body, that nobody wrote.
pub(crate) fn has_control(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_control() && b != b'\t')
}

/// The text with each control as a space, for people and events. Encoded words can hide any control.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The first 80 characters, for error texts.
pub(crate) fn excerpt(text: &str) -> String {
    printable(text).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_ending_becomes_crlf() {
        for (text, crlf) in [
            ("", ""),
            ("a", "a"),
            ("a\nb", "a\r\nb"),
            ("a\rb\r", "a\r\nb\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\r\r\nb", "a\r\n\r\nb"),
            ("a\n\rb", "a\r\n\r\nb"),
            ("\n\n", "\r\n\r\n"),
        ] {
            assert_eq!(to_crlf(text.as_bytes()), crlf.as_bytes(), "{text:?}");
            assert_eq!(*in_crlf(text.as_bytes()), *crlf.as_bytes(), "{text:?}");
        }
    }
}
