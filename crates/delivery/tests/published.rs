//! What a recipient's domain publishes about TLS, and what a message says of it, in deliveries: MTA-STS (RFC 8461), DANE
//! (RFC 7672), REQUIRETLS and `TLS-Required: No` (RFC 8689).

mod common;
#[path = "published/dane.rs"]
mod dane;
#[path = "published/dane_names.rs"]
mod dane_names;
#[path = "published/rules.rs"]
mod rules;

use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, Scenario, assert_nothing_said, switches};
use delivery::mta_sts::{MemoryCache, MtaSts, StsOptions};
use delivery::resolve::Dns;
use delivery::tls::{Roots, TlsEngine};
use delivery::{Channel, Client, Outcome, Problem, Report};
use policy::tls::{TlsPolicy, TlsTag, WhenLeft};
use serde_json::{Value, json};
use testkit::signed::{Server, SignedTree};
use testkit::{
    Answer, Behaviour, Breakage, Host, Identity, Issue, Lab, PolicyAnswer, PolicySite, Receiver, Session, Tls, Validity,
};

const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: 86400\n";
const TESTING: &str = "version: STSv1\nmode: testing\nmx: mx.d.test\nmax_age: 86400\n";
const NONE: &str = "version: STSv1\nmode: none\nmax_age: 86400\n";

/// A lab, with signed zones where a test is about DANE.
struct World {
    lab: Lab,
    signed: Option<(SignedTree, Server, Dns)>,
}

impl World {
    /// `d.test` with its one host, which behaves like this, and this policy.
    async fn with(behaviour: Behaviour, policy: &str) -> World {
        World::of(vec![Host::new("mx", 10, behaviour)], policy).await
    }

    async fn of(hosts: Vec<Host>, policy: &str) -> World {
        let mut lab = Lab::empty().await.unwrap();
        lab.add_hosts("d", hosts).await.unwrap();
        let world = World { lab, signed: None };
        world.publish("1", PolicyAnswer::Policy(policy.to_owned()));
        world
    }

    fn publish(&self, id: &str, answer: PolicyAnswer) {
        self.lab.publish_policy("d.test", id, PolicySite::new(answer)).unwrap();
    }

    /// A finder of policies as after a start of the program.
    fn mta_sts(&self, remember: Duration) -> Arc<MtaSts> {
        let options = StsOptions {
            https_port: self.lab.https_port(),
            fetch_timeout: PATIENCE,
            deliver_to_private: vec!["127.0.0.0/8".parse().unwrap()],
            remember,
            ..StsOptions::default()
        };
        let dns = Dns::new(Some(self.lab.dns_addr()));
        Arc::new(MtaSts::new(options, dns, &self.tls(), Arc::new(MemoryCache::default())))
    }

    fn tls(&self) -> TlsEngine {
        TlsEngine::new(Roots::of(self.lab.ca().roots())).unwrap()
    }

    fn client(&self, scenario: &Scenario) -> Client {
        let plain = scenario.client(&self.lab);
        match &self.signed {
            None => plain,
            Some((_, _, dns)) => {
                Client::new(plain.options().clone(), dns.clone(), self.tls()).with_rules(scenario.rules.clone())
            }
        }
    }

    async fn deliver(&self, scenario: Scenario) -> Told {
        self.deliver_with(scenario, self.mta_sts(StsOptions::default().remember)).await
    }

    /// A delivery by a client of its own, that no other delivery has prepared the way for.
    async fn deliver_with(&self, scenario: Scenario, mta_sts: Arc<MtaSts>) -> Told {
        let client = self.client(&scenario).with_mta_sts(mta_sts);
        // Some tests have many attempts under way at once: their state is no matter for the stack.
        let report = Box::pin(scenario.attempt_with(&client)).await;
        client.close().await;
        Told(report)
    }

    fn receiver(&self, host: &str) -> &Receiver {
        self.lab.receiver(host)
    }

    /// The only connections that a host had, which heard nothing of a message.
    async fn assert_nothing_said(&self, host: &str, connections: usize) {
        let sessions = self.receiver(host).wait_for_sessions(connections, PATIENCE).await;
        assert_eq!(sessions.len(), connections, "{host}");
        sessions.iter().for_each(assert_nothing_said);
    }

    fn assert_never_connected(&self, host: &str) {
        let sessions = self.receiver(host).sessions();
        assert!(sessions.is_empty(), "{host}: {:?}", sessions.iter().map(Session::verbs).collect::<Vec<_>>());
    }
}

/// What an attempt for one recipient told.
#[derive(Debug)]
struct Told(Report);

