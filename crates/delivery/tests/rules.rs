//! The operator's rules per destination: minimum levels, pinned authorities and certificates, their end.

mod common;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use common::{Run, Scenario, assert_nothing_said, route_to, switches};
use delivery::probe::Fate;
use delivery::tls::{Roots, TlsEngine, TlsSetupError, read_authorities};
use delivery::{Channel, Client};
use policy::rule::{Fingerprint, Pin, Rule};
use policy::tls::{Fallback, Minimum, TlsPolicy, TlsTag};
use serde_json::json;
use testkit::{Behaviour, Ca, Host, Identity, Issue, Lab, Tls, Validity};

fn rule(destinations: &[&str], hosts: &[&str]) -> Rule {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Rule {
        destinations: patterns(destinations),
        hosts: patterns(hosts),
        minimum: Minimum::None,
        pin: None,
        fallback: None,
        until: None,
        reason: None,
    }
}

fn verified() -> Rule {
    Rule { minimum: Minimum::Verified, ..rule(&["d.test"], &[]) }
}

fn pinned(pin: Pin) -> Rule {
    Rule { pin: Some(Arc::new(pin)), reason: Some("they asked us to".to_owned()), ..rule(&["d.test"], &[]) }
}

fn authority(ca: &Ca) -> Rule {
    pinned(Pin::Authorities(vec![ca.der().to_vec()]))
}

fn sha256(octets: &[u8]) -> Fingerprint {
    Fingerprint(digest(&SHA256, octets).as_ref().try_into().unwrap())
}

fn certificate(identity: &Identity) -> Rule {
    pinned(Pin::Certificates(vec![Fingerprint([7; 32]), sha256(&identity.chain[0])]))
}

fn shows(identity: &Identity) -> Behaviour {
    Behaviour { identity: Some(identity.clone()), ..Behaviour::default() }
}

fn self_signed(issue: &Issue) -> Identity {
    Identity::self_signed(issue).unwrap()
}

fn good_name() -> Issue {
    Issue::new("mx.d.test")
}

fn plain() -> Behaviour {
    Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }
}

/// The host was left for this reason, and heard nothing of the message.
async fn assert_left(run: &Run, reason: &str) {
    assert_eq!((run.outcomes(), run.problem().reason), (vec![("deferred", 451)], Some(reason)));
    assert_nothing_said(&run.sessions(0, 1).await[0]);
    run.assert_clean();
}

#[tokio::test]
async fn a_rule_raises_every_policy_and_lowers_none() {
    for policy in TlsPolicy::ALL {
        for minimum in [Minimum::Encrypted, Minimum::Verified] {
            let rules = vec![Rule { minimum, ..verified() }];
            let run = Scenario { rules: rules.clone(), policy, ..Scenario::with(plain()) }.run().await;
            assert_left(&run, "starttls-not-supported").await;

            let run = Scenario { rules, policy, ..Scenario::with(shows(&self_signed(&good_name()))) }.run().await;
            let strict = policy == switches(true, false) || minimum == Minimum::Verified;
            match run.channel() {
                Some(Channel::Encrypted(_)) => assert!(!strict, "{policy:?} {minimum:?}"),
                None => assert!(strict, "{policy:?} {minimum:?}"),
                other => panic!("{other:?}"),
            }
            run.assert_clean();
        }
    }
}

#[tokio::test]
async fn the_log_names_the_rule_and_what_it_overrode() {
    let rules = vec![Rule { reason: Some("contract 7".to_owned()), ..verified() }, rule(&["other.test"], &[])];
    let run = Scenario { rules, policy: switches(false, true), ..Scenario::default() }.run().await;
    assert!(run.channel().unwrap().certificate_verified());
    let evidence = run.evidence();
    let policy = &evidence["policy"];
    assert_eq!(policy["rules"], json!([{ "destination": "d.test", "minimum": "verified", "reason": "contract 7" }]));
    assert_eq!((&policy["raised-to"], &policy["demanded-by"]), (&json!("verified"), &json!(["rule"])));
    assert_eq!((&policy["overridden"], evidence.get("pin")), (&json!(["skip-verification"]), None));
    // Nothing weaker than verified TLS will do, for those who would take anything as for those who skip.
    for policy in TlsPolicy::ALL {
        let identity = |lab: &Lab| Some(lab.ca().issue(&Issue::new("mx.other.test")).unwrap());
        let run = Scenario { rules: vec![verified()], identity, policy, ..Scenario::default() }.run().await;
        assert_left(&run, "certificate-host-mismatch").await;
    }
}

