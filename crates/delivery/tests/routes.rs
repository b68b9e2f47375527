//! The operator's routes: fixed hosts, demands of their own, credentials.

mod common;

use common::{Run, Scenario, assert_nothing_said, route_to, switches};
use delivery::{Channel, Credentials, Route};
use policy::tls::{Minimum, TlsPolicy};
use testkit::{Auth, Behaviour, Breakage, Identity, Issue, Lab, Tls};

fn self_signed(_: &Lab) -> Option<Identity> {
    Some(Identity::self_signed(&Issue::new("mx.d.test")).unwrap())
}

fn plain() -> Behaviour {
    Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }
}

fn with_auth(password: &str) -> Behaviour {
    let auth = Auth { user: "waxwing".to_owned(), password: password.to_owned(), in_plaintext: true };
    Behaviour { auth: Some(auth), ..Behaviour::default() }
}

fn with_credentials(lab: &Lab, minimum: Minimum) -> Vec<Route> {
    let credentials = Credentials { username: "waxwing".to_owned(), password: "geheim".to_owned() };
    vec![Route { credentials: Some(credentials), ..route_to(lab, "mx.d.test", minimum) }]
}

/// A password was said, in whichever form.
fn saw_auth(run: &Run) -> bool {
    run.receiver().sessions().iter().any(|session| session.verbs().iter().any(|verb| verb == "AUTH"))
}

#[tokio::test]
async fn a_route_by_name_asks_for_no_mx() {
    let routes = |lab: &Lab| vec![route_to(lab, "mx.d.test", Minimum::None)];
    let run = Scenario { routes, ..Scenario::default() }.run().await;
    assert!(run.channel().unwrap().certificate_verified());
    let asked: Vec<_> = run.lab.dns().queries().iter().map(ToString::to_string).collect();
    assert!(asked.iter().all(|question| question.starts_with("mx.d.test A")), "{asked:?}");
    // Another domain does not take it.
    let other = Scenario { destination: "other.test", routes, ..Scenario::default() }.run().await;
    assert_eq!(other.outcomes(), [("failed", 550)]);
}

#[tokio::test]
async fn a_route_by_address_is_verified_for_the_address() {
    let routes = |lab: &Lab| vec![route_to(lab, "127.0.0.2", Minimum::None)];
    let identity = |lab: &Lab| Some(lab.ca().issue(&Issue::new("127.0.0.2")).unwrap());
    let policy = switches(true, false);
    let run = Scenario { routes, identity, policy, ..Scenario::default() }.run().await;
    let Some(Channel::Verified(facts)) = run.channel() else { panic!("{:?}", run.report) };
    assert_eq!((facts.sni.as_deref(), run.sessions(0, 1).await[0].tls.as_ref().unwrap().sni.as_deref()), (None, None));
    assert!(run.lab.dns().queries().is_empty());
    let run = Scenario { routes, policy, ..Scenario::default() }.run().await;
    assert_eq!(run.problem().reason, Some("certificate-host-mismatch"));
}

#[tokio::test]
async fn a_route_raises_every_policy_and_lowers_none() {
    for policy in TlsPolicy::ALL {
        let demands = |minimum| match minimum {
            Minimum::Encrypted => (|lab: &Lab| vec![route_to(lab, "mx.d.test", Minimum::Encrypted)]) as fn(&Lab) -> _,
            _ => |lab: &Lab| vec![route_to(lab, "mx.d.test", Minimum::Verified)],
        };
        for minimum in [Minimum::Encrypted, Minimum::Verified] {
            let routes = demands(minimum);
            let run = Scenario { routes, policy, ..Scenario::with(plain()) }.run().await;
            assert_eq!(run.problem().reason, Some("starttls-not-supported"));
            assert_nothing_said(&run.sessions(0, 1).await[0]);

            let run = Scenario { routes, policy, identity: self_signed, ..Scenario::default() }.run().await;
            let strict = policy == switches(true, false) || minimum == Minimum::Verified;
            match run.channel() {
                Some(Channel::Encrypted(_)) => assert!(!strict, "{policy:?} {minimum:?}"),
                None => assert!(strict, "{policy:?} {minimum:?}"),
                other => panic!("{other:?}"),
            }
            let raised = &run.evidence()["policy"]["raised-to"];
            let word = if minimum == Minimum::Verified { "verified" } else { "encrypted" };
            let was_raised = !policy.require_tls() || (minimum == Minimum::Verified && policy.skip_verification());
            assert_eq!(raised.as_str(), was_raised.then_some(word), "{policy:?} {minimum:?}");
            run.assert_clean();
        }
    }
}

#[tokio::test]
async fn credentials_go_to_a_verified_host() {
    for policy in TlsPolicy::ALL {
        let routes = |lab: &Lab| with_credentials(lab, Minimum::Verified);
        let run = Scenario { routes, policy, ..Scenario::with(with_auth("geheim")) }.run().await;
        assert_eq!(run.outcomes(), [("delivered", 250)], "{policy:?}");
        let session = &run.sessions(0, 1).await[0];
        assert_eq!(session.authenticated.as_deref(), Some("waxwing"));
        assert!(session.commands.iter().all(|seen| seen.encrypted || !seen.line.starts_with("AUTH")));
        assert!(!format!("{:?}", run.report).contains("geheim"));
        run.assert_clean();
    }
}

#[tokio::test]
async fn credentials_go_nowhere_else() {
    let foreign: fn(&Lab) -> Option<Identity> = self_signed;
    let good: fn(&Lab) -> Option<Identity> = |_| None;
    let routes = |lab: &Lab| with_credentials(lab, Minimum::None);
    for (tls, identity) in [
        (Tls::NotOffered, good),
        (Tls::RefusedWith(testkit::Answer::new(454, "no")), good),
        (Tls::Broken(Breakage::Garbage), good),
        (Tls::Injects, good),
        (Tls::Good, foreign),
    ] {
        for policy in TlsPolicy::ALL {
            let behaviour = Behaviour { tls: tls.clone(), ..with_auth("geheim") };
            let run = Scenario { routes, policy, identity, ..Scenario::with(behaviour) }.run().await;
            assert_eq!(run.outcomes()[0].0, "deferred");
            assert!(!saw_auth(&run), "{tls:?} {policy:?}");
            assert!(run.receiver().sessions().iter().all(|session| !session.saw_mail()), "{tls:?} {policy:?}");
            run.assert_clean();
        }
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_a_passing_trouble() {
    let routes = |lab: &Lab| with_credentials(lab, Minimum::Verified);
    let run = Scenario { routes, ..Scenario::with(with_auth("another")) }.run().await;
    assert_eq!(run.outcomes(), [("deferred", 535)]);
    assert_eq!(run.steps(), [("mx.d.test", "auth-failed", None)]);
    assert!(!run.sessions(0, 1).await[0].saw_mail());
    let run = Scenario { routes, ..Scenario::default() }.run().await;
    assert_eq!((run.outcomes(), run.problem().reason), (vec![("deferred", 451)], Some("auth-not-offered")));
    assert!(!saw_auth(&run));
}
