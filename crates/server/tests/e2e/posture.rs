//! How mail travelled, what would have become of it, and what is told when a host stops doing TLS: against the same
//! receivers that then prove it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Behaviour, Identity, Issue, Lab, Tls};

use crate::world::{DOMAIN, World};

/// What-if of what was sent under the default settings says exactly what becomes of the same messages when they are
/// sent again with the flags.
#[tokio::test(flavor = "multi_thread")]
async fn what_if_says_what_then_happens() {
    let world = World::start(Lab::start().await.unwrap()).await;
    let states: Vec<String> = world.lab.states().iter().map(|state| state.domain.clone()).collect();
    for state in &states {
        let event = world.outcome_of(&world.send(&format!("a@{state}"), &[]).await).await;
        assert_eq!(event["event"], "delivered", "{event:#}");
    }
    let flags = [("yes", "no"), ("yes", "yes")];
    // Before anything is sent with the flags, which would be counted too.
    let mut forecasts = Vec::new();
    for (require, skip) in flags {
        let path = format!("/v1/tls/what-if?require_tls={require}&skip_verification={skip}&domain={DOMAIN}");
        forecasts.push(world.get(&path).await);
    }
    for ((require, skip), forecast) in flags.into_iter().zip(forecasts) {
        let items = forecast["items"].as_array().unwrap();
        let told: BTreeMap<_, _> = items.iter().map(|item| (item["destination"].as_str().unwrap(), item)).collect();
        for state in &states {
            let options = [("o:require-tls", require), ("o:skip-verification", skip)];
            let event = world.outcome_of(&world.send(&format!("a@{state}"), &options).await).await;
            let kept_back = event["event"] != "delivered";
            assert_eq!(told.contains_key(state.as_str()), kept_back, "{state} {require} {skip}: {forecast:#}");
            if let Some(item) = told.get(state.as_str()) {
                let steps = event["delivery-status"]["tls-details"]["steps"].as_array().unwrap();
                assert_eq!(item["because"][0]["reason"], steps.last().unwrap()["reason"], "{event:#}");
                assert_eq!(item["recipients"], 1);
            }
        }
        let kept_back = told.len() as u64;
        assert_eq!(forecast["not-delivered"], json!({ "messages": kept_back, "recipients": kept_back }));
        assert_eq!(forecast["delivered"]["recipients"], states.len() as u64 - kept_back);
        assert_eq!(forecast["unknown"]["recipients"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_count_what_the_events_tell() {
    let world = World::start(Lab::start().await.unwrap()).await;
    for (state, options) in [
        ("good", &[][..]),
        ("tls12-only", &[]),
        ("expired", &[]),
        ("expired", &[("o:skip-verification", "yes")]),
        ("no-starttls", &[("o:require-tls", "yes")]),
    ] {
        world.outcome_of(&world.send(&format!("a@{state}.test"), options).await).await;
    }
    let page = world.get(&format!("/v1/tls/destinations?domain={DOMAIN}&resolution=day")).await;
    let find = |state: &str| -> Value {
        let items = page["items"].as_array().unwrap();
        items.iter().find(|item| item["destination"] == format!("{state}.test")).unwrap().clone()
    };
    assert_eq!(page["items"][0]["destination"], "expired.test", "the most mail first");
    let expired = find("expired");
    assert_eq!((&expired["counts"]["plaintext"], &expired["counts"]["encrypted"]), (&json!(1), &json!(1)));
    assert_eq!(expired["fallback-reasons"], json!({ "certificate-expired": 1 }));
    assert_eq!(expired["certificate-faults"], json!({ "certificate-expired": 1 }));
    let good = find("good");
    assert_eq!(good["shares"]["verified"], 1.0);
    assert_eq!((&good["versions"], &good["key-exchanges"]), (&json!({ "TLSv1.3": 1 }), &json!({ "X25519": 1 })));
    assert_eq!(good["mx-hosts"][0]["host"], "mx.good.test");
    assert_eq!(find("tls12-only")["versions"], json!({ "TLSv1.2": 1 }));
    let plain = find("no-starttls");
    assert_eq!((&plain["delivered"], &plain["failed-attempts"]), (&json!(0), &json!({ "tls": 1, "other": 0 })));
    assert_eq!(plain["failure-reasons"], json!({ "starttls-not-supported": 1 }));
    assert_eq!(plain["shares"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_doing_tls_is_told_of() {
    let mut lab = Lab::empty().await.unwrap();
    for name in ["stripped", "forged", "steady"] {
        lab.add(name, Behaviour::default()).await.unwrap();
    }
    let world = World::start_without_reuse(lab).await;
    for name in ["stripped", "forged", "steady"] {
        for _ in 0..3 {
            world.outcome_of(&world.send(&format!("a@{name}.test"), &[]).await).await;
        }
    }
    let path = format!("/v3/{DOMAIN}/events?event=tls-downgraded&ascending=yes");
    assert_eq!(world.get(&path).await["items"], json!([]));

    let stripped = Behaviour { tls: Tls::NotOffered, ..Behaviour::default() };
    world.lab.receiver("stripped").behave(stripped).unwrap();
    let identity = Some(Identity::self_signed(&Issue::new("mx.forged.test")).unwrap());
    world.lab.receiver("forged").behave(Behaviour { identity, ..Behaviour::default() }).unwrap();
    for _ in 0..2 {
        world.outcome_of(&world.send("b@stripped.test", &[]).await).await;
        // Left, and never delivered: the habit stands, and still it is told once.
        world.outcome_of(&world.send("b@forged.test", &[("o:require-tls", "yes")]).await).await;
        world.outcome_of(&world.send("b@steady.test", &[]).await).await;
    }
    let page = world.get(&path).await;
    let events = page["items"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{page:#}");
    for (event, name, observed, ending, reason) in [
        (&events[0], "stripped", "not-offered", "plaintext", "starttls-not-supported"),
        (&events[1], "forged", "unverified", "left", "certificate-not-trusted"),
    ] {
        let story = &event["tls-downgrade"];
        assert_eq!(event["recipient"], format!("b@{name}.test"), "{event:#}");
        assert_eq!(story["mx-host"], format!("mx.{name}.test"), "{event:#}");
        assert_eq!(
            (&story["before"]["observed"], &story["before"]["version"]),
            (&json!("verified"), &json!("TLSv1.3"))
        );
        let after = &story["after"];
        assert_eq!((&after["observed"], &after["ending"]), (&json!(observed), &json!(ending)), "{event:#}");
        assert_eq!(after["reason"], reason, "{event:#}");
    }
    let (before, after) = (&events[1]["tls-downgrade"]["before"], &events[1]["tls-downgrade"]["after"]);
    assert!(before["certificate"]["sha256"].is_string());
    assert_ne!(before["certificate"]["sha256"], after["certificate"]["sha256"]);
}
