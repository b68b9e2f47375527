//! Keys: made, used, ended; what each opens.

use std::time::Duration;

use policy::tls::TlsSettings;
use reqwest::Method;
use store::{KeyHash, KeyRole, KeyScope, NewKey, Timestamp};

use crate::support::{Answer, Server, send};

/// A request with this key.
async fn with(server: &Server, key: &str, method: Method, path: &str) -> Answer {
    send(server.anonymous(method, path).basic_auth("api", Some(key))).await
}

#[tokio::test]
async fn a_key_is_shown_once_and_ends_at_once() {
    let server = Server::start().await;
    let fields = [("role", "developer"), ("description", "ci"), ("expiration", "3600")];
    let made = server.post("/v1/keys", &fields).await;
    assert_eq!((made.status, made.json["message"].as_str()), (200, Some("great success")), "{}", made.text);
    let (key, id) = (made.json["key"]["secret"].as_str().unwrap(), made.json["key"]["id"].as_str().unwrap());
    assert_eq!(with(&server, key, Method::GET, "/v4/domains").await.status, 200);

    let listed = server.get("/v1/keys?kind=user").await;
    assert_eq!(listed.json["total_count"], 2);
    let item = &listed.json["items"][1];
    assert!(!listed.text.contains(key) && item.get("secret").is_none());
    assert_eq!((&item["id"], &item["role"], &item["is_disabled"]), (&id.into(), &"developer".into(), &false.into()));
    assert_eq!(item["created_at"].as_str().unwrap().len(), "2006-01-02T15:04:05".len());
    assert_eq!(server.get("/v1/keys?kind=domain").await.json["total_count"], 0);
    let text = "expected `kind` param to be one of [domain user web] or absent";
    assert_eq!(server.get("/v1/keys?kind=x").await.error(), (400, text));

    // Rotation: the second is there, the first goes and opens nothing from then on.
    let deleted = send(server.request(Method::DELETE, &format!("/v1/keys/{id}"))).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (200, r#"{"message":"key deleted"}"#));
    assert_eq!(with(&server, key, Method::GET, "/v4/domains").await.error(), (401, "Invalid private key"));
    let again = send(server.request(Method::DELETE, &format!("/v1/keys/{id}"))).await;
    assert_eq!(again.error(), (404, "no key matching id"));
    let no_number = send(server.request(Method::DELETE, "/v1/keys/x")).await;
    assert_eq!(no_number.error(), (404, "no key matching id"));
}

#[tokio::test]
async fn an_expired_key_opens_nothing() {
    let server = Server::start().await;
    let now = Timestamp::now();
    let make = async |key: &str, expires_at: Timestamp| {
        let (scope, role) = (KeyScope::Account, KeyRole::Admin);
        let (hash, description, hint) = (KeyHash::of(key), String::new(), String::new());
        let new = NewKey { hash, description, hint, scope, role, expires_at: Some(expires_at), now };
        server.store.create_key(new).await.unwrap();
    };
    make("key-of-the-past", now).await;
    make("key-of-a-moment", now + Duration::from_secs(2)).await;
    assert_eq!(with(&server, "key-of-the-past", Method::GET, "/v4/domains").await.status, 401);
    assert_eq!(with(&server, "key-of-a-moment", Method::GET, "/v4/domains").await.status, 200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(with(&server, "key-of-a-moment", Method::GET, "/v4/domains").await.status, 401);
    let listed = server.get("/v1/keys").await;
    let item = &listed.json["items"][1];
    assert_eq!((&item["is_disabled"], &item["disabled_reason"]), (&true.into(), &"expired".into()));
}

#[tokio::test]
async fn what_another_process_deletes_is_seen_soon() {
    let server = Server::start().await;
    let made = server.post("/v1/keys", &[("role", "basic")]).await;
    let (key, id) = (made.json["key"]["secret"].as_str().unwrap(), made.json["key"]["id"].as_str().unwrap());
    assert_eq!(with(&server, key, Method::GET, "/v4/domains").await.status, 200);
    assert!(server.store.delete_key(id.parse().unwrap()).await.unwrap());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(with(&server, key, Method::GET, "/v4/domains").await.status, 401);
}

#[tokio::test]
async fn a_key_of_a_domain_goes_with_the_domain() {
    let server = Server::start().await;
    server.add_domain("example.org", TlsSettings::default()).await;
    let fields = [("role", "admin"), ("kind", "domain"), ("domain_name", "example.org")];
    let made = server.post("/v1/keys", &fields).await;
    let key = made.json["key"]["secret"].as_str().unwrap();
    assert_eq!(with(&server, key, Method::GET, "/v4/domains/example.org").await.status, 200);
    let listed = with(&server, key, Method::GET, "/v4/domains").await;
    assert_eq!((&listed.json["total_count"], &listed.json["items"][0]["name"]), (&1.into(), &"example.org".into()));
    assert_eq!(send(server.request(Method::DELETE, "/v3/domains/example.org")).await.status, 200);
    assert_eq!(with(&server, key, Method::GET, "/v4/domains/example.org").await.status, 401);
    server.add_domain("example.org", TlsSettings::default()).await;
    assert_eq!(with(&server, key, Method::GET, "/v4/domains/example.org").await.status, 401);
    let missing = server.post("/v1/keys", &[("role", "sending"), ("domain_name", "nobody.example")]).await;
    assert_eq!(missing.error(), (400, "there is no domain nobody.example"));
}

#[tokio::test]
async fn whoever_guesses_waits_and_keeps_nobody_else_out() {
    let server = Server::start().await;
    assert_eq!(server.get("/v4/domains").await.status, 200);
    let mut last = None;
    for number in 0..61 {
        let key = format!("key-{number}");
        let request = server.anonymous(Method::GET, "/v4/domains").basic_auth("api", Some(key));
        last = Some(request.send().await.unwrap());
    }
    let last = last.unwrap();
    assert_eq!(last.status(), 429);
    let wait: u64 = last.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(server.get("/v4/domains").await.status, 200, "a good key is let in from the same address");
    let made = server.post("/v1/keys", &[("role", "admin")]).await;
    let fresh = made.json["key"]["secret"].as_str().unwrap();
    assert_eq!(with(&server, fresh, Method::GET, "/v4/domains").await.status, 200, "also one that was never used");
    assert_eq!(send(server.anonymous(Method::GET, "/v4/domains")).await.status, 401, "no key is no guess");
}
