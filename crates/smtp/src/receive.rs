//! Message content as a server receives it: where the data ends, and what may be in it (RFC 5321 §4.1.1.4).

use memchr::memchr2;

use crate::data::whole_lines;

/// Takes the octets that follow `354` until the data ends.
///
/// Only CRLF `.` CRLF ends the data. A CR or LF on its own is never taken for the end of a line, and a message with one
/// is to be refused: servers that read such messages in other ways than their neighbours let senders hide a second
/// message in the first (SMTP smuggling, CVE-2023-51764 and its kin).
#[derive(Debug)]
pub struct DataReceiver {
    content: Vec<u8>,
    state: State,
    keeps: bool,
    bare_line_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// After a CRLF, the one of the command DATA included.
    LineStart,
    /// After the dot that begins a line.
    Dot,
    /// After a line's first dot and a CR.
    DotCr,
    /// Within a line.
    Text,
    /// After a CR within a line.
    Cr,
}

impl Default for DataReceiver {
    fn default() -> DataReceiver {
        DataReceiver { content: Vec::new(), state: State::LineStart, keeps: true, bare_line_end: false }
    }
}

impl DataReceiver {
    /// Takes more octets. `Some(n)` when the data ended with the first `n` of them; the others are commands.
    pub fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let rest = &bytes[at..];
            if self.state == State::LineStart {
                let end = whole_lines(rest);
                if end > 0 {
                    self.keep(&rest[..end]);
                    at += end;
                    continue;
                }
            }
            if self.state == State::Text {
                let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                if end > 0 {
                    self.keep(&rest[..end]);
                    at += end;
                    continue;
                }
            }
            at += 1;
            match (self.state, byte) {
                (State::DotCr, b'\n') => return Some(at),
                (State::Cr, b'\n') => {
                    self.keep(b"\r\n");
                    self.state = State::LineStart;
                }
                (State::LineStart, b'.') => self.state = State::Dot,
                (State::Dot, b'\r') => self.state = State::DotCr,
                (State::LineStart | State::Text, b'\r') => self.state = State::Cr,
                (State::Cr | State::DotCr, b'\r') => self.refuse(State::Cr),
                (State::Cr | State::DotCr, _) | (_, b'\n') => self.refuse(State::Text),
                (State::LineStart | State::Dot | State::Text, byte) => {
                    self.keep(&[byte]);
                    self.state = State::Text;
                }
            }
        }
        None
    }

    /// Keeps nothing more and forgets what there was; the end is still found.
    pub fn discard(&mut self) {
        self.keeps = false;
        self.content = Vec::new();
    }

    /// How many octets are kept so far.
    pub fn octets(&self) -> usize {
        self.content.len()
    }

    /// Whether a CR or LF stood on its own.
    pub fn has_bare_line_end(&self) -> bool {
        self.bare_line_end
    }

    /// The content, dots no longer doubled; empty if it was discarded.
    pub fn into_content(self) -> Vec<u8> {
        self.content
    }

    fn refuse(&mut self, state: State) {
        self.bare_line_end = true;
        self.state = state;
        self.discard();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.keeps {
            self.content.extend_from_slice(bytes);
        }
    }
}

