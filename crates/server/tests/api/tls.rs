//! `/v1/tls` and `/openapi.json`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use store::{AttemptRecord, ConnectionRecord, EventKind, NewEvent, NewState};

use crate::support::{Server, send};

/// A delivery with this evidence; `tls` and `verified` as the log has them.
fn delivered(tls: bool, verified: bool, details: Value) -> NewEvent {
    let connection =
        ConnectionRecord { mx_host: "mx.example.net".into(), tls, certificate_verified: verified, sending_ip: None };
    let attempt = AttemptRecord {
        attempt_no: 1,
        code: 250,
        enhanced_code: None,
        message: "OK".into(),
        description: String::new(),
        session: Duration::from_millis(5),
        retry_after: None,
        utf8: false,
        connection: Some(connection),
        details,
        last_code: None,
        last_message: None,
    };
    NewEvent { kind: EventKind::Delivered, severity: None, reason: None, attempt: Some(attempt) }
}

fn verified() -> NewEvent {
    let details =
        json!({ "observed": "verified", "verification": "ok", "version": "TLSv1.3", "key-exchange": "X25519" });
    delivered(true, true, details)
}

fn plaintext() -> NewEvent {
    delivered(false, false, json!({ "observed": "not-offered", "fallback": "starttls-not-supported" }))
}

fn expired() -> NewEvent {
    let details = json!({
        "observed": "unverified", "verification": "certificate-expired", "version": "TLSv1.2", "key-exchange": "X25519"
    });
    delivered(true, false, details)
}

