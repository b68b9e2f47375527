//! DANE in deliveries: records about authorities, names that a certificate may carry, names that are asked for, and hosts
//! to which it does not apply.

use testkit::Ca;

use super::dane::{hex, record_of, sha256, validating};
use super::*;

/// The first certificate of the host's chain that is no leaf, as `2 0 1`.
fn record_of_authority(ca: &Ca) -> String {
    format!("TLSA 2 0 1 {}", hex(&sha256(&ca.der())))
}

/// A certificate that no root vouches for, with its authority beside it.
fn by(ca: &Ca, issue: &Issue) -> Behaviour {
    let Identity { mut chain, key } = ca.issue(issue).unwrap();
    chain.push(ca.der());
    Behaviour { identity: Some(Identity { chain, key }), ..good() }
}

/// Each domain of `sec.test` with its one host `mx`: what it shows, and its TLSA record. Records of hosts that are not of
/// these domains are added by hand.
fn hosts(ca: &Ca) -> Vec<(&'static str, Behaviour, Option<String>)> {
    let name = |label| format!("mx.{label}.sec.test");
    let authority = || Some(record_of_authority(ca));
    let expired = |label| Issue { validity: Validity::Expired, ..Issue::new(name(label)) };
    let itself = |behaviour: &Behaviour| Some(record_of(behaviour));
    let old = Behaviour { identity: Some(Identity::self_signed(&expired("old")).unwrap()), ..good() };
    let misnamed = self_signed("elsewhere.test");
    let unnamed = Identity::self_signed(&Issue::without_san("nobody")).unwrap();
    let unnamed = Behaviour { identity: Some(unnamed), ..good() };
    let nothing = "00".repeat(32);
    vec![
        ("ta", by(ca, &Issue::new(name("ta"))), authority()),
        // The name of the domain that leads here will do as well (RFC 7672 §3.2.2).
        ("hop", by(ca, &Issue::new("hop.sec.test")), authority()),
        ("other", by(ca, &Issue::new("elsewhere.test")), authority()),
        ("late", by(ca, &expired("late")), authority()),
        ("old", old.clone(), itself(&old)),
        ("misnamed", misnamed.clone(), itself(&misnamed)),
        ("unnamed", unnamed.clone(), itself(&unnamed)),
        // One of two is enough, whichever it is.
        ("either", by(ca, &Issue::new(name("either"))), Some(format!("TLSA 3 1 1 {nothing}"))),
        ("alias", by(ca, &Issue::new("real.alias.sec.test")), None),
        ("start", by(ca, &Issue::new(name("start"))), authority()),
        ("both", good(), None),
        ("lost", good(), None),
        ("plain", self_signed("mx.plain.test"), None),
    ]
}

/// Beside those hosts: aliases, a domain with two hosts, unsigned domains and hosts.
fn more(port: u16, ca: &Ca, address: &dyn Fn(&str) -> String) -> String {
    let authority = record_of_authority(ca);
    format!(
        "mx.alias CNAME real.alias\nreal.alias A {}\n_{port}._tcp.real.alias {authority}\n\
         _{port}._tcp.mx.either {authority}\n\
         mx.start CNAME end.start\nend.start A {}\n\
         two MX 10 mx.lost\ntwo MX 20 mx.ta\n\
         out MX 10 mx.plain.test.\n",
        address("alias"),
        address("start"),
    )
}

async fn world(test: &str) -> Option<World> {
    if !testkit::signed::tools_or_skip(test) {
        return None;
    }
    let mut lab = Lab::empty().await.unwrap();
    let port = lab.smtp_port();
    let ca = Ca::new().unwrap();
    let (mut records, mut addresses) = (String::new(), std::collections::BTreeMap::new());
    for (label, behaviour, record) in hosts(&ca) {
        let receiver = lab.add(&format!("{label}.sec"), behaviour).await.unwrap();
        let address = receiver.address().ip().to_string();
        records += &format!("{label} MX 10 mx.{label}\n");
        if !["alias", "start", "plain"].contains(&label) {
            records += &format!("mx.{label} A {address}\n");
        }
        let record = if label == "both" { Some(record_of(&receiver.behaviour())) } else { record };
        records += &record.map_or_else(String::new, |record| format!("_{port}._tcp.mx.{label} {record}\n"));
        addresses.insert(label, address);
    }
    records += &more(port, &ca, &|label| addresses[label].clone());
    let nothing = "00".repeat(32);
    // An unsigned domain whose host has a record that it does not meet; an unsigned host of which TLSA cannot be asked.
    let plain = format!("@ MX 10 mx.other.sec.test.\nmx A {}\n", addresses["plain"]);
    let plain = plain + &format!("_{port}._tcp.mx TLSA 3 1 1 {nothing}\n");
    use testkit::signed::{Served, SignedZone, Signing};
    let gone = |name| SignedZone { served: Served::Gone, ..SignedZone::new(name, Signing::Unsigned, "") };
    let zones = vec![
        SignedZone::new(".", Signing::Nsec, ""),
        SignedZone::new("test.", Signing::OptOut, ""),
        SignedZone::new("sec.test.", Signing::Nsec3, records),
        SignedZone::new("plain.test.", Signing::Unsigned, plain),
        gone("_tcp.mx.lost.sec.test."),
        gone("_tcp.mx.plain.test."),
    ];
    Some(World { lab, signed: Some(validating(zones).await) })
}

