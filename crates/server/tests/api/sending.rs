//! Sending: what is accepted, what is refused, and what is kept of each.

use std::time::Duration;

use policy::tls::TlsSettings;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Server, content, file, send};

const NO_TRACKING: &str = "tracking is not possible here: neither 'tracking_url' nor 'public_url' is configured";

#[tokio::test]
async fn a_message_is_kept_before_it_is_promised() {
    let server = Server::start().await;
    let answer = server.send(&[("to", "B <b@example.net>, c@example.org"), ("bcc", "b@Example.NET")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.content_type, "application/json");
    assert_eq!(answer.json["message"], "Queued. Thank you.");
    let id = answer.json["id"].as_str().unwrap();
    assert!(id.starts_with('<') && id.ends_with("@example.com>"), "{id}");
    tokio::time::timeout(Duration::from_secs(5), server.wake.notified()).await.unwrap();

    let jobs = server.claim().await;
    let mut recipients: Vec<String> =
        jobs.iter().flat_map(|job| &job.recipients).map(|recipient| recipient.address.to_string()).collect();
    recipients.sort();
    assert_eq!(recipients, ["b@example.net", "c@example.org"]);
    assert_eq!(jobs[0].return_path, "a@example.com");
    assert_eq!(format!("<{}>", jobs[0].message_id), id);
    let content = content(&server, &jobs[0]).await;
    assert!(content.contains("\r\nTo: \"B\" <b@example.net>, <c@example.org>\r\n"), "{content}");
    assert!(!content.to_ascii_lowercase().contains("bcc"), "{content}");

    let events = server.events("").await;
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!(event["event"], "accepted");
        assert_eq!(event["envelope"]["sender"], "a@example.com");
        assert_eq!(event["message"]["headers"]["message-id"], id.trim_matches(['<', '>']));
        assert_eq!(event["originating-ip"], "127.0.0.1");
    }
}

#[tokio::test]
async fn multipart_carries_files_headers_and_variables() {
    let server = Server::start().await;
    let form = Form::new()
        .text("from", "Jörg <joerg@example.com>")
        .text("to", "b@example.net")
        .text("to", "c@example.net")
        .text("subject", "Grüße")
        .text("html", "<img src=\"cid:logo.png\">")
        .part("attachment", file("vedhæftet fil.csv", "text/csv", "1,2\n"))
        .part("attachment", file("b.bin", "application/octet-stream", [0, 255, 13]))
        .part("inline", file("logo.png", "image/png", "png"))
        .text("h:Reply-To", "r@example.com")
        .text("h:X-Own", "own")
        .text("v:my_id", "Ω 7")
        .text("o:tag", "one")
        .text("o:tag", "two");
    let answer = server.post_multipart("/v3/example.com/messages", form).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let event = server.events("").await.remove(0);
    assert_eq!(event["user-variables"], json!({ "my_id": "Ω 7" }));
    assert_eq!(event["tags"], json!(["one", "two"]));
    assert_eq!(event["message"]["headers"]["subject"], "Grüße");
    assert_eq!(event["message"]["headers"]["from"], "Jörg <joerg@example.com>");
    let files = &event["message"]["attachments"];
    assert_eq!((&files[0]["filename"], &files[1]["filename"]), (&json!("logo.png"), &json!("vedhæftet fil.csv")));
    assert_eq!(files[1]["size"], 4);
    let content = content(&server, &server.claim().await[0]).await;
    assert!(content.contains("\r\nX-Own: own\r\n"), "{content}");
    assert!(content.contains("\r\nReply-To: "), "{content}");
    assert!(content.contains("\r\nX-Mailgun-Variables: {\"my_id\": \"\\u03a9 7\"}\r\n"), "{content}");
    assert_eq!(event["message"]["size"], content.len());
}

