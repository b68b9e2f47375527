//! The operator's rules beside what the recipient's domain publishes: both must hold, and neither stands in for the other.

use std::sync::Arc;

use policy::rule::{Fingerprint, Pin, Rule};
use policy::tls::Minimum;
use testkit::Ca;

use super::dane::{host, sha256, to, world};
use super::*;

fn pinned(pin: Pin) -> Vec<Rule> {
    vec![Rule {
        destinations: vec!["*".parse().unwrap()],
        hosts: Vec::new(),
        minimum: Minimum::None,
        pin: Some(Arc::new(pin)),
        fallback: None,
        until: None,
        reason: None,
    }]
}

/// The certificate that the host shows now.
fn shown_by(receiver: &Receiver) -> Pin {
    let leaf = &receiver.behaviour().identity.unwrap().chain[0];
    Pin::Certificates(vec![Fingerprint(sha256(leaf).try_into().unwrap())])
}

fn another() -> Pin {
    Pin::Certificates(vec![Fingerprint([7; 32])])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_and_tlsa_records_must_both_be_met() {
    let Some(world) = world("a_pin_and_tlsa_records_must_both_be_met").await else { return };
    let verdicts = |told: &Told| {
        let evidence = told.evidence();
        let verdict = |name: &str| evidence[name]["verdict"].as_str().unwrap_or("none").to_owned();
        (verdict("dane"), verdict("pin"))
    };
    let words = |dane: &str, pin: &str| (dane.to_owned(), pin.to_owned());
    let in_records = || shown_by(world.receiver(&host("match")));
    let not_in_records = || shown_by(world.receiver(&host("wrong")));
    for policy in TlsPolicy::ALL {
        let told = world.deliver(Scenario { policy, rules: pinned(in_records()), ..to("match") }).await;
        assert_eq!((told.end().as_str(), verdicts(&told)), ("delivered verified", words("ok", "ok")));
        let told = world.deliver(Scenario { policy, rules: pinned(another()), ..to("match") }).await;
        assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some("certificate-not-pinned")));
        assert_eq!(verdicts(&told), words("ok", "certificate-not-pinned"));
        let told = world.deliver(Scenario { policy, rules: pinned(not_in_records()), ..to("wrong") }).await;
        assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some("validation-failure")));
        assert_eq!(verdicts(&told), words("validation-failure", "ok"));
    }
    assert_eq!(world.receiver(&host("match")).messages().len(), TlsPolicy::ALL.len());
    world.assert_nothing_said(&host("wrong"), TlsPolicy::ALL.len()).await;
    // A message that lifts DANE does not lift the pin.
    let lifting = |label| Scenario { tag: TlsTag::NotRequired, ..to(label) };
    let told = world.deliver(Scenario { rules: pinned(not_in_records()), ..lifting("wrong") }).await;
    assert_eq!(told.end(), "delivered verified");
    assert_eq!(told.evidence()["policy"]["lifted"], json!(["dane"]));
    let told = world.deliver(Scenario { rules: pinned(another()), ..lifting("match") }).await;
    assert_eq!(told.reason(), Some("certificate-not-pinned"));
    assert_eq!(world.lab.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_enforced_policy_wants_the_public_authorities_beside_a_pin() {
    let private = Ca::new().unwrap();
    let identity = Some(private.issue(&Issue::new("mx.d.test")).unwrap());
    let of_private = || pinned(Pin::Authorities(vec![private.der().to_vec()]));
    for policy in TlsPolicy::ALL {
        let world = World::with(good(), ENFORCE).await;
        let of_public = pinned(Pin::Authorities(vec![world.lab.ca().der().to_vec()]));
        let told = world.deliver(Scenario { policy, rules: of_public, ..Scenario::default() }).await;
        assert_eq!(told.end(), "delivered verified", "{policy:?}");
        assert_eq!(told.evidence()["pin"]["verdict"], "ok");
        let told = world.deliver(Scenario { policy, rules: of_private(), ..Scenario::default() }).await;
        assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some("certificate-not-pinned")));

        world.receiver("mx.d.test").behave(Behaviour { identity: identity.clone(), ..good() }).unwrap();
        let told = world.deliver(Scenario { policy, rules: of_private(), ..Scenario::default() }).await;
        assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some("certificate-not-trusted")));
        assert_eq!(told.evidence()["pin"]["verdict"], "ok");
        let lifting = Scenario { policy, tag: TlsTag::NotRequired, rules: of_private(), ..Scenario::default() };
        assert_eq!(world.deliver(lifting).await.end(), "delivered verified", "{policy:?}");
        assert_eq!(world.lab.violations(), Vec::<String>::new());
    }
}
