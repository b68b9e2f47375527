//! The logs: the events of all domains, asked in JSON.

use policy::tls::TlsSettings;
use reqwest::Method;
use serde_json::{Value, json};
use store::{EventKind, KeyRole, NewEvent, NewState, Severity};

use crate::events::{attempt, server_with_events};
use crate::support::{Answer, Server, send};
use crate::tenants::key_of;

pub(crate) async fn post_json(server: &Server, path: &str, body: &Value) -> Answer {
    send(server.request(Method::POST, path).json(body)).await
}

async fn logs(server: &Server, body: Value) -> Answer {
    let answer = post_json(server, "/v1/analytics/logs", &body).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text);
    answer
}

fn filter(attribute: &str, comparator: &str, values: Value) -> Value {
    json!({ "filter": { "AND": [{ "attribute": attribute, "comparator": comparator, "values": values }] } })
}

fn subjects(answer: &Answer) -> Vec<String> {
    let items = answer.json["items"].as_array().unwrap();
    let told = |item: &Value| {
        format!("{} {}", item["event"].as_str().unwrap(), item["message"]["headers"]["subject"].as_str().unwrap())
    };
    items.iter().map(told).collect()
}

#[tokio::test]
async fn logs_are_events_in_other_words() {
    let server = server_with_events().await;
    let answer = logs(&server, json!({ "events": ["delivered"], "pagination": { "limit": 1 } })).await;
    let item = &answer.json["items"][0];
    let event = server.events("event=delivered&limit=1").await.remove(0);
    assert_eq!(item["id"], event["id"]);
    assert_eq!(item["delivery-status"], event["delivery-status"]);
    assert_eq!(item["domain"], json!({ "name": "example.com" }));
    assert_eq!(item["user-variables"], "{}");
    assert_eq!(item["delivered-at"], item["@timestamp"]);
    let at = item["@timestamp"].as_str().unwrap();
    assert!(at.len() > 20 && at.ends_with('Z') && item.get("timestamp").is_none(), "{at}");
    assert_eq!(item["flags"]["is-webhook"], false);
    for name in ["start", "end"] {
        assert!(answer.json[name].as_str().unwrap().ends_with(" GMT"), "{}", answer.text);
    }
}

#[tokio::test]
async fn logs_are_filtered_by_what_is_known() {
    let server = server_with_events().await;
    server.add_domain("second.example", TlsSettings::default()).await;
    server
        .send_for("second.example", &[("subject", "second"), ("v:color", "blue"), ("from", "a@second.example")])
        .await;
    for (body, expected) in [
        (filter("tls", "=", json!(["false"])), vec!["delivered hello"]),
        (
            filter("certificate_verified", "=", json!([{ "label": "x", "value": "true" }])),
            vec!["delivered Hello World"],
        ),
        (filter("mx_host", "contains", json!(["example.org"])), vec!["failed bye"]),
        (
            filter("tls_version", "=", json!(["TLSv1.3"])),
            vec!["failed bye", "delivered hello", "delivered Hello World"],
        ),
        (filter("delivery_status_code", "=", json!([498])), vec!["failed 100% \"sure\""]),
        (filter("delivery_status_message", "contains", json!(["no such"])), vec!["failed bye"]),
        (filter("recipient_domain", "=", json!(["example.org"])), vec!["failed bye", "accepted bye"]),
        (filter("domain", "=", json!(["second.example"])), vec!["accepted second"]),
        (filter("domain", "=", json!(["nobody.example"])), vec![]),
        (filter("user_variables", "contains", json!(["blue"])), vec!["accepted second"]),
        (
            filter("tag", "=", json!(["one", "three"])),
            vec!["failed 100% \"sure\"", "accepted 100% \"sure\"", "delivered Hello World", "accepted Hello World"],
        ),
        (json!({ "metric_events": ["permanent_failed"] }), vec!["failed bye"]),
        (json!({ "events": ["opened"] }), vec![]),
        (json!({ "start": "Thu, 13 Oct 2011 18:02:00 GMT", "end": "Fri, 14 Oct 2011 18:02:00 GMT" }), vec![]),
    ] {
        assert_eq!(subjects(&logs(&server, body.clone()).await), expected, "{body}");
    }
}

#[tokio::test]
async fn evidence_can_be_asked_for() {
    let server = Server::start().await;
    assert_eq!(server.send(&[]).await.status, 200);
    let job = server.claim().await.remove(0);
    let mut attempt = attempt(Some(("mx.example.net", true, true)));
    attempt.details = json!({
        "version": "TLSv1.2",
        "key-exchange": "X25519",
        "verification": "certificate-expired",
        "fallback": "not-offered",
        "policy": { "demanded-by": ["rule", "dane"] },
    });
    let event = NewEvent { kind: EventKind::Delivered, severity: None, reason: None, attempt: Some(attempt) };
    server.record(&job.recipients[0], NewState::Delivered, event).await;
    for (attribute, value) in [
        ("tls_version", "tlsv1.2"),
        ("key_exchange", "x25519"),
        ("verification", "certificate-expired"),
        ("fallback", "not-offered"),
        ("demanded_by", "dane"),
        ("ip", "192.0.2.1"),
    ] {
        let found = logs(&server, filter(attribute, "=", json!([value]))).await;
        assert_eq!(subjects(&found), ["delivered hello"], "{attribute}");
        let others = logs(&server, filter(attribute, "!=", json!([value]))).await;
        assert_eq!(subjects(&others), ["accepted hello"], "{attribute}");
        let parameter = attribute.replace('_', "-");
        if parameter != "ip" {
            assert_eq!(server.events(&format!("{parameter}={value}")).await.len(), 1, "{parameter}");
        }
    }
    assert_eq!(server.events("list=news@example.com").await.len(), 0);
}