#[tokio::test]
async fn message_settings_beat_domain_settings_in_both_directions() {
    let server = Server::start().await;
    for (domain, tls) in [("true.example", Some(true)), ("false.example", Some(false)), ("unset.example", None)] {
        server
            .add_domain(domain, TlsSettings { require_tls: tls, skip_verification: tls, ..TlsSettings::default() })
            .await;
        for (message, value) in [(None, ""), (Some(true), "yes"), (Some(false), "no")] {
            for (field, name) in [("o:require-tls", "require-tls"), ("o:skip-verification", "skip-verification")] {
                let fields = if message.is_some() { vec![(field, value)] } else { vec![] };
                let answer = server.send_for(domain, &fields).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                let job = server.claim().await.remove(0);
                let policy = job.tls.policy;
                let (this, other) = match name {
                    "require-tls" => (policy.require_tls(), policy.skip_verification()),
                    _ => (policy.skip_verification(), policy.require_tls()),
                };
                let case = format!("domain {tls:?}, message {message:?}, {field}");
                assert_eq!(this, message.or(tls).unwrap_or(false), "{case}");
                assert_eq!(other, tls.unwrap_or(false), "{case}");

                let events = server.get(&format!("/v3/{domain}/events?limit=1")).await.json;
                let settings = &events["items"][0]["tls-settings"];
                let from = match (message, tls) {
                    (Some(_), _) => "message",
                    (None, Some(_)) => "domain",
                    (None, None) => "default",
                };
                assert_eq!(settings[name], this, "{case}");
                assert_eq!(settings[format!("{name}-from")], from, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_bad_request_keeps_nothing() {
    let server = Server::start().await;
    let not_an_address = |name: &str| format!("{name} parameter is not a valid address. please check documentation");
    let many = (0..1001).map(|n| format!("u{n}@example.net")).collect::<Vec<_>>().join(",");
    let big = "x".repeat(16 * 1024);
    for (name, value, message) in [
        ("from", "", "from parameter is missing".to_owned()),
        ("to", "", "to parameter is missing".to_owned()),
        ("from", "a", not_an_address("from")),
        ("to", "b@example.net\r\nDATA", not_an_address("to")),
        ("cc", "c@", not_an_address("cc")),
        ("bcc", "c@example.net, ,@", not_an_address("bcc")),
        ("to", &many, "Too many recipients, max is 1000".to_owned()),
        ("text", "", "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified".to_owned()),
        (
            "subject",
            "x\r\nBcc: evil@example.org",
            "Subject must not contain line breaks or other control characters".to_owned(),
        ),
        (
            "h:X-Own",
            "x\r\nBcc: evil@example.org",
            "X-Own must not contain line breaks or other control characters".to_owned(),
        ),
        ("h:X-Own\r\nBcc", "evil@example.org", "Header name must be pure ASCII: X-Own  Bcc".to_owned()),
        ("h:Grüße", "x", "Header name must be pure ASCII: Grüße".to_owned()),
        ("h:Content-Type", "text/plain", "header Content-Type cannot be set".to_owned()),
        ("h:content-transfer-encoding", "8bit", "header content-transfer-encoding cannot be set".to_owned()),
        ("h:MIME-Version", "1.0", "header MIME-Version cannot be set".to_owned()),
        ("h:Bcc", "evil@example.org", "header Bcc cannot be set".to_owned()),
        ("h:Return-Path", "evil@example.org", "header Return-Path cannot be set".to_owned()),
        ("h:X-Mailgun-Require-TLS", "maybe", "'X-Mailgun-Require-TLS' must be one of: yes, no, true, false".to_owned()),
        ("o:require-tls", "maybe", "'o:require-tls' must be one of: yes, no, true, false".to_owned()),
        ("o:skip-verification", "1", "'o:skip-verification' must be one of: yes, no, true, false".to_owned()),
        ("o:testmode", "on", "'o:testmode' must be one of: yes, no, true, false".to_owned()),
        ("o:requiretls", "yes", "'o:requiretls' is not an option".to_owned()),
        ("o:deliverytime", "soon", "soon is not an RFC-2822 compliant date".to_owned()),
        ("o:deliverytime", "99999999999", "o:deliverytime is more than 7 days ahead".to_owned()),
        ("o:tag", "größe", "o:tag must be printable ASCII and not empty".to_owned()),
        ("o:tracking", "yes", NO_TRACKING.to_owned()),
        ("template", "x", "template 'x' not found".to_owned()),
        ("recipient-variables", "{", "'recipient-variables' parameter is not a valid JSON".to_owned()),
        ("v:x", &big, "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total".to_owned()),
        ("attachment", "text", "'attachment' parameter is not a file".to_owned()),
    ] {
        assert_eq!(server.send(&[(name, value)]).await.error(), (400, message.as_str()), "{name}={value}");
    }
    server.assert_nothing_kept("bad requests").await;
}

#[tokio::test]
async fn whole_messages_come_as_files_or_as_fields() {
    let server = Server::start().await;
    let message = "From: \"A\" <a@other.example>\nTo: list@example.net\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\
        Message-ID: <own@other.example>\nBcc: hidden@example.net\n\n.\nhello\n";
    for part in [file("MimeMessage", "message/rfc822", message), Part::text(message)] {
        let form = Form::new().text("to", "b@example.net, c@example.net").part("message", part);
        let form = form.text("o:require-tls", "yes").text("v:x", "1");
        let answer = server.post_multipart("/v3/example.com/messages.mime", form).await;
        assert_eq!(answer.json, json!({ "id": "<own@other.example>", "message": "Queued. Thank you." }));
        let job = server.claim().await.remove(0);
        assert_eq!(job.recipients.len(), 2);
        assert!(job.tls.policy.require_tls());
        assert_eq!(job.return_path, "postmaster@example.com", "the author is not of the sending domain");
        let content = content(&server, &job).await;
        assert!(content.ends_with("\r\n\r\n.\r\nhello\r\n"), "{content}");
        assert!(content.contains("X-Mailgun-Variables: {\"x\": \"1\"}\r\n"), "{content}");
        assert!(!content.contains("hidden@"), "{content}");
        let event = server.events("limit=1").await.remove(0);
        assert_eq!(event["message"]["headers"]["subject"], "Grüße");
        assert_eq!(event["message"]["headers"]["to"], "list@example.net");
    }
}

#[tokio::test]
async fn a_bad_whole_message_keeps_nothing() {
    let server = Server::start().await;
    let good = "From: a@example.com\r\n\r\nhello\r\n";
    for (to, message, expected) in [
        ("", good, "to parameter is missing"),
        ("b@example.net", "", "message parameter is missing"),
        ("b@example.net", "Subject: x\r\n\r\nhello\r\n", "the message has no From"),
        (
            "b@example.net",
            "From: a@example.com\r\nFrom: b@example.com\r\n\r\n",
            "the message has more than one header From",
        ),
        ("b@example.net", "From: a@example.com\r\n\r\nnul\0", "the message has a NUL"),
        (
            "b@example.net",
            "From: a@example.com\r\nX-Mailgun-Require-TLS: x\r\n\r\n",
            "'X-Mailgun-Require-TLS' must be one of: yes, no, true, false",
        ),
    ] {
        let form = Form::new().text("to", to).part("message", file("message", "message/rfc822", message));
        let answer = server.post_multipart("/v3/example.com/messages.mime", form).await;
        assert_eq!(answer.error(), (400, expected), "{message:?}");
    }
    server.assert_nothing_kept("bad whole messages").await;
}

#[tokio::test]
async fn test_mode_delivers_nothing_and_says_so() {
    let server = Server::start().await;
    assert_eq!(server.send(&[("o:testmode", "True")]).await.status, 200);
    assert_eq!(server.store.queued().await.unwrap(), 0);
    let events = server.events("").await;
    assert_eq!(events.len(), 2);
    let delivered = &events[0];
    assert_eq!(delivered["event"], "delivered");
    assert_eq!(delivered["flags"]["is-test-mode"], true);
    assert_eq!(delivered["delivery-status"]["code"], 650);
    for absent in ["tls", "certificate-verified", "mx-host"] {
        assert!(delivered["delivery-status"].get(absent).is_none(), "there was no connection: {delivered}");
    }
}

#[tokio::test]
async fn a_delivery_time_holds_a_message_back() {
    let server = Server::start().await;
    let hour_ahead = (store::Timestamp::now() + Duration::from_secs(3600)).as_micros() / 1_000_000;
    assert_eq!(server.send(&[("o:deliverytime", &hour_ahead.to_string())]).await.status, 200);
    assert_eq!(server.store.queued().await.unwrap(), 1);
    assert_eq!(server.claim().await.len(), 0);
    assert_eq!(server.events("").await[0]["message"]["scheduled-for"], hour_ahead);
    // What has passed is now.
    let past = ("o:deliverytime", "Fri, 14 Oct 2011 23:10:10 +0000");
    assert_eq!(server.send(&[past]).await.status, 200);
    assert_eq!(server.claim().await.len(), 1);
}

#[tokio::test]
async fn sizes_have_limits() {
    let server = Server::start().await;
    let path = "/v3/example.com/messages";
    let form = |size: usize, count: usize| {
        let form = Form::new().text("from", "a@example.com").text("to", "b@example.net").text("text", "x");
        (0..count).fold(form, |form, _| form.part("attachment", file("a.bin", "application/x-own", vec![b'x'; size])))
    };
    // Two such files fit a request, but not, in base64, a message.
    let answer = server.post_multipart(path, form(10 << 20, 2)).await;
    assert_eq!(answer.error(), (413, "message size exceeds 25MiB limit"));
    let answer = server.post_multipart(path, form(26 << 20, 1)).await;
    assert_eq!(answer.error(), (413, "message size exceeds 25MiB limit"));
    let answer = server.post_multipart(path, form(0, 201)).await;
    assert_eq!(answer.error(), (400, "too many files, max is 200"));
    // What is announced too large is refused before it is read.
    let credentials = "YXBpOmtleS0wMTIzNDU2Nzg5YWJjZGVm";
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\nContent-Length: 54945383\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    );
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 512];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("exceeds 52.4MiB limit"), "{answer}");
    server.assert_nothing_kept("too large").await;
    assert_eq!(server.post_multipart(path, form(5 << 20, 1)).await.status, 200);
}

#[tokio::test]
async fn broken_forms_are_told_apart_from_missing_fields() {
    let server = Server::start().await;
    let path = "/v3/example.com/messages";
    let post = |content_type: &str, body: &'static str| {
        send(server.request(Method::POST, path).header("content-type", content_type).body(body))
    };
    let malformed = (400, "malformed multipart/form-data request");
    assert_eq!(post("multipart/form-data; boundary=b", "--b\r\nrubbish").await.error(), malformed);
    assert_eq!(post("multipart/form-data", "x").await.error(), malformed);
    assert_eq!(post("application/x-www-form-urlencoded", "").await.error(), (400, "from parameter is missing"));
    assert_eq!(send(server.request(Method::POST, path)).await.error(), (400, "from parameter is missing"));
    assert_eq!(post("application/json", "{}").await.status, 400);
    let zipped = server.request(Method::POST, path).header("content-encoding", "gzip").body("x");
    assert_eq!(send(zipped).await.error(), (415, "Content-Encoding is not supported"));
    server.assert_nothing_kept("broken forms").await;
}

#[tokio::test]
async fn options_in_the_query_are_refused() {
    let server = Server::start().await;
    let good = [("from", "a@example.com"), ("to", "b@example.net"), ("text", "x"), ("message", "From: a@example.com")];
    for end in ["messages", "messages.mime"] {
        let answer = server.post(&format!("/v3/example.com/{end}?o:require-tls=yes"), &good).await;
        let text = "'o:require-tls' is in the query; parameters belong into the body";
        assert_eq!(answer.error(), (400, text), "{end}");
    }
    server.assert_nothing_kept("options in the query").await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_as_such() {
    let server = Server::start().await;
    let head = "POST /v3/example.com/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YXBpOmtleS0wMTIzNDU2Nzg5YWJjZGVm\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n";
    let good = "from=a@example.com&to=b@example.net&text=x";
    for (head, body) in [
        ("Content-Length: 100\r\n\r\n", good.to_owned()),
        ("Transfer-Encoding: chunked\r\n\r\n", format!("{:x}\r\n{good}\r\n", good.len())),
    ]
    .map(|(framing, body)| (format!("{head}{framing}"), body))
    {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("broken off"), "{answer}");
    }
    server.assert_nothing_kept("half a body").await;
}
