//! Webhooks in their three forms, and the key that signs.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Server, send};

const V3: &str = "/v3/domains/example.com/webhooks";
const V4: &str = "/v4/domains/example.com/webhooks";

fn reason(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.json["Reason"].as_str().unwrap_or(&answer.text))
}

async fn delete(server: &Server, path: &str) -> Answer {
    send(server.request(Method::DELETE, path)).await
}

#[tokio::test]
async fn by_kind_of_event() {
    let server = Server::start().await;
    let (a, b) = ("https://a.test/hook?token=1", "http://b.test:8080/");
    assert_eq!(server.get(V3).await.json, json!({ "webhooks": {}, "endpoints": [] }));
    assert_eq!(server.get(&format!("{V3}/delivered")).await.error(), (404, "Webhook not found"));

    let made = server.post(V3, &[("id", "delivered"), ("url", a), ("url", b)]).await;
    let expected = json!({ "message": "Webhook has been created", "webhook": { "urls": [a, b] } });
    assert_eq!((made.status, made.json), (200, expected));
    let again = server.post(V3, &[("id", "delivered"), ("url", b)]).await;
    assert_eq!((reason(&again), again.error()), ((400, "Webhook already exists"), (400, "Webhook already exists")));
    for version in ["/v3", "/v4"] {
        let path = format!("{version}/domains/example.com/webhooks/permanent_fail");
        let none = server.put(&path, &[("url", a)]).await;
        assert_eq!(none.error(), (404, "Webhook not found"));
    }
    server.post(V3, &[("id", "permanent_fail"), ("url", a)]).await;
    let changed = server.put(&format!("{V3}/permanent_fail"), &[("url", b)]).await;
    assert_eq!(changed.json, json!({ "message": "Webhook has been updated", "webhook": { "urls": [b] } }));
    assert_eq!(server.get(&format!("{V3}/permanent_fail")).await.json, json!({ "webhook": { "urls": [b] } }));

    let listed = server.get(V3).await.json;
    assert_eq!(listed["webhooks"], json!({ "delivered": { "urls": [a, b] }, "permanent_fail": { "urls": [b] } }));
    assert_eq!(listed["endpoints"][1]["event_types"], json!(["delivered", "permanent_fail"]));
    assert_eq!(listed["endpoints"][1]["health"]["last"], json!(null));

    let gone = delete(&server, &format!("{V3}/delivered")).await;
    assert_eq!(gone.json, json!({ "message": "Webhook has been deleted", "webhook": { "urls": [a, b] } }));
    assert_eq!(delete(&server, &format!("{V3}/delivered")).await.error(), (404, "Webhook not found"));
    assert_eq!(server.get(V4).await.json["webhooks"], json!({ "permanent_fail": { "urls": [b] } }));
}

