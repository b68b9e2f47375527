//! The octets between 354 and the final dot, read strictly (RFC 5321 §2.3.8, §4.5.2).

use std::collections::BTreeSet;

/// Longest text line without its CRLF (RFC 5321 §4.5.3.1.6).
const TEXT_LINE: usize = 998;

/// Content while it comes in. Only CRLF ends a line and only CRLF.CRLF ends the data, so what a lax server would take
/// for the end (SMTP smuggling) is content here, and a fault.
#[derive(Debug)]
pub(super) struct Content {
    /// As it came, without the final dot line.
    pub(super) raw: Vec<u8>,
    /// Without the dot-stuffing.
    pub(super) text: Vec<u8>,
    /// The client's faults in words.
    pub(super) faults: BTreeSet<&'static str>,
    /// Octets that came, also those beyond the limit, which are not kept.
    pub(super) octets: usize,
    limit: usize,
    /// Octets of the line so far.
    line: usize,
    stuffed: bool,
    after_cr: bool,
}

impl Content {
    pub(super) fn new(limit: usize) -> Content {
        Content {
            raw: Vec::new(),
            text: Vec::new(),
            faults: BTreeSet::new(),
            octets: 0,
            limit,
            line: 0,
            stuffed: false,
            after_cr: false,
        }
    }

    /// It is longer than the limit.
    pub(super) fn is_too_large(&self) -> bool {
        self.octets > self.limit
    }

    /// Takes octets. Gives how many of them there were when the final dot line ended within.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        for (i, &byte) in bytes.iter().enumerate() {
            if self.take(byte) {
                self.octets -= ".\r\n".len();
                self.raw.truncate(self.octets.min(self.raw.len()));
                return Some(i + 1);
            }
        }
        None
    }

    /// Takes one octet; says whether it was the last of the final dot line.
    fn take(&mut self, byte: u8) -> bool {
        self.octets += 1;
        self.line += 1;
        let leading_dot = self.line == 1 && byte == b'.';
        if self.line == 2 && self.stuffed && !matches!(byte, b'.' | b'\r') {
            self.faults.insert("a line begins with a single dot");
        }
        let crlf = byte == b'\n' && self.after_cr;
        if crlf && self.line == 3 && self.stuffed {
            self.text.pop_if(|byte| *byte == b'\r');
            return true;
        }
        if byte == b'\n' && !self.after_cr {
            self.faults.insert("bare LF in the content");
        }
        if byte != b'\n' && self.after_cr {
            self.faults.insert("bare CR in the content");
        }
        if byte == 0 {
            self.faults.insert("NUL in the content");
        }
        if self.octets <= self.limit.saturating_add(3) {
            self.raw.push(byte);
            if !leading_dot {
                self.text.push(byte);
            }
        }
        self.stuffed |= leading_dot;
        self.after_cr = byte == b'\r';
        if crlf {
            self.end_line();
        }
        false
    }

    fn end_line(&mut self) {
        let text = self.line - 2 - usize::from(self.stuffed);
        if text > TEXT_LINE {
            self.faults.insert("a line is longer than 998 octets");
        }
        self.line = 0;
        self.stuffed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &str) -> (Content, Option<usize>) {
        let mut content = Content::new(10_000);
        let end = content.feed(wire.as_bytes());
        (content, end)
    }

    #[test]
    fn content_ends_at_a_dot_alone_on_its_line() {
        for (wire, raw, text, rest) in [
            (".\r\n", "", "", ""),
            ("a\r\n.\r\nQUIT\r\n", "a\r\n", "a\r\n", "QUIT\r\n"),
            ("..\r\n.\r\n", "..\r\n", ".\r\n", ""),
            ("..a\r\n...\r\n.\r\n", "..a\r\n...\r\n", ".a\r\n..\r\n", ""),
            ("\r\n\r\n.\r\n", "\r\n\r\n", "\r\n\r\n", ""),
        ] {
            let (content, end) = read(wire);
            assert_eq!(content.raw, raw.as_bytes(), "{wire:?}");
            assert_eq!(content.text, text.as_bytes(), "{wire:?}");
            assert_eq!(end.map(|end| &wire[end..]), Some(rest), "{wire:?}");
            assert!(content.faults.is_empty(), "{wire:?}: {:?}", content.faults);
            let mut split = Content::new(10_000);
            let ended = wire.bytes().position(|byte| split.feed(&[byte]).is_some());
            assert_eq!(ended.map(|i| i + 1), end, "{wire:?} octet by octet");
            assert_eq!(split.text, content.text);
        }
    }

    #[test]
    fn what_lax_servers_take_for_the_end_is_a_fault() {
        for wire in
            ["a\n.\nb\r\n.\r\n", "a\r\n.\nb\r\n.\r\n", "a\n.\r\nb\r\n.\r\n", "a\r.\rb\r\n.\r\n", "a\r\n.\rb\r\n.\r\n"]
        {
            let (content, end) = read(wire);
            assert_eq!(end, Some(wire.len()), "{wire:?}");
            assert!(content.faults.iter().any(|fault| fault.starts_with("bare")), "{wire:?}");
        }
    }

    #[test]
    fn faults_are_named() {
        let long = format!("{}\r\n.\r\n", "a".repeat(999));
        let dotted = format!(".{}\r\n.\r\n", ".".repeat(998));
        for (wire, fault) in [
            (long.as_str(), Some("a line is longer than 998 octets")),
            (dotted.as_str(), None),
            (".a\r\n.\r\n", Some("a line begins with a single dot")),
            ("a\0\r\n.\r\n", Some("NUL in the content")),
        ] {
            assert_eq!(read(wire).0.faults.first().copied(), fault, "{wire:?}");
        }
    }

    #[test]
    fn more_than_the_limit_is_counted_and_not_kept() {
        let mut content = Content::new(10);
        let wire = format!("{}\r\n.\r\n", "a".repeat(500));
        assert_eq!(content.feed(wire.as_bytes()), Some(wire.len()));
        assert!(content.is_too_large());
        assert!(content.raw.len() <= 13);
        assert_eq!(content.octets, 502);
    }
}
