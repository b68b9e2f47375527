//! Domains and their TLS settings.

use policy::tls::TlsSettings;
use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::{Value, json};

use crate::support::{Server, send};

#[tokio::test]
async fn a_domain_is_made_read_changed_and_deleted_under_both_versions() {
    let server = Server::start().await;
    for version in ["/v3", "/v4"] {
        let domains = format!("{version}/domains");
        let one = format!("{domains}/New.Example");
        let form = Form::new().text("name", "new.example").text("require_tls", "true");
        let made = server.post_multipart(&domains, form).await;
        assert_eq!(made.status, 200, "{}", made.text);
        assert_eq!(made.json["message"], "Domain DNS records have been created");
        assert_eq!(made.json["receiving_dns_records"], json!([]));
        assert_eq!(made.json["sending_dns_records"].as_array().unwrap().len(), 2);
        assert_domain(&made.json["domain"], "new.example", true, false);

        let again = server.post(&domains, &[("name", "NEW.example")]).await;
        assert_eq!(again.error(), (400, "This domain name is already taken: new.example"));
        let read = server.get(&format!("{one}?h%3Aextended=true&h%3Awith_dns=true")).await;
        assert_domain(&read.json["domain"], "new.example", true, false);

        // Each setting on its own; nothing given changes nothing.
        let changed = server.put(&one, &[("skip_verification", "true")]).await;
        assert_eq!(changed.json["message"], "Domain has been updated");
        assert_domain(&changed.json["domain"], "new.example", true, true);
        assert_domain(&server.put(&one, &[("require_tls", "no")]).await.json["domain"], "new.example", false, true);
        assert_domain(&server.put(&one, &[]).await.json["domain"], "new.example", false, true);
        let verified = send(server.request(Method::PUT, &format!("{one}/verify"))).await;
        assert_eq!(verified.json["message"], "Domain DNS records have been updated");
        assert_domain(&verified.json["domain"], "new.example", false, true);

        let deleted = send(server.request(Method::DELETE, &one)).await;
        assert_eq!(deleted.json, json!({ "message": "Domain will be deleted in the background" }));
        assert_eq!(server.get(&one).await.error(), (404, "Domain not found"));
        assert_eq!(send(server.request(Method::DELETE, &one)).await.error(), (404, "Domain not found"));
        assert_eq!(server.put(&one, &[]).await.error(), (404, "Domain not found"));
    }
}

#[tokio::test]
async fn what_a_domain_keeps_is_limited_and_never_more_than_what_holds_for_all() {
    let server = Server::start().await;
    let one = "/v4/domains/new.example";
    let fields = [("name", "new.example"), ("message_ttl", "3600"), ("event_limit", "1000")];
    let kept = |answer: &Value| {
        let domain = &answer["domain"];
        ["message_ttl", "event_retention", "event_limit", "message_limit"].map(|name| domain[name].as_u64())
    };
    let made = server.post("/v4/domains", &fields).await;
    assert_eq!(kept(&made.json), [Some(3600), Some(2_592_000), Some(1000), None], "{}", made.text);
    let changed = server.put(one, &[("event_retention", "7200"), ("message_limit", "5000"), ("event_limit", "")]).await;
    assert_eq!(kept(&changed.json), [Some(3600), Some(7200), Some(1000), Some(5000)]);
    let changed = server.put(one, &[("message_ttl", "604800"), ("event_limit", "default")]).await;
    assert_eq!(kept(&changed.json), [Some(259_200), Some(7200), None, Some(5000)], "the server keeps three days");
    assert_eq!(kept(&server.get(one).await.json), kept(&changed.json));
    let refused = server.put(one, &[("message_ttl", "-1"), ("event_limit", "5")]).await;
    assert_eq!(refused.error(), (400, "'message_ttl' must be a whole number from 0 to 315360000, or 'default'"));
    assert_eq!(kept(&server.get(one).await.json), kept(&changed.json));
}

