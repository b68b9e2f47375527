//! Events: what they say, and how one finds and pages through them.

use std::time::Duration;

use policy::tls::TlsSettings;
use serde_json::{Value, json};
use store::{AttemptRecord, ConnectionRecord, EventKind, FailureReason, NewEvent, NewState, Severity, Timestamp};

use crate::support::{Answer, Server};

pub(crate) fn attempt(connection: Option<(&str, bool, bool)>) -> AttemptRecord {
    AttemptRecord {
        attempt_no: 1,
        code: 250,
        enhanced_code: Some("2.0.0".parse().unwrap()),
        message: "OK".into(),
        description: String::new(),
        session: Duration::from_millis(437),
        retry_after: None,
        utf8: false,
        connection: connection.map(|(mx_host, tls, certificate_verified)| ConnectionRecord {
            mx_host: mx_host.into(),
            tls,
            certificate_verified,
            sending_ip: Some("192.0.2.1".parse().unwrap()),
        }),
        details: json!({ "version": "TLSv1.3" }),
        last_code: None,
        last_message: None,
    }
}

fn delivered(host: &str, tls: bool, verified: bool) -> NewEvent {
    let attempt = Some(attempt(Some((host, tls, verified))));
    NewEvent { kind: EventKind::Delivered, severity: None, reason: None, attempt }
}

fn failed(severity: Severity, reason: FailureReason, attempt: AttemptRecord) -> NewEvent {
    NewEvent { kind: EventKind::Failed, severity: Some(severity), reason: Some(reason), attempt: Some(attempt) }
}

