//! DANE in deliveries: signed zones, and hosts whose certificates match their records or do not.

use aws_lc_rs::digest::{SHA256, digest};
use delivery::dnssec::{Anchors, Dnssec, DnssecStatus, Mode};
use testkit::signed::{Served, SignedTree, SignedZone, Signing, tools_or_skip};

use super::*;

/// Where mail goes. All but `bare` show a certificate that no root vouches for, if any.
const HOSTS: [&str; 7] = ["match", "wrong", "unusable", "plain", "gone", "forged", "bare"];

/// Part of a record, before and after somebody changed it.
const FORGED: (&str, &str) = ("00000000000000f0", "00000000000000f1");

fn domain(label: &str) -> String {
    format!("{label}.sec.test")
}

pub(super) fn host(label: &str) -> String {
    format!("mx.{label}.sec.test")
}

pub(super) fn to(label: &'static str) -> Scenario {
    let (destination, recipient) = match label {
        "match" => ("match.sec.test", "bob@match.sec.test"),
        "wrong" => ("wrong.sec.test", "bob@wrong.sec.test"),
        "unusable" => ("unusable.sec.test", "bob@unusable.sec.test"),
        "plain" => ("plain.sec.test", "bob@plain.sec.test"),
        "gone" => ("gone.sec.test", "bob@gone.sec.test"),
        "forged" => ("forged.sec.test", "bob@forged.sec.test"),
        "bare" => ("bare.sec.test", "bob@bare.sec.test"),
        other => panic!("no host {other}"),
    };
    Scenario { destination, recipients: vec![recipient], ..Scenario::default() }
}

pub(super) fn sha256(octets: &[u8]) -> Vec<u8> {
    digest(&SHA256, octets).as_ref().to_vec()
}

pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The record of a certificate's key: `3 1 1`.
pub(super) fn record_of(behaviour: &Behaviour) -> String {
    let leaf = &behaviour.identity.as_ref().unwrap().chain[0];
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).unwrap();
    format!("TLSA 3 1 1 {}", hex(&sha256(leaf.public_key().raw)))
}

/// The world of all these tests; `None` where the tools are missing.
pub(super) async fn world(test: &str) -> Option<World> {
    if !tools_or_skip(test) {
        return None;
    }
    let mut lab = Lab::empty().await.unwrap();
    let port = lab.smtp_port();
    let mut records = String::new();
    for label in HOSTS {
        let behaviour = with_requiretls(match label {
            "plain" => without_tls(),
            "bare" => good(),
            _ => self_signed(&host(label)),
        });
        let receiver = lab.add(&format!("{label}.sec"), behaviour).await.unwrap();
        let address = receiver.address().ip();
        records += &format!("{label} MX 10 mx.{label}\nmx.{label} A {address}\n");
        let nothing = "00".repeat(32);
        let tlsa = match label {
            "match" => record_of(&receiver.behaviour()),
            "wrong" => format!("TLSA 3 1 1 {nothing}"),
            "unusable" | "plain" => format!("TLSA 1 1 1 {nothing}"),
            "forged" => format!("TLSA 3 1 1 {}", &FORGED.0.repeat(4)),
            _ => continue,
        };
        records += &format!("_{port}._tcp.mx.{label} {tlsa}\n");
    }
    let gone = SignedZone { served: Served::Gone, ..SignedZone::new("_tcp.mx.gone.sec.test.", Signing::Unsigned, "") };
    let forged = Some((FORGED.0.to_owned(), FORGED.1.to_owned()));
    let zones = vec![
        SignedZone::new(".", Signing::Nsec, ""),
        SignedZone::new("test.", Signing::Nsec, ""),
        SignedZone { forged, ..SignedZone::new("sec.test.", Signing::Nsec, records) },
        gone,
    ];
    Some(World { lab, signed: Some(validating(zones).await) })
}