impl Told {
    /// `delivered verified`, or how it ended with code and enhanced code, such as `deferred 451 4.7.5`.
    fn end(&self) -> String {
        let with = |word: &str, problem: &Problem| {
            format!("{word} {} {}", problem.code, problem.enhanced_code.map_or_else(String::new, |c| c.to_string()))
        };
        let recipient = &self.0.recipients[0];
        match &recipient.outcome {
            Outcome::Deferred(problem) => with("deferred", problem),
            Outcome::Failed(problem) => with("failed", problem),
            Outcome::Delivered(_) => {
                let connection = recipient.connection.as_ref().unwrap();
                let how = match connection.channel.as_ref().unwrap() {
                    Channel::Plaintext(_) => "plaintext",
                    Channel::Encrypted(_) => "encrypted",
                    Channel::Verified(_) => "verified",
                };
                assert_eq!(connection.certificate_verified(), how == "verified");
                format!("delivered {how}")
            }
        }
    }

    fn reason(&self) -> Option<&'static str> {
        match &self.0.recipients[0].outcome {
            Outcome::Deferred(problem) | Outcome::Failed(problem) => problem.reason,
            Outcome::Delivered(_) => None,
        }
    }

    fn steps(&self) -> Vec<(&str, &'static str, Option<&'static str>)> {
        self.0.steps.iter().map(|step| (step.host.as_str(), step.result, step.reason)).collect()
    }

    fn evidence(&self) -> Value {
        serde_json::to_value(self.0.evidence(0)).unwrap()
    }
}

fn good() -> Behaviour {
    Behaviour::default()
}

fn self_signed(name: &str) -> Behaviour {
    Behaviour { identity: Some(Identity::self_signed(&Issue::new(name)).unwrap()), ..good() }
}

fn without_tls() -> Behaviour {
    Behaviour { tls: Tls::NotOffered, ..good() }
}

fn with_requiretls(behaviour: Behaviour) -> Behaviour {
    Behaviour { extensions: vec!["REQUIRETLS".to_owned()], ..behaviour }
}

fn asking(policy: TlsPolicy) -> Scenario {
    Scenario { policy, ..Scenario::default() }
}

fn tagged(tag: TlsTag) -> Scenario {
    Scenario { tag, ..Scenario::default() }
}

mod mta_sts {
    use super::*;

    #[tokio::test]
    async fn enforced_and_met() {
        for policy in TlsPolicy::ALL {
            let world = World::with(good(), ENFORCE).await;
            let told = world.deliver(asking(policy)).await;
            assert_eq!(told.end(), "delivered verified", "{policy:?}");
            let evidence = told.evidence();
            assert_eq!(evidence["mta-sts"], json!({ "mode": "enforce", "id": "1", "source": "fetched" }));
            // Who asked for as much anyway is not raised.
            let raised = (evidence["policy"].get("raised-to"), evidence["policy"].get("demanded-by"));
            match (policy.require_tls(), policy.skip_verification()) {
                (true, false) => assert_eq!(raised, (None, None)),
                _ => assert_eq!(raised, (Some(&json!("verified")), Some(&json!(["mta-sts"]))), "{policy:?}"),
            }
            assert_eq!(world.lab.violations(), Vec::<String>::new());
        }
    }

