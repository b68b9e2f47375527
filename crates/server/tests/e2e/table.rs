//! Every receiver of the lab × the four settings: twenty cells of the table, seen from both ends.

use policy::tls::{Fallback, Observed, Protection, TlsPolicy, Verdict, decide};
use serde_json::Value;
use testkit::{Answer, Behaviour, Breakage, Lab, Receiver, Session, Tls};

use crate::world::World;

/// What each state of the lab shows: its column of the table.
const COLUMNS: [(&str, Observed); 8] = [
    ("good", Observed::Verified),
    ("tls12-only", Observed::Verified),
    ("self-signed", Observed::Unverified),
    ("expired", Observed::Unverified),
    ("wrong-name", Observed::Unverified),
    ("no-starttls", Observed::NotOffered),
    ("starttls-454", Observed::Refused),
    ("broken-handshake", Observed::HandshakeFailed),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_state_with_every_setting() {
    let world = World::start_without_reuse(Lab::start().await.unwrap()).await;
    for (state, observed) in COLUMNS {
        for policy in TlsPolicy::ALL {
            check_cell(&world, state, observed, policy).await;
        }
    }
    assert_eq!(world.lab.violations(), Vec::<String>::new());
}

/// States beside the catalogue that must land in the right column too.
#[tokio::test(flavor = "multi_thread")]
async fn odd_states_with_every_setting() {
    let with = |tls| Behaviour { tls, ..Behaviour::default() };
    let odd = [
        ("refused-502", with(Tls::RefusedWith(Answer::new(502, "no"))), Observed::Refused),
        ("close", with(Tls::Broken(Breakage::Close)), Observed::HandshakeFailed),
        ("old-tls", with(Tls::Broken(Breakage::ProtocolVersion)), Observed::HandshakeFailed),
        ("injects", with(Tls::Injects), Observed::HandshakeFailed),
        ("ehlo-closes", with(Tls::EhloFailsInside(None)), Observed::HandshakeFailed),
        ("ehlo-refused", with(Tls::EhloFailsInside(Some(Answer::new(550, "no")))), Observed::HandshakeFailed),
        ("readvertises", with(Tls::ReadvertisesInside), Observed::Verified),
        ("tls13-only", with(Tls::Tls13Only), Observed::Verified),
    ];
    let mut lab = Lab::empty().await.unwrap();
    for (name, behaviour, _) in &odd {
        lab.add(name, behaviour.clone()).await.unwrap();
    }
    let world = World::start_without_reuse(lab).await;
    for (name, _, observed) in odd {
        for policy in TlsPolicy::ALL {
            check_cell(&world, name, observed, policy).await;
        }
    }
}

async fn check_cell(world: &World, state: &str, observed: Observed, policy: TlsPolicy) {
    let receiver = world.lab.receiver(state);
    let (sessions_before, messages_before) = (receiver.sessions().len(), receiver.messages().len());
    let yes_or_no = |value: bool| if value { "yes" } else { "no" };
    let options = [
        ("o:require-tls", yes_or_no(policy.require_tls())),
        ("o:skip-verification", yes_or_no(policy.skip_verification())),
    ];
    let id = world.send(&format!("somebody@{state}.test"), &options).await;
    let event = world.outcome_of(&id).await;

    let cell = format!("{state}, {policy:?}:\n{event:#}");
    let verdict = decide(policy, Fallback::default(), observed);
    let sessions = receiver.sessions().split_off(sessions_before);
    let messages = receiver.messages().split_off(messages_before);
    match verdict {
        Verdict::LeaveHost => {
            assert_left(&event, observed, &cell);
            assert!(messages.is_empty(), "{cell}");
            sessions.iter().for_each(|session| assert_nothing_was_said(session, &cell));
        }
        Verdict::Deliver(protection) => {
            assert_delivered(&event, protection, &cell);
            assert_eq!(messages.len(), 1, "{cell}");
            assert_eq!(messages[0].encrypted, protection != Protection::Plaintext, "{cell}");
            assert_eq!(sessions.len(), 1, "one connection is enough: {cell}");
        }
        Verdict::ReconnectInPlaintext => {
            assert_delivered(&event, Protection::Plaintext, &cell);
            assert_eq!(messages.len(), 1, "{cell}");
            assert!(!messages[0].encrypted, "{cell}");
            assert_eq!(sessions.len(), 2, "{cell}");
            assert_nothing_was_said(&sessions[0], &cell);
            assert!(sessions[1].tls.is_none(), "{cell}");
            assert_eq!(sessions[0].local, sessions[1].local, "the same address: {cell}");
        }
    }
    assert_evidence(&event, policy, observed, &cell);
    assert_mail_came_after_the_decision(receiver, &cell);
}

fn assert_delivered(event: &Value, protection: Protection, cell: &str) {
    let status = &event["delivery-status"];
    assert_eq!(event["event"], "delivered", "{cell}");
    assert_eq!(status["code"], 250, "{cell}");
    assert_eq!(status["tls"], protection != Protection::Plaintext, "{cell}");
    assert_eq!(status["certificate-verified"], protection == Protection::Verified, "{cell}");
}

fn assert_left(event: &Value, observed: Observed, cell: &str) {
    let status = &event["delivery-status"];
    assert_eq!((&event["event"], &event["severity"]), (&"failed".into(), &"temporary".into()), "{cell}");
    let enhanced = if matches!(observed, Observed::NotOffered | Observed::Refused) { "4.7.4" } else { "4.7.5" };
    assert_eq!(status["enhanced-code"], enhanced, "{cell}");
    assert_eq!(status["retry-seconds"], 600, "{cell}");
    assert_eq!(status["tls"], false, "{cell}");
    assert_eq!(status["certificate-verified"], false, "{cell}");
    assert!(status["message"].as_str().unwrap().contains("TLS is required"), "{cell}");
}

fn assert_evidence(event: &Value, policy: TlsPolicy, observed: Observed, cell: &str) {
    let (status, details) = (&event["delivery-status"], &event["delivery-status"]["tls-details"]);
    assert!(status["mx-host"].as_str().unwrap().starts_with("mx."), "{cell}");
    assert_eq!(details["policy"]["require-tls"], policy.require_tls(), "{cell}");
    assert_eq!(details["policy"]["skip-verification"], policy.skip_verification(), "{cell}");
    assert_eq!(details["policy"]["require-tls-from"], "message", "{cell}");
    assert!(!details["steps"].as_array().unwrap().is_empty(), "{cell}");
    let verdict = details["verification"].as_str();
    match observed {
        Observed::Verified => assert_eq!(verdict, Some("ok"), "{cell}"),
        Observed::Unverified => assert!(verdict.is_some_and(|verdict| verdict != "ok"), "{cell}"),
        Observed::NotOffered | Observed::Refused => assert_eq!(verdict, None, "{cell}"),
        Observed::HandshakeFailed => {}
    }
    let is_plaintext = status["tls"] == false && event["event"] == "delivered";
    assert_eq!(details["fallback"].is_string(), is_plaintext, "{cell}");
    assert_eq!(details["version"].is_string(), status["tls"] == true, "{cell}");
}

/// A host that is left hears EHLO, STARTTLS and QUIT: no word of the message.
fn assert_nothing_was_said(session: &Session, cell: &str) {
    assert!(!session.saw_mail(), "{cell}");
    for verb in session.verbs() {
        assert!(["EHLO", "HELO", "STARTTLS", "QUIT"].contains(&verb.as_str()), "{verb}: {cell}");
    }
}

fn assert_mail_came_after_the_decision(receiver: &Receiver, cell: &str) {
    for session in receiver.sessions().iter().filter(|session| session.saw_mail()) {
        let verbs = session.verbs();
        let (mail, starttls) = (verbs.iter().position(|v| v == "MAIL"), verbs.iter().position(|v| v == "STARTTLS"));
        assert!(starttls.is_none_or(|starttls| mail.is_some_and(|mail| mail > starttls)), "{cell}");
        let encrypted = session.commands.iter().filter(|seen| seen.line.starts_with("MAIL")).all(|seen| seen.encrypted);
        assert_eq!(encrypted, session.tls.is_some(), "{cell}");
    }
}