#[tokio::test]
async fn a_pinned_authority_stands_in_place_of_the_public_ones() {
    let (pinned, other) = (Ca::new().unwrap(), Ca::new().unwrap());
    for policy in TlsPolicy::ALL {
        // Nobody else trusts it.
        let host = shows(&pinned.issue(&good_name()).unwrap());
        let run = Scenario { rules: vec![authority(&pinned)], policy, ..Scenario::with(host) }.run().await;
        let Some(Channel::Verified(facts)) = run.channel() else { panic!("{policy:?}: {:?}", run.report) };
        assert_eq!((facts.verification.code(), facts.pin.as_ref().unwrap().code()), ("certificate-not-trusted", "ok"));
        let evidence = run.evidence();
        assert_eq!((&evidence["pin"], &evidence["observed"]), (&json!({ "verdict": "ok" }), &json!("verified")));
        let told =
            json!([{ "destination": "d.test", "minimum": "verified", "pin": "ca", "reason": "they asked us to" }]);
        assert_eq!(evidence["policy"]["rules"], told);

        // Everybody else trusts this one.
        let run = Scenario { rules: vec![authority(&other)], policy, ..Scenario::default() }.run().await;
        assert_left(&run, "certificate-not-pinned").await;
        let evidence = run.evidence();
        assert_eq!((&evidence["verification"], &evidence["observed"]), (&json!("ok"), &json!("unverified")));
        let words = "the certificate's chain does not end at a CA that the operator's rule pins";
        assert_eq!(evidence["pin"], json!({ "verdict": "certificate-not-pinned", "verdict-detail": words }));
    }
}

#[tokio::test]
async fn below_a_pinned_authority_names_and_dates_count() {
    let ca = Ca::new().unwrap();
    for (issue, reason) in [
        (Issue::new("mx.elsewhere.test"), "certificate-host-mismatch"),
        (Issue { validity: Validity::Expired, ..good_name() }, "certificate-expired"),
        (Issue { validity: Validity::NotYetValid, ..good_name() }, "certificate-not-yet-valid"),
    ] {
        let host = shows(&ca.issue(&issue).unwrap());
        let run = Scenario { rules: vec![authority(&ca)], ..Scenario::with(host) }.run().await;
        assert_left(&run, reason).await;
        assert_eq!(run.evidence()["pin"]["verdict"], reason);
    }
    // Of several authorities one is enough.
    let both = pinned(Pin::Authorities(vec![Ca::new().unwrap().der().to_vec(), ca.der().to_vec()]));
    let host = shows(&ca.issue(&good_name()).unwrap());
    let run = Scenario { rules: vec![both], ..Scenario::with(host) }.run().await;
    assert!(run.channel().unwrap().certificate_verified());
}

