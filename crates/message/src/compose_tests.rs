use mail_parser::{MessageParser, MimeHeaders};

use super::*;
use crate::summary::AttachmentSummary;

fn identity() -> Identity {
    Identity::new(1_321_292_559, [7; 32], &"example.com".parse().unwrap())
}

fn draft() -> Draft {
    let mut draft = Draft::new("Bob <bob@example.com>".parse().unwrap(), "Hello");
    draft.to = Mailbox::parse_list("alice@example.net").unwrap();
    draft.text = Some("Hi\n".to_owned());
    draft
}

fn file(filename: &str, content_type: &str, bytes: &[u8]) -> Attachment {
    Attachment { filename: filename.to_owned(), content_type: content_type.to_owned(), bytes: bytes.to_vec() }
}

fn with_header(name: &str, value: &str) -> Draft {
    let mut draft = draft();
    draft.headers.push((name.to_owned(), value.to_owned()));
    draft
}

/// Composes, and checks what holds for every message.
fn composed(draft: &Draft) -> Message {
    let message = compose(draft, &identity()).unwrap();
    assert_eq!(compose(draft, &identity()).unwrap(), message, "not deterministic");
    let content = &message.content;
    assert!(content.ends_with(b"\r\n") && !content.contains(&0));
    assert!(!smtp::data::has_long_line(content));
    assert_eq!(&crate::lines::to_crlf(content), content, "bare CR or LF");
    message
}

fn header_section(message: &Message) -> String {
    let text = String::from_utf8(message.content.clone()).unwrap();
    text.split_once("\r\n\r\n").unwrap().0.to_owned()
}

/// The types of all parts, depth first.
fn structure(message: &Message) -> Vec<String> {
    let parsed = MessageParser::default().parse(&message.content).unwrap();
    let kind = |part: &mail_parser::MessagePart<'_>| {
        let content_type = part.content_type().unwrap();
        format!("{}/{}", content_type.ctype(), content_type.subtype().unwrap())
    };
    parsed.parts.iter().map(kind).collect()
}

#[test]
fn several_authors_have_a_sender() {
    let mut draft = draft();
    draft.from = Mailbox::parse_list("Bob <bob@example.com>, eve@example.com").unwrap();
    let header = header_section(&composed(&draft));
    assert!(
        header.contains(
            "\r\nFrom: \"Bob\" <bob@example.com>, <eve@example.com>\r\nSender: \"Bob\" <bob@example.com>\r\n"
        ),
        "{header}"
    );
    draft.headers.push(("Sender".to_owned(), "office@example.com".to_owned()));
    let header = header_section(&composed(&draft));
    assert_eq!(
        (header.matches("Sender:").count(), header.contains("Sender: <office@example.com>")),
        (1, true),
        "{header}"
    );
}

#[test]
fn the_smallest_message() {
    let message = composed(&draft());
    let want = "Date: Mon, 14 Nov 2011 17:42:39 +0000\r\n\
        From: \"Bob\" <bob@example.com>\r\n\
        To: <alice@example.net>\r\n\
        Subject: Hello\r\n\
        Message-ID: <20111114174239.7777777777777777@example.com>\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=\"utf-8\"\r\n\
        Content-Transfer-Encoding: 7bit\r\n\
        \r\n\
        Hi\r\n";
    assert_eq!(String::from_utf8(message.content.clone()).unwrap(), want);
    assert_eq!(message.message_id, "20111114174239.7777777777777777@example.com");
    assert_eq!((message.from_text().as_str(), message.to.as_str()), ("Bob <bob@example.com>", "alice@example.net"));
    assert_eq!(message.subject, "Hello");
    assert!(!message.is_eight_bit() && !message.has_utf8_header && message.attachments.is_empty());
}