#[tokio::test]
async fn pages_hold_still_while_events_come_in() {
    let server = server_with_events().await;
    let mut seen = Vec::new();
    let mut token = Value::Null;
    loop {
        let answer = logs(&server, json!({ "pagination": { "limit": 3, "token": token } })).await;
        seen.extend(answer.json["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        assert_eq!(server.send(&[("subject", "in between")]).await.status, 200);
        token = answer.json["pagination"]["next"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(seen.len(), 8);
    seen.dedup();
    assert_eq!(seen.len(), 8);
    // Oldest first without an end: the last token goes on.
    let ascending = |token: Value| json!({ "pagination": { "sort": "timestamp:asc", "limit": 100, "token": token } });
    let all = logs(&server, ascending(Value::Null)).await;
    let next = all.json["pagination"]["next"].clone();
    assert_eq!(subjects(&logs(&server, ascending(next.clone())).await).len(), 0);
    server.send(&[("subject", "later")]).await;
    assert_eq!(subjects(&logs(&server, ascending(next)).await), ["accepted later"]);
}

#[tokio::test]
async fn totals_are_counted_when_asked() {
    let server = server_with_events().await;
    let answer = logs(&server, json!({ "include_totals": true, "pagination": { "limit": 2 } })).await;
    assert_eq!(answer.json["pagination"]["total"], 8);
    let metrics = json!({
        "accepted_count": 4,
        "delivered_count": 2,
        "failed_count": 2,
        "temporary_failed_count": 1,
        "permanent_failed_count": 1,
    });
    assert_eq!(answer.json["aggregates"], json!({ "all": 8, "metrics": metrics }));
    let severity = Severity::Permanent.as_str();
    let mut some = filter("severity", "=", json!([severity]));
    some["include_totals"] = true.into();
    assert_eq!(logs(&server, some).await.json["pagination"]["total"], 1);
}

#[tokio::test]
async fn bad_questions_are_refused_by_name() {
    let server = Server::start().await;
    for (body, start) in [
        (filter("country", "=", json!(["DE"])), "'country' is not an attribute of the logs"),
        (json!({ "colour": "red" }), "the request is no good JSON: unknown field `colour`"),
        (json!({ "pagination": { "limit": 101 } }), "'limit' must be a number from 1 to 100"),
        (json!({ "pagination": { "sort": "size" } }), "'sort': 'size' is neither"),
        (json!({ "pagination": { "token": "x" } }), "the page token is not valid"),
        (json!({ "start": "soon" }), "'start' is neither"),
        (json!({ "events": ["sent"] }), "'events': 'sent' is not one of"),
        (json!([]), "the request is no good JSON"),
    ] {
        let answer = post_json(&server, "/v1/analytics/logs", &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.error().1.starts_with(start), "{}", answer.text);
    }
    let long = json!({ "start": "a".repeat(300_000) });
    assert_eq!(post_json(&server, "/v1/analytics/logs", &long).await.status, 413);
    // A token of the events, which holds a filter, is none of the logs.
    server.send(&[]).await;
    let page = server.get("/v3/example.com/events?subject=hello").await;
    let token = page.json["paging"]["first"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let answer = post_json(&server, "/v1/analytics/logs", &json!({ "pagination": { "token": token } })).await;
    assert_eq!(answer.error(), (400, "the page token is not valid"));
}

#[tokio::test]
async fn a_key_of_a_domain_finds_nothing_of_others_whatever_it_asks() {
    let server = server_with_events().await;
    server.add_domain("second.example", TlsSettings::default()).await;
    server.send_for("second.example", &[("subject", "second"), ("from", "a@second.example")]).await;
    let key = key_of(&server, "second.example", KeyRole::Basic).await;
    for (body, expected) in [
        (json!({ "include_totals": true }), 1),
        (filter("domain", "=", json!(["example.com"])), 0),
        (filter("domain", "=", json!(["example.com", "second.example"])), 1),
        (filter("domain", "!=", json!(["second.example"])), 0),
        (filter("recipient", "=", json!(["plain@example.net"])), 0),
    ] {
        let request = server.anonymous(Method::POST, "/v1/analytics/logs").basic_auth("api", Some(&key)).json(&body);
        let answer = send(request).await;
        assert_eq!(subjects(&answer).len(), expected, "{body}: {}", answer.text);
        assert!(answer.json["pagination"]["total"].as_u64().is_none_or(|total| total == 1), "{}", answer.text);
    }
}