#[tokio::test]
async fn a_pinned_certificate_is_good_by_itself() {
    let old = self_signed(&Issue { validity: Validity::Expired, ..Issue::new("mx.elsewhere.test") });
    let new = self_signed(&good_name());
    let by_key = {
        let (_, parsed) = x509_parser::parse_x509_certificate(&new.chain[0]).unwrap();
        pinned(Pin::Certificates(vec![sha256(parsed.public_key().raw)]))
    };
    for (shown, rule) in [(&new, certificate(&new)), (&new, by_key), (&old, certificate(&old))] {
        for policy in TlsPolicy::ALL {
            let scenario = Scenario { rules: vec![rule.clone()], policy, ..Scenario::with(shows(shown)) };
            let run = scenario.run().await;
            assert!(run.channel().unwrap().certificate_verified(), "{:?}", run.report);
            assert_eq!(run.evidence()["pin"]["verdict"], "ok");
            run.assert_clean();
        }
    }
    // A valid one that is another is none.
    for policy in TlsPolicy::ALL {
        let run = Scenario { rules: vec![certificate(&new)], policy, ..Scenario::default() }.run().await;
        assert_left(&run, "certificate-not-pinned").await;
        assert_eq!(run.evidence()["verification"], "ok");
    }
    // And the fingerprint is no good without the key.
    let stolen = Identity { key: old.key.clone(), ..new.clone() };
    let run = Scenario { rules: vec![certificate(&new)], ..Scenario::with(shows(&stolen)) }.run().await;
    assert_left(&run, "handshake-failed").await;
}

#[tokio::test]
async fn pins_of_several_rules_must_all_be_met() {
    let ca = Ca::new().unwrap();
    let identity = ca.issue(&good_name()).unwrap();
    let other = certificate(&self_signed(&good_name()));
    for (rules, reason) in [
        (vec![authority(&ca), certificate(&identity)], None),
        (vec![authority(&ca), other.clone()], Some("certificate-not-pinned")),
        (vec![other, authority(&ca)], Some("certificate-not-pinned")),
    ] {
        let run = Scenario { rules, ..Scenario::with(shows(&identity)) }.run().await;
        match reason {
            None => assert!(run.channel().unwrap().certificate_verified()),
            Some(reason) => assert_left(&run, reason).await,
        }
    }
}

#[tokio::test]
async fn requiretls_wants_the_public_authorities_beside_a_pin() {
    let identity = self_signed(&good_name());
    let scenario = |behaviour| Scenario {
        rules: vec![certificate(&identity)],
        tag: TlsTag::Requiretls,
        routes: |lab| vec![route_to(lab, "mx.d.test", Minimum::None)],
        ..Scenario::with(behaviour)
    };
    let run = scenario(shows(&identity)).run().await;
    assert_eq!(run.problem().reason, Some("certificate-not-trusted"));
    assert_nothing_said(&run.sessions(0, 1).await[0]);
    assert_eq!(run.evidence()["pin"]["verdict"], "ok");
}

#[tokio::test]
async fn a_rule_that_has_ended_is_no_rule() {
    let now = jiff::Timestamp::now().as_second();
    for (until, applies) in [(now - 1, false), (0, false), (now + 3600, true)] {
        let rules = vec![Rule { until: Some(until), ..authority(&Ca::new().unwrap()) }];
        let run = Scenario { rules, ..Scenario::default() }.run().await;
        assert_eq!(run.channel().is_none(), applies, "{until}");
        assert_eq!(run.evidence()["policy"].get("rules").is_some(), applies);
    }
}

#[tokio::test]
async fn a_rule_for_hosts_is_for_these_alone() {
    let hosts =
        || vec![Host::new("mx1", 10, plain()), Host::new("backup", 20, Behaviour { tls: Tls::NotOffered, ..plain() })];
    for (pattern, taken_by) in [("mx1.d.test", Some(1)), ("*.d.test", None), ("*.e.test", Some(0)), ("d.test", Some(0))]
    {
        let rules = vec![Rule { minimum: Minimum::Encrypted, ..rule(&[], &[pattern]) }];
        let run = Scenario { rules, ..Scenario::hosts(hosts()) }.run().await;
        let took: Vec<usize> = run.receivers.iter().map(|receiver| receiver.messages().len()).collect();
        let expected: Vec<usize> = (0..2).map(|index| usize::from(taken_by == Some(index))).collect();
        assert_eq!(took, expected, "{pattern}");
    }
    // Both lists: both must cover.
    for (destination, applies) in [("d.test", true), ("e.test", false)] {
        let rules = vec![Rule { minimum: Minimum::Encrypted, ..rule(&[destination], &["mx.d.test"]) }];
        let run = Scenario { rules, ..Scenario::with(plain()) }.run().await;
        assert_eq!(run.channel().is_none(), applies, "{destination}");
    }
}

