//! What the log says, in full, for single deliveries.

use serde_json::{Value, json};
use testkit::{Behaviour, Host, Lab, Listen, Tls};

use crate::world::{DOMAIN, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_delivery_tells_everything() {
    let world = World::start(Lab::start().await.unwrap()).await;
    let event = world.outcome_of(&world.send("a@good.test", &[("o:tag", "news"), ("v:order", "7")]).await).await;
    let status = &event["delivery-status"];
    assert_eq!(status["mx-host"], "mx.good.test");
    assert_eq!(status["attempt-no"], 1);
    assert_eq!(status["utf8"], true);
    assert!(status["session-seconds"].as_f64().unwrap() > 0.0);
    let details = &status["tls-details"];
    assert_eq!(details["version"], "TLSv1.3");
    assert!(details["cipher"].as_str().unwrap().starts_with("TLS_"));
    assert_eq!(details["key-exchange"], "X25519");
    assert_eq!(details["sni"], "mx.good.test");
    assert!(details["peer-ip"].as_str().unwrap().starts_with("127.0.0."));
    assert_eq!(details["resumed"], false);
    assert_eq!(details["verification"], "ok");
    assert_eq!(
        details["policy"],
        json!({
            "require-tls": false, "skip-verification": false,
            "require-tls-from": "default", "skip-verification-from": "default",
        })
    );
    let certificate = &details["certificate"];
    assert_eq!(certificate["sans"], json!(["mx.good.test"]));
    assert_eq!(certificate["key-type"], "ec");
    assert_eq!(certificate["key-bits"], 256);
    assert_eq!(certificate["sha256"].as_str().unwrap().len(), 64);
    // The lab's CA is no public one: whatever its certificates claim, no level is reported.
    assert_eq!(certificate["validation-level"], Value::Null);
    assert_eq!(event["tags"], json!(["news"]));
    assert_eq!(event["user-variables"], json!({"order": "7"}));
    assert_eq!(event["recipient"], "a@good.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_fallback_is_one_code_and_words() {
    let world = World::start(Lab::start().await.unwrap()).await;
    for (state, code, words) in [
        ("self-signed", "certificate-not-trusted", "self-signed"),
        ("expired", "certificate-expired", "expired"),
        ("wrong-name", "certificate-host-mismatch", "not for mx.wrong-name.test"),
        ("no-starttls", "starttls-not-supported", ""),
        ("starttls-454", "starttls-refused", ""),
        ("broken-handshake", "handshake-failed", ""),
    ] {
        let event = world.outcome_of(&world.send(&format!("a@{state}.test"), &[]).await).await;
        let details = &event["delivery-status"]["tls-details"];
        assert_eq!(details["fallback"], code, "{event:#}");
        if !words.is_empty() {
            assert_eq!(details["verification"], code, "{event:#}");
            assert!(details["verification-detail"].as_str().unwrap().contains(words), "{event:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_nothing_is_said_of_tls() {
    let lab = Lab::empty().await.unwrap();
    lab.dns().update(|zone| zone.null_mx("null.test").servfail("broken.test"));
    let world = World::start(lab).await;
    for (domain, severity, enhanced) in [
        ("null.test", "permanent", "5.1.10"),
        ("nowhere.test", "permanent", "5.1.2"),
        ("broken.test", "temporary", "4.4.3"),
    ] {
        let event = world.outcome_of(&world.send(&format!("a@{domain}"), &[]).await).await;
        let status = event["delivery-status"].as_object().unwrap();
        assert_eq!(event["severity"], severity, "{event:#}");
        assert_eq!(status["enhanced-code"], enhanced, "{event:#}");
        for absent in ["tls", "certificate-verified", "mx-host"] {
            assert!(!status.contains_key(absent), "{absent}: {event:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_how_they_travelled() {
    let world = World::start(Lab::start().await.unwrap()).await;
    for state in ["good", "self-signed", "no-starttls"] {
        let skip = if state == "self-signed" { "yes" } else { "no" };
        world.outcome_of(&world.send(&format!("a@{state}.test"), &[("o:skip-verification", skip)]).await).await;
    }
    for (filter, expected) in [
        ("tls=true", vec!["a@good.test", "a@self-signed.test"]),
        ("tls=false", vec!["a@no-starttls.test"]),
        ("certificate-verified=true", vec!["a@good.test"]),
        ("tls=true&certificate-verified=false", vec!["a@self-signed.test"]),
        ("mx-host=mx.no-starttls.test", vec!["a@no-starttls.test"]),
    ] {
        let page = world.get(&format!("/v3/{DOMAIN}/events?ascending=yes&{filter}")).await;
        let found: Vec<_> =
            page["items"].as_array().unwrap().iter().map(|e| e["recipient"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_decides_over_its_domain_in_both_directions() {
    let mut lab = Lab::empty().await.unwrap();
    lab.add("plain", Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }).await.unwrap();
    let world = World::start(lab).await;
    let connection = format!("/v3/domains/{DOMAIN}/connection");
    for (domain, message, required, from) in [
        ("true", None, true, "domain"),
        ("true", Some("no"), false, "message"),
        ("false", Some("yes"), true, "message"),
        ("false", None, false, "domain"),
    ] {
        world.put(&connection, &[("require_tls", domain)]).await;
        let options: Vec<_> = message.iter().map(|value| ("o:require-tls", *value)).collect();
        let event = world.outcome_of(&world.send("a@plain.test", &options).await).await;
        let policy = &event["delivery-status"]["tls-details"]["policy"];
        assert_eq!(event["event"], if required { "failed" } else { "delivered" }, "{event:#}");
        assert_eq!(
            (&policy["require-tls"], &policy["require-tls-from"]),
            (&required.into(), &from.into()),
            "{event:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_dane_is_off_and_why_stands_in_each_attempt() {
    let mut lab = Lab::start().await.unwrap();
    lab.add_hosts("closed", vec![Host::new("mx", 10, Behaviour::default()).on(Listen::Closed)]).await.unwrap();
    // The lab's authority knows nothing of DNSSEC: neither way to secure an answer works with it.
    let resolver = lab.dns_addr();
    let mut world = World::start_with(lab, &[("dnssec", "validate")]).await;
    for dnssec in ["validate", "trust-ad", "off"] {
        world.restart_with(&[("dnssec", dnssec)]);
        for (to, kind) in
            [("a@good.test", "delivered"), ("a@no-starttls.test", "delivered"), ("a@closed.test", "failed")]
        {
            let event = world.outcome_of(&world.send(to, &[]).await).await;
            let dane = &event["delivery-status"]["tls-details"]["dane"];
            assert_eq!((&event["event"], &dane["state"]), (&json!(kind), &json!("off")), "{event:#}");
            let because = dane["because"].as_str().unwrap();
            match dnssec {
                "off" => assert_eq!(because, "dnssec is set to off"),
                _ => assert!(because.starts_with(&format!("the resolver {resolver} ")), "{because}"),
            }
        }
    }
}