#[tokio::test]
async fn by_url() {
    let server = Server::start().await;
    let url = "https://a.test/hook";
    let kinds = [("url", url), ("event_types", "opened"), ("event_types", "clicked")];
    assert_eq!(server.put(V4, &kinds).await.error(), (404, "Webhook not found"));
    let made = server.post(V4, &kinds).await;
    let both = json!({ "webhooks": { "opened": { "urls": [url] }, "clicked": { "urls": [url] } } });
    assert_eq!((made.status, made.json), (200, both));
    // Under either version.
    server.post(V3, &[("url", url), ("event_types", "tls-downgraded")]).await;
    let set = server.put(V4, &[("url", url), ("event_types", "opened,tls-downgraded")]).await;
    assert_eq!(set.json, json!({ "webhooks": { "opened": { "urls": [url] }, "tls-downgraded": { "urls": [url] } } }));
    let path = format!("{V4}?url=https%3A%2F%2Fa.test%2Fhook");
    assert_eq!(delete(&server, &path).await.json, json!({ "webhooks": {} }));
    assert_eq!(delete(&server, &path).await.error(), (404, "Webhook not found"));
    assert_eq!(reason(&delete(&server, V4).await), (400, "'url' parameter is missing"));
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_and_changes_nothing() {
    let server = Server::start().await;
    let url = "https://a.test/";
    let kinds = "accepted, delivered, temporary_fail, permanent_fail, opened, clicked, unsubscribed, complained, tls-downgraded";
    for (fields, text) in [
        (vec![("id", "delivered")], "'url' parameter is missing"),
        (vec![("url", url)], "'id' or 'event_types' parameter is missing"),
        (vec![("id", "opened"), ("event_types", "opened"), ("url", url)], "'id' and 'event_types' exclude each other"),
        (vec![("id", "bounced"), ("url", url)], format!("'id' must be one of: {kinds}").leak() as &str),
        (vec![("id", "opened"), ("url", "ftp://a.test/")], "'url' must be an http or https URL with a host"),
        (vec![("id", "opened"), ("url", url), ("tls", "yes")], "'tls' is not a known parameter"),
        (
            vec![
                ("id", "opened"),
                ("url", "https://1"),
                ("url", "https://2"),
                ("url", "https://3"),
                ("url", "https://4"),
            ],
            "'url' may be given 3 times",
        ),
    ] {
        let refused = server.post(V3, &fields).await;
        assert_eq!(reason(&refused), (400, text), "{fields:?}");
    }
    for number in 1..=3 {
        server.post(V4, &[("url", &format!("https://{number}.test/")), ("event_types", "opened")]).await;
    }
    let fourth = server.post(V4, &[("url", url), ("event_types", "clicked"), ("event_types", "opened")]).await;
    assert_eq!(reason(&fourth), (400, "'opened' may have 3 URLs"));
    assert_eq!(server.get(V3).await.json["endpoints"].as_array().unwrap().len(), 3);
    assert_eq!(server.get("/v3/domains/other.test/webhooks").await.error(), (404, "Domain not found"));
}

#[tokio::test]
async fn of_the_account() {
    let server = Server::start().await;
    let fields = [("url", "https://a.test/"), ("event_types", "delivered"), ("description", "all of it")];
    let made = server.post("/v1/webhooks", &fields).await;
    let id = made.json["webhook_id"].as_str().unwrap().to_owned();
    let again = server.post("/v1/webhooks", &fields).await;
    assert_eq!((again.status, again.json["Description"].is_string()), (409, true));
    assert_eq!(server.post("/v1/webhooks", &fields[..1]).await.error(), (400, "'event_types' parameter is missing"));

    let path = format!("/v1/webhooks/{id}");
    let changed = server.put(&path, &[("url", "https://b.test/"), ("event_types", "opened,delivered")]).await;
    assert_eq!((changed.status, changed.text.as_str()), (204, ""));
    let read = server.get(&path).await.json;
    assert_eq!(read["event_types"], json!(["delivered", "opened"]));
    assert_eq!((read["description"].as_str(), read["url"].as_str()), (Some("all of it"), Some("https://b.test/")));
    assert!(read["created_at"].as_str().unwrap().ends_with(" GMT"));

    let other = server.post("/v1/webhooks", &[("url", "https://c.test/"), ("event_types", "opened")]).await;
    let other = other.json["webhook_id"].as_str().unwrap().to_owned();
    let listed = async |query: &str| {
        server.get(&format!("/v1/webhooks{query}")).await.json["webhooks"].as_array().unwrap().len()
    };
    assert_eq!((listed("").await, listed(&format!("?webhook_ids={other}")).await), (2, 1));
    // All or none.
    let missing = delete(&server, &format!("/v1/webhooks?webhook_ids={other},none")).await;
    assert_eq!((missing.status, missing.json["Description"].as_str()), (404, Some("Webhook not found")));
    let empty = delete(&server, "/v1/webhooks?webhook_ids=,").await;
    let text = "Invalid parameter: webhook_ids malformed webhook_ids parameter: empty values not allowed";
    assert_eq!(empty.error(), (400, text));
    assert_eq!(delete(&server, "/v1/webhooks").await.status, 400);
    assert_eq!(delete(&server, &path).await.status, 204);
    assert_eq!(delete(&server, "/v1/webhooks?all=true").await.status, 204);
    assert_eq!(server.get(&path).await.status, 404);
    // Nothing of the account is a domain's.
    assert_eq!(server.get(V3).await.json["endpoints"], json!([]));
}

#[tokio::test]
async fn the_signing_key_stays_until_another_is_made() {
    let server = Server::start().await;
    let path = "/v5/accounts/http_signing_key";
    let first = server.get(path).await;
    let key = first.json["http_signing_key"].as_str().unwrap().to_owned();
    assert_eq!((first.json["message"].as_str(), key.len()), (Some("success"), 32));
    assert_eq!(server.get(path).await.json["http_signing_key"], key);
    let renewed = server.post(path, &[]).await;
    assert_eq!(renewed.json["message"], "regenerated HTTP signing key for account");
    assert_ne!(renewed.json["http_signing_key"], key);
    assert_eq!(server.get(path).await.json["http_signing_key"], renewed.json["http_signing_key"]);
}

#[tokio::test]
async fn a_domain_takes_its_webhooks_with_it() {
    let server = Server::start().await;
    server.post(V3, &[("id", "opened"), ("url", "https://a.test/")]).await;
    delete(&server, "/v3/domains/example.com").await;
    server.add_domain("example.com", policy::tls::TlsSettings::default()).await;
    assert_eq!(server.get(V3).await.json["endpoints"], json!([]));
}