#[test]
fn parts_are_nested_by_what_there_is() {
    let (text, html, amp) = ("text/plain", "text/html", "text/x-amp-html");
    let (mixed, alternative, related) = ("multipart/mixed", "multipart/alternative", "multipart/related");
    for (parts, want) in [
        ("t", &[text][..]),
        ("h", &[html]),
        ("th", &[alternative, text, html]),
        ("tah", &[alternative, text, amp, html]),
        ("ha", &[alternative, amp, html]),
        ("tA", &[mixed, text, "text/csv"]),
        ("thA", &[mixed, alternative, text, html, "text/csv"]),
        ("hI", &[related, html, "image/png"]),
        ("thI", &[alternative, text, related, html, "image/png"]),
        ("thIA", &[mixed, alternative, text, related, html, "image/png", "text/csv"]),
        ("tI", &[mixed, text, "image/png"]),
    ] {
        let has = |c: char| parts.contains(c);
        let mut draft = draft();
        draft.text = has('t').then(|| "text".to_owned());
        draft.html = has('h').then(|| "<p>html".to_owned());
        draft.amp_html = has('a').then(|| "<html amp4email>".to_owned());
        draft.attachments.extend(has('A').then(|| file("a.csv", "text/csv", b"1,2\n3,4\r\n")));
        draft.inline.extend(has('I').then(|| file("i.png", "image/png", b"\x89PNG")));
        assert_eq!(structure(&composed(&draft)), want, "{parts}");
    }
}

#[test]
fn a_message_needs_a_text() {
    let mut draft = draft();
    draft.text = None;
    draft.attachments.push(file("a.txt", "text/plain", b"a"));
    assert_eq!(compose(&draft, &identity()), Err(ComposeError::NoText));
}

#[test]
fn any_text_comes_through_in_short_lines() {
    let long = "x".repeat(10_000);
    let long_unicode = "Ж".repeat(10_000);
    for text in [
        "",
        "\n",
        "no newline",
        ".\n..\n.\r\n",
        "a\nb\rc\r\nd",
        " trailing \t\nspace \n",
        "From me\n",
        "=_ = =3D\n--=_07070707070707070707070707070707_1\n",
        "nul \0 and bell \x07",
        "Grüße\n",
        "山田太郎\n",
        &long,
        &long_unicode,
    ] {
        let mut draft = draft();
        draft.text = Some(text.to_owned());
        draft.html = Some(text.to_owned());
        let message = composed(&draft);
        assert!(!message.is_eight_bit());
        let parsed = MessageParser::default().parse(&message.content).unwrap();
        let want = String::from_utf8(crate::lines::to_crlf(text.as_bytes())).unwrap();
        for part in &parsed.parts[1..] {
            assert_eq!(part.text_contents().unwrap(), want, "{text:?}");
        }
    }
}

#[test]
fn attachments_keep_name_type_and_bytes() {
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let long = format!("{}.pdf", "résumé ".repeat(25));
    for filename in
        ["a.txt", "vedhæftet fil.csv", "山田.png", "a \"b\" \\c;=.txt", "100%'*.txt", "two  spaces.txt", &long]
    {
        let mut draft = draft();
        draft.attachments.push(file(filename, "application/csv; header=present", &bytes));
        let message = composed(&draft);
        assert!(!message.is_eight_bit());
        let parsed = MessageParser::default().parse(&message.content).unwrap();
        let part = parsed.attachment(0).unwrap();
        assert_eq!(part.attachment_name(), Some(filename));
        assert_eq!(part.content_type().unwrap().attribute("header"), Some("present"));
        assert_eq!(part.contents(), bytes);
        let summary = AttachmentSummary {
            filename: filename.to_owned(),
            content_type: "application/csv".to_owned(),
            size: bytes.len(),
        };
        assert_eq!(message.attachments, [summary]);
    }
}

#[test]
fn a_name_beyond_ascii_is_written_by_rfc_2231_with_a_fallback() {
    let mut draft = draft();
    draft.attachments.push(file("vedhæftet fil.csv", "text/csv", b"1"));
    let content = String::from_utf8(composed(&draft).content).unwrap();
    assert!(content.contains("filename*=UTF-8''vedh%C3%A6ftet%20fil.csv\r\n"), "{content}");
    assert!(content.contains("name=\"vedh_ftet fil.csv\"\r\n"), "{content}");
}

#[test]
fn inline_files_are_found_by_their_name() {
    let mut draft = draft();
    draft.html = Some("<img src=\"cid:logo.png\">".to_owned());
    draft.inline.push(file("logo.png", "image/png", b"\x89PNG"));
    let message = composed(&draft);
    let parsed = MessageParser::default().parse(&message.content).unwrap();
    let part = parsed.parts.iter().find(|part| part.content_id().is_some()).unwrap();
    assert_eq!(part.content_id(), Some("logo.png"));
    assert!(part.content_disposition().unwrap().is_inline());
    assert!(part.contents() == b"\x89PNG", "{part:?}");
    assert_eq!(message.attachments.len(), 1);
}