async fn attempted(server: &Server, to: &str, event: NewEvent) {
    let answer = server.send(&[("to", to)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let job = server.claim().await.remove(0);
    server.record(&job.recipients[0], NewState::Delivered, event).await;
}

async fn server_with_deliveries() -> Server {
    let server = Server::start().await;
    for _ in 0..3 {
        attempted(&server, "a@example.net", verified()).await;
    }
    attempted(&server, "a@example.net", plaintext()).await;
    attempted(&server, "a@example.org", expired()).await;
    server
}

#[tokio::test]
async fn destinations_tell_how_mail_travelled() {
    let server = server_with_deliveries().await;
    let answer = server.get("/v1/tls/destinations").await;
    assert_eq!((answer.status, answer.json["total_count"].as_u64()), (200, Some(2)), "{}", answer.text);
    let item = &answer.json["items"][0];
    assert_eq!((&item["destination"], &item["domain"]), (&json!("example.net"), &json!("example.com")));
    assert_eq!((&item["delivered"], &item["messages"]), (&json!(4), &json!(4)));
    assert_eq!(
        item["shares"],
        json!({ "plaintext": 0.25, "encrypted": 0.0, "verified": 0.75, "dane": 0.0, "mta-sts": 0.0 })
    );
    assert_eq!(item["versions"], json!({ "TLSv1.3": 3 }));
    assert_eq!(item["key-exchanges"], json!({ "X25519": 3 }));
    assert_eq!(item["fallback-reasons"], json!({ "starttls-not-supported": 1 }));
    assert_eq!(item["mx-hosts"][0]["host"], "mx.example.net");
    assert!(item.get("buckets").is_none());
    assert_eq!(answer.json["items"][1]["certificate-faults"], json!({ "certificate-expired": 1 }));

    let page = server.get("/v1/tls/destinations?limit=1&resolution=hour").await.json;
    let buckets = page["items"][0]["buckets"].as_array().unwrap();
    assert_eq!(buckets.iter().map(|bucket| bucket["delivered"].as_u64().unwrap()).sum::<u64>(), 4);
    let next = server.get(page["paging"]["next"].as_str().unwrap()).await.json;
    assert_eq!(next["items"][0]["destination"], "example.org");
    assert!(next["paging"].get("next").is_none() && next["paging"]["previous"].is_string());

    for (query, count) in [
        ("domain=example.com", 2),
        ("domain=other.example", 0),
        ("destination=example.org", 1),
        ("begin=1000000000&end=1000003600", 0),
    ] {
        let page = server.get(&format!("/v1/tls/destinations?{query}")).await.json;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(count), "{query}: {page}");
    }
    let refused = server.get("/v1/tls/destinations?sort=name").await;
    assert_eq!(refused.error(), (400, "'sort' is not a parameter"));
}

#[tokio::test]
async fn what_if_tells_what_would_have_been_kept_back() {
    let server = server_with_deliveries().await;
    for (query, kept_back, delivered, destinations) in [
        ("require_tls=true", 2, 3, vec!["example.net", "example.org"]),
        ("require_tls=true&skip_verification=true", 1, 4, vec!["example.net"]),
        ("require_tls=false", 0, 5, vec![]),
        ("require_tls=true&domain=other.example", 0, 0, vec![]),
    ] {
        let answer = server.get(&format!("/v1/tls/what-if?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let total = |name: &str| answer.json[name]["recipients"].as_u64().unwrap();
        assert_eq!(
            (total("not-delivered"), total("delivered"), total("unknown")),
            (kept_back, delivered, 0),
            "{query}"
        );
        let items = answer.json["items"].as_array().unwrap();
        let names: Vec<_> = items.iter().map(|item| item["destination"].as_str().unwrap()).collect();
        assert_eq!(names, destinations, "{query}");
    }
    let answer = server.get("/v1/tls/what-if?require_tls=yes&since=1").await;
    assert_eq!(answer.error(), (400, "the range is longer than 400 days"));
    let item = &server.get("/v1/tls/what-if?require_tls=yes").await.json["items"][0];
    assert_eq!((&item["recipients"], &item["still-delivered"]), (&json!(1), &json!(3)));
    assert_eq!(
        (&item["because"][0]["observed"], &item["because"][0]["reason"]),
        (&json!("not-offered"), &json!("starttls-not-supported"))
    );
}

#[tokio::test]
async fn a_downgrade_is_an_event_of_its_own_kind() {
    let server = server_with_deliveries().await;
    attempted(&server, "b@example.net", plaintext()).await;
    let events = server.events("event=tls-downgraded").await;
    assert_eq!(events.len(), 1, "one a day, not one for each message");
    let event = &events[0];
    assert_eq!((&event["log-level"], &event["recipient"]), (&json!("warn"), &json!("a@example.net")));
    let story = &event["tls-downgrade"];
    assert_eq!((&story["destination"], &story["mx-host"]), (&json!("example.net"), &json!("mx.example.net")));
    assert_eq!((&story["before"]["version"], &story["before"]["deliveries"]), (&json!("TLSv1.3"), &json!(3)));
    assert_eq!((&story["after"]["observed"], &story["after"]["ending"]), (&json!("not-offered"), &json!("plaintext")));
    assert!(event.get("delivery-status").is_none() && event.get("severity").is_none());
    assert_eq!(server.events("mx-host=mx.example.net&event=tls-downgraded").await.len(), 1);
}

/// Each method of each path, asked of the running server: what is described is answered, what is not is 405.
#[tokio::test]
async fn the_description_names_the_methods_that_there_are() {
    let server = Server::start().await;
    let document = send(server.anonymous(Method::GET, "/openapi.json")).await;
    assert_eq!((document.status, document.content_type.as_str()), (200, "application/json"));
    let paths = document.json["paths"].as_object().unwrap();
    for (path, item) in paths {
        let item = match item["$ref"].as_str() {
            Some(reference) => document.json.pointer(reference.trim_start_matches('#')).unwrap(),
            None => item,
        };
        let asked = path.replace("{domain}", "nobody.example").replace("{token}", "x");
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            let described = item.get(method.as_str().to_ascii_lowercase());
            let answer = send(server.request(method.clone(), &asked)).await;
            assert_eq!(answer.status != 405, described.is_some(), "{method} {path}: {}", answer.status);
            let Some(described) = described else { continue };
            let is_open = described["security"] == json!([]);
            assert_eq!(send(server.anonymous(method, &asked)).await.status != 401, is_open, "{path}");
        }
    }
    // What is not described is not there.
    assert_eq!(server.get("/v1/tls").await.error(), (404, "not found"));
}
