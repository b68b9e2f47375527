//! Replies (RFC 5321 §4.2) and enhanced status codes (RFC 3463), and the parser that turns bytes into them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{REPLY_LINE_OCTETS, REPLY_LINES, REPLY_OCTETS};

/// An enhanced status code, `class.subject.detail` (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnhancedCode {
    /// 2 success, 4 transient, 5 permanent.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl EnhancedCode {
    /// Builds a code; `class` is 2, 4 or 5.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        EnhancedCode { class, subject, detail }
    }
}

impl FromStr for EnhancedCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |part: &str| {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        };
        let mut parts = text.split('.');
        match (parts.next(), parts.next().and_then(number), parts.next().and_then(number), parts.next()) {
            (Some(class @ ("2" | "4" | "5")), Some(subject), Some(detail), None) => {
                Ok(EnhancedCode { class: class.as_bytes()[0] - b'0', subject, detail })
            }
            _ => Err(format!("'{text}' is no enhanced status code")),
        }
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl TryFrom<String> for EnhancedCode {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EnhancedCode> for String {
    fn from(code: EnhancedCode) -> String {
        code.to_string()
    }
}

/// A complete reply. A reply of any code is data: what it means is decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// A reply of `code` (200 to 599) with its text lines. A host's own replies come from [`ReplyParser`].
    pub fn new<'a>(code: u16, lines: impl IntoIterator<Item = &'a str>) -> Reply {
        Reply { code, lines: lines.into_iter().map(str::to_owned).collect() }
    }

    /// A reply of ours: each of its lines begins with the enhanced code (RFC 2034 §4) and fits the 512 octets of RFC
    /// 5321 §4.5.3.1.5. Whatever is not printable ASCII becomes a question mark, so no text can break out of its line.
    pub fn of(code: u16, enhanced: EnhancedCode, text: &str) -> Reply {
        const TEXT_OCTETS: usize = 480;
        let text: String = text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
        let mut lines = Vec::new();
        let mut rest = text.as_str();
        while lines.is_empty() || !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(TEXT_OCTETS));
            lines.push(format!("{enhanced} {line}"));
            rest = after;
        }
        Reply { code, lines }
    }

    /// The reply as it goes over the wire, CRLF included. Its lines are ours: [`Reply::of`], or words of the program.
    pub fn to_wire(&self) -> String {
        let mut wire = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            let separator = if number + 1 == self.lines.len() { ' ' } else { '-' };
            wire.push_str(&format!("{}{separator}{line}\r\n", self.code));
        }
        wire
    }

    /// The three-digit code, 200 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text of each line, without code, separator and CRLF; printable, with `U+FFFD` for what is not.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// 2yz.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The enhanced status code that opens the text, if there is one and its class fits the reply's.
    pub fn enhanced_code(&self) -> Option<EnhancedCode> {
        let first = self.lines.first()?.split(' ').next()?;
        first.parse().ok().filter(|enhanced: &EnhancedCode| u16::from(enhanced.class) == self.code / 100)
    }

    /// All lines as one text, joined by single spaces.
    pub fn text(&self) -> String {
        self.lines.join(" ").trim().to_owned()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

/// Why bytes from the host are no reply. The connection is of no further use after any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line that does not begin with a code from 200 to 599 and a space, a hyphen or its end.
    #[error("the host sent a line that is no SMTP reply")]
    Malformed,
    /// The lines of one reply carry different codes (RFC 5321 §4.2.1).
    #[error("the lines of one reply have different codes")]
    CodeChanged,
    /// A line longer than [`REPLY_LINE_OCTETS`].
    #[error("the host sent a reply line that is too long")]
    LineTooLong,
    /// More than [`REPLY_LINES`] lines.
    #[error("the host sent a reply of too many lines")]
    TooManyLines,
    /// More than [`REPLY_OCTETS`] in all.
    #[error("the host sent a reply that is too long")]
    TooLong,
}

/// Collects bytes until a reply is complete. Bytes after a complete reply stay for the next one, so pipelined answers
/// come out one by one.
#[derive(Debug, Default)]
pub struct ReplyParser {
    buffer: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
    /// Octets of the lines so far.
    octets: usize,
}

impl ReplyParser {
    /// Adds what the host sent.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes are left that belong to no complete reply. After the answer to STARTTLS this must be `false`:
    /// whatever came in the clear before the handshake could have been injected (nostarttls.secvuln.info).
    pub fn has_leftover(&self) -> bool {
        !self.buffer.is_empty() || self.code.is_some()
    }

    /// The next complete reply, `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`ReplyError`] when the bytes can never become a reply.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            if end > REPLY_LINE_OCTETS {
                return Err(ReplyError::LineTooLong);
            }
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let (code, is_last, text) = parse_line(&line[..end])?;
            if self.code.is_some_and(|first| first != code) {
                return Err(ReplyError::CodeChanged);
            }
            if self.lines.len() == REPLY_LINES {
                return Err(ReplyError::TooManyLines);
            }
            self.octets += line.len();
            if self.octets > REPLY_OCTETS {
                return Err(ReplyError::TooLong);
            }
            self.code = Some(code);
            self.lines.push(text);
            if is_last {
                (self.code, self.octets) = (None, 0);
                return Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }));
            }
        }
        if self.buffer.len() > REPLY_LINE_OCTETS {
            return Err(ReplyError::LineTooLong);
        }
        Ok(None)
    }
}

