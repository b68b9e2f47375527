//! DKIM keys, and the DNS records of domains against a real authority.

use std::collections::BTreeSet;

use delivery::resolve::Dns;
use policy::tls::TlsSettings;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use testkit::Lab;

use crate::support::{Answer, Server, send};

async fn delete(server: &Server, query: &str) -> Answer {
    send(server.request(Method::DELETE, &format!("/v1/dkim/keys?{query}"))).await
}

fn selectors(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["selector"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn keys_are_made_turned_and_deleted() {
    let server = Server::start().await;
    let new = [("signing_domain", "example.com"), ("selector", "s1"), ("bits", "2048")];
    let made = server.post("/v1/dkim/keys", &new).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!((&made.json["signing_domain"], &made.json["selector"]), (&json!("example.com"), &json!("s1")));
    assert_eq!((&made.json["active"], &made.json["bits"]), (&json!(false), &json!(2048)));
    let record = &made.json["dns_record"];
    assert_eq!(record["name"], "s1._domainkey.example.com");
    assert_eq!(
        (&record["record_type"], &record["valid"], &record["cached"]),
        (&json!("TXT"), &json!("unknown"), &json!([]))
    );
    assert!(record["value"].as_str().unwrap().starts_with("v=DKIM1; k=rsa; p="));
    assert!(!made.text.contains("PRIVATE"));
    let again = server.post("/v1/dkim/keys", &new).await;
    assert_eq!(again.error(), (400, "the DKIM key with the selector s1 exists already"));
    let ed = [("signing_domain", "example.com"), ("selector", "s2"), ("type", "ed25519")];
    assert_eq!(server.post("/v1/dkim/keys", &ed).await.json["type"], "ed25519");

    for (version, selector) in [("/v4", "s1"), ("/v3", "s2")] {
        let answer =
            send(server.request(Method::PUT, &format!("{version}/domains/example.com/keys/{selector}/activate"))).await;
        let expected = json!({ "message": "domain key activated", "authority": "example.com", "selector": selector, "active": true });
        assert_eq!(answer.json, expected);
    }
    let keys = server.get("/v4/domains/example.com/keys").await.json;
    assert_eq!(selectors(&keys), ["s1", "s2"]);
    let off = send(server.request(Method::PUT, "/v4/domains/example.com/keys/s1/deactivate")).await;
    assert_eq!((&off.json["message"], &off.json["active"]), (&json!("domain key deactivated"), &json!(false)));
    let no = send(server.request(Method::PUT, "/v4/domains/example.com/keys/s9/activate")).await;
    assert_eq!(no.error(), (404, "domain key not found"));

    let text = "cannot delete domain key: must have at least one active domain key";
    assert_eq!(delete(&server, "signing_domain=example.com&selector=s2").await.error(), (400, text));
    assert_eq!(delete(&server, "signing_domain=example.com&selector=s1").await.json, json!({ "message": "success" }));
    let gone = delete(&server, "signing_domain=example.com&selector=s1").await;
    assert_eq!(gone.error(), (404, "domain key not found"));
    assert_eq!(delete(&server, "signing_domain=example.com").await.error(), (400, "selector parameter is missing"));
}

#[tokio::test]
async fn keys_of_ones_own_are_taken_as_text_or_as_a_file() {
    let server = Server::start().await;
    let pem = message::dkim::SigningKey::generate(message::dkim::KeyKind::Ed25519).unwrap();
    let (text, record) = (pem.to_pem().unwrap(), pem.record());
    let fields = [("signing_domain", "example.com"), ("selector", "own"), ("pem", text.as_str())];
    assert_eq!(server.post("/v1/dkim/keys", &fields).await.json["dns_record"]["value"], record.as_str());
    let file = Part::bytes(text.into_bytes()).file_name("key.pem");
    let form = Form::new().text("signing_domain", "example.com").text("selector", "file").part("pem", file);
    assert_eq!(server.post_multipart("/v1/dkim/keys", form).await.json["dns_record"]["value"], record.as_str());
}

#[tokio::test]
async fn bad_keys_are_refused_by_name() {
    let server = Server::start().await;
    let good = [("signing_domain", "example.com"), ("selector", "s1")];
    for (name, value, message) in [
        (
            "bits",
            "1024",
            "'bits' of 1024 is refused: RSA keys of signers should have at least 2048 bits (RFC 8301 §3.2)",
        ),
        ("bits", "3000", "'bits' must be one of: 2048, 4096"),
        ("type", "dsa", "'type' must be one of: rsa, ed25519"),
        ("selector", "a b", "'selector' is not a valid DKIM selector"),
        ("signing_domain", "", "'signing_domain' is not a valid domain"),
        ("pem", "x", "'pem': there is no private key in PEM form (BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY)"),
        (
            "pem",
            include_str!("../../../message/src/dkim/rsa-1024.pem"),
            "'pem': the RSA key is shorter than the 2048 bits that signers should use (RFC 8301 §3.2)",
        ),
        ("passphrase", "x", "'passphrase' is not a parameter"),
    ] {
        let fields: Vec<_> = good.into_iter().filter(|(given, _)| *given != name).chain([(name, value)]).collect();
        assert_eq!(server.post("/v1/dkim/keys", &fields).await.error(), (400, message), "{name}={value}");
    }
    let elsewhere = [("signing_domain", "no.example"), ("selector", "s1")];
    assert_eq!(server.post("/v1/dkim/keys", &elsewhere).await.error(), (404, "Domain not found"));
    let made = server.post("/v4/domains", &[("name", "new.example"), ("dkim_key_size", "1024")]).await;
    assert_eq!(made.status, 400, "{}", made.text);
    assert_eq!(server.get("/v4/domains/new.example").await.status, 404, "nothing was made");
}

#[tokio::test]
async fn a_new_domain_has_a_key_of_its_own() {
    let server = Server::start().await;
    let made = server.post("/v4/domains", &[("name", "new.example"), ("dkim_selector", "pic")]).await;
    let records = made.json["sending_dns_records"].as_array().unwrap();
    assert_eq!(records.len(), 2, "{}", made.text);
    assert_eq!(
        (&records[0]["name"], &records[0]["value"]),
        (&json!("new.example"), &json!("v=spf1 a:mail.ours.test ~all"))
    );
    assert_eq!((&records[1]["name"], &records[1]["is_active"]), (&json!("pic._domainkey.new.example"), &json!(true)));
    let changed = server.put("/v3/domains/new.example/dkim_selector", &[("dkim_selector", "pac")]).await;
    assert_eq!(changed.json, json!({ "message": "DKIM selector changed" }));
    // mailgun.js says it in the query.
    let changed = send(server.request(Method::PUT, "/v3/domains/new.example/dkim_selector?dkim_selector=pec")).await;
    assert_eq!(changed.json, json!({ "message": "DKIM selector changed" }));
    let twice = server.put("/v3/domains/new.example/dkim_selector?dkim_selector=a", &[("dkim_selector", "b")]).await;
    assert_eq!(twice.status, 400, "{}", twice.text);
    let changed = server.put("/v3/domains/new.example/dkim_selector", &[("dkim_selector", "pac")]).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let authority = server.put("/v3/domains/new.example/dkim_authority", &[("self", "true")]).await.json;
    assert_eq!(authority["changed"], false);
    assert_eq!(authority["sending_dns_records"][1]["name"], "pac._domainkey.new.example");
    assert_eq!(authority["sending_dns_records"][1]["value"], records[1]["value"], "the same key");
    let other = server.put("/v3/domains/new.example/dkim_authority", &[("self", "false")]).await;
    assert_eq!(other.error(), (400, "'self' is not supported yet, only 'true' is"));
    let many = server.put("/v3/domains/example.com/dkim_selector", &[("dkim_selector", "pac")]).await;
    assert_eq!(many.status, 400, "example.com has no key: {}", many.text);
}

#[tokio::test]
async fn all_keys_are_seen_once_by_paging() {
    let server = Server::start().await;
    for domain in ["a.example", "b.example"] {
        server.add_domain(domain, TlsSettings::default()).await;
        for selector in ["s1", "s2", "s3"] {
            let fields = [("signing_domain", domain), ("selector", selector), ("type", "ed25519")];
            assert_eq!(server.post("/v1/dkim/keys", &fields).await.status, 200);
        }
    }
    let mut seen = BTreeSet::new();
    let mut page = server.get("/v1/dkim/keys?limit=4").await.json;
    while !page["items"].as_array().unwrap().is_empty() {
        for item in page["items"].as_array().unwrap() {
            assert!(seen.insert(format!("{} {}", item["signing_domain"], item["selector"])), "{item} twice");
        }
        page = server.get(page["paging"]["next"].as_str().unwrap()).await.json;
    }
    assert_eq!(seen.len(), 6);
    let some = server.get("/v1/dkim/keys?signing_domain=a.example&selector=s2&limit=1").await.json;
    assert_eq!(selectors(&some), ["s2"]);
    assert!(some["paging"]["next"].as_str().unwrap().contains("signing_domain=a.example"));
    assert_eq!(server.get("/v1/dkim/keys?limit=x").await.error(), (400, "'limit' must be a number"));
}

#[tokio::test]
async fn a_domain_is_verified_by_the_dns() {
    let lab = Lab::empty().await.unwrap();
    lab.dns().update(|zone| zone.a("mail.ours.test", "192.0.2.7".parse().unwrap()));
    let server = Server::start_with(Dns::new(Some(lab.dns_addr()))).await;
    let made = server.post("/v4/domains", &[("name", "new.test"), ("dkim_selector", "pic")]).await.json;
    assert_eq!(made["domain"]["state"], "unverified");
    let key = made["sending_dns_records"][1]["value"].as_str().unwrap().to_owned();
    let verify =
        async |version: &str| send(server.request(Method::PUT, &format!("{version}/domains/new.test/verify"))).await;
    let before = verify("/v3").await.json;
    assert_eq!(before["domain"]["state"], "unverified");
    assert_eq!(before["sending_dns_records"][1]["valid"], "invalid");
    assert_eq!(before["sending_dns_records"][1]["detail"], "the record is not published");

    lab.dns().update(|zone| zone.txt("new.test", "v=spf1 ip4:192.0.2.7 -all").txt("pic._domainkey.new.test", &key));
    let after = verify("/v4").await.json;
    assert_eq!(
        (&after["domain"]["state"], &after["message"]),
        (&json!("active"), &json!("Domain DNS records have been updated"))
    );
    assert_eq!(after["sending_dns_records"][1]["cached"], json!([key]));
    assert_eq!(after["recommended_dns_records"][0]["purpose"], "dmarc");
    // What was found is still known, and the state with it.
    let read = server.get("/v4/domains/new.test").await.json;
    assert_eq!(read["sending_dns_records"], after["sending_dns_records"]);
    assert_eq!(server.get("/v4/domains?state=active").await.json["items"][0]["name"], "new.test");
    assert_eq!(server.get("/v4/domains?state=unverified").await.json["items"][0]["name"], "example.com");
    // A domain that is not verified sends all the same.
    assert_eq!(server.send(&[]).await.status, 200);
}

#[tokio::test]
async fn a_key_takes_the_place_of_another_once_its_record_is_published() {
    let lab = Lab::empty().await.unwrap();
    let server = Server::start_with(Dns::new(Some(lab.dns_addr()))).await;
    let new = [("name", "new.test"), ("dkim_selector", "old")];
    assert_eq!(server.post("/v4/domains", &new).await.status, 200);
    let set = "/v1/dkim_management/domains/new.test/rotation";
    let told = server.put(set, &[("rotation_enabled", "true"), ("rotation_interval", "30d")]).await;
    let domain = &told.json["domain"];
    assert_eq!((&domain["active_selector"], &domain["rotation_enabled"]), (&json!("old"), &json!("true")));
    assert_eq!((&domain["rotation_interval"], &domain["records"]), (&json!("30d"), &json!([])), "{}", told.text);
    let off = server.put(set, &[("rotation_enabled", "false")]).await;
    assert_eq!(off.json["domain"]["rotation_interval"], "30d", "what is not given stays: {}", off.text);

    let rotate = async || {
        let answer = send(server.request(Method::POST, "/v1/dkim_management/domains/new.test/rotate")).await;
        assert_eq!(answer.json["message"], "ok", "{}", answer.text);
        answer.json["records"].as_array().unwrap().clone()
    };
    let active = async || {
        let keys = server.get("/v4/domains/new.test/keys").await.json;
        let keys = keys["items"].as_array().unwrap().clone();
        let told = |key: &Value| format!("{} {}", key["selector"].as_str().unwrap(), key["active"]);
        keys.iter().map(told).collect::<Vec<_>>()
    };
    let records = rotate().await;
    let (name, selector) = (records[0]["name"].as_str().unwrap(), records[0]["identifier"].as_str().unwrap());
    assert_eq!(active().await, ["old true", &format!("{selector} false")]);
    assert_eq!(rotate().await, records, "one successor waits, however often it is asked for");

    lab.dns().update(|zone| zone.txt(name, "v=DKIM1; k=rsa; p=AAAA"));
    assert_eq!(rotate().await, records, "another key is published there");
    lab.dns().update(|zone| zone.without(name).txt(name, records[0]["value"].as_str().unwrap()));
    let verified = send(server.request(Method::PUT, "/v4/domains/new.test/verify")).await;
    assert_eq!(active().await, ["old false", &format!("{selector} true")], "{}", verified.text);
    assert_eq!(verified.json["sending_dns_records"][2]["is_active"], true, "{}", verified.text);
    let next = rotate().await;
    assert!(next.len() == 1 && next[0]["name"] != name, "the next one is another");
}

#[tokio::test]
async fn bad_rotations_are_refused_by_name() {
    let server = Server::start().await;
    let path = "/v1/dkim_management/domains/example.com/rotation";
    for (fields, message) in [
        (&[][..], "rotation_enabled parameter is missing"),
        (&[("rotation_enabled", "perhaps")], "'rotation_enabled' must be one of: yes, no, true, false"),
        (&[("rotation_enabled", "yes"), ("rotation_interval", "4d")], "'rotation_interval' must be from 5d to 3650d"),
        (&[("rotation_enabled", "yes"), ("days", "4")], "'days' is not a parameter"),
    ] {
        let answer = server.put(path, fields).await;
        assert_eq!((answer.error(), &answer.json["Reason"]), ((400, message), &json!(message)), "{fields:?}");
    }
    let answer = server.post("/v1/dkim_management/domains/example.com/rotate", &[]).await;
    assert_eq!(answer.error(), (400, "the domain has no active DKIM key that another could replace"));
}