/// The shape that strict decoders want.
fn assert_domain(domain: &Value, name: &str, require_tls: bool, skip_verification: bool) {
    let mut domain = domain.clone();
    let id = domain["id"].take();
    assert_eq!(id.as_str().unwrap().len(), 24);
    let created_at = domain["created_at"].take();
    let created_at = created_at.as_str().unwrap();
    assert!(created_at.ends_with(" GMT") && created_at.len() == "Mon, 02 Jan 2006 15:04:05 GMT".len(), "{created_at}");
    let expected = json!({
        "id": null,
        "name": name,
        "state": "unverified",
        "type": "custom",
        "created_at": null,
        "is_disabled": false,
        "require_tls": require_tls,
        "skip_verification": skip_verification,
        "tls_fallback": "plaintext",
        "tls_failure": "defer",
        "smtp_login": format!("postmaster@{name}"),
        "spam_action": "disabled",
        "web_prefix": "email",
        "web_scheme": "http",
        "wildcard": false,
        "use_automatic_sender_security": false,
        "encrypt_incoming_message": false,
        "message_ttl": 259_200,
        "event_retention": 2_592_000,
        "event_limit": null,
        "message_limit": null,
    });
    assert_eq!(domain, expected);
}

#[tokio::test]
async fn bad_domains_are_refused_by_name_and_nothing_changes() {
    let server = Server::start().await;
    for (method, path, fields, message) in [
        (Method::POST, "/v4/domains", vec![], "name parameter is missing"),
        (Method::POST, "/v4/domains", vec![("name", "a b")], "name parameter is not a valid domain"),
        (
            Method::POST,
            "/v4/domains",
            vec![("name", "a.example"), ("require_tls", "1")],
            "'require_tls' must be one of: yes, no, true, false",
        ),
        (
            Method::POST,
            "/v4/domains",
            vec![("name", "a.example"), ("wildcard", "true")],
            "'wildcard' is not supported yet, only 'false' is",
        ),
        (
            Method::POST,
            "/v3/domains",
            vec![("name", "a.example"), ("requiretls", "true")],
            "'requiretls' is not a parameter",
        ),
        (
            Method::PUT,
            "/v4/domains/example.com",
            vec![("require_tls", "yes"), ("archive_to", "http://x")],
            "'archive_to' is not supported yet",
        ),
        (Method::PUT, "/v4/domains/example.com", vec![("name", "b.example")], "'name' of a domain cannot be changed"),
    ] {
        let answer = server.form(method.clone(), path, &fields).await;
        assert_eq!(answer.error(), (400, message), "{method} {path} {fields:?}");
    }
    let list = server.get("/v4/domains").await.json;
    assert_eq!(list["total_count"], 1);
    assert_domain(&list["items"][0], "example.com", false, false);
}

#[tokio::test]
async fn domains_are_listed_in_pages() {
    let server = Server::start().await;
    for name in ["a.test.example", "b.test.example", "c.test.example"] {
        server.add_domain(name, TlsSettings { require_tls: Some(true), ..TlsSettings::default() }).await;
    }
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    for (query, total, expected) in [
        ("sort=name:asc", 4, &["a.test.example", "b.test.example", "c.test.example", "example.com"][..]),
        ("sort=name:asc&limit=2&skip=1", 4, &["b.test.example", "c.test.example"]),
        ("search=TEST&sort=name:desc&limit=1", 3, &["c.test.example"]),
        ("state=active", 0, &[]),
        ("state=disabled", 0, &[]),
        ("search=%25", 0, &[]),
    ] {
        for version in ["/v3", "/v4"] {
            let list = server.get(&format!("{version}/domains?{query}")).await.json;
            assert_eq!(list["total_count"], total, "{query}");
            assert_eq!(names(&list), expected, "{query}");
        }
    }
    assert_eq!(server.get("/v4/domains?limit=x").await.error(), (400, "'limit' must be a number"));
}

