//! Logins for SMTP submission, as Mailgun's clients manage them.

use policy::tls::TlsSettings;
use reqwest::Method;

use crate::support::{Server, send};

const PATH: &str = "/v3/domains/example.com/credentials";

async fn logins(server: &Server, path: &str) -> Vec<String> {
    let answer = server.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let items = answer.json["items"].as_array().unwrap();
    items.iter().map(|item| item["login"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_credential_is_made_listed_changed_and_deleted() {
    let server = Server::start().await;
    let made = server.post(PATH, &[("login", "Alice"), ("password", "correct horse")]).await;
    assert_eq!((made.status, made.text.as_str()), (200, r#"{"message":"Created 1 credentials pair(s)"}"#));
    // Some clients send the whole login. A password that nobody gave is shown, this once.
    let made = server.post("/v4/domains/example.com/credentials", &[("login", "bob@example.com")]).await;
    let password = made.json["credentials"]["bob@example.com"].as_str().unwrap().to_owned();
    assert_eq!(password.len(), 32);

    let answer = server.get(PATH).await;
    assert_eq!(answer.json["total_count"], 2);
    let item = &answer.json["items"][0];
    assert_eq!((&item["login"], &item["mailbox"]), (&"alice@example.com".into(), &"alice@example.com".into()));
    assert!(item["size_bytes"].is_null() && item["created_at"].as_str().unwrap().ends_with(" GMT"));
    assert!(!answer.text.contains(&password) && !answer.text.contains("argon2"), "{}", answer.text);
    assert_eq!(logins(&server, &format!("{PATH}?limit=1&skip=1")).await, ["bob@example.com"]);

    let kept = server.store.credential(&"example.com".parse().unwrap(), "alice").await.unwrap().unwrap();
    assert!(kept.hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", kept.hash.as_str());
    let changed = server.put(&format!("{PATH}/alice"), &[("password", "battery staple")]).await;
    assert_eq!((changed.status, changed.text.as_str()), (200, r#"{"message":"Password changed"}"#));
    let other = server.store.credential(&"example.com".parse().unwrap(), "alice").await.unwrap().unwrap();
    assert_ne!(other.hash, kept.hash);

    let deleted = send(server.request(Method::DELETE, &format!("{PATH}/bob%40example.com"))).await;
    assert_eq!(deleted.text, r#"{"message":"Credentials have been deleted","spec":"bob@example.com"}"#);
    let deleted = send(server.request(Method::DELETE, PATH)).await;
    assert_eq!(deleted.text, r#"{"message":"All domain credentials have been deleted","count":1}"#);
    assert_eq!(logins(&server, PATH).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_name() {
    let server = Server::start().await;
    server.post(PATH, &[("login", "alice"), ("password", "correct horse")]).await;
    let short = "Password is too short. It must be between 5 and 32 characters.";
    for (fields, error) in [
        (&[("password", "12345")][..], "Parameter 'login' is missing"),
        (&[("login", "carol"), ("password", "1234")], short),
        (&[("login", "carol"), ("password", "")], short),
        (
            &[("login", "carol"), ("password", "123456789012345678901234567890123")],
            "Password is too long. It must be between 5 and 32 characters.",
        ),
        (&[("login", "carol@example.net"), ("password", "12345")], "'login' is not valid: it must end in @example.com"),
        (&[("login", "a b"), ("password", "12345")], "'login' is not valid: the part before the '@' is not valid"),
        (&[("login", "carol"), ("passwort", "12345")], "'passwort' is not a parameter"),
        (
            &[("login", "carol"), ("login", "dave"), ("password", "12345")],
            "'login' is given more than once, with different values",
        ),
        (
            &[("login", "ALICE"), ("password", "12345")],
            "The credentials alice@example.com exist already; change their password with PUT",
        ),
    ] {
        assert_eq!(server.post(PATH, fields).await.error(), (400, error), "{fields:?}");
    }
    let nobody = format!("{PATH}/nobody");
    assert_eq!(server.put(&nobody, &[("password", "12345")]).await.error(), (404, "Credentials not found"));
    assert_eq!(send(server.request(Method::DELETE, &nobody)).await.error(), (404, "Credentials not found"));
    assert_eq!(
        server.get(&format!("{PATH}?limit=1001")).await.error(),
        (400, "Limit parameter can't be larger than 1000")
    );
    assert_eq!(server.get("/v3/domains/nobody.example/credentials").await.error(), (404, "Domain not found"));
    assert_eq!(logins(&server, PATH).await, ["alice@example.com"]);
}

#[tokio::test]
async fn a_domain_has_its_own_credentials() {
    let server = Server::start().await;
    server.add_domain("example.net", TlsSettings::default()).await;
    server.post(PATH, &[("login", "alice"), ("password", "correct horse")]).await;
    let other = "/v3/domains/example.net/credentials";
    for path in [format!("{other}/alice"), format!("{other}/alice@example.com")] {
        assert_eq!(server.put(&path, &[("password", "12345")]).await.status, 404, "{path}");
        assert_eq!(send(server.request(Method::DELETE, &path)).await.status, 404, "{path}");
    }
    assert_eq!(send(server.request(Method::DELETE, other)).await.json["count"], 0);
    assert_eq!(logins(&server, other).await, Vec::<String>::new());
    assert_eq!(logins(&server, PATH).await, ["alice@example.com"]);
}
