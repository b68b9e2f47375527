//! Copies with other words in them.

use mail_parser::{MessageParser, MimeHeaders};

use super::*;
use crate::{Attachment, Draft, Identity, accept, compose};

/// Puts `to` in the place of `%x%`.
struct Put<'a>(&'a str);

impl Changes for Put<'_> {
    fn header(&mut self, _: &str, value: &str) -> Result<Option<String>, String> {
        Ok(value.contains("%x%").then(|| value.replace("%x%", self.0)))
    }

    fn text(&mut self, _: &str, text: &str) -> Result<Option<String>, String> {
        self.header("", text)
    }
}

fn identity() -> Identity {
    Identity::new(0, [7; 32], &"example.com".parse().unwrap())
}

fn draft() -> Draft {
    let mut draft = Draft::new("\"%x% shop\" <a@example.com>".parse().unwrap(), "Hello %x%, grüße");
    draft.text = Some("Dear %x%,\nbye\n".to_owned());
    draft.html = Some("<p>Dear %x%</p>".to_owned());
    draft.attachments = vec![Attachment {
        filename: "a.txt".to_owned(),
        content_type: "text/plain".to_owned(),
        bytes: b"%x% stays".to_vec(),
    }];
    draft.headers = vec![("List-Unsubscribe".to_owned(), "<https://example.com/?%x%>".to_owned())];
    draft
}

fn copy(content: &[u8], put: &str) -> Vec<u8> {
    let to = [("To".to_owned(), "Jörg <j@example.net>".to_owned())];
    rewrite(content, &to, &mut Put(put), 1 << 20).unwrap()
}

#[test]
fn words_change_where_they_are_words() {
    let message = compose(&draft(), &identity()).unwrap();
    for put in ["Ann", "Zażółć \"gęślą\" <b>", "a\r\nBcc: x@example.org\r\n\r\nb", "=?utf-8?Q?x?=", "%x%", ""] {
        let content = copy(&message.content, put);
        assert!(content.is_ascii() && !smtp::data::has_long_line(&content), "{put:?}");
        let parsed = MessageParser::default().parse(&content).unwrap();
        let flat = put.replace(['\r', '\n'], " ");
        assert_eq!(parsed.subject().unwrap(), format!("Hello {flat}, grüße"), "{put:?}");
        let from = parsed.from().unwrap().first().unwrap();
        let name = format!("{flat} shop");
        // What looks like an encoded word in quotes is none, but this parser decodes it there.
        if !put.contains("=?") {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(from.name().unwrap()), words(&name), "{put:?}");
        }
        assert_eq!(from.address(), Some("a@example.com"));
        let to = parsed.to().unwrap().first().unwrap();
        assert_eq!((to.name(), to.address()), (Some("Jörg"), Some("j@example.net")));
        let lines = put.replace("\r\n", "\n");
        let body = |text: Option<std::borrow::Cow<'_, str>>| text.unwrap().replace("\r\n", "\n");
        assert_eq!(body(parsed.body_text(0)), format!("Dear {lines},\nbye\n"), "{put:?}");
        assert_eq!(body(parsed.body_html(0)), format!("<p>Dear {lines}</p>"), "{put:?}");
        assert!(parsed.bcc().is_none() && parsed.header("Bcc").is_none());
        assert_eq!(parsed.attachments().count(), 1);
        assert_eq!(parsed.attachment(0).unwrap().contents(), b"%x% stays");
        assert_eq!(parsed.attachment(0).unwrap().attachment_name(), Some("a.txt"));
        let unsubscribe = parsed.header_raw("List-Unsubscribe").unwrap();
        assert!(unsubscribe.is_ascii(), "{unsubscribe}");
    }
}

#[test]
fn what_does_not_change_keeps_its_octets() {
    let given = "From: a@example.com\r\nX-Odd:   two\r\n\tlines \r\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n\
        Content-Type: multipart/mixed; boundary=\"b b\"\r\n\r\npreamble %x%\r\n--b b\r\n\
        Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n--b b\r\n\
        Content-Type: message/rfc822\r\n\r\nFrom: %x%\r\n\r\n%x%\r\n--b b--\r\nepilogue %x%\r\n";
    let content = rewrite(given.as_bytes(), &[], &mut Put("new"), 1 << 20).unwrap();
    // Fields about the body go last; here they are last.
    assert_eq!(String::from_utf8(content).unwrap(), given);
}