/// The zones, served, and a view of them that validates.
pub(super) async fn validating(zones: Vec<SignedZone>) -> (SignedTree, Server, Dns) {
    let tree = SignedTree::start(zones).unwrap();
    let resolver = tree.resolver(false).unwrap();
    std::fs::write(tree.anchor_file(), tree.anchor()).unwrap();
    let anchors = Anchors::from_file(&tree.anchor_file()).unwrap();
    let dns = Dns::secured(Some(resolver.address()), Dnssec::Validate(anchors));
    assert_eq!(dns.dnssec().await, DnssecStatus::On(Mode::Validate));
    (tree, resolver, dns)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_matches_is_valid() {
    let Some(world) = world("a_certificate_that_matches_is_valid").await else { return };
    for policy in TlsPolicy::ALL {
        let told = world.deliver(Scenario { policy, ..to("match") }).await;
        assert_eq!(told.end(), "delivered verified", "{policy:?}: {:?}", told.steps());
        let evidence = told.evidence();
        let dane = json!({ "state": "usable", "base": host("match"), "verdict": "ok", "record": "3 1 1" });
        assert_eq!(evidence["dane"], dane);
        assert_eq!(evidence["verification"], "certificate-not-trusted", "the roots' verdict is told too");
        if policy != switches(true, false) {
            let policy = &evidence["policy"];
            assert_eq!((&policy["raised-to"], &policy["demanded-by"]), (&json!("verified"), &json!(["dane"])));
        }
    }
    // It is what makes a certificate valid for MTA-STS, too (RFC 8461 §2).
    let policy = ENFORCE.replace("mx.d.test", &host("match"));
    world.lab.publish_policy(&domain("match"), "1", PolicySite::good(&policy)).unwrap();
    let told = world.deliver(to("match")).await;
    assert_eq!((told.end().as_str(), &told.evidence()["mta-sts"]["mode"]), ("delivered verified", &json!("enforce")));
    // But it does not make a host one that the policy names.
    let policy = ENFORCE.replace("mx.d.test", "mx.elsewhere.test");
    world.lab.publish_policy(&domain("match"), "2", PolicySite::good(&policy)).unwrap();
    let told = world.deliver(to("match")).await;
    assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some("sts-mx-mismatch")));
    assert_eq!(world.lab.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_match_is_not() {
    let Some(world) = world("a_certificate_that_does_not_match_is_not").await else { return };
    for (deliveries, policy) in TlsPolicy::ALL.into_iter().enumerate() {
        let told = world.deliver(Scenario { policy, ..to("wrong") }).await;
        assert_eq!(told.end(), "deferred 451 4.7.5", "{policy:?}");
        assert_eq!(told.steps(), [(host("wrong").as_str(), "left", told.reason())]);
        let evidence = told.evidence();
        assert_eq!(evidence["dane"]["state"], "usable");
        assert_eq!(evidence["dane"]["verdict"], json!(told.reason()));
        assert_ne!(evidence["dane"]["verdict"], "ok");
        world.assert_nothing_said(&host("wrong"), deliveries + 1).await;
    }
    // Nor does a root's word help where the records say otherwise.
    let identity = Some(world.lab.ca().issue(&Issue::new(host("wrong"))).unwrap());
    world.receiver(&host("wrong")).behave(Behaviour { identity, ..good() }).unwrap();
    let told = world.deliver(to("wrong")).await;
    assert_eq!((told.end().as_str(), &told.evidence()["verification"]), ("deferred 451 4.7.5", &json!("ok")));
    world.assert_nothing_said(&host("wrong"), 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_used_demand_any_tls() {
    let Some(world) = world("records_that_cannot_be_used_demand_any_tls").await else { return };
    for (deliveries, policy) in TlsPolicy::ALL.into_iter().enumerate() {
        let told = world.deliver(Scenario { policy, ..to("unusable") }).await;
        // Who demands a certificate from a trusted root still does.
        let end = if policy == switches(true, false) { "deferred 451 4.7.5" } else { "delivered encrypted" };
        assert_eq!(told.end(), end, "{policy:?}");
        let evidence = told.evidence();
        assert_eq!(evidence["dane"], json!({ "state": "tlsa-invalid", "base": host("unusable") }));
        if !policy.require_tls() {
            let policy = &evidence["policy"];
            assert_eq!((&policy["raised-to"], &policy["demanded-by"]), (&json!("encrypted"), &json!(["dane"])));
        }
        let told = world.deliver(Scenario { policy, ..to("plain") }).await;
        assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.4", Some("starttls-not-supported")));
        world.assert_nothing_said(&host("plain"), deliveries + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_records_cannot_be_looked_up_is_skipped() {
    let Some(world) = world("a_host_whose_records_cannot_be_looked_up_is_skipped").await else { return };
    // Each of them waits for the resolver to give up, so all wait together.
    let skipped = async |label, reason, scenario| {
        let told = world.deliver(Scenario { when_left: WhenLeft::Fail, ..scenario }).await;
        // It may pass, so nobody fails for good by it.
        assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some(reason)));
        assert_eq!(told.steps(), [(host(label).as_str(), "skipped", Some(reason))]);
    };
    let [first, second, third, fourth] = TlsPolicy::ALL;
    let at = async |label, reason| {
        let lifting = async {
            let told = world.deliver(Scenario { tag: TlsTag::NotRequired, ..to(label) }).await;
            assert_eq!(told.end(), "delivered plaintext", "{label}");
        };
        tokio::join!(
            skipped(label, reason, Scenario { policy: first, ..to(label) }),
            skipped(label, reason, Scenario { policy: second, ..to(label) }),
            skipped(label, reason, Scenario { policy: third, ..to(label) }),
            skipped(label, reason, Scenario { policy: fourth, ..to(label) }),
            skipped(label, reason, Scenario { tag: TlsTag::Requiretls, ..to(label) }),
            lifting,
        );
        // The one that lifts it: TLS, and then plaintext. Nobody else came near.
        let sessions = world.receiver(&host(label)).wait_for_sessions(2, PATIENCE).await;
        assert_eq!((sessions.len(), world.receiver(&host(label)).messages().len()), (2, 1), "{label}");
    };
    tokio::join!(at("gone", "tlsa-lookup-failed"), at("forged", "dnssec-invalid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_lift_it() {
    let Some(world) = world("a_message_may_lift_it").await else { return };
    for label in ["wrong", "unusable", "plain"] {
        let told = world.deliver(Scenario { tag: TlsTag::NotRequired, ..to(label) }).await;
        assert_eq!(told.end(), "delivered plaintext", "{label}");
        assert_eq!(told.evidence()["policy"]["lifted"], json!(["dane"]), "{label}");
    }
    // That it was lifted once lifts it for no other message on the same connection.
    let lifting = Scenario { tag: TlsTag::NotRequired, policy: switches(false, true), ..to("wrong") };
    let client = world.client(&lifting);
    assert_eq!(Told(lifting.attempt_with(&client).await).end(), "delivered encrypted");
    let other = Scenario { tag: TlsTag::None, ..lifting };
    assert_eq!(Told(other.attempt_with(&client).await).end(), "deferred 451 4.7.5");
    client.close().await;
    // What the sender himself demands stays: TLS, and by the roots' verdict.
    let policy = switches(true, false);
    let told = world.deliver(Scenario { tag: TlsTag::NotRequired, policy, ..to("wrong") }).await;
    assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some("certificate-not-trusted")));
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_mx_records_authenticate_a_host_for_requiretls() {
    let Some(world) = world("signed_mx_records_authenticate_a_host_for_requiretls").await else { return };
    // By its TLSA record, or by the roots where there is none; no policy is published.
    for label in ["match", "bare"] {
        let told = world.deliver(Scenario { tag: TlsTag::Requiretls, ..to(label) }).await;
        assert_eq!(told.end(), "delivered verified", "{label}: {:?}", told.steps());
        assert!(world.receiver(&host(label)).messages()[0].mail_params.contains(&"REQUIRETLS".to_owned()));
    }
    for label in ["wrong", "unusable"] {
        let told = world.deliver(Scenario { tag: TlsTag::Requiretls, ..to(label) }).await;
        assert_eq!(told.end(), "failed 554 5.7.10", "{label}: {:?}", told.steps());
        world.assert_nothing_said(&host(label), 1).await;
    }
}
