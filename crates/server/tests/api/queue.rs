//! What waits, and orders about it, by recipient.

use std::time::Duration;

use policy::tls::TlsSettings;
use serde_json::Value;
use store::{EventKind, NewEvent, NewState, Severity, Timestamp};

use crate::support::{Answer, Server};

fn recipients(answer: &Answer) -> Vec<String> {
    let items = answer.json["items"].as_array().unwrap();
    items.iter().map(|item| item["recipient"].as_str().unwrap().to_owned()).collect()
}

async fn server_with_mail() -> Server {
    let server = Server::start().await;
    server.add_domain("other.example", TlsSettings::default()).await;
    for (domain, to) in
        [("example.com", "a@x.example"), ("example.com", "b@y.example"), ("other.example", "c@x.example")]
    {
        assert_eq!(server.send_for(domain, &[("to", to)]).await.status, 200);
    }
    server
}

#[tokio::test]
async fn what_waits_is_listed_with_why_and_until_when() {
    let server = server_with_mail().await;
    let all = server.get("/v1/queue").await;
    assert_eq!(recipients(&all), ["a@x.example", "c@x.example", "b@y.example"]);
    assert_eq!(all.json["paging"]["next"], Value::Null);
    let one = &all.json["items"][0];
    assert_eq!((&one["state"], &one["attempts"], &one["last"]), (&"due".into(), &0.into(), &Value::Null));

    let first = server.get("/v1/queue?limit=2").await;
    assert_eq!(recipients(&first), ["a@x.example", "c@x.example"]);
    assert_eq!(recipients(&server.get(first.json["paging"]["next"].as_str().unwrap()).await), ["b@y.example"]);
    assert_eq!(recipients(&server.get("/v1/queue?domain=example.com").await), ["a@x.example", "b@y.example"]);
    assert_eq!(recipients(&server.get("/v1/queue?destination=X.example&domain=other.example").await), ["c@x.example"]);

    let jobs = server.claim().await;
    let recipient =
        &jobs.iter().flat_map(|job| &job.recipients).find(|one| one.address.to_string() == "a@x.example").unwrap();
    let attempt = crate::events::attempt(Some(("mx.x.example", true, false)));
    let event =
        NewEvent { kind: EventKind::Failed, severity: Some(Severity::Temporary), reason: None, attempt: Some(attempt) };
    let until = Timestamp::now() + Duration::from_secs(600);
    server.record(recipient, NewState::Deferred { until }, event).await;
    let one = server.get("/v1/queue?destination=x.example&domain=example.com").await.json["items"][0].clone();
    assert_eq!(
        (&one["state"], &one["attempts"], &one["last"]["mx-host"]),
        (&"deferred".into(), &1.into(), &"mx.x.example".into())
    );
}

#[tokio::test]
async fn orders_are_carried_out_for_those_they_name() {
    let server = server_with_mail().await;
    let id = server.get("/v1/queue").await.json["items"][0]["id"].as_str().unwrap().to_owned();
    let held = server.post("/v1/queue/hold", &[("id", &id)]).await;
    assert_eq!((held.status, &held.json["count"]), (200, &1.into()));
    assert_eq!(server.get("/v1/queue?domain=example.com").await.json["items"][0]["state"], "held");
    assert_eq!(server.post("/v1/queue/release", &[("domain", "other.example")]).await.json["count"], 0);
    assert_eq!(server.post("/v1/queue/retry", &[("destination", "x.example")]).await.json["count"], 2);
    assert_eq!(
        server.post("/v1/queue/remove", &[("domain", "example.com"), ("destination", "x.example")]).await.json["count"],
        1
    );
    assert_eq!(recipients(&server.get("/v1/queue").await), ["c@x.example", "b@y.example"]);
    let failed = server.events("event=failed").await;
    assert_eq!((&failed[0]["reason"], &failed[0]["recipient"]), (&"dropped".into(), &"a@x.example".into()));
}

#[tokio::test]
async fn what_names_nobody_or_cannot_be_read_is_refused() {
    let server = server_with_mail().await;
    for (fields, words) in [
        (&[][..], "need one of 'id', 'destination' and 'domain'"),
        (&[("id", "")], "need one of 'id', 'destination' and 'domain'"),
        (&[("id", "x")], "'id': 'x' is not an id of the list"),
        (&[("id", "1"), ("destination", "x.example")], "'destination' stands beside 'id'; give one of them"),
        (&[("destination", "a b")], "'destination' is not a valid domain"),
        (&[("all", "yes")], "'all' is not a parameter"),
    ] {
        assert_eq!(server.post("/v1/queue/remove", fields).await.error(), (400, words), "{fields:?}");
    }
    for (query, words) in [
        ("page=x", "the page token is not valid"),
        ("limit=0", "'limit' must be a number from 1 to 300"),
        ("color=red", "'color' is not a parameter"),
    ] {
        assert_eq!(server.get(&format!("/v1/queue?{query}")).await.error(), (400, words), "{query}");
    }
    assert_eq!(recipients(&server.get("/v1/queue").await).len(), 3, "nothing was touched");
}