#[test]
fn headers_replace_ours_or_join_them() {
    let mut draft = draft();
    for (name, value) in [
        ("subject", "Other"),
        ("Message-Id", "<x.1@example.org>"),
        ("Date", "Tue, 15 Nov 2011 08:00:00 +0100"),
        ("To", "List: x <list@example.net>"),
        ("Reply-To", "Jörg <j@example.com>, k@example.com"),
        ("X-Tag", "one"),
        ("x-tag", "two"),
        ("List-Unsubscribe", "<mailto:u@example.com>, <https://example.com/u?a=b>"),
    ] {
        draft.headers.push((name.to_owned(), value.to_owned()));
    }
    assert_eq!(
        compose(&draft, &identity()).unwrap_err().to_string(),
        "To is not valid: 'List: x <list@example.net>': groups are not supported; separate addresses by commas"
    );
    draft.headers[3].1 = "The List <list@example.net>".to_owned();
    let message = composed(&draft);
    let want = "Date: Tue, 15 Nov 2011 08:00:00 +0100\r\n\
        From: \"Bob\" <bob@example.com>\r\n\
        To: \"The List\" <list@example.net>\r\n\
        subject: Other\r\n\
        Message-Id: <x.1@example.org>\r\n\
        Reply-To: =?utf-8?B?SsO2cmc=?= <j@example.com>, <k@example.com>\r\n\
        X-Tag: one\r\n\
        x-tag: two\r\n\
        List-Unsubscribe: <mailto:u@example.com>, <https://example.com/u?a=b>\r\n\
        MIME-Version: 1.0";
    assert!(header_section(&message).starts_with(want), "{}", header_section(&message));
    assert_eq!((message.subject.as_str(), message.message_id.as_str()), ("Other", "x.1@example.org"));
    assert_eq!(message.to, "The List <list@example.net>");
}

#[test]
fn what_a_header_may_not_be_is_refused_by_name() {
    let long_url = format!("<https://example.com/{}>", "a".repeat(1000));
    for (name, value, message) in [
        ("X-Ünï", "a", "Header name must be pure ASCII: X-Ünï"),
        ("", "a", "Header name must be pure ASCII: "),
        ("X A", "a", "Header name must be pure ASCII: X A"),
        ("X:A", "a", "Header name must be pure ASCII: X:A"),
        ("X-A\r\nBcc", "a", "Header name must be pure ASCII: X-A  Bcc"),
        ("X-A\0", "a", "Header name must be pure ASCII: X-A "),
        ("X-A", "a\r\nBcc: x@y.z", "X-A must not contain line breaks or other control characters"),
        ("X-A", "a\r\n folded", "X-A must not contain line breaks or other control characters"),
        ("X-A", "a\rb", "X-A must not contain line breaks or other control characters"),
        ("X-A", "a\n", "X-A must not contain line breaks or other control characters"),
        ("X-A", "a\0b", "X-A must not contain line breaks or other control characters"),
        ("Subject", "a\nb", "Subject must not contain line breaks or other control characters"),
        ("Bcc", "x@y.z", "header Bcc cannot be set"),
        ("resent-bcc", "x@y.z", "header resent-bcc cannot be set"),
        ("Content-Type", "text/html", "header Content-Type cannot be set"),
        ("mime-version", "1.0", "header mime-version cannot be set"),
        ("Return-Path", "<>", "header Return-Path cannot be set"),
        ("Message-Id", "none", "Message-Id is not valid: it must have the form <unique@domain>"),
        ("Message-Id", "<a@b> <c@d>", "Message-Id is not valid: it must have the form <unique@domain>"),
        ("Date", "yesterday", "Date is not valid: it must be a date of RFC 5322"),
        ("Reply-To", "nobody", "Reply-To is not valid: 'nobody': there is no '@'"),
        ("From", "a@y.z, b@y.z", "From is not valid: there is more than one address"),
        ("References", "<ä@b>", "References is not valid: it must be ASCII"),
        ("List-Unsubscribe", long_url.as_str(), "List-Unsubscribe is too long"),
    ] {
        let error = compose(&with_header(name, value), &identity()).unwrap_err();
        assert_eq!(error.to_string(), message, "{name:?}: {value:?}");
    }
    let mut twice = with_header("Reply-To", "a@y.z");
    twice.headers.push(("reply-to".to_owned(), "b@y.z".to_owned()));
    assert_eq!(compose(&twice, &identity()).unwrap_err().to_string(), "header reply-to may be given only once");
    let long_name = "X".repeat(77);
    assert!(compose(&with_header(&long_name, "a"), &identity()).is_err());
}

