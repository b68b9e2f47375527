//! Line endings, and the characters that must never reach a header.

/// The text with every line ending as CRLF: a bare CR or a bare LF is one too (RFC 5322 §2.2, §3.5).
pub(crate) fn to_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32 + 2);
    let mut rest = text;
    while let Some(end) = rest.iter().position(|b| matches!(b, b'\r' | b'\n')) {
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(b"\r\n");
        rest = &rest[end..];
        rest = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    }
    out.extend_from_slice(rest);
    out
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
        }
    }
}
