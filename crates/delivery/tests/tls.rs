//! Every TLS state of a host under every policy: what is reported, and what the host saw.

mod common;
#[path = "tls/paths.rs"]
mod paths;

use std::time::Duration;

use common::{Run, Scenario, all, assert_nothing_said};
use delivery::tls::Roots;
use delivery::{Channel, Outcome, PlaintextReason, Timeouts};
use policy::tls::{Fallback, Observed, Protection, TlsPolicy, Verdict, decide};
use smtp::EnhancedCode;
use testkit::{Answer, Behaviour, Breakage, Ca, Identity, Issue, KeyKind, Lab, Stage, Tls, Validity};

const HOST: &str = "mx.d.test";

/// One state: how the host behaves, what that is in the table, and the code of it in the log.
struct State {
    name: &'static str,
    tls: Tls,
    identity: fn(&Lab) -> Option<Identity>,
    /// What is trusted, where that is not the lab's authority.
    roots: Option<fn(&Lab) -> Roots>,
    drop_after: Option<Stage>,
    observed: Observed,
    code: &'static str,
}

fn state(name: &'static str, tls: Tls, observed: Observed, code: &'static str) -> State {
    State { name, tls, identity: |_| None, roots: None, drop_after: None, observed, code }
}

fn certificate(
    name: &'static str,
    observed: Observed,
    code: &'static str,
    made: fn(&Lab) -> Option<Identity>,
) -> State {
    State { identity: made, ..state(name, Tls::Good, observed, code) }
}

fn refused(name: &'static str, code: u16, observed: Observed, reason: &'static str) -> State {
    state(name, Tls::RefusedWith(Answer::new(code, "no TLS\nfor you")), observed, reason)
}

fn broken(name: &'static str, how: Breakage, code: &'static str) -> State {
    state(name, Tls::Broken(how), Observed::HandshakeFailed, code)
}

fn issued(lab: &Lab, issue: Issue) -> Option<Identity> {
    Some(lab.ca().issue(&issue).unwrap())
}

fn another_key(lab: &Lab) -> Option<Identity> {
    let (ours, others) = (issued(lab, Issue::new(HOST))?, issued(lab, Issue::new(HOST))?);
    Some(Identity { chain: ours.chain, key: others.key })
}

fn valid() -> Vec<State> {
    use Observed::Verified;
    vec![
        state("good", Tls::Good, Verified, "ok"),
        state("TLS 1.2 only", Tls::Tls12Only, Verified, "ok"),
        state("TLS 1.3 only", Tls::Tls13Only, Verified, "ok"),
        state("offers STARTTLS inside", Tls::ReadvertisesInside, Verified, "ok"),
        certificate("RSA", Verified, "ok", |lab| issued(lab, Issue { key: KeyKind::Rsa2048, ..Issue::new(HOST) })),
        certificate("Ed25519", Verified, "ok", |lab| issued(lab, Issue { key: KeyKind::Ed25519, ..Issue::new(HOST) })),
        certificate("wildcard", Verified, "ok", |lab| issued(lab, Issue::new("*.d.test"))),
    ]
}

fn invalid() -> Vec<State> {
    use Observed::Unverified;
    let (untrusted, mismatch) = ("certificate-not-trusted", "certificate-host-mismatch");
    vec![
        certificate("self-signed", Unverified, untrusted, |_| Some(Identity::self_signed(&Issue::new(HOST)).unwrap())),
        certificate("unknown authority", Unverified, untrusted, |_| {
            Some(Ca::new().unwrap().issue(&Issue::new(HOST)).unwrap())
        }),
        certificate("expired", Unverified, "certificate-expired", |lab| {
            issued(lab, Issue { validity: Validity::Expired, ..Issue::new(HOST) })
        }),
        certificate("not yet valid", Unverified, "certificate-not-yet-valid", |lab| {
            issued(lab, Issue { validity: Validity::NotYetValid, ..Issue::new(HOST) })
        }),
        certificate("another host's", Unverified, mismatch, |lab| issued(lab, Issue::new("mx.elsewhere.test"))),
        // The recipient's domain is not the host's name.
        certificate("the domain's", Unverified, mismatch, |lab| issued(lab, Issue::new("d.test"))),
        certificate("the address's", Unverified, mismatch, |lab| issued(lab, Issue::new("127.0.0.2"))),
        // A common name counts for nothing (RFC 9525 §2).
        certificate("without SAN", Unverified, mismatch, |lab| issued(lab, Issue::without_san(HOST))),
    ]
}