/// Sends to `to` and records what became of it.
async fn attempted(server: &Server, to: &str, subject: &str, tag: &str, state: NewState, event: NewEvent) {
    let answer = server.send(&[("to", to), ("subject", subject), ("o:tag", tag)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let job = server.claim().await.remove(0);
    server.record(&job.recipients[0], state, event).await;
}

pub(crate) async fn server_with_events() -> Server {
    let server = Server::start().await;
    let later = NewState::Deferred { until: Timestamp::now() + Duration::from_secs(600) };
    let refused = AttemptRecord {
        code: 550,
        enhanced_code: Some("5.1.1".parse().unwrap()),
        message: "5.1.1 no such user".into(),
        last_code: Some(451),
        last_message: Some("4.0.0 later".into()),
        ..attempt(Some(("mx2.example.org", true, false)))
    };
    let unreached = AttemptRecord {
        code: 498,
        enhanced_code: None,
        message: "No MX for [example.net]".into(),
        retry_after: Some(Duration::from_secs(600)),
        details: Value::Null,
        ..attempt(None)
    };
    let to = "verified@example.net";
    attempted(&server, to, "Hello World", "one", NewState::Delivered, delivered("mx1.example.net", true, true)).await;
    let to = "plain@example.net";
    attempted(&server, to, "hello", "two", NewState::Delivered, delivered("mx1.example.net", false, false)).await;
    let event = failed(Severity::Permanent, FailureReason::Bounce, refused);
    attempted(&server, "gone@example.org", "bye", "two", NewState::Failed, event).await;
    let event = failed(Severity::Temporary, FailureReason::Generic, unreached);
    attempted(&server, "later@example.net", "100% \"sure\"", "three", later, event).await;
    server
}

#[tokio::test]
async fn events_tell_how_the_message_travelled() {
    let server = server_with_events().await;
    let event = server.events("event=delivered&recipient=verified@example.net").await.remove(0);
    assert_eq!(event["log-level"], "info");
    assert_eq!(event["method"], "http");
    assert_eq!(event["recipient"], "verified@example.net");
    assert_eq!(event["recipient-domain"], "example.net");
    assert_eq!(event["campaigns"], json!([]));
    assert_eq!(event["user-variables"], json!({}));
    let envelope = json!({
        "sender": "a@example.com",
        "targets": "verified@example.net",
        "transport": "smtp",
        "sending-ip": "192.0.2.1",
    });
    assert_eq!(event["envelope"], envelope);
    let status = json!({
        "tls": true,
        "certificate-verified": true,
        "mx-host": "mx1.example.net",
        "code": 250,
        "enhanced-code": "2.0.0",
        "message": "OK",
        "description": "",
        "attempt-no": 1,
        "session-seconds": 0.437,
        "utf8": false,
        "tls-details": { "version": "TLSv1.3" },
    });
    assert_eq!(event["delivery-status"], status);
    let seconds = event["timestamp"].as_f64().unwrap();
    assert!((Timestamp::now().as_secs_f64() - seconds).abs() < 60.0, "{seconds}");

    let event = server.events("severity=permanent").await.remove(0);
    assert_eq!((&event["log-level"], &event["reason"]), (&json!("error"), &json!("bounce")));
    assert_eq!(event["delivery-status"]["last-code"], 451);
    assert_eq!(event["delivery-status"]["last-message"], "4.0.0 later");
    assert_eq!(event["delivery-status"]["tls"], true);
    assert_eq!(event["delivery-status"]["certificate-verified"], false);
    let event = server.events("event=delivered&recipient=plain@example.net").await.remove(0);
    assert_eq!(event["delivery-status"]["tls"], false);
    assert_eq!(event["delivery-status"]["certificate-verified"], false);

    let event = server.events("severity=temporary").await.remove(0);
    assert_eq!((&event["log-level"], &event["reason"]), (&json!("warn"), &json!("generic")));
    let status = json!({
        "code": 498,
        "message": "No MX for [example.net]",
        "description": "",
        "attempt-no": 1,
        "session-seconds": 0.437,
        "retry-seconds": 600,
        "utf8": false,
    });
    assert_eq!(event["delivery-status"], status, "without a connection nothing is said of TLS");
    assert_eq!(server.events("event=accepted").await[0].get("delivery-status"), None);
}

#[tokio::test]
async fn filters_find_what_they_name() {
    let server = server_with_events().await;
    let (all, accepted) = (8, 4);
    for (query, count) in [
        ("", all),
        ("event=accepted", accepted),
        ("event=delivered OR failed", 4),
        ("event=delivered OR opened OR failed OR unsubscribed OR complained&tags=two", 2),
        ("event=NOT accepted", 4),
        ("event=opened", 0),
        ("severity=temporary", 1),
        ("recipient=verified@example.net", 2),
        ("recipient=VERIFIED@example.net", 2),
        ("recipient=verified@example.ne", 0),
        ("recipient=example.org", 2),
        ("recipients=gone@example.org", 2),
        ("from=a@example.com", all),
        ("to=later", 2),
        ("subject=hello", 4),
        ("subject=hello world", 2),
        ("subject=\"hello world\"", 2),
        ("subject=\"world hello\"", 0),
        ("subject=bye OR world", 4),
        ("subject=NOT hello", 4),
        ("subject=100%25", 2),
        ("subject=\"\\\"sure\\\"\"", 2),
        ("subject=_", 0),
        ("subject=' OR 1=1 --", 0),
        ("tags=two", 4),
        ("tags=TW", 0),
        ("size=>1", all),
        ("size=<1", 0),
        ("size=>1 <100000", all),
        ("attachment=x", 0),
        ("message-id=x@example.com", 0),
        ("tls=yes", 2),
        ("tls=no", 1),
        ("tls=NOT yes", 6),
        ("certificate-verified=true", 1),
        ("certificate-verified=no", 2),
        ("tls=true&certificate-verified=false", 1),
        ("mx-host=mx1.example.net", 2),
        ("mx-host=example.org", 1),
        ("code=550 OR 498", 2),
        ("reason=bounce", 1),
        ("method=http", all),
        ("method=smtp", 0),
        ("event=delivered&tls=yes&recipient=verified@example.net&ascending=yes&pretty=yes&limit=10", 1),
        ("subject=", all),
    ] {
        let query = query.replace('"', "%22").replace(' ', "%20").replace('<', "%3C").replace('>', "%3E");
        assert_eq!(server.events(&query).await.len(), count, "{query}");
    }
    let id = server.events("limit=1").await[0]["message"]["headers"]["message-id"].as_str().unwrap().to_owned();
    for form in [id.clone(), format!("%3C{id}%3E")] {
        assert_eq!(server.events(&format!("message-id={form}")).await.len(), 2, "{form}");
    }
}

#[tokio::test]
async fn bad_queries_are_refused_by_name() {
    let server = Server::start().await;
    let long = format!("subject={}", "a".repeat(1025));
    let longer = format!("subject={}", "a".repeat(5000));
    for (query, message) in [
        ("limit=301", "'limit' must be a number from 1 to 300"),
        ("begin=x", "'begin' is neither an RFC 2822 date nor Unix seconds"),
        ("begin=1", "'ascending' is required when 'begin' is given without 'end'"),
        ("begin=2&end=1&ascending=yes", "'ascending' contradicts the order of 'begin' and 'end'"),
        ("tls=2", "'tls' is not a valid filter expression: '2' is not one of: yes, no, true, false"),
        ("subject=(a", "'subject' is not a valid filter expression: a parenthesis is not closed"),
        ("certificate_verified=no", "'certificate_verified' is not a parameter"),
        ("subject=%zz", "malformed application/x-www-form-urlencoded request"),
        (&long, "'subject' is not a valid filter expression: it is longer than 1024 octets"),
        (&longer, "the query is longer than 4096 octets"),
    ] {
        let answer = server.get(&format!("/v3/example.com/events?{query}")).await;
        assert_eq!(answer.error(), (400, message), "{query}");
    }
    let answer = server.get("/v3/example.com/events/W10").await;
    assert_eq!(answer.error(), (400, "the page token is not valid"));
}

fn link(answer: &Answer, which: &str) -> String {
    answer.json["paging"][which].as_str().unwrap().to_owned()
}

fn recipients(answer: &Answer) -> Vec<String> {
    let items = answer.json["items"].as_array().unwrap();
    items.iter().map(|item| item["recipient"].as_str().unwrap().to_owned()).collect()
}

async fn accept(server: &Server, from: usize, to: usize) -> Vec<String> {
    let recipients: Vec<String> = (from..to).map(|n| format!("u{n}@example.net")).collect();
    assert_eq!(server.send(&[("to", &recipients.join(","))]).await.status, 200);
    recipients
}

#[tokio::test]
async fn pages_lead_through_all_events_while_new_ones_come() {
    let server = Server::start().await;
    let mut expected = accept(&server, 0, 7).await;
    let mut answer = server.get("/v3/example.com/events?ascending=yes&limit=3&event=accepted").await;
    let (mut seen, mut added) = (Vec::new(), 7);
    while answer.json["items"].as_array().is_some_and(|items| !items.is_empty()) {
        for which in ["next", "previous", "first", "last"] {
            let url = link(&answer, which);
            assert!(url.starts_with(&format!("{}/v3/example.com/events/", server.url)), "{url}");
            assert!(!url.contains('?') && !url.ends_with('/'), "{url}");
        }
        seen.extend(recipients(&answer));
        if added < 12 {
            expected.extend(accept(&server, added, added + 2).await);
            added += 2;
        }
        answer = server.get(&link(&answer, "next")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(seen, expected);

    // The end is an empty page, whose next page has whatever comes later.
    let next = link(&answer, "next");
    assert_eq!(recipients(&server.get(&next).await), [""; 0]);
    let new = accept(&server, 100, 102).await;
    assert_eq!(recipients(&server.get(&next).await), new);
    expected.extend(new);

    // Back again, and to both ends.
    let mut back = server.get(&link(&answer, "previous")).await;
    let before_end = expected.len() - 2;
    assert_eq!(recipients(&back), expected[before_end - 3..before_end]);
    back = server.get(&link(&back, "previous")).await;
    assert_eq!(recipients(&back), expected[before_end - 6..before_end - 3]);
    assert_eq!(recipients(&server.get(&link(&back, "first")).await), expected[..3]);
    assert_eq!(recipients(&server.get(&link(&back, "last")).await), expected[expected.len() - 3..]);
}

#[tokio::test]
async fn a_reader_misses_nothing_that_is_written_while_it_reads() {
    const WRITERS: usize = 4;
    const MESSAGES: usize = 12;
    let server = std::sync::Arc::new(Server::start().await);
    let write = |writer: usize| {
        let server = server.clone();
        tokio::spawn(async move {
            for message in 0..MESSAGES {
                let first = writer * 1000 + message * 2;
                accept(&server, first, first + 2).await;
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(write).collect();
    let total = WRITERS * MESSAGES * 2;
    let (mut seen, mut stamps) = (std::collections::HashSet::new(), Vec::new());
    let mut answer = server.get("/v3/example.com/events?ascending=yes&limit=5").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while seen.len() < total && std::time::Instant::now() < deadline {
        for event in answer.json["items"].as_array().unwrap() {
            assert!(seen.insert(event["recipient"].as_str().unwrap().to_owned()), "seen twice: {event}");
            stamps.push(event["timestamp"].as_f64().unwrap());
        }
        answer = server.get(&link(&answer, "next")).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen.len(), total);
    assert!(stamps.is_sorted(), "{stamps:?}");
}

#[tokio::test]
async fn large_events_make_short_pages_and_none_is_missed() {
    let server = Server::start().await;
    let name = "n".repeat(200);
    let mailboxes: Vec<String> = (0..200).map(|n| format!("{name} <u{n}@{}.example.net>", "d".repeat(50))).collect();
    assert_eq!(server.send(&[("to", &mailboxes.join(","))]).await.status, 200);

    for (start, onward, descending) in [("first", "next", false), ("last", "previous", true)] {
        let mut page = server.get("/v3/example.com/events?limit=300&begin=0&end=9999999999").await;
        page = server.get(&link(&page, start)).await;
        let mut seen = Vec::new();
        while !recipients(&page).is_empty() {
            assert!(page.text.len() < 10 << 20, "{}", page.text.len());
            let mut found = recipients(&page);
            assert!(found.len() < 200, "one page has all");
            if descending {
                found.reverse();
            }
            seen.extend(found);
            page = server.get(&link(&page, onward)).await;
        }
        if descending {
            seen.reverse();
        }
        let expected: Vec<String> = (0..200).map(|n| format!("u{n}@{}.example.net", "d".repeat(50))).collect();
        assert_eq!(seen, expected, "{onward}");
    }
}

#[tokio::test]
async fn newest_come_first_unless_asked_otherwise() {
    let server = Server::start().await;
    let mut expected = accept(&server, 0, 5).await;
    expected.reverse();
    let first = server.get("/v3/example.com/events?limit=2").await;
    assert_eq!(recipients(&first), expected[..2]);
    accept(&server, 5, 6).await;
    let second = server.get(&link(&first, "next")).await;
    assert_eq!(recipients(&second), expected[2..4]);
    assert_eq!(recipients(&server.get(&link(&first, "previous")).await), ["u5@example.net"]);
    assert_eq!(recipients(&server.get(&link(&second, "last")).await), ["u1@example.net", "u0@example.net"]);
}

#[tokio::test]
async fn a_token_never_leads_to_another_domain() {
    let server = Server::start().await;
    server.add_domain("other.example", Default::default()).await;
    accept(&server, 0, 3).await;
    let page = server.get("/v3/example.com/events?limit=1").await;
    let elsewhere = link(&page, "first").replace("/example.com/", "/other.example/");
    let answer = server.get(&elsewhere).await;
    assert_eq!((answer.status, recipients(&answer).len()), (200, 0));
    let nowhere = link(&page, "first").replace("/example.com/", "/nobody.example/");
    assert_eq!(server.get(&nowhere).await.error(), (404, "Domain not found: nobody.example"));
}

#[tokio::test]
async fn an_empty_list_still_has_links() {
    let server = Server::start().await;
    let answer = server.get("/v3/example.com/events").await;
    assert_eq!(answer.json["items"], json!([]));
    for which in ["next", "previous", "first", "last"] {
        assert_eq!(server.get(&link(&answer, which)).await.json["items"], json!([]), "{which}");
    }
}

#[tokio::test]
async fn one_list_has_the_events_of_every_domain_that_the_key_opens() {
    let server = Server::start().await;
    server.add_domain("other.example", TlsSettings::default()).await;
    for (domain, subject) in [("example.com", "one"), ("other.example", "two"), ("example.com", "three")] {
        assert_eq!(server.send_for(domain, &[("subject", subject)]).await.status, 200);
    }
    let told = |answer: &Answer| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let items = answer.json["items"].as_array().unwrap();
        items.iter().map(|item| (text(&item["domain"]["name"]), text(&item["message"]["headers"]["subject"]))).collect()
    };
    let pair = |domain: &str, subject: &str| (domain.to_owned(), subject.to_owned());
    let (one, two, three) = (pair("example.com", "one"), pair("other.example", "two"), pair("example.com", "three"));

    let first = server.get("/v1/events?event=accepted&limit=2").await;
    assert_eq!(told(&first), [three.clone(), two.clone()]);
    let second = server.get(&link(&first, "next")).await;
    assert_eq!(told(&second), std::slice::from_ref(&one));
    // A link stays within the domain that was asked for.
    let of_one = server.get("/v1/events?domain=Example.com&limit=1").await;
    assert_eq!(told(&of_one), [three]);
    assert_eq!(told(&server.get(&link(&of_one, "next")).await), [one]);

    let id = second.json["items"][0]["id"].as_str().unwrap();
    assert_eq!(told(&server.get(&format!("/v1/events?id={id}")).await).len(), 1);
    for (query, words) in [
        ("domain=a b", "'domain' is not a valid domain"),
        ("page=x", "the page token is not valid"),
        ("page=x&event=failed", "'event' stands beside 'page', which names all of the list but the domain"),
        ("colour=red", "'colour' is not a parameter"),
    ] {
        assert_eq!(server.get(&format!("/v1/events?{query}")).await.error(), (400, words), "{query}");
    }
}