/// One line without its LF: code, whether it ends the reply, text.
fn parse_line(line: &[u8]) -> Result<(u16, bool, String), ReplyError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::Malformed)?;
    let code = match digits {
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] => digits.iter().fold(0, |code, d| code * 10 + u16::from(d - b'0')),
        _ => return Err(ReplyError::Malformed),
    };
    match rest.first() {
        None => Ok((code, true, String::new())),
        Some(b' ') => Ok((code, true, printable(&rest[1..]))),
        Some(b'-') => Ok((code, false, printable(&rest[1..]))),
        Some(_) => Err(ReplyError::Malformed),
    }
}

/// A host's text as we may show and log it: no control character survives, so no terminal or log is driven by it.
fn printable(bytes: &[u8]) -> String {
    let clean = |c: char| {
        if c == '\t' {
            ' '
        } else if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    String::from_utf8_lossy(bytes).chars().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let mut parser = ReplyParser::default();
        parser.push(bytes);
        parser.next_reply()
    }

    #[test]
    fn replies_come_out_whole_whatever_the_packets() {
        let bytes = b"250-mail.example.com\r\n250 SIZE\r\n354 go\r\n";
        for split in 0..bytes.len() {
            let mut parser = ReplyParser::default();
            let mut replies = Vec::new();
            for part in [&bytes[..split], &bytes[split..]] {
                parser.push(part);
                while let Some(reply) = parser.next_reply().unwrap() {
                    replies.push(reply);
                }
            }
            assert_eq!(replies, [Reply::new(250, ["mail.example.com", "SIZE"]), Reply::new(354, ["go"])]);
            assert!(!parser.has_leftover());
        }
    }

    #[test]
    fn bare_codes_and_bare_line_feeds_are_replies() {
        assert_eq!(parse(b"250\r\n"), Ok(Some(Reply::new(250, [""]))));
        assert_eq!(parse(b"250 ok\n"), Ok(Some(Reply::new(250, ["ok"]))));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for (bytes, error) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], ReplyError::Malformed),
            (b"25\r\n", ReplyError::Malformed),
            (b"650 odd\r\n", ReplyError::Malformed),
            (b"250_ok\r\n", ReplyError::Malformed),
            (b"250-a\r\n550 b\r\n", ReplyError::CodeChanged),
            (&[b'2'; REPLY_LINE_OCTETS + 1], ReplyError::LineTooLong),
        ] {
            assert_eq!(parse(bytes), Err(error));
        }
        assert_eq!(parse("250-a\r\n".repeat(REPLY_LINES + 1).as_bytes()), Err(ReplyError::TooManyLines));
        let long = format!("250-{}\r\n", "a".repeat(1000));
        assert_eq!(parse(long.repeat(17).as_bytes()), Err(ReplyError::TooLong));
        assert_eq!(parse(format!("{}250 a\r\n", long.repeat(16)).as_bytes()).unwrap().unwrap().lines().len(), 17);
    }

    #[test]
    fn leftover_bytes_are_seen() {
        let mut parser = ReplyParser::default();
        parser.push(b"220 go\r\n250 injected");
        assert!(parser.next_reply().unwrap().is_some());
        assert!(parser.has_leftover());
    }

    #[test]
    fn text_is_made_printable() {
        let reply = parse(b"550 \x1b[31mred\0 \xff\r\n").unwrap().unwrap();
        assert_eq!(reply.text(), "\u{fffd}[31mred\u{fffd} \u{fffd}");
    }

    #[test]
    fn a_reply_of_ours_is_lines_that_fit() {
        let ok = Reply::of(250, EnhancedCode::new(2, 0, 0), "Queued as <1@x>");
        assert_eq!(ok.to_wire(), "250 2.0.0 Queued as <1@x>\r\n");
        assert_eq!(Reply::new(250, ["host", "SIZE 1"]).to_wire(), "250-host\r\n250 SIZE 1\r\n");
        assert_eq!(Reply::of(550, EnhancedCode::new(5, 6, 0), "").to_wire(), "550 5.6.0 \r\n");
        let long = Reply::of(550, EnhancedCode::new(5, 6, 0), &format!("a\r\n250 ü{}", "b".repeat(1000)));
        assert_eq!(long.lines().len(), 3);
        assert!(long.lines()[0].starts_with("5.6.0 a??250 ?bb"));
        assert!(long.to_wire().split_inclusive("\r\n").all(|line| line.len() <= 512 && line.is_ascii()));
        assert_eq!(parse(long.to_wire().as_bytes()).unwrap(), Some(long));
    }

    #[test]
    fn the_enhanced_code_must_fit_the_class() {
        let enhanced = |code, text: &str| Reply::new(code, [text]).enhanced_code();
        assert_eq!(enhanced(550, "5.1.1 no such user"), Some(EnhancedCode::new(5, 1, 1)));
        assert_eq!(enhanced(451, "4.7.652 slow down"), Some(EnhancedCode::new(4, 7, 652)));
        assert_eq!(enhanced(550, "4.1.1 no such user"), None);
        assert_eq!(enhanced(550, "5.1 no such user"), None);
        assert_eq!(enhanced(550, "no 5.1.1"), None);
    }
}
