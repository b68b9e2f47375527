//! What a sending domain may choose beside the two switches: `tls_fallback` and `tls_failure`.

mod common;

use common::{Scenario, switches};
use policy::tls::{Fallback, WhenLeft};
use testkit::{Answer, Behaviour, Host, Identity, Issue, Lab, Listen, Tls};

fn self_signed(_: &Lab) -> Option<Identity> {
    Some(Identity::self_signed(&Issue::new("mx.d.test")).unwrap())
}

fn plain() -> Behaviour {
    Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }
}

#[tokio::test]
async fn an_invalid_certificate_leads_to_what_the_domain_chose() {
    for (fallback, outcome, encrypted) in [
        (Fallback::Plaintext, ("delivered", 250), Some(false)),
        (Fallback::Unverified, ("delivered", 250), Some(true)),
        (Fallback::Defer, ("deferred", 451), None),
    ] {
        let run = Scenario { fallback, identity: self_signed, ..Scenario::default() }.run().await;
        assert_eq!(run.outcomes(), [outcome], "{fallback:?}");
        let messages = run.receiver().messages();
        assert_eq!(messages.first().map(|message| message.encrypted), encrypted, "{fallback:?}");
        let connection = run.report.recipients[0].connection.as_ref().unwrap();
        assert_eq!(connection.tls(), encrypted == Some(true), "{fallback:?}");
        assert!(!connection.certificate_verified(), "{fallback:?}");
        assert_eq!(run.evidence()["verification"], "certificate-not-trusted");
    }
    // A host without TLS is not what the choice is about.
    for fallback in [Fallback::Unverified, Fallback::Defer] {
        let run = Scenario { fallback, ..Scenario::hosts(vec![Host::new("mx", 10, plain())]) }.run().await;
        assert_eq!(run.outcomes(), [("delivered", 250)], "{fallback:?}");
    }
}

#[tokio::test]
async fn a_domain_may_be_told_at_once_that_no_host_gives_tls() {
    let two = || vec![Host::new("a", 10, plain()), Host::new("b", 20, plain())];
    let required = |when_left, hosts| Scenario { policy: switches(true, false), when_left, ..Scenario::hosts(hosts) };
    let run = required(WhenLeft::Fail, two()).run().await;
    assert_eq!(run.outcomes(), [("failed", 554)]);
    assert_eq!(run.problem().enhanced_code.unwrap().to_string(), "5.7.4");
    assert_eq!(required(WhenLeft::Defer, two()).run().await.outcomes(), [("deferred", 451)]);

    // Something else stood in the way of one host: another attempt may find it out of the way.
    let gone = vec![Host::new("a", 10, plain()), Host::new("b", 20, plain()).on(Listen::Closed)];
    assert_eq!(required(WhenLeft::Fail, gone).run().await.outcomes(), [("deferred", 451)]);
    let busy = Behaviour { greeting: Some(Answer::new(421, "busy")), ..Behaviour::default() };
    let busy = vec![Host::new("a", 10, busy), Host::new("b", 20, plain())];
    assert_eq!(required(WhenLeft::Fail, busy).run().await.outcomes(), [("deferred", 451)]);
}
