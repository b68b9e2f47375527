//! What the log says: `tls-details` as JSON, for each way that a message can take.

mod common;

use common::{Scenario, route_to, switches};
use delivery::tls::Roots;
use policy::tls::Minimum;
use serde_json::{Value, json};
use testkit::{Answer, Behaviour, Breakage, Ca, Host, Identity, Issue, KeyKind, Lab, Listen, Tls, ValidationLevel};

/// The evidence with what differs from run to run checked and then replaced.
async fn evidence(scenario: Scenario) -> Value {
    let mut evidence = scenario.run().await.evidence();
    if let Some(address) = evidence.get_mut("peer-ip") {
        assert!(address.as_str().unwrap().starts_with("127.0.0."));
        *address = json!("127.0.0.x");
    }
    // Its words are the table's columns, which tests/tls.rs walks.
    evidence.as_object_mut().unwrap().remove("observed");
    if let Some(took) = evidence.get_mut("handshake-ms") {
        assert!(took.is_u64());
        *took = json!(0);
    }
    if let Some(certificate) = evidence.get_mut("certificate") {
        assert_eq!(certificate["sha256"].as_str().unwrap().len(), 64);
        for date in ["not-before", "not-after"] {
            assert!(certificate[date].as_str().unwrap().ends_with('Z'), "{certificate}");
            certificate.as_object_mut().unwrap().remove(date);
        }
        certificate.as_object_mut().unwrap().remove("sha256");
        if certificate["issuer"].as_str().unwrap().starts_with("CN=Waxwing throw-away CA ") {
            certificate["issuer"] = json!("the lab's CA");
        }
    }
    for step in evidence["steps"].as_array_mut().unwrap() {
        assert!(step["detail"].is_string());
        step.as_object_mut().unwrap().remove("detail");
        step.as_object_mut().unwrap().remove("address");
    }
    evidence
}

fn policy(require_tls: bool, skip_verification: bool) -> Value {
    json!({
        "require-tls": require_tls, "skip-verification": skip_verification,
        "require-tls-from": "message", "skip-verification-from": "domain",
    })
}

/// A certificate of the lab's CA, which counts as a public root in these tests.
fn certificate(name: &str) -> Value {
    json!({
        "subject": format!("CN={name}"), "sans": [name], "issuer": "the lab's CA",
        "key-type": "ec", "key-bits": 256, "validation-level": "dv",
    })
}