/// Whether a CR or LF stands on its own in content that came by BDAT, where nothing marks its end.
pub fn has_bare_line_end(content: &[u8]) -> bool {
    let mut rest = content;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        let Some(after) = rest[at..].strip_prefix(b"\r\n") else { return true };
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came of all octets given at once: the content, and how many octets were the message's.
    fn receive(bytes: &[u8]) -> (DataReceiver, Option<usize>) {
        let mut receiver = DataReceiver::default();
        let end = receiver.push(bytes);
        (receiver, end)
    }

    #[test]
    fn data_ends_and_dots_are_undone() {
        for (bytes, content) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"..a\r\n.b\r\n.\r\n", b".a\r\nb\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
            (b"a.\r\n.\r\n", b"a.\r\n"),
            (b"\0\xff\r\n.\r\n", b"\0\xff\r\n"),
        ] {
            let commands = [bytes, b"QUIT\r\n"].concat();
            let (receiver, end) = receive(&commands);
            assert_eq!(end, Some(bytes.len()), "{bytes:?}");
            assert!(!receiver.has_bare_line_end(), "{bytes:?}");
            assert_eq!(receiver.into_content(), content, "{bytes:?}");
        }
    }

    #[test]
    fn nothing_else_ends_the_data() {
        for end in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n.\r",
            "\r\n.\r\r\n",
            "\r\r\n.\n",
            "\n\r.\r\n",
            "\r\n\0.\r\n",
            "\r\n.\0\r\n",
            "\r\n.a\r\n",
            "\r\n. \r\n",
            "\r\n ..\r\n",
            "\n\n.\r\n",
            "\r\n\n.\r\n",
            "\r\n\r.\r\n",
        ] {
            let smuggled = format!("first{end}MAIL FROM:<b@example.com>\r\n");
            let (receiver, found) = receive(smuggled.as_bytes());
            assert_eq!(found, None, "{end:?}");
            let is_bare = end.replace("\r\n", "").contains(['\r', '\n']);
            assert_eq!(receiver.has_bare_line_end(), is_bare, "{end:?}");
            // The true end is still found, and what is refused is not kept.
            let (receiver, found) = receive(format!("{smuggled}\r\n.\r\n").as_bytes());
            assert_eq!(found, Some(smuggled.len() + 5), "{end:?}");
            assert_eq!(receiver.octets() == 0, is_bare, "{end:?}");
        }
    }

    #[test]
    fn packets_make_no_difference() {
        // All texts of up to seven octets over the alphabet that matters, each cut at every place.
        let alphabet = [b'.', b'\r', b'\n', b'a'];
        for length in 0..=7u32 {
            for number in 0..4usize.pow(length) {
                let bytes: Vec<u8> = (0..length).map(|i| alphabet[number >> (2 * i) & 3]).collect();
                let (whole, end) = receive(&bytes);
                let reference = [b"\r\n", bytes.as_slice()].concat();
                let first = reference.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 3);
                assert_eq!(end, first, "{bytes:?}");
                let data = &bytes[..end.map_or(bytes.len(), |end| end - 3)];
                if end.is_some() {
                    assert_eq!(whole.has_bare_line_end(), has_bare_line_end(data), "{bytes:?}");
                }
                for cut in 0..bytes.len() {
                    let mut receiver = DataReceiver::default();
                    let found = receiver.push(&bytes[..cut]);
                    let found = found.or_else(|| receiver.push(&bytes[cut..]).map(|n| n + cut));
                    assert_eq!((found, &receiver.content), (end, &whole.content), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn what_was_stuffed_comes_back() {
        let content = b".a\r\n..b\r\nc.\r\n\r\n.\r\n";
        let wire = [crate::data::to_wire(content).as_slice(), b".\r\n"].concat();
        let (receiver, end) = receive(&wire);
        assert_eq!(end, Some(wire.len()));
        assert_eq!(receiver.into_content(), content);
    }

    #[test]
    fn discarded_content_still_ends() {
        let mut receiver = DataReceiver::default();
        assert_eq!(receiver.push(b"a\r\n"), None);
        receiver.discard();
        assert_eq!((receiver.octets(), receiver.push(b"b\r\n.\r\n")), (0, Some(6)));
    }

    #[test]
    fn bare_line_ends_are_seen() {
        for (content, bare) in [
            ("", false),
            ("a\r\nb", false),
            ("\r\n\r\n", false),
            ("a\nb", true),
            ("\n", true),
            ("a\rb", true),
            ("a\r", true),
            ("\r\r\n", true),
            ("\r\n\n", true),
        ] {
            assert_eq!(has_bare_line_end(content.as_bytes()), bare, "{content:?}");
        }
    }
}