#[test]
fn messages_of_others_are_read_in_their_charsets_and_encodings() {
    let head = "From: a@example.com\r\n";
    for (part, expected) in [
        ("\r\nDear %x%\r\n", "Dear Ωmega\r\n"),
        (
            "Content-Type: text/plain; charset=iso-8859-1; format=flowed\r\n\r\nGr\u{fc}\u{df}e %x%\r\n",
            "Grüße Ωmega\r\n",
        ),
        (
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nRGVhciAleCU=\r\n",
            "Dear Ωmega",
        ),
        (
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=44ear =25x%\r\n",
            "Dear Ωmega\r\n",
        ),
    ] {
        // Octets of ISO 8859-1, where there are any.
        let given: Vec<u8> = format!("{head}{part}").chars().map(|c| c as u8).collect();
        let given = accept(&given, &[], &identity()).unwrap().content;
        let content = copy(&given, "Ωmega");
        let parsed = MessageParser::default().parse(&content).unwrap();
        assert_eq!(parsed.body_text(0).unwrap().trim_end(), expected.trim_end(), "{part:?}");
        let names: Vec<_> = parsed.headers().iter().map(|h| h.name().to_ascii_lowercase()).collect();
        let encodings = names.iter().filter(|name| *name == "content-transfer-encoding").count();
        assert_eq!(encodings, 1, "{names:?}");
        assert_eq!(names.iter().filter(|name| *name == "mime-version").count(), 1, "{names:?}");
    }
}

#[test]
fn no_word_ends_a_part() {
    let given = "From: a@example.com\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n\
        Content-Type: text/plain\r\n\r\n%x%\r\n--outer\r\nContent-Type: text/html\r\n\r\n<p>%x%</p>\r\n--outer--\r\n";
    for put in ["\n--outer--\n", "x\r\n--outer\r\nContent-Type: text/html\r\n\r\nevil", &"-".repeat(300), "ü\n--outer"]
    {
        let content = copy(given.as_bytes(), put);
        let parsed = MessageParser::default().parse(&content).unwrap();
        assert_eq!(parsed.parts.len(), 3, "{put:?}");
        assert_eq!(parsed.body_text(0).unwrap().replace("\r\n", "\n"), put.replace("\r\n", "\n"));
    }
}

#[test]
fn a_copy_has_a_limit_and_fields_their_form() {
    let mut plain = Draft::new("a@example.com".parse().unwrap(), "%x%");
    plain.text = Some("%x%".to_owned());
    let message = compose(&plain, &identity()).unwrap();
    let error = rewrite(&message.content, &[], &mut Put(&"x".repeat(9000)), 10_000).unwrap_err();
    assert_eq!(error, RewriteError::TooLarge(10_000));
    let long = "y".repeat(20_000);
    assert!(matches!(
        rewrite(&message.content, &[], &mut Put(&long), 1 << 20),
        Err(RewriteError::Header(_) | RewriteError::Mailbox { .. })
    ));
    let given = "From: a@example.com\r\nReply-To: %x%\r\n\r\nx\r\n";
    let reply_to = |put: &str| rewrite(given.as_bytes(), &[], &mut Put(put), 1 << 20);
    assert!(String::from_utf8(reply_to("Bob <b@example.com>").unwrap()).unwrap().contains("<b@example.com>"));
    assert!(matches!(reply_to("no address"), Err(RewriteError::Header(_))));
    struct No;
    impl Changes for No {
        fn header(&mut self, _: &str, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }
        fn text(&mut self, _: &str, _: &str) -> Result<Option<String>, String> {
            Err("no".to_owned())
        }
    }
    assert_eq!(rewrite(given.as_bytes(), &[], &mut No, 1 << 20), Err(RewriteError::Refused("no".to_owned())));
}

#[test]
fn a_field_without_a_value_goes() {
    let given = "From: a@example.com\r\nX-A: %x%\r\nX-B: b\r\n\r\nx\r\n";
    let content = rewrite(given.as_bytes(), &[], &mut Put(""), 1 << 20).unwrap();
    assert_eq!(String::from_utf8(content).unwrap(), "From: a@example.com\r\nX-B: b\r\n\r\nx\r\n");
}