fn no_tls() -> Vec<State> {
    use Observed::{HandshakeFailed, NotOffered, Refused};
    vec![
        state("not offered", Tls::NotOffered, NotOffered, "starttls-not-supported"),
        refused("454", 454, Refused, "starttls-refused"),
        refused("502", 502, Refused, "starttls-refused"),
        // The connection is closed with this one, so only a new one can carry anything.
        refused("421", 421, HandshakeFailed, "starttls-refused"),
        // Neither yes nor no.
        refused("250", 250, HandshakeFailed, "starttls-no-reply"),
        refused("221", 221, HandshakeFailed, "starttls-no-reply"),
        refused("354", 354, HandshakeFailed, "starttls-no-reply"),
    ]
}

fn failing() -> Vec<State> {
    use Observed::HandshakeFailed;
    let inside = "ehlo-after-starttls-failed";
    let dropped =
        |name, stage, code| State { drop_after: Some(stage), ..state(name, Tls::Good, HandshakeFailed, code) };
    let root = Ca::new().unwrap().der();
    vec![
        broken("garbage", Breakage::Garbage, "handshake-failed"),
        broken("close", Breakage::Close, "handshake-failed"),
        broken("stall", Breakage::Stall, "handshake-timeout"),
        broken("protocol version", Breakage::ProtocolVersion, "tls-version-unsupported"),
        state("injects", Tls::Injects, HandshakeFailed, "starttls-injected-data"),
        state("EHLO 554 inside", Tls::EhloFailsInside(Some(Answer::new(554, "no"))), HandshakeFailed, inside),
        state("EHLO 451 inside", Tls::EhloFailsInside(Some(Answer::new(451, "no"))), HandshakeFailed, inside),
        state("EHLO closes inside", Tls::EhloFailsInside(None), HandshakeFailed, inside),
        state("client certificate", Tls::RequiresClientCertificate(root), HandshakeFailed, inside),
        dropped("lost at STARTTLS", Stage::StartTls, "starttls-no-reply"),
        dropped("lost at handshake", Stage::Handshake, "handshake-failed"),
        dropped("lost at EHLO inside", Stage::EhloInside, inside),
        // Skipping the verification of the certificate does not skip the proof that the host holds its key.
        certificate("another's key", HandshakeFailed, "handshake-failed", another_key),
        State {
            tls: Tls::Tls12Only,
            ..certificate("another's key, 1.2", HandshakeFailed, "handshake-failed", another_key)
        },
    ]
}

/// All states × all policies, one kind of state to a test.
async fn walk(states: Vec<State>) {
    let mut cases = Vec::new();
    for state in states {
        let state = std::sync::Arc::new(state);
        for policy in TlsPolicy::ALL {
            let state = state.clone();
            cases.push((format!("{}, {policy:?}", state.name), async move { deliver(&state, policy).await }));
        }
    }
    all(cases).await;
}

async fn deliver(state: &State, policy: TlsPolicy) {
    let behaviour = Behaviour { tls: state.tls.clone(), drop_after: state.drop_after, ..Behaviour::default() };
    // A handshake that stalls is waited for in vain: the others have time enough.
    let stalls = matches!(state.tls, Tls::Broken(Breakage::Stall));
    let handshake = if stalls { Duration::from_millis(200) } else { common::PATIENCE };
    let timeouts = Timeouts { handshake, ..Timeouts::default() };
    let run =
        Scenario { behaviour, identity: state.identity, roots: state.roots, policy, timeouts, ..Scenario::default() }
            .run()
            .await;
    match decide(policy, Fallback::default(), state.observed) {
        Verdict::Deliver(protection) => delivered_at_once(&run, state, protection).await,
        Verdict::ReconnectInPlaintext => delivered_in_plaintext_anew(&run, state).await,
        Verdict::LeaveHost => left(&run, state).await,
    }
    run.assert_clean();
}

async fn delivered_at_once(run: &Run, state: &State, protection: Protection) {
    let sessions = run.sessions(0, 1).await;
    assert_eq!(run.delivered().code(), 250);
    let encrypted = protection != Protection::Plaintext;
    let message = &sessions[0].messages[0];
    assert_eq!((message.encrypted, message.content.as_slice()), (encrypted, common::CONTENT));
    let mail_in_plaintext = sessions[0].commands.iter().any(|seen| seen.line.starts_with("MAIL") && !seen.encrypted);
    assert_eq!(mail_in_plaintext, !encrypted);
    let channel = run.channel().unwrap();
    match (protection, channel) {
        (Protection::Plaintext, Channel::Plaintext(PlaintextReason::NotOffered | PlaintextReason::Refused(_))) => {}
        (Protection::Encrypted, Channel::Encrypted(facts)) | (Protection::Verified, Channel::Verified(facts)) => {
            let seen = sessions[0].tls.as_ref().unwrap();
            assert_eq!((facts.version, &facts.cipher), (seen.version.as_str(), &seen.cipher));
            assert_eq!((&facts.key_exchange, &facts.sni), (&seen.key_exchange, &seen.sni));
            assert_eq!(facts.sni.as_deref(), Some(HOST));
            assert_eq!(facts.verification.code(), state.code);
        }
        (_, channel) => panic!("{protection:?}: {channel:?}"),
    }
    assert_eq!(channel.fallback(), (!encrypted).then_some(state.code));
    assert_eq!(run.steps(), [(HOST, "delivered", channel.fallback())]);
    assert!(sessions[0].closed_by_quit);
}

