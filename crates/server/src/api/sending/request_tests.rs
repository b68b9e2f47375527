use policy::tls::TlsSettings;
use serde_json::json;

use super::*;
use crate::api::http::form::File;
use crate::api::limits::OPTIONS_OCTETS;
use crate::tracking::Wanted;

/// Sat, 01 Jan 2022 00:00:00 GMT.
const NOW: i64 = 1_640_995_200_000_000;
const GOOD: [(&str, &str); 3] = [("from", "a@example.com"), ("to", "b@example.net"), ("text", "hello")];

fn send(fields: &[(&str, &str)]) -> Result<SendRequest, ApiError> {
    send_fields(fields.iter().map(|(name, value)| Field::text(*name, *value)).collect())
}

fn send_fields(fields: Vec<Field>) -> Result<SendRequest, ApiError> {
    SendRequest::parse(&Form::of(fields), None, NOW)
}

/// The good request with one more field.
fn with(name: &str, value: &str) -> Result<SendRequest, ApiError> {
    send(&[&GOOD[..], &[(name, value)]].concat())
}

fn file(name: &str, filename: &str, content: &str) -> Field {
    let file = File { filename: filename.to_owned(), content_type: "text/csv".to_owned() };
    Field { file: Some(file), ..Field::text(name, content) }
}

fn mime(fields: &[(&str, &str)]) -> Result<MimeRequest, ApiError> {
    MimeRequest::parse(&Form::of(fields.iter().map(|(name, value)| Field::text(*name, *value)).collect()), NOW)
}