    #[tokio::test]
    async fn enforced_and_not_met() {
        let stranger = self_signed("mx.d.test");
        let garbage = Behaviour { tls: Tls::Broken(Breakage::Garbage), ..good() };
        let refusing = Behaviour { tls: Tls::RefusedWith(Answer::new(454, "not now")), ..good() };
        for (behaviour, end, reason) in [
            (stranger, "deferred 451 4.7.5", "certificate-not-trusted"),
            (garbage, "deferred 451 4.7.5", "handshake-failed"),
            (without_tls(), "deferred 451 4.7.4", "starttls-not-supported"),
            (refusing, "deferred 451 4.7.4", "starttls-refused"),
        ] {
            let world = World::with(behaviour, ENFORCE).await;
            // Also for a sender who would take any certificate, or none.
            for (deliveries, policy) in TlsPolicy::ALL.into_iter().enumerate() {
                let told = world.deliver(asking(policy)).await;
                assert_eq!((told.end().as_str(), told.reason()), (end, Some(reason)), "{policy:?}");
                assert_eq!(told.steps(), [("mx.d.test", "left", Some(reason))]);
                assert_eq!(told.evidence()["mta-sts"]["mode"], "enforce");
                world.assert_nothing_said("mx.d.test", deliveries + 1).await;
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_of_another_name_or_time() {
        for (issue, reason) in [
            (Issue::new("elsewhere.test"), "certificate-host-mismatch"),
            (Issue { validity: Validity::Expired, ..Issue::new("mx.d.test") }, "certificate-expired"),
        ] {
            let world = World::with(good(), ENFORCE).await;
            let identity = Some(world.lab.ca().issue(&issue).unwrap());
            world.receiver("mx.d.test").behave(Behaviour { identity, ..good() }).unwrap();
            let told = world.deliver(asking(switches(false, true))).await;
            assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some(reason)));
            world.assert_nothing_said("mx.d.test", 1).await;
        }
    }

    #[tokio::test]
    async fn a_host_that_is_not_named_is_never_connected_to() {
        let world = World::of(vec![Host::new("other", 10, good())], ENFORCE).await;
        for policy in TlsPolicy::ALL {
            let told = world.deliver(asking(policy)).await;
            assert_eq!((told.end().as_str(), told.reason()), ("deferred 451 4.7.5", Some("sts-mx-mismatch")));
            assert_eq!(told.steps(), [("other.d.test", "left", Some("sts-mx-mismatch"))]);
            let evidence = told.evidence();
            assert_eq!((&evidence["mta-sts"]["mode"], evidence.get("peer-ip")), (&json!("enforce"), None));
        }
        world.assert_never_connected("other.d.test");

        let hosts = vec![Host::new("other", 10, good()), Host::new("mx", 20, good())];
        let world = World::of(hosts, ENFORCE).await;
        let told = world.deliver(Scenario::default()).await;
        assert_eq!(told.end(), "delivered verified");
        let left = ("other.d.test", "left", Some("sts-mx-mismatch"));
        assert_eq!(told.steps(), [left, ("mx.d.test", "delivered", None)]);
        world.assert_never_connected("other.d.test");
    }

    #[tokio::test]
    async fn a_host_that_does_not_meet_it_is_left_for_one_that_does() {
        let policy = ENFORCE.replace("mx.d.test", "*.d.test");
        let hosts = vec![Host::new("a", 10, self_signed("a.d.test")), Host::new("b", 20, good())];
        let world = World::of(hosts, &policy).await;
        let told = world.deliver(asking(switches(false, true))).await;
        assert_eq!(told.end(), "delivered verified");
        let left = ("a.d.test", "left", Some("certificate-not-trusted"));
        assert_eq!(told.steps(), [left, ("b.d.test", "delivered", None)]);
        world.assert_nothing_said("a.d.test", 1).await;
    }

    #[tokio::test]
    async fn what_does_not_enforce_demands_nothing() {
        for (policy, mode) in [(TESTING, "testing"), (NONE, "none")] {
            // Nor does it matter that the host is not the one that is named.
            for label in ["mx", "other"] {
                let stranger = self_signed(&format!("{label}.d.test"));
                let world = World::of(vec![Host::new(label, 10, stranger)], policy).await;
                let told = world.deliver(Scenario::default()).await;
                assert_eq!(told.end(), "delivered plaintext", "{mode}");
                let evidence = told.evidence();
                assert_eq!(evidence["mta-sts"], json!({ "mode": mode, "id": "1", "source": "fetched" }));
                assert_eq!(evidence["policy"].get("demanded-by"), None);
                let told = world.deliver(asking(switches(true, false))).await;
                assert_eq!(told.end(), "deferred 451 4.7.5", "{mode}");
            }
            let told = World::with(good(), policy).await.deliver(Scenario::default()).await;
            assert_eq!(told.end(), "delivered verified");
        }
    }

    #[tokio::test]
    async fn a_policy_that_cannot_be_had_is_none() {
        let world = World::with(self_signed("mx.d.test"), ENFORCE).await;
        for (answer, failure) in [
            (PolicyAnswer::Status(404, ENFORCE.to_owned()), "sts-policy-fetch-error"),
            (PolicyAnswer::Policy("what?".to_owned()), "sts-policy-invalid"),
        ] {
            world.publish("1", answer);
            let told = world.deliver(Scenario::default()).await;
            assert_eq!(told.end(), "delivered plaintext");
            let evidence = told.evidence()["mta-sts"].clone();
            assert_eq!((&evidence["mode"], &evidence["failure"]), (&json!("failed"), &json!(failure)));
            assert!(evidence["detail"].is_string());
        }
        // The policy that one had before is obeyed all the same.
        let mta_sts = world.mta_sts(Duration::ZERO);
        world.publish("2", PolicyAnswer::Policy(ENFORCE.to_owned()));
        assert_eq!(world.deliver_with(Scenario::default(), mta_sts.clone()).await.end(), "deferred 451 4.7.5");
        world.publish("3", PolicyAnswer::Status(500, NONE.to_owned()));
        let told = world.deliver_with(Scenario::default(), mta_sts).await;
        assert_eq!(told.end(), "deferred 451 4.7.5");
        let evidence = told.evidence()["mta-sts"].clone();
        assert_eq!((&evidence["mode"], &evidence["source"]), (&json!("enforce"), &json!("cached")));
        assert_eq!(evidence["failure"], "sts-policy-fetch-error");
    }

    #[tokio::test]
    async fn nobody_fails_for_good_by_a_policy_that_has_changed() {
        let slow = Behaviour {
            greeting: Some(Answer { delay: Duration::from_secs(1), ..Answer::new(220, "hi") }),
            ..self_signed("mx.d.test")
        };
        for (changes, end) in [(false, "failed 554 5.7.5"), (true, "deferred 451 4.7.5")] {
            let world = World::with(slow.clone(), ENFORCE).await;
            let scenario = Scenario { when_left: WhenLeft::Fail, ..Scenario::default() };
            let change = async {
                while world.receiver("mx.d.test").sessions().is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                if changes {
                    world.publish("2", PolicyAnswer::Policy(TESTING.to_owned()));
                }
            };
            let (told, ()) = tokio::join!(world.deliver_with(scenario, world.mta_sts(Duration::ZERO)), change);
            assert_eq!(told.end(), end);
            world.assert_nothing_said("mx.d.test", 1).await;
        }
    }

    #[tokio::test]
    async fn a_message_may_lift_it() {
        let world = World::with(self_signed("mx.d.test"), ENFORCE).await;
        let told = world.deliver(tagged(TlsTag::NotRequired)).await;
        assert_eq!(told.end(), "delivered plaintext");
        assert_eq!(told.evidence()["policy"]["tls-tag"], "not-required");
        // A host that is not named, too.
        let world = World::of(vec![Host::new("other", 10, without_tls())], ENFORCE).await;
        assert_eq!(world.deliver(tagged(TlsTag::NotRequired)).await.end(), "delivered plaintext");
    }

    #[tokio::test]
    async fn what_the_sender_himself_demands_is_not_lifted() {
        let world = World::with(self_signed("mx.d.test"), ENFORCE).await;
        let scenario = Scenario { tag: TlsTag::NotRequired, ..asking(switches(true, false)) };
        assert_eq!(world.deliver(scenario).await.end(), "deferred 451 4.7.5");
        world.assert_nothing_said("mx.d.test", 1).await;
        let scenario = Scenario { tag: TlsTag::NotRequired, ..asking(switches(true, true)) };
        assert_eq!(world.deliver(scenario).await.end(), "delivered encrypted");
    }
}

/// A connection that served a delivery serves no other one that demands more than it gives.
mod reuse {
    use super::*;

