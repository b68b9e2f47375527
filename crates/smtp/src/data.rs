//! Message content on its way through DATA: line endings and dot-stuffing (RFC 5321 §2.3.8, §4.5.2).

use std::borrow::Cow;

use memchr::{memchr2, memmem};

use crate::limits::TEXT_LINE_OCTETS;

/// Content in wire form: every line ends in CRLF, no other CR or LF exists, leading dots are doubled. The final
/// `.` line is not part of it.
///
/// Bare CR and bare LF become CRLF *before* dots are doubled, so no receiver, however it reads line endings, can see
/// the end of the data early (SMTP smuggling, CVE-2023-51764 and its kin).
pub fn to_wire(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + content.len() / 32 + 2);
    let mut rest = content;
    while !rest.is_empty() {
        let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        if rest[0] == b'.' {
            wire.push(b'.');
        }
        wire.extend_from_slice(&rest[..end]);
        wire.extend_from_slice(b"\r\n");
        rest = &rest[end..];
        rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
    }
    wire
}

/// The same for content that nobody needs any more. Most is in wire form as it is, and is not copied.
pub fn into_wire(content: Vec<u8>) -> Vec<u8> {
    if whole_lines(&content) == content.len() { content } else { to_wire(&content) }
}

/// How many octets from the beginning are whole lines as they go over the wire: ended by CRLF, without another CR or LF, and
/// not begun by a dot.
pub(crate) fn whole_lines(content: &[u8]) -> usize {
    let mut end = 0;
    while content.get(end).is_some_and(|first| *first != b'.') {
        let rest = &content[end..];
        match memchr2(b'\r', b'\n', rest) {
            Some(at) if rest[at..].starts_with(b"\r\n") => end += at + 2,
            _ => break,
        }
    }
    end
}

/// Content as it was before its dots were doubled (RFC 5321 §4.5.2); most content has none, and is not copied.
pub fn from_wire(wire: &[u8]) -> Cow<'_, [u8]> {
    if doubled_dots(wire) == 0 {
        return Cow::Borrowed(wire);
    }
    let mut content = Vec::with_capacity(wire.len());
    for line in wire.split_inclusive(|b| *b == b'\n') {
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    Cow::Owned(content)
}

/// The size that SIZE speaks of: the octets of content in wire form less the doubled dots (RFC 1870 §3).
pub fn size(wire: &[u8]) -> usize {
    wire.len() - doubled_dots(wire)
}

fn doubled_dots(wire: &[u8]) -> usize {
    memmem::find_iter(wire, b"\n.").count() + usize::from(wire.starts_with(b"."))
}

/// Whether the content has octets above 127 and so needs 8BITMIME (RFC 6152).
pub fn is_eight_bit(content: &[u8]) -> bool {
    !content.is_ascii()
}

/// Whether a line is longer than the 998 octets that hosts must take (RFC 5321 §4.5.3.1.6).
pub fn has_long_line(content: &[u8]) -> bool {
    content.split(|b| *b == b'\n').any(|line| line.strip_suffix(b"\r").unwrap_or(line).len() > TEXT_LINE_OCTETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf_and_dots_are_doubled() {
        for (content, wire) in [
            ("", ""),
            ("a", "a\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\nb\rc", "a\r\nb\r\nc\r\n"),
            (".\r\n..\r\n", "..\r\n...\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n"),
            ("a\r.\rb", "a\r\n..\r\nb\r\n"),
            ("a\n.\r\nb", "a\r\n..\r\nb\r\n"),
            ("a\r\r\n\nb", "a\r\n\r\n\r\nb\r\n"),
        ] {
            assert_eq!(to_wire(content.as_bytes()), wire.as_bytes(), "{content:?}");
            assert_eq!(into_wire(content.into()), wire.as_bytes(), "{content:?}");
        }
    }

    #[test]
    fn no_content_can_end_the_data_early() {
        // All texts of up to six octets over the alphabet that matters.
        let alphabet = [b'.', b'\r', b'\n', b'a'];
        for length in 0..=6u32 {
            for number in 0..4usize.pow(length) {
                let content: Vec<u8> = (0..length).map(|i| alphabet[number >> (2 * i) & 3]).collect();
                let wire = [b"\r\n", to_wire(&content).as_slice()].concat();
                assert_eq!(into_wire(content.clone()), wire[2..], "{content:?}");
                let lone_dot = |line: &[u8]| line == b"." || line == b".\r";
                assert!(!wire.split(|b| *b == b'\n').any(lone_dot), "{content:?}");
                let bare = wire.iter().enumerate().any(|(i, b)| match b {
                    b'\r' => wire.get(i + 1) != Some(&b'\n'),
                    b'\n' => wire[i - 1] != b'\r',
                    _ => false,
                });
                assert!(!bare, "{content:?}");
            }
        }
    }

    #[test]
    fn from_wire_undoes_to_wire() {
        let content = b".a\r\n..b\r\nc.\r\n\r\n.\r\n";
        assert_eq!(*from_wire(&to_wire(content)), content[..]);
        assert!(matches!(from_wire(b"a\r\nb.\r\n"), Cow::Borrowed(b"a\r\nb.\r\n")));
        assert_eq!(size(&to_wire(content)), content.len());
        assert_eq!(size(b""), 0);
    }

    #[test]
    fn long_lines_are_seen() {
        assert!(!has_long_line(format!("{}\r\n", "a".repeat(998)).as_bytes()));
        assert!(has_long_line(format!("b\r\n{}\r\n", "a".repeat(999)).as_bytes()));
    }
}
