//! What a domain has waiting.

use std::time::Duration;

use policy::tls::TlsSettings;
use reqwest::Method;
use serde_json::json;
use store::{NewState, RecipientOutcome, Timestamp};

use crate::support::{Server, send};

#[tokio::test]
async fn queues_of_a_domain_are_never_disabled() {
    let server = Server::start().await;
    let answer = server.get("/v3/domains/example.com/sending_queues").await;
    let expected = json!({ "regular": { "is_disabled": false }, "scheduled": { "is_disabled": false } });
    assert_eq!((answer.status, answer.json), (200, expected));
    assert_eq!(server.get("/v4/domains/nobody.example/sending_queues").await.status, 404);
}

#[tokio::test]
async fn what_waits_is_dropped_and_each_recipient_is_told() {
    let server = Server::start().await;
    server.add_domain("other.example", TlsSettings::default()).await;
    server.send(&[("to", "tried@example.net")]).await;
    let tried = server.claim().await.remove(0);
    // More than one transaction takes.
    let many = (0..700).map(|n| format!("u{n}@d{}.example.net", n % 7)).collect::<Vec<_>>().join(",");
    server.send(&[("to", &many)]).await;
    let tomorrow = (Timestamp::now().as_micros() / 1_000_000 + 86_400).to_string();
    server.send(&[("to", "later@example.net"), ("o:deliverytime", &tomorrow)]).await;
    server.send_for("other.example", &[("to", "stays@example.net")]).await;
    assert_eq!(server.store.queued().await.unwrap(), 703);

    let answer = send(server.request(Method::DELETE, "/v3/example.com/envelopes")).await;
    assert_eq!((answer.status, answer.json), (200, json!({ "message": "done" })));
    assert_eq!(server.store.queued().await.unwrap(), 2, "what is being tried, and what is another domain's");
    let event = server.events("recipient=later%40example.net&event=failed").await.remove(0);
    assert_eq!((&event["severity"], &event["reason"]), (&json!("permanent"), &json!("dropped")), "{event:#}");
    assert!(event["delivery-status"].get("mx-host").is_none(), "{event:#}");
    let (mut told, mut path) = (0, "/v3/example.com/events?event=failed&reason=dropped&limit=300".to_owned());
    loop {
        let page = server.get(&path).await.json;
        match page["items"].as_array().unwrap().len() {
            0 => break,
            items => told += items,
        }
        path = page["paging"]["next"].as_str().unwrap().to_owned();
    }
    assert_eq!(told, 701);
    assert_eq!(server.claim().await.len(), 1, "the other domain's");

    // What was being tried keeps its outcome, and is not tried again.
    assert!(tried.expires_at.is_none());
    let until = Timestamp::now();
    let state = NewState::Deferred { until };
    let outcome = RecipientOutcome { recipient: tried.recipients[0].id, state, events: Vec::new() };
    server.store.record(until, vec![outcome]).await.unwrap();
    let again = server.claim().await.remove(0);
    assert_eq!(again.message, tried.message);
    assert!(again.expires_at.unwrap() < until + Duration::from_micros(1), "its window has ended");

    // What comes afterwards is sent.
    server.send(&[]).await;
    assert!(server.claim().await[0].expires_at.is_none());
}