async fn delivered_in_plaintext_anew(run: &Run, state: &State) {
    let sessions = run.sessions(0, 2).await;
    assert_eq!(run.delivered().code(), 250);
    assert_nothing_said(&sessions[0]);
    assert_eq!(sessions[0].local, sessions[1].local, "the same address");
    assert_eq!(sessions[1].verbs(), ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]);
    assert!(!sessions[1].messages[0].encrypted);
    let channel = run.channel().unwrap();
    assert!(!channel.tls() && !channel.certificate_verified());
    assert_eq!(channel.fallback(), Some(state.code));
    assert_eq!(run.steps(), [(HOST, "plaintext-retry", Some(state.code)), (HOST, "delivered", Some(state.code))]);
}

async fn left(run: &Run, state: &State) {
    let sessions = run.sessions(0, 1).await;
    assert_nothing_said(&sessions[0]);
    let Outcome::Deferred(problem) = &run.report.recipients[0].outcome else {
        panic!("{:?}", run.report.recipients[0].outcome)
    };
    let detail = match state.observed {
        Observed::NotOffered | Observed::Refused => 4,
        Observed::HandshakeFailed | Observed::Unverified | Observed::Verified => 5,
    };
    assert_eq!((problem.code, problem.enhanced_code), (451, Some(EnhancedCode::new(4, 7, detail))));
    assert_eq!((problem.reason, problem.from_host), (Some(state.code), false));
    assert!(problem.message.starts_with("TLS is required, but not with mx.d.test [127.0.0."), "{}", problem.message);
    assert!(run.channel().is_none());
    assert_eq!(run.steps(), [(HOST, "left", Some(state.code))]);
}

#[tokio::test]
async fn a_valid_certificate() {
    walk(valid()).await;
}

#[tokio::test]
async fn an_invalid_certificate() {
    walk(invalid()).await;
}

#[tokio::test]
async fn starttls_not_to_be_had() {
    walk(no_tls()).await;
}

#[tokio::test]
async fn a_handshake_that_fails() {
    walk(failing()).await;
}

#[tokio::test]
async fn a_session_is_never_resumed() {
    let scenario = Scenario::default();
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("d", Behaviour::default()).await.unwrap();
    for _ in 0..2 {
        scenario.attempt(&lab).await;
    }
    let sessions = receiver.wait_for_sessions(2, common::PATIENCE).await;
    assert!(sessions.iter().all(|session| !session.tls.as_ref().unwrap().resumed));
}

#[tokio::test]
async fn a_handshake_that_drips_ends_with_its_time() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut lab = Lab::empty().await.unwrap();
    lab.add("other", Behaviour::default()).await.unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.77", lab.smtp_port())).await.unwrap();
    lab.dns().update(|zone| zone.mx("d.test", 10, "drip.d.test").a("drip.d.test", [127, 0, 0, 77].into()));
    let dripping = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sink = [0; 4096];
        stream.write_all(b"220 drip\r\n").await.unwrap();
        let _ = stream.read(&mut sink).await;
        stream.write_all(b"250-drip\r\n250 STARTTLS\r\n").await.unwrap();
        let _ = stream.read(&mut sink).await;
        // The head of a record that never becomes whole.
        stream.write_all(b"220 go\r\n").await.unwrap();
        let _ = stream.read(&mut sink).await;
        stream.write_all(&[0x16, 3, 3, 0x40, 0]).await.unwrap();
        while stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let timeouts = Timeouts { handshake: Duration::from_millis(300), ..Timeouts::default() };
    let report = Scenario { timeouts, policy: common::switches(true, true), ..Scenario::default() }.attempt(&lab).await;
    assert_eq!(report.steps[0].reason, Some("handshake-timeout"));
    assert!(report.session < Duration::from_secs(5));
    dripping.abort();
}