#[test]
fn nothing_smuggles_lines_through_the_other_fields() {
    for evil in ["a\r\nBcc: x@y.z", "a\rb", "a\nb", "a\0b"] {
        let mut subject = draft();
        subject.subject = evil.to_owned();
        let mut filename = draft();
        filename.attachments.push(file(evil, "text/plain", b"a"));
        let mut inline = draft();
        inline.inline.push(file(evil, "text/plain", b"a"));
        let mut content_type = draft();
        content_type.attachments.push(file("a.txt", &format!("text/plain; x={evil}"), b"a"));
        for (draft, field) in [(subject, "Subject"), (filename, "a"), (inline, "a"), (content_type, "a.txt")] {
            let error = compose(&draft, &identity()).unwrap_err().to_string();
            assert!(error.contains(field) && error.lines().count() == 1, "{evil:?}: {error:?}");
        }
        assert!(Mailbox::new(Some(evil), "a@y.z".parse().unwrap()).is_err());
    }
}

#[test]
fn subjects_are_folded_and_encoded() {
    let words = "word ".repeat(300);
    let one_word = "w".repeat(5000);
    let long_unicode = "Ж".repeat(2000);
    let spaces = format!("a{}b", " ".repeat(2000));
    for subject in [
        "",
        "Hello",
        "Grüße",
        "=?utf-8?Q?not_ours?=",
        "a\ttab",
        "🎉 mixed ascii and emoji 🎉🎉",
        words.trim(),
        &one_word,
        &long_unicode,
        &spaces,
    ] {
        let mut draft = draft();
        draft.subject = subject.to_owned();
        let message = composed(&draft);
        assert!(!message.is_eight_bit());
        assert_eq!(message.subject, subject);
        let parsed = MessageParser::default().parse(&message.content).unwrap();
        assert_eq!(parsed.subject().unwrap_or_default(), subject);
        assert!(header_section(&message).lines().all(|line| line.len() <= 78), "{}", header_section(&message));
    }
}

#[test]
fn only_a_local_part_beyond_ascii_makes_the_header_utf8() {
    let mut draft = draft();
    draft.to = Mailbox::parse_list("Jörg <joerg@bücher.example>").unwrap();
    assert!(!composed(&draft).has_utf8_header);
    assert!(header_section(&composed(&draft)).contains("<joerg@xn--bcher-kva.example>"));

    draft.to = Mailbox::parse_list("Jörg <jörg@example.com>").unwrap();
    let message = composed(&draft);
    assert!(message.has_utf8_header && message.is_eight_bit());
    let parsed = MessageParser::default().parse(&message.content).unwrap();
    assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some("jörg@example.com"));
}

#[test]
fn a_thousand_recipients_fit() {
    let mut draft = draft();
    let list: Vec<String> = (0..1000).map(|i| format!("\"R{i}, Jr.\" <r{i}@example.net>")).collect();
    draft.to = Mailbox::parse_list(&list.join(",")).unwrap();
    let message = composed(&draft);
    let parsed = MessageParser::default().parse(&message.content).unwrap();
    assert_eq!(parsed.to().unwrap().iter().count(), 1000);
}

#[test]
fn long_values_of_headers_are_folded_or_encoded() {
    let longest_name = format!("X{}", "-a".repeat(37));
    for name in ["X", "X-Mailgun-Variables", &longest_name] {
        let message = composed(&with_header(name, &"Ж".repeat(1000)));
        assert!(header_section(&message).lines().all(|line| line.len() <= 78), "{}", header_section(&message));
    }
    let json = format!("{{\"a\":\"{}\"}}", "b".repeat(3000));
    let message = composed(&with_header("X-Mailgun-Variables", &json));
    let raw = MessageParser::new().header_text("X-Mailgun-Variables").parse(&message.content).unwrap();
    assert_eq!(raw.header("X-Mailgun-Variables").unwrap().as_text(), Some(json.as_str()));
}
