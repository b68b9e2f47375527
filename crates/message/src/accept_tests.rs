use super::*;
use crate::limits::ATTACHMENTS;

fn identity() -> Identity {
    Identity::new(1_321_292_559, [7; 32], &"example.com".parse().unwrap())
}

fn accepted(given: &str) -> Message {
    accept(given.as_bytes(), &[], &identity()).unwrap_or_else(|e| panic!("{given:?}: {e}"))
}

fn text(message: &Message) -> &str {
    str::from_utf8(&message.content).unwrap()
}

const SIGNED: &str = "Received: from a\r\n\tby b; Mon, 14 Nov 2011 17:42:39 +0000\r\n\
    DKIM-Signature: v=1; a=rsa-sha256; d=example.com;\r\n  s=x; h=From:Subject;\r\n\tbh=abc=; b=def=\r\n\
    from:  Bob   <bob@example.com>\r\n\
    Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n \t and more\r\n\
    Date: Mon, 14 Nov 2011 17:42:39 +0000\r\n\
    Message-Id:  <1@example.com>\r\n\
    X-Odd:no space \r\n\
    \r\n\
    Body  with trailing space \r\n.\r\n\r\n\r\n";

#[test]
fn a_complete_message_is_left_alone() {
    let message = accepted(SIGNED);
    assert_eq!(text(&message), SIGNED);
    assert_eq!(message.message_id, "1@example.com");
    assert_eq!(message.from_text(), "Bob <bob@example.com>");
    assert_eq!(message.subject, "Grüße and more");
    assert_eq!(message.to, "");
    assert!(!message.is_eight_bit());
}

#[test]
fn missing_fields_and_given_ones_go_before_the_rest() {
    let message = accepted("From: bob@example.com\r\n\r\nHi\r\n");
    assert_eq!(
        text(&message),
        "Date: Mon, 14 Nov 2011 17:42:39 +0000\r\n\
        Message-ID: <20111114174239.7777777777777777@example.com>\r\n\
        From: bob@example.com\r\n\
        \r\n\
        Hi\r\n"
    );
    assert_eq!(message.message_id, "20111114174239.7777777777777777@example.com");

    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers =
        [header("X-Tag", "a"), header("x-tag", "b"), header("Subject", "Ünew"), header("Message-Id", "<n@y.z>")];
    let message = accept(SIGNED.as_bytes(), &headers, &identity()).unwrap();
    let start = "X-Tag: a\r\nx-tag: b\r\nSubject: =?utf-8?B?w5xuZXc=?=\r\nMessage-Id: <n@y.z>\r\nReceived: from a\r\n";
    assert!(text(&message).starts_with(start), "{}", text(&message));
    assert!(!text(&message).contains("and more") && !text(&message).contains("<1@example.com>"));
    assert_eq!((message.message_id.as_str(), message.subject.as_str()), ("n@y.z", "Ünew"));

    let evil = [header("X-Tag", "a\r\nBcc: x@y.z")];
    assert!(matches!(accept(SIGNED.as_bytes(), &evil, &identity()), Err(AcceptError::Header(_))));
}

#[test]
fn blind_copies_are_removed_whole() {
    for bcc in
        ["Bcc: a@y.z\r\n", "bcc:\r\n\ta@y.z,\r\n b@y.z\r\n", "BCC : a@y.z\r\nBcc: b@y.z\r\n", "Resent-Bcc: a@y.z\r\n"]
    {
        for given in [SIGNED.replacen("from:", &format!("{bcc}from:"), 1), format!("{bcc}{SIGNED}")] {
            assert_eq!(text(&accepted(&given)), SIGNED, "{bcc:?}");
        }
    }
    // A body that speaks of Bcc is a body.
    let body = format!("{SIGNED}Bcc: a@y.z\r\n");
    assert_eq!(text(&accepted(&body)), body);
}

#[test]
fn line_endings_become_crlf() {
    for given in [SIGNED.replace("\r\n", "\n"), SIGNED.replace("\r\n", "\r"), SIGNED.replacen("\r\n", "\n", 5)] {
        assert_eq!(text(&accepted(&given)), SIGNED);
    }
    assert_eq!(text(&accepted(SIGNED.trim_end())), format!("{}\r\n", SIGNED.trim_end()));
}