#[tokio::test]
async fn connection_settings_are_the_domains_own_in_every_shape() {
    let server = Server::start().await;
    let path = "/v3/domains/example.com/connection";
    let shape = |require_tls: bool, skip_verification: bool| {
        let settings = json!({
            "require_tls": require_tls,
            "skip_verification": skip_verification,
            "tls_fallback": "plaintext",
            "tls_failure": "defer",
        });
        let mut shape = settings.clone();
        shape["connection"] = settings;
        shape
    };
    assert_eq!(server.get(path).await.json, shape(false, false));
    let set = server.put(path, &[("require_tls", "true")]).await;
    assert_eq!(
        set.json["message"],
        "Domain connection settings have been updated, may take 10 minutes to fully propagate"
    );
    assert_eq!(set.json["require-tls"], true);
    assert_eq!(set.json["skip-verification"], false);
    assert_eq!(server.get(path).await.json, shape(true, false));
    // Partial, in the other encoding, and in the other version.
    let form = Form::new().text("skip_verification", "Yes");
    let set = send(server.request(Method::PUT, "/v4/domains/example.com/connection").multipart(form)).await;
    assert_eq!(
        set.json["connection"],
        json!({
            "require_tls": true, "skip_verification": true, "tls_fallback": "plaintext", "tls_failure": "defer",
        })
    );
    assert_domain(&server.get("/v4/domains/example.com").await.json["domain"], "example.com", true, true);
    server.put(path, &[("require_tls", "false"), ("skip_verification", "false")]).await;
    assert_eq!(server.get(path).await.json, shape(false, false));
}

#[tokio::test]
async fn settings_in_the_query_are_refused() {
    let server = Server::start().await;
    let text = "'require_tls' is in the query; parameters belong into the body";
    for path in ["/v3/domains/example.com/connection", "/v4/domains/example.com"] {
        let path = format!("{path}?require_tls=yes");
        assert_eq!(server.put(&path, &[("skip_verification", "no")]).await.error(), (400, text), "{path}");
    }
    let answer = server.post("/v4/domains?require_tls=yes", &[("name", "example.org")]).await;
    assert_eq!(answer.error(), (400, text));
    assert_eq!(server.get("/v4/domains/example.org").await.status, 404);
}

#[tokio::test]
async fn bad_connection_settings_are_refused_by_name() {
    let server = Server::start().await;
    let path = "/v3/domains/example.com/connection";
    let empty = "Need at least one of 'require_tls' or 'skip_verification' parameters specified";
    for (fields, message) in [
        (vec![], empty),
        (vec![("require_tls", "")], "'require_tls' must be one of: yes, no, true, false"),
        (
            vec![("require_tls", "true"), ("skip_verification", "2")],
            "'skip_verification' must be one of: yes, no, true, false",
        ),
        (vec![("require_tls", "true"), ("skip-verify", "no")], "'skip-verify' is not a parameter"),
    ] {
        assert_eq!(server.put(path, &fields).await.error(), (400, message), "{fields:?}");
    }
    assert_eq!(send(server.request(Method::PUT, path)).await.error(), (400, empty));
    let json = server.request(Method::PUT, path).json(&json!({ "require_tls": true }));
    let message = "Invalid request content type. Expecting 'multipart/form-data' or \
        'application/x-www-form-urlencoded' but got 'application/json'";
    assert_eq!(send(json).await.error(), (400, message));
    assert_eq!(server.get(path).await.json["require_tls"], false);
}

#[tokio::test]
async fn a_domain_chooses_its_fallback_and_what_failure_means() {
    let server = Server::start().await;
    server.add_domain("choices.example", TlsSettings::default()).await;
    let (domain, connection) = ("/v4/domains/choices.example", "/v3/domains/choices.example/connection");
    for (field, choices) in
        [("tls_fallback", &["unverified", "defer", "plaintext"][..]), ("tls_failure", &["fail", "defer"])]
    {
        for choice in choices {
            assert_eq!(server.put(domain, &[(field, choice)]).await.json["domain"][field], *choice);
            assert_eq!(server.get(connection).await.json["connection"][field], *choice);
        }
        let refused = server.put(connection, &[(field, "sometimes")]).await;
        assert_eq!(refused.status, 400);
        assert!(refused.json["message"].as_str().unwrap().contains(field), "{}", refused.json);
    }
}