#[tokio::test]
async fn on_a_route_rules_hold_too() {
    let ca = Ca::new().unwrap();
    let routes = |lab: &Lab| vec![route_to(lab, "127.0.0.2", Minimum::None)];
    let identity = ca.issue(&Issue::new("127.0.0.2")).unwrap();
    let run = Scenario { rules: vec![authority(&ca)], routes, ..Scenario::with(shows(&identity)) }.run().await;
    assert!(run.channel().unwrap().certificate_verified(), "{:?}", run.report);
    let run = Scenario { rules: vec![authority(&Ca::new().unwrap())], routes, ..Scenario::with(shows(&identity)) };
    assert_left(&run.run().await, "certificate-not-pinned").await;
    // By the name of the route's host, with a demand of the route's own beside it.
    let routes = |lab: &Lab| vec![route_to(lab, "mx.d.test", Minimum::Encrypted)];
    let rules = vec![Rule { minimum: Minimum::Verified, ..rule(&[], &["*.d.test"]) }];
    let run = Scenario { rules: rules.clone(), routes, ..Scenario::default() }.run().await;
    let evidence = run.evidence();
    assert_eq!((&evidence["policy"]["demanded-by"], run.outcomes()[0].0), (&json!(["rule"]), "delivered"));
    let run = Scenario { rules, routes, ..Scenario::with(shows(&self_signed(&good_name()))) }.run().await;
    assert_left(&run, "certificate-not-trusted").await;
}

#[tokio::test]
async fn the_stricter_tls_fallback_counts() {
    use Fallback::{Defer, Plaintext, Unverified};
    let host = shows(&self_signed(&good_name()));
    for (of_sender, of_rule, expected) in [
        (Plaintext, Unverified, "encrypted"),
        (Unverified, Plaintext, "encrypted"),
        (Plaintext, Defer, "left"),
        (Defer, Unverified, "left"),
    ] {
        let rules = vec![Rule { fallback: Some(of_rule), ..rule(&["d.test"], &[]) }];
        let run = Scenario { rules, fallback: of_sender, ..Scenario::with(host.clone()) }.run().await;
        let how = match run.channel() {
            Some(Channel::Encrypted(_)) => "encrypted",
            None => "left",
            other => panic!("{other:?}"),
        };
        assert_eq!(how, expected, "{of_sender:?} {of_rule:?}");
        let evidence = run.evidence();
        let overridden = (of_rule > of_sender).then(|| json!(["tls-fallback"]));
        assert_eq!(evidence["policy"].get("overridden"), overridden.as_ref());
        assert_eq!(evidence["policy"]["rules"][0]["tls-fallback"], of_rule.as_str());
    }
    // A rule that is content with any certificate takes nothing from a domain that is not.
    let rules = vec![Rule { minimum: Minimum::Encrypted, ..rule(&["d.test"], &[]) }];
    let run = Scenario { rules, fallback: Defer, ..Scenario::with(host) }.run().await;
    assert_left(&run, "certificate-not-trusted").await;
    assert_eq!(run.evidence()["policy"]["demanded-by"], json!(["rule", "tls-fallback"]));
}

