//! Options among the headers of a message that an application composed: `X-Mailgun-Require-TLS: yes`.

use axum::body::Bytes;

use super::options::{TLS_REQUIRED, is_option_header};
use crate::api::http::error::ApiError;

/// Calls `take` with name and value of each `X-Mailgun-*` field, and of `TLS-Required` (RFC 8689 §5), in the header section, unfolded (RFC 5322 §2.2.3).
///
/// What is no field ends the section: whether that is a fault is for the reader of the whole message to say.
pub(super) fn for_each_option(
    message: &[u8],
    mut take: impl FnMut(&str, &str) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut option: Option<(String, Vec<u8>)> = None;
    for line in lines(message).take_while(|line| !line.is_empty()) {
        if matches!(line[0], b' ' | b'\t') {
            option.iter_mut().for_each(|(_, value)| value.extend_from_slice(line));
            continue;
        }
        finish(option.take(), &mut take)?;
        let Some(colon) = line.iter().position(|b| *b == b':') else { break };
        let name = String::from_utf8_lossy(&line[..colon]).trim_end().to_owned();
        if is_option_header(&name) || name.eq_ignore_ascii_case(TLS_REQUIRED) {
            option = Some((name, line[colon + 1..].to_vec()));
        }
    }
    finish(option, &mut take)
}

/// The message without its `X-Mailgun-*` options, which are for us and not for the recipient.
///
/// Like [`for_each_option`] it stops at what is no field, so whatever was read as an option is gone and nothing else is.
pub(crate) fn without_options(message: Bytes) -> Bytes {
    // Most have none, and are not copied.
    let (mut drops, mut kept) = (false, Vec::new());
    let (mut rest, mut dropping) = (&message[..], false);
    while let Some(line) = lines(rest).next().filter(|line| !line.is_empty()) {
        if !matches!(line[0], b' ' | b'\t') {
            let Some(colon) = line.iter().position(|b| *b == b':') else { break };
            dropping = is_option_header(String::from_utf8_lossy(&line[..colon]).trim_end());
        }
        let (line, after) = rest.split_at(line.len() + end_of_line(&rest[line.len()..]));
        if dropping && !drops {
            (drops, kept) = (true, Vec::with_capacity(message.len()));
            kept.extend_from_slice(&message[..message.len() - rest.len()]);
        }
        if drops && !dropping {
            kept.extend_from_slice(line);
        }
        rest = after;
    }
    if !drops {
        return message;
    }
    kept.extend_from_slice(rest);
    kept.into()
}

/// How many octets end a line here: two for CRLF, one for a lone CR or LF, none at the end of the message.
fn end_of_line(at: &[u8]) -> usize {
    if at.starts_with(b"\r\n") { 2 } else { at.len().min(1) }
}

fn finish(
    option: Option<(String, Vec<u8>)>,
    take: &mut impl FnMut(&str, &str) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    option.map_or(Ok(()), |(name, value)| take(&name, String::from_utf8_lossy(&value).trim()))
}

/// The lines without their ends; CRLF, CR and LF all end one, as they do for the message itself.
fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_the_header_only() {
        let message = "From: a@example.com\r\nx-mailgun-require-tls : yes\r\nSubject: x\r\n X-Mailgun-Tag: no\r\n\
            X-Mailgun-Variables: {\"a\":\r\n\t\"b\"}\nX-Mailgun-Tag: last\r\n\r\nX-Mailgun-Tag: body\r\n";
        let mut found = Vec::new();
        for_each_option(message.as_bytes(), |name, value| {
            found.push(format!("{name}={value}"));
            Ok(())
        })
        .unwrap();
        let expected = ["x-mailgun-require-tls=yes", "X-Mailgun-Variables={\"a\":\t\"b\"}", "X-Mailgun-Tag=last"];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_read_as_an_option_is_removed_and_nothing_else() {
        for (message, expected) in [
            ("X-Mailgun-Tag: a\r\n b\r\nFrom: x\r\n\r\nX-Mailgun-Tag: body", "From: x\r\n\r\nX-Mailgun-Tag: body"),
            ("From: x\nX-MAILGUN-require-tls : yes\n\nbody\r\n", "From: x\n\nbody\r\n"),
            (
                "From: x\r\nX-Mailgun-Sid: 1\r\nTLS-Required: No\r\n\r\n",
                "From: x\r\nX-Mailgun-Sid: 1\r\nTLS-Required: No\r\n\r\n",
            ),
            ("From: x\r\nno field\r\nX-Mailgun-Tag: a\r\n\r\n", "From: x\r\nno field\r\nX-Mailgun-Tag: a\r\n\r\n"),
            ("From: x\rX-Mailgun-Tag: a\rTo: y", "From: x\rTo: y"),
            ("X-Mailgun-Tag: a", ""),
            ("", ""),
        ] {
            let kept = without_options(Bytes::from(message));
            assert_eq!(kept, expected, "{message:?}");
        }
    }
}
