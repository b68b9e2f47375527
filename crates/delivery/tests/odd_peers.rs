//! Hosts with odd, old and broken TLS, most of them played by the system's `openssl s_server`: what each shows, what is
//! made of that with and without verification, and the name that the log has for it.

mod common;

use std::sync::{Arc, Mutex, Weak};

use common::{PATIENCE, Scenario, all, switches};
use delivery::tls::{KeyProof, Roots};
use delivery::{Channel, Report};
use policy::tls::TlsPolicy;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use testkit::odd::{Engine, OddCa, OddCertificate, OddHost, OddSession, openssl_is_there};
use testkit::{Behaviour, Identity, Issue, Lab, Tls};

/// The least that every path carries in one segment: IPv6's smallest packet without its headers (RFC 8200 §5).
const SEGMENT: usize = 1220;

/// What a host is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// A valid certificate.
    Valid,
    /// An invalid one, why, and how its key was proved.
    Invalid(&'static str, KeyProof),
    /// No session, and why.
    Fails(&'static str),
}
use KeyProof::{Raw, Webpki};
use Shows::{Fails, Invalid, Valid};

const UNPROVED: KeyProof = KeyProof::None;
const FAULT: &str = "validation-failure";
const MISMATCH: &str = "certificate-host-mismatch";
const NO_CIPHER: &str = "no-shared-cipher";
const OLD_VERSION: &str = "tls-version-unsupported";
/// Arguments that let OpenSSL do what it would rather not.
const WEAK: &str = "-cipher ALL:@SECLEVEL=0";

struct Peer {
    name: &'static str,
    certificate: OddCertificate,
    /// The arguments of `openssl s_server`.
    arguments: &'static str,
    shows: Shows,
}

fn peer(name: &'static str, arguments: &'static str, shows: Shows) -> Peer {
    Peer { name, certificate: OddCertificate::good(), arguments, shows }
}

fn with_key(name: &'static str, key: &'static str, arguments: &'static str, shows: Shows) -> Peer {
    Peer { certificate: OddCertificate { key, ..OddCertificate::good() }, ..peer(name, arguments, shows) }
}

fn with_extensions(name: &'static str, extensions: Option<&'static str>, shows: Shows) -> Peer {
    Peer { certificate: OddCertificate { extensions, ..OddCertificate::good() }, ..peer(name, "", shows) }
}

const ED448: &str = "genpkey -algorithm ED448";
const RSA_512: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:512";
const RSA_1024: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024";
const RSA_2048: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const RSA_3072: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072";
const RSA_3: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3";
const RSA_PSS: &str = "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048";
const P384: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384";
const P521: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521";
const SECP256K1: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1";
const BRAINPOOL: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1";

fn keys() -> Vec<Peer> {
    vec![
        with_key("RSA-2048", RSA_2048, "", Valid),
        with_key("RSA-3072", RSA_3072, "", Valid),
        with_key("RSA with exponent 3", RSA_3, "", Valid),
        with_key("P-384", P384, "", Valid),
        with_key("P-521", P521, "", Valid),
        with_key("P-521 in TLS 1.2", P521, "-tls1_2", Fails(NO_CIPHER)),
        with_key("Ed25519 in TLS 1.2", "genpkey -algorithm ED25519", "-tls1_2", Valid),
        with_key("RSA-1024", RSA_1024, WEAK, Invalid(FAULT, UNPROVED)),
        with_key(
            "RSA-1024, PKCS #1",
            RSA_1024,
            "-tls1_2 -sigalgs RSA+SHA256 -cipher ALL:@SECLEVEL=0",
            Invalid(FAULT, Raw),
        ),
        with_key("RSA-1024, SHA-1", RSA_1024, "-tls1_2 -sigalgs RSA+SHA1 -cipher ALL:@SECLEVEL=0", Invalid(FAULT, Raw)),
        with_key("RSA-1024 in TLS 1.2", RSA_1024, "-tls1_2 -cipher ALL:@SECLEVEL=0", Invalid(FAULT, UNPROVED)),
        with_key("RSA-512", RSA_512, WEAK, Fails(NO_CIPHER)),
        with_key("RSA-PSS alone", RSA_PSS, "", Fails(NO_CIPHER)),
        with_key("Ed448", ED448, "", Fails(NO_CIPHER)),
        with_key("DSA", "dsaparam -genkey 1024", WEAK, Fails(NO_CIPHER)),
        with_key("secp256k1", SECP256K1, "", Fails(NO_CIPHER)),
        with_key("brainpool", BRAINPOOL, "", Fails(NO_CIPHER)),
    ]
}

fn certificates() -> Vec<Peer> {
    let good = OddCertificate::good;
    let made = |name, certificate, shows| Peer { certificate, ..peer(name, "", shows) };
    let ca_true = Some("subjectAltName=DNS:mx.d.test\nbasicConstraints=CA:TRUE");
    vec![
        made("good", good(), Valid),
        made("self-signed", OddCertificate { self_signed: true, ..good() }, Invalid("certificate-not-trusted", Webpki)),
        made(
            "self-signed authority",
            OddCertificate { self_signed: true, extensions: ca_true, ..good() },
            Invalid("certificate-not-trusted", Webpki),
        ),
        made("expired", OddCertificate { days: -1, ..good() }, Invalid("certificate-expired", Webpki)),
        with_extensions("another host's", Some("subjectAltName=DNS:mx.elsewhere.test"), Invalid(MISMATCH, Webpki)),
        with_extensions("common name alone", Some("basicConstraints=CA:FALSE"), Invalid(MISMATCH, Webpki)),
        with_extensions("underscore", Some("subjectAltName=DNS:mx_1.d.test"), Invalid(MISMATCH, Webpki)),
        with_extensions("address", Some("subjectAltName=IP:127.0.0.77"), Invalid(MISMATCH, Webpki)),
        with_extensions(
            "for clients alone",
            Some("subjectAltName=DNS:mx.d.test\nextendedKeyUsage=clientAuth"),
            Invalid(FAULT, Webpki),
        ),
        with_extensions(
            "unknown critical extension",
            Some("subjectAltName=DNS:mx.d.test\n1.2.3.4=critical,ASN1:UTF8String:odd"),
            Invalid(FAULT, Raw),
        ),
        made("negative serial", OddCertificate { serial: "-77", ..good() }, Valid),
        Peer {
            certificate: OddCertificate { digest: "-sha1", ..good() },
            ..peer("SHA-1 signed", WEAK, Invalid(FAULT, Webpki))
        },
        with_extensions("version 1", None, Invalid(FAULT, Raw)),
        made(
            "version 1, self-signed, RSA",
            OddCertificate { extensions: None, self_signed: true, key: RSA_2048, ..good() },
            Invalid(FAULT, Raw),
        ),
        Peer {
            certificate: OddCertificate { extensions: None, key: RSA_1024, ..good() },
            ..peer("version 1, RSA-1024", WEAK, Invalid(FAULT, UNPROVED))
        },
        made("six intermediates", OddCertificate { intermediates: 6, ..good() }, Valid),
        made("seven intermediates", OddCertificate { intermediates: 7, ..good() }, Invalid(FAULT, Webpki)),
        made("41 certificates, two needed", OddCertificate { copies_of_root: 40, ..good() }, Valid),
        made("chain over 64 KB", OddCertificate { copies_of_root: 200, ..good() }, Fails("handshake-too-large")),
    ]
}

fn protocols() -> Vec<Peer> {
    let rsa = |name, arguments, shows| with_key(name, RSA_2048, arguments, shows);
    vec![
        peer("TLS 1.2 with GCM", "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", Valid),
        peer("P-384 alone", "-groups P-384", Valid),
        peer("asks for a certificate", "-verify 1", Valid),
        peer("demands a certificate", "-Verify 1", Fails("ehlo-after-starttls-failed")),
        peer("demands a certificate in TLS 1.2", "-tls1_2 -Verify 1", Fails("handshake-failed")),
        peer("CBC", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", Fails(NO_CIPHER)),
        peer("CBC with SHA-384", "-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384", Fails(NO_CIPHER)),
        peer("CCM", "-tls1_2 -cipher ECDHE-ECDSA-AES128-CCM", Fails(NO_CIPHER)),
        rsa("RSA key exchange", "-tls1_2 -cipher AES128-GCM-SHA256", Fails(NO_CIPHER)),
        rsa("DHE", "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", Fails(NO_CIPHER)),
        peer("finite fields in TLS 1.3", "-tls1_3 -groups ffdhe2048", Fails(NO_CIPHER)),
        peer("P-521 alone", "-groups P-521", Fails(NO_CIPHER)),
        peer("X448 alone", "-groups X448", Fails(NO_CIPHER)),
        peer("TLS 1.1", "-tls1_1 -cipher ALL:@SECLEVEL=0", Fails(OLD_VERSION)),
        peer("TLS 1.0", "-tls1 -cipher ALL:@SECLEVEL=0", Fails(OLD_VERSION)),
        rsa("SHA-1 in the handshake", "-tls1_2 -sigalgs RSA+SHA1 -cipher ALL:@SECLEVEL=0", Invalid(FAULT, Raw)),
        rsa("SHA-224 in the handshake", "-tls1_2 -sigalgs RSA+SHA224 -cipher ALL:@SECLEVEL=0", Fails(NO_CIPHER)),
    ]
}

/// The authority of all peers that `openssl` plays, for as long as a test holds it: then its files are removed.
fn ca() -> Arc<OddCa> {
    static CA: Mutex<Weak<OddCa>> = Mutex::new(Weak::new());
    let mut known = CA.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    known.upgrade().unwrap_or_else(|| {
        let made = Arc::new(OddCa::new().unwrap());
        *known = Arc::downgrade(&made);
        made
    })
}

async fn walk(peers: Vec<Peer>) {
    if !openssl_is_there() {
        eprintln!("skipped: there is no openssl 3 on this machine");
        return;
    }
    let _held = ca();
    let mut cases = Vec::new();
    for peer in peers {
        let Peer { name, certificate, arguments, shows } = peer;
        let case = async move {
            let mut shown = tokio::task::spawn_blocking(move || ca().issue(&certificate).unwrap()).await.unwrap();
            shown.extend(arguments.split(' ').filter(|word| !word.is_empty()).map(str::to_owned));
            let roots: fn(&Lab) -> Roots =
                |_| Roots::of(rustls::RootCertStore::empty()).with_file(&ca().file()).unwrap();
            let settings = [switches(false, true), switches(true, false)];
            under(&settings, Engine::OpenSsl(shown), Some(roots), shows).await;
        };
        cases.push((name.to_owned(), case));
    }
    all(cases).await;
}

/// A delivery under each of these settings.
async fn under(settings: &[TlsPolicy], engine: Engine, roots: Option<fn(&Lab) -> Roots>, shows: Shows) {
    for policy in settings.iter().copied() {
        let lab = Lab::empty().await.unwrap();
        let (report, sessions) = deliver(&lab, engine.clone(), roots, policy).await;
        for session in &sessions {
            assert_eq!(session.trouble, None, "{policy:?}");
            assert!(session.hello.len() <= SEGMENT, "a hello of {} bytes", session.hello.len());
        }
        assert_outcome(&report, &sessions, policy, shows);
    }
}

async fn deliver(
    lab: &Lab,
    engine: Engine,
    roots: Option<fn(&Lab) -> Roots>,
    policy: TlsPolicy,
) -> (Report, Vec<OddSession>) {
    // Another program may have this port on one of these addresses, hardly on all.
    let mut bound = None;
    for last in 77..=99 {
        let address = std::net::Ipv4Addr::new(127, 0, 0, last);
        if let Ok(listener) = tokio::net::TcpListener::bind((address, lab.smtp_port())).await {
            bound = Some((address, listener));
            break;
        }
    }
    let (address, listener) = bound.expect("an address is free");
    lab.dns().update(|zone| zone.mx("d.test", 10, "mx.d.test").a("mx.d.test", address));
    let host = OddHost::start(listener, engine);
    let report = Scenario { policy, roots, ..Scenario::default() }.attempt(lab).await;
    let again = report.steps.iter().any(|step| step.result == "plaintext-retry");
    let sessions = host.wait_for_sessions(1 + usize::from(again), PATIENCE).await;
    (report, sessions)
}

fn assert_outcome(report: &Report, sessions: &[OddSession], policy: TlsPolicy, shows: Shows) {
    let lines: Vec<_> = sessions.iter().map(|session| (&session.plaintext, &session.encrypted)).collect();
    let context = format!("{policy:?} {:#?} {lines:?}", report.steps);
    let (code, proof) = match shows {
        Valid => (None, Some(Webpki)),
        Invalid(code, proof) => (Some(code), Some(proof)),
        Fails(code) => (Some(code), None),
    };
    let connection = report.recipients[0].connection.as_ref().unwrap();
    let facts = connection.handshake.as_ref();
    if !matches!(shows, Fails("ehlo-after-starttls-failed")) {
        assert_eq!(facts.map(|facts| facts.key_proof), proof, "{context}");
    }
    let is_enough = match shows {
        Valid => true,
        Invalid(..) => policy.skip_verification(),
        Fails(_) => false,
    };
    let mail = |lines: &[String]| lines.iter().any(|line| line.starts_with("MAIL"));
    let step = report.steps.first().unwrap();
    match connection.channel.as_ref() {
        Some(Channel::Verified(facts)) => {
            assert!(shows == Valid && !policy.skip_verification() && facts.verification.is_ok(), "{context}");
            assert!(mail(&sessions[0].encrypted), "{context}");
        }
        Some(Channel::Encrypted(facts)) => {
            assert!(is_enough && policy.skip_verification(), "{context}");
            assert_eq!(facts.verification.code(), code.unwrap_or("ok"), "{context}");
            assert!(mail(&sessions[0].encrypted), "{context}");
        }
        Some(Channel::Plaintext(reason)) => {
            assert!(!is_enough && !policy.require_tls(), "{context}");
            assert_eq!((Some(reason.code()), step.reason), (code, code), "{context}");
            assert!(!mail(&sessions[0].encrypted) && mail(&sessions[1].plaintext), "{context}");
        }
        None => {
            assert!(!is_enough && policy.require_tls(), "{context}");
            assert_eq!((step.result, step.reason), ("left", code), "{context}");
            assert!(sessions.iter().all(|session| !mail(&session.encrypted) && !mail(&session.plaintext)), "{context}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_keys() {
    walk(keys()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_certificates() {
    walk(certificates()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_protocols() {
    walk(protocols()).await;
}

/// A certificate in the hands of somebody who has another key.
fn with_another_key(odd: &OddCertificate) -> Option<Identity> {
    let files = ca().issue(odd).unwrap();
    let chain = CertificateDer::pem_file_iter(&files[1]).unwrap().map(Result::unwrap).collect();
    Some(Identity { chain, ..Identity::self_signed(&Issue::new("mx.d.test")).unwrap() })
}

#[tokio::test]
async fn a_wrong_signature_fails_whatever_checks_it() {
    if !openssl_is_there() {
        eprintln!("skipped: there is no openssl 3 on this machine");
        return;
    }
    let _held = ca();
    type Made = fn(&Lab) -> Option<Identity>;
    let version_1: Made = |_| with_another_key(&OddCertificate { extensions: None, ..OddCertificate::good() });
    let ed448: Made = |_| with_another_key(&OddCertificate { key: ED448, ..OddCertificate::good() });
    for (identity, code, words) in [
        (version_1, "handshake-failed", "the signature is wrong"),
        (ed448, "certificate-key-unsupported", "Ed448 keys are not supported"),
    ] {
        for tls in [Tls::Tls12Only, Tls::Tls13Only] {
            let behaviour = Behaviour { tls, ..Behaviour::default() };
            let policy = switches(true, true);
            let run = Scenario { behaviour, identity, policy, ..Scenario::default() }.run().await;
            assert_eq!(run.steps(), [("mx.d.test", "left", Some(code))]);
            assert!(run.problem().message.ends_with(words), "{}", run.problem().message);
        }
    }
}

#[tokio::test]
async fn the_hello_is_small_and_post_quantum_key_exchange_is_to_be_had() {
    let lab = Lab::empty().await.unwrap();
    let groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    let provider = rustls::crypto::CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
    let identity = lab.ca().issue(&Issue::new("mx.d.test")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key.clone_key())
        .unwrap();
    let (report, sessions) = deliver(&lab, Engine::Rustls(Arc::new(config)), None, switches(true, false)).await;
    let connection = report.recipients[0].connection.as_ref().unwrap();
    let Some(Channel::Verified(facts)) = &connection.channel else { panic!("{:?}", report.steps) };
    assert_eq!(facts.key_exchange, "X25519MLKEM768");
    // The host asked for the large key share; the first hello did not carry it.
    let hello = &sessions[0].hello;
    assert_eq!((hello[0], hello[5]), (22, 1), "a handshake record with a ClientHello");
    let longest_name = hello.len() - "mx.d.test".len() + 253;
    eprintln!("the hello has {} bytes, {longest_name} with the longest name", hello.len());
    assert!(longest_name <= SEGMENT, "{longest_name}");
    // X25519MLKEM768 is 0x11ec among the groups.
    assert!(hello.windows(2).any(|pair| pair == [0x11, 0xec]));
}

/// Hosts that end the handshake because they dislike something in the hello.
#[tokio::test]
async fn hosts_that_abort() {
    let alert = |description: u8| vec![0x15, 3, 3, 0, 2, 2, description];
    for (says, code) in [
        (Vec::new(), "handshake-failed"),
        // decode_error, illegal_parameter, internal_error, unsupported_extension, certificate_unknown.
        (alert(50), "handshake-failed"),
        (alert(47), "handshake-failed"),
        (alert(80), "handshake-failed"),
        (alert(110), "handshake-failed"),
        (alert(40), NO_CIPHER),
        (alert(71), NO_CIPHER),
        (alert(70), OLD_VERSION),
        // An answer in SSL 3.0.
        (vec![0x16, 3, 0, 0, 4, 14, 0, 0, 0], "handshake-failed"),
    ] {
        under(&TlsPolicy::ALL, Engine::Says(says), None, Fails(code)).await;
    }
}