    #[tokio::test]
    async fn not_once_a_policy_is_published() {
        let world = World::with(self_signed("mx.d.test"), NONE).await;
        let careless = asking(switches(false, true));
        let client = world.client(&careless).with_mta_sts(world.mta_sts(Duration::ZERO));
        for end in ["delivered encrypted", "delivered encrypted"] {
            assert_eq!(Told(careless.attempt_with(&client).await).end(), end);
        }
        assert_eq!(world.receiver("mx.d.test").sessions().len(), 1, "the connection can be used again");
        world.publish("2", PolicyAnswer::Policy(ENFORCE.to_owned()));
        assert_eq!(Told(careless.attempt_with(&client).await).end(), "deferred 451 4.7.5");
        let lifting = Scenario { tag: TlsTag::NotRequired, ..asking(switches(false, true)) };
        assert_eq!(Told(lifting.attempt_with(&client).await).end(), "delivered encrypted");
        client.close().await;
        assert_eq!(world.receiver("mx.d.test").messages().len(), 3);
    }

    #[tokio::test]
    async fn requiretls_on_the_connection_of_another_message() {
        let world = World::with(with_requiretls(good()), ENFORCE).await;
        let client = world.client(&Scenario::default()).with_mta_sts(world.mta_sts(Duration::from_secs(60)));
        for (tag, says_so) in [(TlsTag::None, false), (TlsTag::Requiretls, true), (TlsTag::None, false)] {
            assert_eq!(Told(tagged(tag).attempt_with(&client).await).end(), "delivered verified");
            let last = world.receiver("mx.d.test").messages().pop().unwrap();
            assert_eq!(last.mail_params.contains(&"REQUIRETLS".to_owned()), says_so);
        }
        assert_eq!(world.receiver("mx.d.test").sessions().len(), 1);
        client.close().await;
        // A host that does not offer it, on a connection that has served, too.
        let world = World::with(good(), ENFORCE).await;
        let client = world.client(&Scenario::default()).with_mta_sts(world.mta_sts(Duration::from_secs(60)));
        assert_eq!(Told(Scenario::default().attempt_with(&client).await).end(), "delivered verified");
        assert_eq!(Told(tagged(TlsTag::Requiretls).attempt_with(&client).await).end(), "failed 554 5.7.30");
        client.close().await;
        assert_eq!(world.receiver("mx.d.test").messages().len(), 1);
    }
}

mod requiretls {
    use super::*;