#[test]
fn a_message_may_end_with_its_header() {
    let header = "From: b@y.z\nDate: Mon, 14 Nov 2011 17:42:39 +0000\nMessage-ID: <1@y.z>";
    let want = format!("{}\r\n\r\n", header.replace('\n', "\r\n"));
    for given in [header.to_owned(), format!("{header}\n"), format!("{header}\n\n")] {
        assert_eq!(text(&accepted(&given)), want);
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let long = format!("From: b@y.z\r\nX-A: {}\r\n\r\n", "a".repeat(994));
    let many = format!("From: b@y.z\r\n{}\r\n", "X: a\r\n".repeat(HEADER_FIELDS));
    let large = format!("From: b@y.z\r\nX: a\r\n{}\r\n", format!(" {}\r\n", "a".repeat(900)).repeat(600));
    for (given, error) in [
        ("", "the message has no From"),
        ("\r\nFrom: b@y.z\r\n\r\n", "the message has no From"),
        ("To: b@y.z\r\n\r\nFrom: b@y.z\r\n", "the message has no From"),
        ("just text\r\n", "line 1 of the message is not a header field: 'just text'"),
        ("From b@y.z Mon\r\nFrom: b@y.z\r\n", "line 1 of the message is not a header field: 'From b@y.z Mon'"),
        ("From: b@y.z\r\nHello\r\n", "line 2 of the message is not a header field: 'Hello'"),
        (" From: b@y.z\r\n\r\n", "line 1 of the message is not a header field: ' From: b@y.z'"),
        (": a\r\n\r\n", "line 1 of the message is not a header field: ': a'"),
        ("From: b@y.z\r\nX Y: a\r\n\r\n", "line 2 of the message is not a header field: 'X Y: a'"),
        ("From: nobody\r\n\r\n", "From of the message is not valid: 'nobody': there is no '@'"),
        ("From: \r\n\r\n", "From of the message is not valid: there is no address"),
        ("From: b@y.z\r\nfrom: c@y.z\r\n\r\n", "the message has more than one header from"),
        ("From: b@y.z\r\nSubject: a\r\nSubject: b\r\n\r\n", "the message has more than one header Subject"),
        ("From: b@y.z\r\nMessage-ID: none\r\n\r\n", "Message-ID of the message is not valid"),
        ("From: b@y.z\r\n\r\na\0b", "the message has a NUL"),
        ("From: b@y.z\r\nX-A: a\x01b\r\n\r\n", "header X-A of the message has control characters"),
        (&long, "header X-A of the message has a line of more than 998 octets"),
        (&many, "the message has more than 1000 header fields"),
        (&large, "the header of the message exceeds 524288 octets"),
    ] {
        let refused = accept(given.as_bytes(), &[], &identity()).map(|message| text(&message).to_owned());
        assert_eq!(refused.unwrap_err().to_string(), error);
    }
    assert!(accept(long.replacen('a', "", 1).as_bytes(), &[], &identity()).is_ok(), "998 octets fit");
}

#[test]
fn the_recipients_are_told_as_people_read_them() {
    for (to, shown) in [
        ("=?utf-8?Q?J=C3=B6rg?= <j@y.z>,\r\n k@y.z", "Jörg <j@y.z>, k@y.z"),
        ("undisclosed-recipients:;", "undisclosed-recipients:;"),
        ("broken <", "broken <"),
    ] {
        assert_eq!(accepted(&format!("From: b@y.z\r\nTo: {to}\r\n\r\n")).to, shown);
    }
}

#[test]
fn octets_above_127_are_noticed_where_they_are() {
    let message = accepted("From: b@y.z\r\nSubject: plain\r\n\r\nGrüße\r\n");
    assert!(message.is_eight_bit() && !message.has_utf8_header);
    let message = accepted("From: b@y.z\r\nSubject: Grüße\r\n\r\nplain\r\n");
    assert!(message.is_eight_bit() && message.has_utf8_header);
    assert_eq!(message.subject, "Grüße");
    // Latin-1 in a header is against the rules, but travels.
    let message = accept(b"From: J\xf6rg <b@y.z>\r\n\r\n", &[], &identity()).unwrap();
    assert_eq!(message.from_text(), "J\u{fffd}rg <b@y.z>");
}

#[test]
fn attachments_are_told() {
    let given = "From: b@y.z\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain\r\n\r\nHi\r\n\
        --b\r\nContent-Type: Text/CSV\r\nContent-Disposition: attachment;\r\n filename*=UTF-8''vedh%C3%A6ftet%20fil.csv\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nMSwyCg==\r\n\
        --b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nx\r\n\
        --b\r\nContent-Type: multipart/related; boundary=\"b b\"\r\n\r\n--b b\r\n\r\ntext\r\n\
        --b b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\n=41=\r\nB\r\nC\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nFrom: x\r\n\r\nHi\r\n--b--\r\nepilogue\r\n";
    let shown: Vec<_> = accepted(given).attachments.into_iter().map(|a| (a.filename, a.content_type, a.size)).collect();
    let want = [
        ("vedhæftet fil.csv", "text/csv", 4),
        ("a.pdf", "application/pdf", 1),
        ("", "image/png", 5),
        ("", "message/rfc822", 13),
    ];
    assert_eq!(shown, want.map(|(name, kind, size)| (name.to_owned(), kind.to_owned(), size)));
}

#[test]
fn what_we_compose_we_accept_unchanged() {
    let mut draft = crate::Draft::new("Jörg <j@y.z>".parse().unwrap(), "Grüße");
    draft.text = Some("text".to_owned());
    draft.html = Some("<p>html".to_owned());
    let file = |name: &str, kind: &str| crate::Attachment {
        filename: name.to_owned(),
        content_type: kind.to_owned(),
        bytes: b"1,2".to_vec(),
    };
    draft.attachments.push(file("ä.csv", "text/csv"));
    draft.inline.push(file("i.png", "image/png"));
    let mut composed = crate::compose(&draft, &identity()).unwrap();
    let mut accepted = accept(&composed.content, &[], &identity()).unwrap();
    composed.attachments.sort_by(|a, b| a.filename.cmp(&b.filename));
    accepted.attachments.sort_by(|a, b| a.filename.cmp(&b.filename));
    assert_eq!(accepted, composed);
}

#[test]
fn hostile_structure_costs_little() {
    let part = |i: usize| format!("--{i}\r\nContent-Type: multipart/mixed; boundary={}\r\n\r\n", i + 1);
    let nested: String = (0..3000).map(part).collect();
    let mixed = format!("From: b@y.z\r\nContent-Type: multipart/mixed; boundary=0\r\n\r\n{nested}");
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(3000);
    let many = format!(
        "From: b@y.z\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}",
        "--b\r\nContent-Type: image/png\r\n\r\nx\r\n".repeat(3000)
    );
    accepted(&mixed);
    let missing: String =
        (0..30_000).map(|i| format!("--b\r\nContent-Type: multipart/mixed; boundary=x{i}\r\n\r\n")).collect();
    accepted(&format!("From: b@y.z\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{missing}"));
    accepted(&format!("From: b@y.z\r\n{messages}"));
    assert_eq!(accepted(&many).attachments.len(), ATTACHMENTS);
}