fn texts(addresses: &[Address]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn all_parts_of_a_message_are_read() {
    let mut fields: Vec<Field> = [
        ("from", "Jörg <joerg@example.com>"),
        ("to", "b@example.net,C <c@example.net>"),
        ("to", "d@example.net"),
        ("cc", "e@example.net"),
        ("bcc", "f@example.net"),
        ("subject", "Grüße"),
        ("text", "hello"),
        ("html", "<p>hello"),
        ("amp-html", "<html amp4email>"),
        ("h:Reply-To", "r@example.com"),
        ("v:id", "7"),
        ("o:tag", "one"),
        ("o:tag", "ONE"),
        ("o:tag", "two"),
        ("X-unknown", "passed over"),
    ]
    .map(|(name, value)| Field::text(name, value))
    .into();
    fields.extend([file("attachment", "a.csv", "1,2"), file("inline", "b.png", "png"), file("attachment", "", "")]);
    let request = send_fields(fields).unwrap();
    assert_eq!(Mailbox::join_list(&request.from), "Jörg <joerg@example.com>");
    assert_eq!(Mailbox::join_list(&request.to), "b@example.net, C <c@example.net>, d@example.net");
    assert_eq!(Mailbox::join_list(&request.cc), "e@example.net");
    let recipients = ["b@example.net", "c@example.net", "d@example.net", "e@example.net", "f@example.net"];
    assert_eq!(texts(&request.recipients.addresses), recipients);
    assert_eq!(request.subject, "Grüße");
    assert_eq!(request.text.as_deref(), Some("hello"));
    assert_eq!(request.html.as_deref(), Some("<p>hello"));
    assert_eq!(request.amp_html.as_deref(), Some("<html amp4email>"));
    let names = |files: &[Attachment]| files.iter().map(|file| file.filename.clone()).collect::<Vec<_>>();
    assert_eq!(names(&request.attachments), ["a.csv"]);
    assert_eq!(names(&request.inline), ["b.png"]);
    assert_eq!(request.options.headers, [("Reply-To".to_owned(), "r@example.com".to_owned())]);
    assert_eq!(serde_json::Value::from(request.options.variables), json!({ "id": "7" }));
    assert_eq!(request.options.tags, ["one", "two"]);
}

#[test]
fn recipients_are_named_once() {
    let request = send(&[
        ("from", "a@example.com"),
        ("to", "b@Example.NET, b@example.net"),
        ("cc", "B@example.net"),
        ("bcc", "b@EXAMPLE.net, <b@example.net>"),
        ("text", "x"),
    ]);
    // Only its own host knows whether B is b (RFC 5321 §2.4).
    assert_eq!(texts(&request.unwrap().recipients.addresses), ["b@example.net", "B@example.net"]);
}

#[test]
fn bad_messages_are_refused_by_name() {
    let missing_text = "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified";
    let not_an_address = |name: &str| format!("{name} parameter is not a valid address. please check documentation");
    let without = |name: &str| GOOD.into_iter().filter(|(other, _)| *other != name).collect::<Vec<_>>();
    let replaced = |name: &'static str, value: &'static str| [without(name), vec![(name, value)]].concat();
    for (fields, message) in [
        (vec![], "from parameter is missing".to_owned()),
        (without("from"), "from parameter is missing".to_owned()),
        (replaced("from", ""), "from parameter is missing".to_owned()),
        (without("to"), "to parameter is missing".to_owned()),
        (replaced("to", " "), "to parameter is missing".to_owned()),
        (without("text"), missing_text.to_owned()),
        (replaced("text", ""), missing_text.to_owned()),
        (replaced("from", "bob"), not_an_address("from")),
        (replaced("from", "a@example.com, b"), not_an_address("from")),
        (replaced("from", "a@example.com\r\nBcc: x@example.com"), not_an_address("from")),
        (replaced("to", "b@example.net, nobody"), not_an_address("to")),
        (replaced("to", "b@example.net\nRCPT TO:<x@example.com>"), not_an_address("to")),
        (replaced("to", "\"a\r\n\" <b@example.net>"), not_an_address("to")),
        (replaced("cc", "@"), not_an_address("cc")),
        (replaced("bcc", "b@"), not_an_address("bcc")),
    ] {
        assert_eq!(send(&fields).unwrap_err().message(), message, "{fields:?}");
    }
}

#[test]
fn several_authors_are_one_list() {
    let without = GOOD.into_iter().filter(|(name, _)| *name != "from");
    let several = [
        ("from", "A <a@example.com>, b@example.com"),
        ("from", ""),
        ("from", "a@example.com"),
        ("from", "c@example.com"),
    ];
    let request = send(&several.into_iter().chain(without).collect::<Vec<_>>()).unwrap();
    assert_eq!(Mailbox::join_list(&request.from), "A <a@example.com>, b@example.com, c@example.com");
}

#[test]
fn bad_fields_are_refused_by_name() {
    let size = "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total";
    let big = "x".repeat(OPTIONS_OCTETS);
    let tag = "t".repeat(129);
    for (name, value, message) in [
        ("from", "c", "from parameter is not a valid address. please check documentation"),
        ("subject", "", ""),
        ("attachment", "text", "'attachment' parameter is not a file"),
        ("inline", "text", "'inline' parameter is not a file"),
        ("template", "", ""),
        ("recipient-variables", "", "'recipient-variables' parameter is not a valid JSON"),
        ("recipient-variables", "[]", "'recipient-variables' parameter is not a valid JSON"),
        ("recipient-variables", "{\"a@b.example\": 1}", "'recipient-variables' parameter is not a valid JSON"),
        ("h:X-Mailgun-Recipient-Variables", "x", "'h:X-Mailgun-Recipient-Variables' parameter is not a valid JSON"),
        ("t:version", "2", "parameters starting with t: need a 'template'"),
        ("t:variables", "{}", "parameters starting with t: need a 'template'"),
        ("t:variables", "[]", "'t:variables' parameter is not a valid JSON"),
        ("t:text", "maybe", "'t:text' must be one of: yes, no, true, false"),
        ("t:variables", "", ""),
        ("t:unheard-of", "1", "'t:unheard-of' is not supported yet"),
        ("o:requiretls", "yes", "'o:requiretls' is not an option"),
        ("o:require_tls", "yes", "'o:require_tls' is not an option"),
        ("o:", "yes", "'o:' is not an option"),
        ("require-tls", "yes", "'require-tls' is not a parameter; write o:require-tls or o:skip-verification"),
        (
            "skip_verification",
            "1",
            "'skip_verification' is not a parameter; write o:require-tls or o:skip-verification",
        ),
        ("o-require-tls", "1", "'o-require-tls' is not a parameter; write o:require-tls or o:skip-verification"),
        ("ｏ：require‑tls", "yes", "'ｏ：require‑tls' is not a parameter; write o:require-tls or o:skip-verification"),
        ("force_tls", "yes", "'force_tls' is not a parameter; write o:require-tls or o:skip-verification"),
        ("skip-verify", "yes", "'skip-verify' is not a parameter; write o:require-tls or o:skip-verification"),
        ("h:Require-TLS", "yes", "'h:Require-TLS' would have no effect; write o:require-tls or o:skip-verification"),
        (
            "h:X_Mailgun_Skip_Verification",
            "no",
            "'h:X_Mailgun_Skip_Verification' would have no effect; write o:require-tls or o:skip-verification",
        ),
        ("o:deliverytime", "tomorrow", "tomorrow is not an RFC-2822 compliant date"),
        ("o:deliverytime", "", " is not an RFC-2822 compliant date"),
        ("o:deliverytime", "1641600001", "o:deliverytime is more than 7 days ahead"),
        ("o:deliverytime", "1641600000", ""),
        ("o:tag", "", "o:tag must be printable ASCII and not empty"),
        ("o:tag", "grün", "o:tag must be printable ASCII and not empty"),
        ("o:tag", "a\nb", "o:tag must be printable ASCII and not empty"),
        ("o:tag", &tag, "o:tag is longer than 128 characters"),
        ("h:", "x", "'h:' has no header name"),
        ("h:Größe", "x", "Header name must be pure ASCII: Größe"),
        ("h:X-Mailgun-Sending-Ip", "x", "'X-Mailgun-Sending-Ip' is not supported yet"),
        ("h:X-Mailgun-Unheard-Of", "x", "'X-Mailgun-Unheard-Of' is not supported yet"),
        ("h:X-Mailgun-Require-TLS", "1", "'X-Mailgun-Require-TLS' must be one of: yes, no, true, false"),
        ("h:X-Mailgun-Variables", "[1]", "X-Mailgun-Variables is not a valid JSON object"),
        ("v:", "x", "'v:' has no variable name"),
        ("v:big", &big, size),
        ("h:big", &big, size),
        ("o:big", &big, size),
    ] {
        let got = with(name, value).err().map(|error| error.message().to_owned()).unwrap_or_default();
        assert_eq!(got, message, "{name}={value}");
    }
    let tags: Vec<(String, String)> = (0..11).map(|n| ("o:tag".to_owned(), n.to_string())).collect();
    let tags: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let error = send(&[&GOOD[..], &tags[..]].concat()).unwrap_err();
    assert_eq!(error.message(), "o:tag is given too often, max is 10");
    let error = send_fields(vec![file("attachments", "a.csv", "1,2")]).unwrap_err();
    assert_eq!(error.message(), "'attachments' is not a parameter that takes a file");
}

#[test]
fn what_is_tracked_is_said_by_options_and_headers() {
    use store::tracking::TrackedLinks::{All, Html, None as No};
    let wanted = |name: &str, value: &str| with(name, value).unwrap().options.tracking;
    for (value, links) in [("yes", All), ("True", All), ("no", No), ("FALSE", No), ("HtmlOnly", Html)] {
        for name in ["o:tracking", "h:X-Mailgun-Track"] {
            assert_eq!(wanted(name, value), Wanted { all: Some(links), ..Wanted::default() }, "{name}={value}");
        }
        for name in ["o:tracking-clicks", "h:X-Mailgun-Track-Clicks"] {
            assert_eq!(wanted(name, value), Wanted { clicks: Some(links), ..Wanted::default() }, "{name}={value}");
        }
        let at_top = Wanted { at_top: Some(links != No), ..Wanted::default() };
        assert_eq!(wanted("o:tracking-pixel-location-top", value), at_top, "{value}");
    }
    assert_eq!(wanted("o:tracking-opens", "yes"), Wanted { opens: Some(true), ..Wanted::default() });
    for (name, value, end) in [
        ("o:tracking", "", "yes, no, true, false, htmlonly"),
        ("o:tracking-clicks", "1", "yes, no, true, false, htmlonly"),
        ("o:tracking-opens", "htmlonly", "yes, no, true, false"),
    ] {
        let message = format!("'{name}' must be one of: {end}");
        assert_eq!(with(name, value).unwrap_err().message(), message, "{name}={value}");
    }
}

#[test]
fn options_of_later_versions_are_refused() {
    for name in [
        "o:secondary-dkim",
        "o:secondary-dkim-public",
        "o:deliverytime-optimize-period",
        "o:time-zone-localize",
        "o:sending-ip",
        "o:sending-ip-pool",
        "o:archive-to",
        "o:suppress-headers",
    ] {
        assert_eq!(with(name, "x").unwrap_err().message(), format!("'{name}' is not supported yet"));
    }
}

#[test]
fn switches_have_four_spellings_in_any_case() {
    type Read = fn(Options) -> Option<bool>;
    let fields: [(&str, Read); 4] = [
        ("o:dkim", |options| options.dkim),
        ("o:require-tls", |options| options.tls.require_tls),
        ("o:skip-verification", |options| options.tls.skip_verification),
        ("o:testmode", |options| options.test_mode),
    ];
    for (name, read) in fields {
        for (value, expected) in
            [("yes", true), ("True", true), ("YES", true), ("no", false), ("False", false), (" no ", false)]
        {
            assert_eq!(read(with(name, value).unwrap().options), Some(expected), "{name}={value}");
            let upper = name.to_ascii_uppercase();
            assert_eq!(read(with(&upper, value).unwrap().options), Some(expected), "{upper}={value}");
        }
        for value in ["", "1", "0", "on", "y", "htmlonly", "yes no", "ja"] {
            let message = format!("'{name}' must be one of: yes, no, true, false");
            assert_eq!(with(name, value).unwrap_err().message(), message, "{name}={value}");
        }
        assert_eq!(read(send(&GOOD).unwrap().options), None);
        let twice = |second| send(&[&GOOD[..], &[(name, "yes"), (name, second)]].concat());
        assert_eq!(read(twice("True").unwrap().options), Some(true));
        let message = format!("'{name}' is given more than once, with different values");
        assert_eq!(twice("no").unwrap_err().message(), message);
    }
}

#[test]
fn headers_that_are_options_mean_the_same() {
    let request = send(
        &[
            &GOOD[..],
            &[
                ("h:X-Mailgun-Require-TLS", "yes"),
                ("h:x-mailgun-skip-verification", "no"),
                ("h:X-Mailgun-Drop-Message", "yes"),
                ("h:X-Mailgun-Tag", "one"),
                ("h:X-Mailgun-Variables", "{\"a\": \"1\", \"b\": 2}"),
                ("v:a", "1"),
                ("h:X-Own", "kept"),
                ("h:X-Mailgun-Sid", "kept too"),
            ],
        ]
        .concat(),
    );
    let options = request.unwrap().options;
    assert_eq!(
        options.tls,
        TlsSettings { require_tls: Some(true), skip_verification: Some(false), ..TlsSettings::default() }
    );
    assert_eq!(options.test_mode, Some(true));
    assert_eq!(options.tags, ["one"]);
    assert_eq!(serde_json::Value::from(options.variables), json!({ "a": "1", "b": "2" }));
    let kept = [("X-Own", "kept"), ("X-Mailgun-Sid", "kept too")];
    assert_eq!(options.headers, kept.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let error = send(&[&GOOD[..], &[("o:require-tls", "yes"), ("h:X-Mailgun-Require-TLS", "no")]].concat());
    let message = "'X-Mailgun-Require-TLS' is given more than once, with different values";
    assert_eq!(error.unwrap_err().message(), message);
}

#[test]
fn delivery_times_are_dates_or_epochs_and_the_past_is_now() {
    let at = |value| with("o:deliverytime", value).unwrap().options.deliver_at;
    assert_eq!(at("Sat, 01 Jan 2022 01:00:00 GMT"), Some(NOW + 3_600_000_000));
    assert_eq!(at("Sat, 01 Jan 2022 03:00:00 +0200"), Some(NOW + 3_600_000_000));
    assert_eq!(at("1640998800.5"), Some(NOW + 3_600_500_000));
    assert_eq!(at("Fri, 31 Dec 2021 23:00:00 GMT"), None);
    assert_eq!(at("1640995200"), None);
}

#[test]
fn a_thousand_recipients_and_no_more() {
    let list = |count: usize| (0..count).map(|n| format!("u{n}@example.net")).collect::<Vec<_>>();
    let send = |to: &[String], cc: &[String]| {
        let fields = [("from", "a@example.com".to_owned()), ("text", "x".to_owned())];
        let fields = fields.into_iter().chain(to.iter().map(|to| ("to", to.clone())));
        let fields = fields.chain([("cc", cc.join(","))]).map(|(name, value)| Field::text(name, value));
        send_fields(fields.collect())
    };
    assert_eq!(send(&list(1000), &list(1000)).unwrap().recipients.addresses.len(), 1000);
    let too_many = "Too many recipients, max is 1000";
    assert_eq!(send(&list(1001), &[]).unwrap_err().message(), too_many);
    assert_eq!(send(&list(1), &list(1001)).unwrap_err().message(), too_many);
    assert_eq!(send(&list(999), &["x@example.net, y@example.net".to_owned()]).unwrap_err().message(), too_many);
}

#[test]
fn fields_may_be_numbered() {
    let request = send(&[
        ("from", "a@example.com"),
        ("to[0]", "b@example.net"),
        ("to[1]", "c@example.net"),
        ("text", "x"),
        ("o:tag[]", "one"),
        ("o:tag[1]", "two"),
    ]);
    let request = request.unwrap();
    assert_eq!(texts(&request.recipients.addresses), ["b@example.net", "c@example.net"]);
    assert_eq!(request.options.tags, ["one", "two"]);
}

#[test]
fn whole_messages_come_as_files_or_as_fields() {
    let message = "From: a@example.com\r\nX-Mailgun-Require-TLS: yes\r\n\r\nhello\r\n";
    let as_field = mime(&[("to", "b@example.net, B@example.net, b@EXAMPLE.net"), ("message", message)]).unwrap();
    let to = Field::text("to", "b@example.net, B@example.net");
    let as_file = MimeRequest::parse(&Form::of(vec![to, file("message", "MimeMessage", message)]), NOW).unwrap();
    assert_eq!(as_field, as_file);
    assert_eq!(as_file.message, message);
    assert_eq!(texts(&as_file.recipients.addresses), ["b@example.net", "B@example.net"]);
    assert_eq!(as_file.options.tls.require_tls, Some(true));
}

#[test]
fn bad_whole_messages_are_refused_by_name() {
    let message = "From: a@example.com\r\n\r\nhello\r\n";
    let with_option = "From: a@example.com\r\nX-Mailgun-Skip-Verification: maybe\r\n\r\nhello\r\n";
    let with_much =
        format!("From: a@example.com\r\nX-Mailgun-Variables: {{\"a\":\"{}\"}}\r\n\r\n", "x".repeat(16 * 1024));
    let with_later = "From: a@example.com\r\nX-Mailgun-Sending-Ip: 192.0.2.1\r\n\r\nhello\r\n";
    let to = ("to", "b@example.net");
    for (fields, expected) in [
        (vec![("message", message)], "to parameter is missing"),
        (vec![to], "message parameter is missing"),
        (vec![to, ("message", "")], "message parameter is missing"),
        (vec![("to", "b"), ("message", message)], "to parameter is not a valid address. please check documentation"),
        (vec![to, ("message", message), ("o:testmode", "1")], "'o:testmode' must be one of: yes, no, true, false"),
        (vec![to, ("message", message), ("o:x", "1")], "'o:x' is not an option"),
        (
            vec![to, ("message", message), ("cc", "c@example.net")],
            "'cc' parameter has no place in messages.mime: 'to' names every recipient",
        ),
        (vec![to, ("message", with_option)], "'X-Mailgun-Skip-Verification' must be one of: yes, no, true, false"),
        (vec![to, ("message", with_later)], "'X-Mailgun-Sending-Ip' is not supported yet"),
        (
            vec![to, ("message", &with_much)],
            "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total",
        ),
        (
            vec![to, ("message", "X-Mailgun-Require-TLS: no\r\n\r\n"), ("o:require-tls", "yes")],
            "'X-Mailgun-Require-TLS' is given more than once, with different values",
        ),
    ] {
        assert_eq!(mime(&fields).unwrap_err().message(), expected, "{fields:?}");
    }
}

#[test]
fn what_rfc_8689_knows_is_asked_for_by_option_or_header() {
    use policy::tls::TlsTag;
    let tag = |fields: &[(&str, &str)]| send(&[&GOOD[..], fields].concat()).unwrap().options.tls.tag;
    for (fields, expected) in [
        (&[("o:tls-end-to-end", "yes")][..], Some(TlsTag::Requiretls)),
        (&[("o:tls-end-to-end", "no")], None),
        (&[("h:X-Mailgun-TLS-End-To-End", "yes")], Some(TlsTag::Requiretls)),
        (&[("o:tls-required", "No")], Some(TlsTag::NotRequired)),
        (&[("h:TLS-Required", "no")], Some(TlsTag::NotRequired)),
        // REQUIRETLS beats the header.
        (&[("h:tls-required", "No"), ("o:tls-end-to-end", "true")], Some(TlsTag::Requiretls)),
    ] {
        assert_eq!(tag(fields), expected, "{fields:?}");
    }
    for field in ["o:tls-required", "h:TLS-Required"] {
        assert!(send(&[&GOOD[..], &[(field, "yes")]].concat()).is_err(), "{field}");
    }
}

#[test]
fn a_window_is_hours_and_minutes() {
    let within = |window| with("o:deliver-within", window).map(|request| request.options.expires_at.unwrap() - NOW);
    for (window, minutes) in
        [("5m", 5), ("30m", 30), ("2h", 120), ("1h30m", 90), ("0h5m", 5), ("24H0M", 1440), (" 1h ", 60)]
    {
        assert_eq!(within(window).unwrap(), minutes * 60_000_000, "{window}");
    }
    for window in ["", "4m", "0h4m", "24h1m", "1h30", "h", "m", "-1h", "1.5h", "90", "99999h", "1m1h", "+5m"] {
        let message = "'o:deliver-within' must be a time like 1h30m, from 5m to 24h";
        assert_eq!(within(window).unwrap_err().message(), message, "{window}");
    }
    let later = send(&[&GOOD[..], &[("o:deliver-within", "5m"), ("o:deliverytime", "1640998800")]].concat()).unwrap();
    assert_eq!(later.options.expires_at, Some(NOW + 3_600_000_000 + 300_000_000), "it begins with the delivery time");
}

#[test]
fn with_variables_each_recipient_has_a_copy_and_the_others_get_it_too() {
    let to = "A <a@example.net>, b@example.net, a@Example.net";
    let request = send(&[
        ("from", "s@example.com"),
        ("to", to),
        ("cc", "c@example.net, b@example.net"),
        ("bcc", "d@example.net"),
        ("text", "x"),
        ("recipient-variables", "{}"),
    ]);
    let recipients = request.unwrap().recipients;
    let copies_of = recipients.copies_of.unwrap();
    let told: Vec<String> =
        recipients.addresses.iter().zip(&copies_of).map(|(to, of)| format!("{to} of {of}")).collect();
    let expected = [
        "a@example.net of A <a@example.net>",
        "c@example.net of A <a@example.net>",
        "b@example.net of A <a@example.net>",
        "d@example.net of A <a@example.net>",
        "b@example.net of b@example.net",
        "c@example.net of b@example.net",
        "d@example.net of b@example.net",
    ];
    assert_eq!(told, expected);

    let list = |count: usize| (0..count).map(|n| format!("u{n}@example.net")).collect::<Vec<_>>().join(",");
    let send = |to: usize, cc: &str| {
        let fields =
            [("from", "a@example.com"), ("text", "x"), ("to", &list(to)), ("cc", cc), ("recipient-variables", "{}")];
        send(&fields).map(|request| request.recipients.addresses.len())
    };
    assert_eq!(send(1000, "").unwrap(), 1000);
    assert_eq!(send(500, "c@example.net").unwrap(), 1000);
    assert_eq!(send(501, "c@example.net").unwrap_err().message(), "Too many recipients, max is 1000");
}

#[test]
fn variables_are_no_options_and_come_by_header_too() {
    let long = format!("{{\"b@example.net\": {{\"x\": \"{}\"}}}}", "y".repeat(50_000));
    for name in ["recipient-variables", "h:X-Mailgun-Recipient-Variables", "h:x-mailgun-recipient-variables"] {
        let request = with(name, &long).unwrap();
        assert!(request.options.recipient_variables.is_some() && request.options.headers.is_empty(), "{name}");
    }
    let message = "From: a@example.com\r\nX-Mailgun-Recipient-Variables: {\"b@example.net\":\r\n {}}\r\n\r\nx\r\n";
    let request = mime(&[("to", "b@example.net"), ("message", message)]).unwrap();
    assert!(request.recipients.copies_of.is_some());
    let request =
        mime(&[("to", "b@example.net"), ("message", message), ("recipient-variables", "{\"b@example.net\": {}}")]);
    assert!(request.is_ok());
    let twice = [("to", "b@example.net"), ("message", message), ("recipient-variables", "{}")];
    assert!(mime(&twice).unwrap_err().message().contains("more than once"));
}

#[test]
fn templates_see_json_where_events_see_text() {
    let variables = "{\"a\": [1, 2], \"b\": {\"c\": true}, \"d\": \"[x\"}";
    let request = send(&[&GOOD[..], &[("h:X-Mailgun-Variables", variables), ("v:e", "[3]"), ("v:f", "7")]].concat());
    let options = request.unwrap().options;
    let expected = json!({ "a": [1, 2], "b": { "c": true }, "d": "[x", "e": [3], "f": "7" });
    assert_eq!(serde_json::Value::from(options.template_variables), expected);
    let expected = json!({ "a": "[1,2]", "b": "{\"c\":true}", "d": "[x", "e": "[3]", "f": "7" });
    assert_eq!(serde_json::Value::from(options.variables), expected);
}
