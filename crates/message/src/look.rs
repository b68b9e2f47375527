//! Words in a message: a quick look first, so that most messages need not be taken apart to see that they have none.

use memchr::{memchr, memchr_iter, memmem};

use crate::{Changes, rewrite};

/// Charsets in which an ASCII character is written as itself and in no other way, by how their names begin.
const LIKE_ASCII: [&[u8]; 7] = [b"us-ascii", b"ascii", b"utf-8", b"utf8", b"iso-8859-", b"windows-125", b"koi8-"];

/// Whether one of the words, which are of graphic ASCII, stands in a header value or a text of `content`, decoded as
/// [`rewrite()`] shows them. What cannot be read has none.
pub fn has_words(content: &[u8], words: &[&str]) -> bool {
    may_have(content, words) && shows(content, words)
}

/// Whether [`rewrite()`] shows one of them.
fn shows(content: &[u8], words: &[&str]) -> bool {
    let mut look = Look { words, found: false };
    rewrite(content, &[], &mut look, usize::MAX).is_ok() && look.found
}

struct Look<'a> {
    words: &'a [&'a str],
    found: bool,
}

impl Changes for Look<'_> {
    fn header(&mut self, _: &str, value: &str) -> Result<Option<String>, String> {
        self.text("", value)
    }

    fn text(&mut self, _: &str, text: &str) -> Result<Option<String>, String> {
        self.found |= self.words.iter().any(|word| text.contains(word));
        Ok(None)
    }
}

/// Whether it may. `false` is certain for what is encoded by the rules.
fn may_have(content: &[u8], words: &[&str]) -> bool {
    let stand_in = |octets: &[u8]| words.iter().any(|word| memmem::find(octets, word.as_bytes()).is_some());
    let header = memmem::find(content, b"\r\n\r\n").map_or(content, |end| &content[..end]);
    stand_in(content)
        // Words that are encoded (RFC 2047), and characters that are quoted (RFC 5322 §3.2.4).
        || memmem::find(content, b"=?").is_some()
        || memchr(b'\\', header).is_some()
        || has(content, b"base64").next().is_some()
        || has(content, b"charset").any(|at| !is_like_ascii(&content[at + b"charset".len()..]))
        || has(content, b"quoted-printable").next().is_some() && stand_in(&decoded(content))
}

/// Where the word stands, whatever its case. It begins with a letter.
fn has<'a>(content: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let (lower, upper) = (word[0].to_ascii_lowercase(), word[0].to_ascii_uppercase());
    let starts = memchr::memchr2_iter(lower, upper, content);
    starts.filter(move |at| content[*at..].get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
}

/// Whether what follows the word `charset` is the name of a charset in which ASCII is written as such.
fn is_like_ascii(rest: &[u8]) -> bool {
    let value = rest.strip_prefix(b"=").map(|value| value.strip_prefix(b"\"").unwrap_or(value));
    let begins =
        |value: &[u8], name: &[u8]| value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    value.is_some_and(|value| LIKE_ASCII.iter().any(|name| begins(value, name)))
}

/// All of the content as if it was quoted-printable (RFC 2045 §6.7).
fn decoded(content: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(content.len());
    let mut from = 0;
    for at in memchr_iter(b'=', content) {
        if at < from {
            continue;
        }
        text.extend_from_slice(&content[from..at]);
        let hex = |at: usize| content.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        from = match (hex(at + 1), hex(at + 2)) {
            (Some(high), Some(low)) => {
                text.push((high * 16 + low) as u8);
                at + 3
            }
            _ if soft_break(&content[at + 1..]) > 0 => at + 1 + soft_break(&content[at + 1..]),
            // As in `charset=utf-8`, which stands in headers, where nothing is quoted-printable.
            _ => {
                text.push(b'=');
                at + 1
            }
        };
    }
    text.extend_from_slice(&content[from..]);
    text
}

/// How many octets behind an `=` are a line break that belongs to the encoding, with the spaces that some put before it.
fn soft_break(rest: &[u8]) -> usize {
    let spaces = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    if rest[spaces..].starts_with(b"\r\n") { spaces + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draft, Identity, compose};

    const WORD: &str = "unsubscribe_url%";

    #[test]
    fn no_encoding_hides_a_word() {
        let head = "From: a@example.com\r\n";
        for text in [
            "Subject: %unsubscribe_url%\r\n\r\nx\r\n",
            "Subject: =?utf-8?Q?unsubscribe=5Furl=25?=\r\n\r\nx\r\n",
            "Reply-To: \"unsubscribe\\_url%\" <b@example.com>\r\n\r\nx\r\n",
            "Subject: x\r\n\r\nGo to %unsubscribe_url%\r\n",
            "Content-Transfer-Encoding: quoted-printable\r\n\r\nGo to =25unsub=\r\nscribe=5Furl=25.\r\n",
            "content-transfer-encoding: QUOTED-PRINTABLE\r\n\r\nGo to unsub= \r\nscribe_url%.\r\n",
            "Content-Transfer-Encoding: Base64\r\n\r\ndW5zdWJzY3JpYmVfdXJsJQ==\r\n",
            "Content-Type: text/plain; charset=utf-7\r\n\r\nunsubscribe+AF8-url+ACU-\r\n",
        ] {
            let content = format!("{head}{text}");
            assert!(shows(content.as_bytes(), &[WORD]), "the test itself: {text:?}");
            assert!(may_have(content.as_bytes(), &[WORD]), "{text:?}");
        }
    }

    #[test]
    fn most_messages_need_no_second_look() {
        for text in [
            "Subject: x\r\n\r\nGo to %unsubscribe%\r\n",
            "Content-Type: text/html; charset=\"UTF-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<a href=3D\"x\">=\r\n</a>\r\n",
        ] {
            assert!(!may_have(text.as_bytes(), &[WORD]), "{text:?}");
        }
    }

    #[test]
    fn whatever_compose_makes_of_a_word_is_found() {
        let fill = ["plain ", "Grüße ", "山田太郎 ", "a = b; ", &"long ".repeat(40)];
        for (number, fill) in fill.iter().enumerate() {
            for place in 0..4 {
                let mut draft = Draft::new("a@example.com".parse().unwrap(), "x");
                draft.subject = (*fill).to_owned();
                draft.text = Some((*fill).to_owned());
                draft.html = (number % 2 == 0).then(|| format!("<p>{fill}</p>"));
                match place {
                    0 => {}
                    1 => draft.subject.push_str(WORD),
                    2 => draft.text = Some(format!("{fill}%{WORD}{fill}")),
                    _ => draft.html = Some(format!("{fill}%{WORD}{fill}")),
                }
                let identity = Identity::new(0, [7; 32], &"example.com".parse().unwrap());
                let content = compose(&draft, &identity).unwrap().content;
                assert_eq!(shows(&content, &[WORD]), place > 0, "{fill} {place}");
                assert!(may_have(&content, &[WORD]) || place == 0, "{fill} {place}");
            }
        }
    }
}
