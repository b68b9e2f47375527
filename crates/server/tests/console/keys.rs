//! API keys of the account, and keys and logins of a domain: shown once, used, ended.

use reqwest::{Client, Method};

use crate::support::{Answer, Browser, Panel};

/// The one thing on a page that can be copied: what was just made.
fn secret(page: &str) -> &str {
    let (_, rest) = page.split_once("data-copy=\"").unwrap_or_else(|| panic!("{page}"));
    rest.split_once('"').unwrap().0
}

/// Whether a key opens the list of domains.
async fn opens(panel: &Panel, key: &str) -> u16 {
    let request = Client::new().get(format!("{}/v4/domains", panel.url)).basic_auth("api", Some(key));
    request.send().await.unwrap().status().as_u16()
}

/// Nothing that a browser keeps, and no later page, has what was shown once.
async fn assert_is_nowhere_else(browser: &mut Browser, made: &Answer, path: &str, secret: &str) {
    assert_eq!((made.status, made.location(), made.header("cache-control")), (200, "", "no-store"));
    assert!(made.set_cookies().iter().all(|cookie| !cookie.contains(secret)));
    assert!(!browser.get(path).await.text.contains(secret));
}

#[tokio::test]
async fn a_key_is_shown_once_works_and_ends() {
    let panel = Panel::start().await;
    let mut admin = panel.admin().await;
    let fields =
        [("description", "<b>the shop"), ("role", "developer"), ("expiration", "2592000"), ("domain_name", "")];
    let made = admin.submit("/keys", &fields).await;
    let key = secret(&made.text).to_owned();
    assert_eq!(opens(&panel, &key).await, 200);
    assert!(made.text.contains("&lt;b&gt;the shop") && !made.text.contains("<b>the shop"));
    assert_is_nowhere_else(&mut admin, &made, "/keys", &key).await;

    let listed = panel.api(Method::GET, "/v1/keys", &[]).await;
    let item = &listed["items"][1];
    assert_eq!((&item["role"], &item["description"]), (&"developer".into(), &"<b>the shop".into()));
    assert!(item["expires_at"].is_string());
    let deleted = admin.submit("/keys/delete", &[("id", item["id"].as_str().unwrap())]).await;
    assert!(admin.follow(&deleted).await.text.contains("opens nothing any more"));
    assert_eq!(opens(&panel, &key).await, 401);

    let refused = admin.submit("/keys", &[("role", "emperor")]).await;
    assert!(admin.follow(&refused).await.text.contains("role"), "the API's words name the field");
}

#[tokio::test]
async fn a_domain_has_keys_and_logins_of_its_own() {
    let panel = Panel::start().await;
    let mut admin = panel.admin().await;
    let path = "/sending/domains/example.com/access";
    // What the form names is not asked: the page is one of this domain.
    let fields = [("description", "x"), ("role", "sending"), ("domain_name", "other.example")];
    let made = admin.submit(&format!("{path}/keys"), &fields).await;
    let key = secret(&made.text).to_owned();
    assert_is_nowhere_else(&mut admin, &made, path, &key).await;
    let listed = panel.api(Method::GET, "/v1/keys?domain_name=example.com", &[]).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);

    let mut user = panel.user_of("example.com").await;
    let made = user.submit(&format!("{path}/credentials"), &[("login", "app")]).await;
    assert!(made.text.contains("app@example.com"), "{}", made.text);
    let password = secret(&made.text).to_owned();
    assert_is_nowhere_else(&mut user, &made, path, &password).await;
    let logins =
        async || panel.api(Method::GET, "/v3/domains/example.com/credentials", &[]).await["total_count"].clone();
    assert_eq!(logins().await, 1);
    let deleted = user.submit(&format!("{path}/credentials/delete"), &[("login", "app@example.com")]).await;
    assert!(user.follow(&deleted).await.text.contains("The login is gone."));
    assert_eq!(logins().await, 0);
}

#[tokio::test]
async fn users_of_a_domain_make_and_end_no_keys() {
    let panel = Panel::start().await;
    let mut user = panel.user_of("example.com").await;
    assert_eq!(user.get("/keys").await.status, 403);
    assert!(!user.get("/").await.text.contains("href=\"/keys\""));
    let id = panel.api(Method::GET, "/v1/keys", &[]).await["items"][0]["id"].as_str().unwrap().to_owned();
    let (fields, own) = ([("role", "admin"), ("description", "x")], "/sending/domains/example.com/access/keys");
    for (path, fields) in [
        ("/keys", &fields[..]),
        (own, &fields[..]),
        ("/keys/delete", &[("id", &*id)]),
        ("/sending/domains/example.com/access/keys/delete", &[("id", &*id)]),
    ] {
        let refused = user.submit(path, fields).await;
        assert!(matches!(refused.status, 401 | 403), "{path}: {} {}", refused.status, refused.text);
    }
    let keys = panel.api(Method::GET, "/v1/keys", &[]).await;
    assert_eq!((keys["total_count"].as_u64(), &keys["items"][0]["id"]), (Some(1), &id.into()));
}