/// Two domains behind one host with a publicly trusted certificate: one of them is pinned to an authority, and nothing
/// that one of them established serves the other.
#[tokio::test]
async fn pinned_deliveries_share_neither_connections_nor_sessions_with_others() {
    let mut lab = Lab::empty().await.unwrap();
    let host = lab.add("d", Behaviour::default()).await.unwrap();
    let zone = lab.dns().zone().mx("other.test", 10, "mx.d.test").mx("wrong.test", 10, "mx.d.test");
    lab.dns().set(zone);
    let ours = authority(lab.ca());
    let wrong = Rule { destinations: vec!["wrong.test".parse().unwrap()], ..authority(&Ca::new().unwrap()) };
    let scenario = |destination| Scenario {
        destination,
        policy: switches(true, false),
        rules: vec![ours.clone(), wrong.clone()],
        ..Scenario::default()
    };
    let client = scenario("d.test").client(&lab);
    let mut told = Vec::new();
    for _ in 0..2 {
        for destination in ["other.test", "d.test", "wrong.test"] {
            let report = scenario(destination).attempt_with(&client).await;
            let connection = report.recipients[0].connection.clone().unwrap();
            let facts = connection.handshake.clone().unwrap();
            assert!(!facts.resumed || facts.pin.is_none());
            assert_eq!(facts.pin.is_some(), destination != "other.test");
            told.push((connection.reused, connection.certificate_verified()));
        }
    }
    let first = [(false, true), (false, true), (false, false)];
    let again = [(true, true), (true, true), (false, false)];
    assert_eq!(told, [first, again].concat());
    client.close().await;
    let sessions = host.wait_for_sessions(4, common::PATIENCE).await;
    assert_eq!(sessions.iter().map(|session| session.messages.len()).collect::<Vec<_>>(), [2, 2, 0, 0]);
    assert_eq!(lab.violations(), Vec::<String>::new());

    // Sessions: the unpinned delivery leaves a ticket, which the pinned one does not use.
    let options = delivery::Options {
        reuse: delivery::Reuse { idle: std::time::Duration::ZERO, ..delivery::Reuse::default() },
        ..client.options().clone()
    };
    let engine = TlsEngine::new(Roots::of(lab.ca().roots())).unwrap();
    let client = Client::new(options, client.dns().clone(), engine).with_rules(vec![ours.clone(), wrong.clone()]);
    let mut resumed = Vec::new();
    for destination in ["other.test", "other.test", "d.test", "d.test", "wrong.test", "other.test"] {
        let report = scenario(destination).attempt_with(&client).await;
        resumed.push(report.recipients[0].connection.as_ref().unwrap().handshake.as_ref().unwrap().resumed);
    }
    assert_eq!(resumed, [false, true, false, false, false, true]);
    client.close().await;
}

#[tokio::test]
async fn a_look_takes_rules_into_account() {
    let ca = Ca::new().unwrap();
    let mut lab = Lab::empty().await.unwrap();
    lab.add("d", Behaviour::default()).await.unwrap();
    let client = Scenario { rules: vec![authority(&ca)], ..Scenario::default() }.client(&lab);
    let probe = client.probe(&"d.test".parse().unwrap()).await;
    let host = &probe.hosts[0];
    let sender = policy::tls::resolve(Default::default(), Default::default());
    let forecast = probe.forecast(host, sender);
    assert_eq!((forecast.fate, host.rules.matched.len()), (Fate::Left, 1));
    assert_eq!(forecast.effective.demanded_by, [policy::tls::Demander::Rule]);
    client.close().await;
}

#[test]
fn files_of_authorities() {
    let folder = std::env::temp_dir().join(format!("waxwing-pins-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (one, other) = (Ca::new().unwrap(), Ca::new().unwrap());
    let good = write("good.pem", &format!("two of them\n{}{}", one.pem(), other.pem()));
    assert_eq!(read_authorities(&good).unwrap(), [one.der().to_vec(), other.der().to_vec()]);
    let error = |path: &std::path::Path| read_authorities(path).unwrap_err();
    assert!(matches!(error(&write("none.pem", "no certificate\n")), TlsSetupError::NoRoots(_)));
    assert!(matches!(error(&folder.join("missing.pem")), TlsSetupError::Unreadable { .. }));
    let torn = one.pem().replacen("MII", "M!!", 1);
    assert!(matches!(error(&write("torn.pem", &torn)), TlsSetupError::Unreadable { .. }));
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mixed = write("mixed.pem", &format!("{}{no_certificate}", one.pem()));
    assert!(matches!(error(&mixed), TlsSetupError::NoAuthority(_, 2)));
    std::fs::remove_dir_all(&folder).unwrap();
}