/// `base` with these fields in place of its own; `null` takes a field away.
fn but(mut base: Value, fields: Value) -> Value {
    for (key, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => base.as_object_mut().unwrap().remove(key),
            value => base.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    base
}

fn identity(lab: &Lab) -> Option<Identity> {
    let level = Some(ValidationLevel::Dv);
    Some(lab.ca().issue(&Issue { level, ..Issue::new("mx.d.test") }).unwrap())
}

fn wrong_name(lab: &Lab) -> Option<Identity> {
    let level = Some(ValidationLevel::Dv);
    Some(lab.ca().issue(&Issue { level, ..Issue::new("elsewhere.test") }).unwrap())
}

fn self_signed(_: &Lab) -> Option<Identity> {
    let (level, key) = (Some(ValidationLevel::Ev), KeyKind::Ed25519);
    Some(Identity::self_signed(&Issue { level, key, ..Issue::new("mx.d.test") }).unwrap())
}

fn with_tls(tls: Tls) -> Scenario {
    Scenario { identity, ..Scenario::with(Behaviour { tls, ..Behaviour::default() }) }
}

/// These tests ask a resolver without DNSSEC, and each attempt says so.
fn off() -> Value {
    json!({ "state": "off", "because": "dnssec is set to off" })
}

fn verified() -> Value {
    json!({
        "policy": policy(false, false),
        "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "key-exchange": "X25519",
        "sni": "mx.d.test", "peer-ip": "127.0.0.x",
        "certificate": certificate("mx.d.test"),
        "verification": "ok", "key-proof": "webpki", "resumed": false, "handshake-ms": 0, "dane": off(),
        "steps": [{ "host": "mx.d.test", "result": "delivered" }],
    })
}

/// Nothing was carried by TLS.
fn plaintext(reason: &str) -> Value {
    let fields = json!({
        "version": null, "cipher": null, "key-exchange": null, "resumed": null,
        "fallback": reason,
        "steps": [{ "host": "mx.d.test", "result": "delivered", "reason": reason }],
    });
    but(verified(), fields)
}

/// No handshake was completed either.
fn without_handshake(evidence: Value) -> Value {
    let fields = json!({
        "sni": null, "certificate": null, "verification": null, "verification-detail": null, "key-proof": null,
        "handshake-ms": null,
    });
    but(evidence, fields)
}

fn retried(reason: &str) -> Value {
    json!({ "steps": [
        { "host": "mx.d.test", "result": "plaintext-retry", "reason": reason },
        { "host": "mx.d.test", "result": "delivered", "reason": reason },
    ]})
}

fn left(reason: &str) -> Value {
    json!({ "fallback": null, "steps": [{ "host": "mx.d.test", "result": "left", "reason": reason }] })
}

#[tokio::test]
async fn encrypted() {
    assert_eq!(evidence(Scenario { identity, ..Scenario::default() }).await, verified());
    // Under skip the verdict is recorded all the same.
    let skipping = Scenario { identity, policy: switches(true, true), ..Scenario::default() };
    assert_eq!(evidence(skipping).await, but(verified(), json!({ "policy": policy(true, true) })));
    let old = json!({ "version": "TLSv1.2", "cipher": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" });
    assert_eq!(evidence(with_tls(Tls::Tls12Only)).await, but(verified(), old));
    let skipping = Scenario { identity: self_signed, policy: switches(false, true), ..Scenario::default() };
    let expected = json!({
        "policy": policy(false, true),
        "verification": "certificate-not-trusted", "verification-detail": "the certificate is self-signed",
        // Anyone can call a certificate of his own extendedly validated.
        "certificate": {
            "subject": "CN=mx.d.test", "sans": ["mx.d.test"], "issuer": "CN=mx.d.test",
            "key-type": "ed-dsa", "key-bits": 256, "validation-level": null,
        },
    });
    assert_eq!(evidence(skipping).await, but(verified(), expected));
}

#[tokio::test]
async fn in_plaintext() {
    let not_offered = without_handshake(plaintext("starttls-not-supported"));
    assert_eq!(evidence(with_tls(Tls::NotOffered)).await, not_offered);
    let refused = with_tls(Tls::RefusedWith(Answer::new(454, "not now")));
    assert_eq!(evidence(refused).await, without_handshake(plaintext("starttls-refused")));
    let broken = without_handshake(but(plaintext("handshake-failed"), retried("handshake-failed")));
    assert_eq!(evidence(with_tls(Tls::Broken(Breakage::Garbage))).await, broken);
    // The certificate that was not good enough is shown, and why.
    let reason = "certificate-host-mismatch";
    let expected = but(plaintext(reason), retried(reason));
    let certificate = json!({
        "certificate": certificate("elsewhere.test"), "verification": reason,
        "verification-detail": "the certificate is for elsewhere.test, not for mx.d.test",
    });
    let scenario = Scenario { identity: wrong_name, ..Scenario::default() };
    assert_eq!(evidence(scenario).await, but(expected, certificate));
}

#[tokio::test]
async fn not_at_all() {
    let reason = "starttls-not-supported";
    let scenario = Scenario { policy: switches(true, false), ..with_tls(Tls::NotOffered) };
    let expected = but(without_handshake(plaintext(reason)), left(reason));
    assert_eq!(evidence(scenario).await, but(expected, json!({ "policy": policy(true, false) })));
    let reason = "certificate-not-trusted";
    let scenario = Scenario { policy: switches(true, false), identity: self_signed, ..Scenario::default() };
    let told = evidence(scenario).await;
    assert_eq!((&told["verification"], &told["steps"]), (&json!(reason), &left(reason)["steps"]));
    assert!(told.get("version").is_none() && told.get("fallback").is_none() && told["certificate"].is_object());
    // No connection, so nothing about one.
    let told = evidence(Scenario::hosts(vec![Host::new("mx", 10, Behaviour::default()).on(Listen::Closed)])).await;
    let steps = json!([{ "host": "mx.d.test", "result": "connection-failed", "reason": "connection-failed" }]);
    assert_eq!(told, json!({ "policy": policy(false, false), "dane": off(), "steps": steps }));
}

#[tokio::test]
async fn by_a_route_that_demands_more() {
    let routes = |lab: &Lab| vec![route_to(lab, "mx.d.test", Minimum::Verified)];
    let raised = json!({ "raised-to": "verified", "demanded-by": ["route"], "overridden": ["skip-verification"] });
    let raised = but(policy(false, true), raised);
    let scenario = Scenario { routes, identity, policy: switches(false, true), ..Scenario::default() };
    assert_eq!(evidence(scenario).await, but(verified(), json!({ "policy": raised })));
}

#[tokio::test]
async fn a_validation_level_counts_from_public_roots_only() {
    for (level, word) in [
        (ValidationLevel::Dv, "dv"),
        (ValidationLevel::Ov, "ov"),
        (ValidationLevel::Iv, "iv"),
        (ValidationLevel::Ev, "ev"),
    ] {
        let mut lab = Lab::empty().await.unwrap();
        let identity = Some(lab.ca().issue(&Issue { level: Some(level), ..Issue::new("mx.d.test") }).unwrap());
        lab.add("d", Behaviour { identity, ..Behaviour::default() }).await.unwrap();
        let private = |lab: &Lab| {
            let file = std::env::temp_dir().join(format!("waxwing-roots-{}.pem", lab.smtp_port()));
            lab.write_ca_pem(&file).unwrap();
            let roots = Roots::of(Ca::new().unwrap().roots()).with_file(&file).unwrap();
            std::fs::remove_file(&file).unwrap();
            roots
        };
        for (roots, level) in [(None, json!(word)), (Some(private as fn(&Lab) -> Roots), Value::Null)] {
            let report = Scenario { roots, ..Scenario::default() }.attempt(&lab).await;
            let told = serde_json::to_value(report.evidence(0)).unwrap();
            assert_eq!((&told["certificate"]["validation-level"], &told["verification"]), (&level, &json!("ok")));
        }
    }
}
