//! Every TLS state, from the client's side of the socket.

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{Client, PATIENCE, credulous, trusting, verdict};
use testkit::{
    Answer, Behaviour, Breakage, Ca, Identity, Issue, KeyKind, Lab, Receiver, Stage, Tls, ValidationLevel, Validity,
};

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn receiver(tls: Tls) -> Receiver {
    Receiver::start(anywhere(), Behaviour { tls, ..Behaviour::default() }).await.unwrap()
}

#[tokio::test]
async fn the_catalogue_is_in_the_states_that_it_names() {
    let lab = Lab::start().await.unwrap();
    let names: Vec<_> = lab.states().iter().map(|state| state.name.as_str()).collect();
    let expected = [
        ("good", "TLSv1.3", "ok"),
        ("tls12-only", "TLSv1.2", "ok"),
        ("self-signed", "TLSv1.3", "UnknownIssuer"),
        ("expired", "TLSv1.3", "Expired"),
        ("wrong-name", "TLSv1.3", "NotValidForName"),
    ];
    for (name, version, said) in expected {
        let host = format!("mx.{name}.test");
        let receiver = lab.receiver(name);
        let client = Client::connect(receiver.address()).await;
        let mut inside = client.starttls(&credulous(), &host).await.unwrap();
        let chain = inside.stream.get_ref().1.peer_certificates().unwrap().to_vec();
        let verdict = verdict(lab.ca().roots(), &chain, &host);
        assert!(verdict.contains(said), "{name}: {verdict}");
        assert!(!inside.ask("EHLO client.test").await.1.contains("STARTTLS"), "{name}");
        assert_eq!(inside.mail("r@x.test", "Hi\r\n.\r\n").await, 250);
        inside.expect(&[("QUIT", 221)]).await;
        drop(inside);

        let session = receiver.wait_for_sessions(1, PATIENCE).await.remove(0);
        let tls = session.tls.unwrap();
        assert_eq!((tls.version.as_str(), tls.sni.as_deref(), tls.resumed), (version, Some(host.as_str()), false));
        assert!(tls.cipher.starts_with("TLS_") && !tls.key_exchange.is_empty(), "{tls:?}");
        assert!(session.closed_by_quit && session.messages[0].encrypted);
        assert!(session.commands[0..2].iter().all(|seen| !seen.encrypted), "EHLO, STARTTLS");
        assert!(session.commands[2..].iter().all(|seen| seen.encrypted));
    }
    for name in ["no-starttls", "starttls-454", "broken-handshake"] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(lab.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_strict_client_is_told_why_by_the_receiver() {
    let lab = Lab::start().await.unwrap();
    let client = Client::connect(lab.receiver("self-signed").address()).await;
    let error = client.starttls(&trusting(lab.ca().roots()), "mx.self-signed.test").await.err().unwrap();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let session = lab.receiver("self-signed").wait_for_sessions(1, PATIENCE).await.remove(0);
    assert!(session.handshake_error.unwrap().contains("alert"));
    assert!(session.tls.is_none());
}

#[tokio::test]
async fn plaintext_goes_on_where_starttls_is_not_to_be_had() {
    let refusal = Answer::new(454, "4.7.0 not now\nreally");
    for (tls, offered, code) in [(Tls::NotOffered, false, 503), (Tls::RefusedWith(refusal), true, 454)] {
        let receiver = receiver(tls).await;
        let mut client = Client::connect(receiver.address()).await;
        assert_eq!(client.ask("EHLO client.test").await.1.contains("STARTTLS"), offered);
        client.expect(&[("STARTTLS", code)]).await;
        assert_eq!(client.mail("r@x.test", "Hi\r\n.\r\n").await, 250);
        client.expect(&[("QUIT", 221)]).await;
        let session = &receiver.sessions()[0];
        assert!(!session.messages[0].encrypted);
        assert_eq!(session.verbs(), ["EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "QUIT"]);
        assert_eq!(session.violations.len(), usize::from(!offered), "{:?}", session.violations);
    }
}

#[tokio::test]
async fn handshakes_break_in_every_way() {
    for (how, said) in [
        (Breakage::Garbage, "InvalidContentType"),
        (Breakage::Close, "eof"),
        (Breakage::ProtocolVersion, "ProtocolVersion"),
    ] {
        let receiver = receiver(Tls::Broken(how)).await;
        let client = Client::connect(receiver.address()).await;
        let error = client.starttls(&credulous(), "mx.test").await.err().unwrap();
        let error = error.to_string();
        let reset = how == Breakage::Close && error.contains("reset");
        assert!(error.contains(said) || reset, "{how:?}: {error}");
        let session = receiver.wait_for_sessions(1, PATIENCE).await.remove(0);
        assert_eq!(session.verbs(), ["EHLO", "STARTTLS"], "{how:?}");
        assert!(session.handshake_error.unwrap().ends_with("on purpose"));
    }
}

#[tokio::test]
async fn a_stalled_handshake_says_nothing() {
    let receiver = receiver(Tls::Broken(Breakage::Stall)).await;
    let client = Client::connect(receiver.address()).await;
    let config = credulous();
    let waiting = client.starttls(&config, "mx.test");
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    let session = receiver.wait_for_sessions(1, PATIENCE).await.remove(0);
    assert_eq!(session.handshake_error.as_deref(), Some("silent after 220, on purpose"));
}

#[tokio::test]
async fn an_injected_reply_comes_in_the_same_packet_as_220() {
    let receiver = receiver(Tls::Injects).await;
    let mut client = Client::connect(receiver.address()).await;
    client.expect(&[("EHLO client.test", 250), ("STARTTLS", 220)]).await;
    assert_eq!(client.try_reply().await, Some((250, testkit::receiver::INJECTED.to_owned())));
    // Whoever ignores it gets a good handshake.
    let mut inside = client.handshake(&credulous(), "localhost").await.unwrap();
    inside.expect(&[("EHLO client.test", 250), ("QUIT", 221)]).await;
}

#[tokio::test]
async fn ehlo_fails_inside_tls() {
    let answer = Answer::new(502, "5.5.1 no");
    for answer in [Some(answer), None] {
        let receiver = receiver(Tls::EhloFailsInside(answer.clone())).await;
        let client = Client::connect(receiver.address()).await;
        let mut inside = client.starttls(&credulous(), "localhost").await.unwrap();
        inside.send(b"EHLO client.test\r\n").await;
        assert_eq!(inside.try_reply().await.map(|(code, _)| code), answer.map(|answer| answer.code));
    }
}

#[tokio::test]
async fn starttls_inside_tls_is_a_trap() {
    let receiver = receiver(Tls::ReadvertisesInside).await;
    let client = Client::connect(receiver.address()).await;
    let mut inside = client.starttls(&credulous(), "localhost").await.unwrap();
    assert!(inside.ask("EHLO client.test").await.1.contains("STARTTLS"));
    inside.expect(&[("STARTTLS", 503), ("QUIT", 221)]).await;
    assert_eq!(receiver.sessions()[0].violations, ["STARTTLS inside TLS"]);
}

#[tokio::test]
async fn a_receiver_may_want_a_certificate_of_the_client() {
    let ca = Ca::new().unwrap();
    let receiver = receiver(Tls::RequiresClientCertificate(ca.der())).await;
    let client = Client::connect(receiver.address()).await;
    // In TLS 1.3 the client finishes first: it learns of the refusal when it reads.
    if let Ok(mut inside) = client.starttls(&credulous(), "localhost").await {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut inside.stream, b"EHLO client.test\r\n").await;
        assert_eq!(inside.try_reply().await, None);
    }
    let session = receiver.wait_for_sessions(1, PATIENCE).await.remove(0);
    assert!(session.handshake_error.unwrap().contains("no certificates"));
}

#[tokio::test]
async fn commands_before_ehlo_inside_tls_are_a_violation() {
    let receiver = receiver(Tls::Tls13Only).await;
    let client = Client::connect(receiver.address()).await;
    let mut inside = client.starttls(&credulous(), "localhost").await.unwrap();
    inside.expect(&[("MAIL FROM:<a@b.test>", 503)]).await;
    assert_eq!(receiver.sessions()[0].violations, ["MAIL before EHLO inside TLS"]);
}

#[tokio::test]
async fn commands_pipelined_behind_starttls_end_the_connection() {
    let receiver = receiver(Tls::Good).await;
    let mut client = Client::connect(receiver.address()).await;
    client.expect(&[("EHLO client.test", 250)]).await;
    client.send(b"STARTTLS\r\nMAIL FROM:<a@b.test>\r\n").await;
    assert_eq!(client.try_reply().await, None);
    assert!(receiver.violations()[0].contains("STARTTLS"));
}

#[tokio::test]
async fn sessions_are_resumed_as_with_real_servers() {
    let receiver = receiver(Tls::Tls12Only).await;
    let config = credulous();
    for resumed in [false, true] {
        let client = Client::connect(receiver.address()).await;
        let mut inside = client.starttls(&config, "localhost").await.unwrap();
        inside.expect(&[("EHLO client.test", 250), ("QUIT", 221)]).await;
        let seen = receiver.sessions().pop().unwrap().tls.unwrap();
        assert_eq!(seen.resumed, resumed);
    }
}

#[tokio::test]
async fn a_drop_before_the_handshake_is_a_stage() {
    let behaviour = Behaviour { drop_after: Some(Stage::Handshake), ..Behaviour::default() };
    let receiver = Receiver::start(anywhere(), behaviour).await.unwrap();
    let client = Client::connect(receiver.address()).await;
    assert!(client.starttls(&credulous(), "localhost").await.is_err());
}

#[tokio::test]
async fn another_ones_key_fails_the_handshake() {
    let ca = Ca::new().unwrap();
    let (mine, other) = (ca.issue(&Issue::new("localhost")).unwrap(), ca.issue(&Issue::new("other.test")).unwrap());
    let stolen = Identity { chain: mine.chain, key: other.key };
    let behaviour = Behaviour { identity: Some(stolen), ..Behaviour::default() };
    let receiver = Receiver::start(anywhere(), behaviour).await.unwrap();
    let client = Client::connect(receiver.address()).await;
    let error = client.starttls(&credulous(), "localhost").await.err().unwrap();
    assert!(error.to_string().contains("BadSignature"), "{error}");
}

#[test]
fn certificates_say_what_was_asked() {
    let ca = Ca::new().unwrap();
    for (issue, said) in [
        (Issue::new("mx.test"), "ok"),
        (Issue { key: KeyKind::Rsa2048, ..Issue::new("mx.test") }, "ok"),
        (Issue { key: KeyKind::Ed25519, ..Issue::new("mx.test") }, "ok"),
        (Issue::new("127.0.0.1"), "NotValidForName"),
        (Issue { validity: Validity::Expired, ..Issue::new("mx.test") }, "Expired"),
        (Issue { validity: Validity::NotYetValid, ..Issue::new("mx.test") }, "NotValidYet"),
        (Issue::without_san("mx.test"), "NotValidForName"),
    ] {
        let verdict = verdict(ca.roots(), &ca.issue(&issue).unwrap().chain, "mx.test");
        assert!(verdict.contains(said), "{issue:?}: {verdict}");
    }
    let other = Ca::new().unwrap();
    assert!(
        verdict(other.roots(), &ca.issue(&Issue::new("mx.test")).unwrap().chain, "mx.test").contains("UnknownIssuer")
    );
    assert!(ca.issue(&Issue::new("ü.test")).is_err());
}

#[test]
fn validation_levels_are_the_ca_b_forums() {
    let ca = Ca::new().unwrap();
    for (level, oid) in [
        (ValidationLevel::Dv, "2.23.140.1.2.1"),
        (ValidationLevel::Ov, "2.23.140.1.2.2"),
        (ValidationLevel::Iv, "2.23.140.1.2.3"),
        (ValidationLevel::Ev, "2.23.140.1.1"),
    ] {
        let identity = ca.issue(&Issue { level: Some(level), ..Issue::new("mx.test") }).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&identity.chain[0]).unwrap();
        let policies = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::CertificatePolicies(policies) => Some(policies.clone()),
            _ => None,
        });
        let oids: Vec<_> = policies.unwrap().iter().map(|policy| policy.policy_id.to_id_string()).collect();
        assert_eq!(oids, [oid]);
        assert_eq!(verdict(ca.roots(), &identity.chain, "mx.test"), "ok");
    }
}