fn to(destination: &'static str, policy: TlsPolicy) -> Scenario {
    Scenario { destination, policy, ..Scenario::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_certificate_must_be_where_records_say_so() {
    let Some(world) = world("what_a_certificate_must_be_where_records_say_so").await else { return };
    let mismatch = Some("certificate-host-mismatch");
    for (destination, host, record, base, reason) in [
        ("ta.sec.test", "mx.ta.sec.test", "2 0 1", "mx.ta.sec.test", None),
        ("hop.sec.test", "mx.hop.sec.test", "2 0 1", "mx.hop.sec.test", None),
        ("other.sec.test", "mx.other.sec.test", "", "mx.other.sec.test", mismatch),
        ("late.sec.test", "mx.late.sec.test", "", "mx.late.sec.test", Some("certificate-expired")),
        ("old.sec.test", "mx.old.sec.test", "3 1 1", "mx.old.sec.test", None),
        ("misnamed.sec.test", "mx.misnamed.sec.test", "3 1 1", "mx.misnamed.sec.test", None),
        ("unnamed.sec.test", "mx.unnamed.sec.test", "3 1 1", "mx.unnamed.sec.test", None),
        ("either.sec.test", "mx.either.sec.test", "2 0 1", "mx.either.sec.test", None),
        // The records are at the end of the alias, and so is the name that is asked for and shown.
        ("alias.sec.test", "mx.alias.sec.test", "2 0 1", "real.alias.sec.test", None),
        // There are none at its end: those at its start count.
        ("start.sec.test", "mx.start.sec.test", "2 0 1", "mx.start.sec.test", None),
    ] {
        for policy in [switches(false, false), switches(false, true), switches(true, false)] {
            let told = world.deliver(to(destination, policy)).await;
            let context = format!("{destination} {policy:?}: {:?}", told.steps());
            let evidence = told.evidence();
            assert_eq!((&evidence["dane"]["state"], &evidence["dane"]["base"]), (&json!("usable"), &json!(base)));
            match reason {
                None => {
                    assert_eq!(told.end(), "delivered verified", "{context}");
                    assert_eq!(evidence["dane"]["record"], record, "{context}");
                }
                Some(_) => {
                    assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", reason), "{context}")
                }
            }
            assert_eq!(evidence["sni"], base, "{context}");
            assert_ne!(evidence["verification"], "ok", "no root vouches for any of them: {context}");
        }
        let sessions = world.receiver(host).wait_for_sessions(3, PATIENCE).await;
        assert!(sessions.iter().all(|session| session.tls.as_ref().unwrap().sni.as_deref() == Some(base)), "{host}");
        assert!(reason.is_none() || sessions.iter().all(|session| !session.saw_mail()), "{host}");
    }
    assert_eq!(world.lab.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_must_be_skipped_keeps_nobody_from_the_next() {
    let Some(world) = world("a_host_that_must_be_skipped_keeps_nobody_from_the_next").await else { return };
    let told = world.deliver(to("two.sec.test", switches(false, false))).await;
    let skipped = ("mx.lost.sec.test", "skipped", Some("tlsa-lookup-failed"));
    assert_eq!(told.steps(), [skipped, ("mx.ta.sec.test", "delivered", None)]);
    assert_eq!(told.end(), "delivered verified");
    world.assert_never_connected("mx.lost.sec.test");
}

/// Unsigned MX records, and unsigned hosts of signed ones: their TLSA records are nobody's word, and are not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_is_not_authenticated() {
    let Some(world) = world("what_is_not_signed_is_not_authenticated").await else { return };
    for (destination, state, host) in
        [("plain.test", "mx-insecure", "mx.other.sec.test"), ("out.sec.test", "address-insecure", "mx.plain.sec.test")]
    {
        let told = world.deliver(to(destination, switches(false, true))).await;
        assert_eq!((told.end().as_str(), &told.evidence()["dane"]["state"]), ("delivered encrypted", &json!(state)));
        let told = world.deliver(to(destination, switches(false, false))).await;
        assert_eq!(told.end(), "delivered plaintext", "{destination}: {:?}", told.steps());
        let told = world.deliver(to(destination, switches(true, false))).await;
        assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some("certificate-not-trusted")));
        assert_eq!(world.receiver(host).messages().len(), 2, "{destination}");
    }
}

/// A certificate that roots and records vouch for: a session of it could be resumed, and records may change.
#[tokio::test(flavor = "multi_thread")]
async fn every_handshake_shows_the_certificate() {
    let Some(world) = world("every_handshake_shows_the_certificate").await else { return };
    let scenario = to("both.sec.test", switches(true, false));
    let plain = scenario.client(&world.lab);
    let reuse = delivery::Reuse { idle: Duration::ZERO, ..delivery::Reuse::default() };
    let dns = world.signed.as_ref().unwrap().2.clone();
    let client = Client::new(delivery::Options { reuse, ..plain.options().clone() }, dns, world.tls());
    for _ in 0..3 {
        let told = Told(scenario.attempt_with(&client).await);
        assert_eq!((told.end().as_str(), &told.evidence()["verification"]), ("delivered verified", &json!("ok")));
        assert_eq!(told.evidence()["dane"]["verdict"], "ok");
    }
    let sessions = world.receiver("mx.both.sec.test").wait_for_sessions(3, PATIENCE).await;
    assert!(sessions.iter().all(|session| !session.tls.as_ref().unwrap().resumed), "{}", sessions.len());
}