    #[tokio::test]
    async fn carried_on() {
        let world = World::with(with_requiretls(good()), ENFORCE).await;
        for policy in TlsPolicy::ALL {
            let told = world.deliver(Scenario { tag: TlsTag::Requiretls, ..asking(policy) }).await;
            assert_eq!(told.end(), "delivered verified");
            assert_eq!(told.evidence()["policy"]["tls-tag"], "requiretls");
        }
        let messages = world.receiver("mx.d.test").messages();
        assert_eq!(messages.len(), 4);
        assert!(messages.iter().all(|m| m.encrypted && m.mail_params.iter().any(|word| word == "REQUIRETLS")));
        assert_eq!(world.lab.violations(), Vec::<String>::new());

        // A message that does not say so does not ask for it.
        assert_eq!(world.deliver(Scenario::default()).await.end(), "delivered verified");
        assert!(!world.receiver("mx.d.test").messages()[4].mail_params.iter().any(|word| word == "REQUIRETLS"));
    }

    /// Every way not to carry it on, and what RFC 8689 §4.2.1 says of it. All at once: waiting would not help.
    #[tokio::test]
    async fn not_carried_on() {
        let stranger = || self_signed("mx.d.test");
        for (behaviour, policy, end, reason) in [
            (good(), ENFORCE, "failed 554 5.7.30", "requiretls-not-supported"),
            (with_requiretls(without_tls()), ENFORCE, "failed 554 5.7.30", "starttls-not-supported"),
            (with_requiretls(stranger()), ENFORCE, "failed 554 5.7.10", "certificate-not-trusted"),
            (with_requiretls(stranger()), NONE, "failed 554 5.7.10", "certificate-not-trusted"),
            // Only an enforced policy says whose host it is.
            (with_requiretls(good()), TESTING, "failed 554 5.7.10", "mx-not-authenticated"),
            (with_requiretls(good()), NONE, "failed 554 5.7.10", "mx-not-authenticated"),
        ] {
            let world = World::with(behaviour, policy).await;
            let told = world.deliver(tagged(TlsTag::Requiretls)).await;
            assert_eq!((told.end().as_str(), told.reason()), (end, Some(reason)));
            assert_eq!(told.steps(), [("mx.d.test", "left", Some(reason))]);
            world.assert_nothing_said("mx.d.test", 1).await;
        }
    }

    #[tokio::test]
    async fn the_next_host_may_do_better() {
        let policy = ENFORCE.replace("mx.d.test", "*.d.test");
        let hosts = vec![Host::new("a", 10, good()), Host::new("b", 20, with_requiretls(good()))];
        let world = World::of(hosts, &policy).await;
        let told = world.deliver(tagged(TlsTag::Requiretls)).await;
        assert_eq!(told.end(), "delivered verified");
        let left = ("a.d.test", "left", Some("requiretls-not-supported"));
        assert_eq!(told.steps(), [left, ("b.d.test", "delivered", None)]);
        world.assert_nothing_said("a.d.test", 1).await;
    }

    /// That a host is out of reach passes, and it may have what the others lack.
    #[tokio::test]
    async fn what_passes_is_waited_for() {
        let hosts = vec![Host::new("mx", 10, good()), Host::new("b", 20, good()).on(testkit::Listen::Closed)];
        let world = World::of(hosts, &ENFORCE.replace("mx.d.test", "*.d.test")).await;
        assert_eq!(world.deliver(tagged(TlsTag::Requiretls)).await.end(), "deferred 451 4.7.30");
        // A policy that cannot be had now may say next time whose host this is.
        let world = World::with(with_requiretls(good()), ENFORCE).await;
        world.publish("1", PolicyAnswer::Status(503, String::new()));
        assert_eq!(world.deliver(tagged(TlsTag::Requiretls)).await.end(), "deferred 451 4.7.10");
    }
}
