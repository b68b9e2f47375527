//! Certificates by ACME, from Let's Encrypt's own test server, pebble: it checks every signature, looks at port 80 of the
//! names as an authority does, and refuses good nonces at random.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use testkit::Lab;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::world::{PATIENCE, World};

const NAME: &str = "mail.sender.example";

/// The authority, with what it shows in a directory that is gone when this is dropped.
struct Pebble {
    process: Child,
    directory: PathBuf,
    port: u16,
}

impl Pebble {
    /// One that looks at `http_port` of the names that the lab's DNS knows; `None` where there is no pebble.
    async fn start(lab: &Lab, http_port: u16) -> Option<Pebble> {
        let directory = std::env::temp_dir().join(format!("waxwing-pebble-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&directory).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let shown = rcgen::CertificateParams::new(["acme.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(directory.join("shown.pem"), shown.pem()).unwrap();
        std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
        let port = free_port();
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": "",
            "certificate": directory.join("shown.pem"),
            "privateKey": directory.join("key.pem"),
            "httpPort": http_port,
            "tlsPort": free_port(),
        } });
        std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let started = Command::new("pebble")
            .arg("-config")
            .arg(directory.join("config.json"))
            .args(["-dnsserver", &lab.dns_addr().to_string()])
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "3")])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            std::fs::remove_dir_all(&directory).unwrap();
            // Past the harness, which keeps what a passing test prints.
            let _ = writeln!(std::io::stderr(), "skipped: certificates by ACME: not installed: pebble");
            return None;
        };
        let address = [127, 0, 0, 1].into();
        lab.dns().update(|zone| zone.a("acme.test", address).a(NAME, address));
        let pebble = Pebble { process, directory, port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "{}", pebble.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(pebble)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// The settings of a server that gets its certificate here and answers at this port.
    fn settings(&self, http_port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("acme_names", NAME.to_owned()),
            ("acme_directory", format!("https://acme.test:{}/dir", self.port)),
            ("acme_contact", "postmaster@sender.example".to_owned()),
            ("acme_terms_agreed", "on".to_owned()),
            ("acme_listen", format!("127.0.0.1:{http_port}")),
            ("trust_roots", self.directory.join("shown.pem").display().to_string()),
        ]
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn world(lab: Lab, settings: &[(&'static str, String)]) -> World {
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    World::start_with(lab, &settings).await
}

/// Takes any certificate whose key the server proves to have.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The chain that the submission listener shows after STARTTLS.
async fn shown(world: &World) -> Vec<CertificateDer<'static>> {
    let mut plain = BufReader::new(TcpStream::connect(world.submission()).await.unwrap());
    let mut line = String::new();
    plain.read_line(&mut line).await.unwrap();
    plain.get_mut().write_all(b"EHLO client.example\r\n").await.unwrap();
    while line.as_bytes()[3] == b'-' || line.starts_with("220") {
        line.clear();
        plain.read_line(&mut line).await.unwrap();
    }
    plain.get_mut().write_all(b"STARTTLS\r\n").await.unwrap();
    line.clear();
    plain.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("220 "), "{line}");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, plain.into_inner()).await.unwrap();
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap().iter().map(|one| one.clone().into_owned()).collect()
}

/// Who signed a certificate.
fn issuer(certificate: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(certificate).unwrap().1.issuer().to_string()
}

/// Waits for a certificate of the authority other than `old`, and says what was shown until then.
async fn issued(world: &World, pebble: &Pebble, old: Option<&CertificateDer<'static>>) -> Vec<CertificateDer<'static>> {
    let began = Instant::now();
    let mut before = Vec::new();
    loop {
        let chain = shown(world).await;
        if issuer(&chain[0]).contains("Pebble") && Some(&chain[0]) != old {
            assert!(chain.len() > 1, "without the certificate that leads to the root");
            before.push(chain[0].clone());
            return before;
        }
        before.push(chain[0].clone());
        assert!(began.elapsed() < PATIENCE, "{}", pebble.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn doctor(world: &World, about: &str) -> Value {
    let found: Value = serde_json::from_str(&world.said(&["doctor", "--json"])).unwrap();
    found["points"].as_array().unwrap().iter().find(|point| point["about"] == about).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_got_and_renewed_while_the_listener_serves() {
    let lab = Lab::empty().await.unwrap();
    let port = free_port();
    let Some(pebble) = Pebble::start(&lab, port).await else { return };
    let mut world = world(lab, &pebble.settings(port)).await;
    let first = issued(&world, &pebble, None).await.pop().unwrap();
    let (_, certificate) = X509Certificate::from_der(&first).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
    assert!(format!("{:?}", names.value.general_names[0]).contains(NAME));

    let data = world.directory.join("data");
    for file in ["acme-certificate.pem", "acme-account.json"] {
        assert_eq!(std::fs::metadata(data.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let point = doctor(&world, "certificate");
    assert!(point["state"] == "ok" && point["finding"].as_str().unwrap().contains(NAME), "{point}");
    assert_eq!(doctor(&world, "ACME")["state"], "ok");
    assert_eq!(doctor(&world, "submission_listen")["state"], "ok");

    // Another start makes neither an account nor a certificate; then one that is soon two thirds through its life.
    let account = std::fs::read(data.join("acme-account.json")).unwrap();
    assert_eq!(world.terminate(), Some(0));
    world.run();
    assert_eq!(shown(&world).await[0], first);
    assert_eq!(world.terminate(), Some(0));
    let old = short_lived(&data.join("acme-certificate.pem"));
    world.run();
    let seen = issued(&world, &pebble, Some(&first)).await;
    let (renewed, before) = seen.split_last().unwrap();
    assert!(!before.is_empty() && before.iter().all(|one| *one == old), "the old one is shown until then");
    assert_ne!(*renewed, first);
    assert_eq!(std::fs::read(data.join("acme-account.json")).unwrap(), account, "by the same account");
}

/// Writes a certificate for the name that lives for two and a half minutes, a minute and a half of it in the past.
fn short_lived(path: &Path) -> CertificateDer<'static> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wanted = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
    let now = std::time::SystemTime::now();
    wanted.not_before = (now - Duration::from_secs(90)).into();
    wanted.not_after = (now + Duration::from_secs(60)).into();
    let made = wanted.self_signed(&key).unwrap();
    std::fs::write(path, format!("{}{}", key.serialize_pem(), made.pem())).unwrap();
    made.der().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_leaves_what_there_is_and_is_told() {
    let lab = Lab::empty().await.unwrap();
    // The authority looks at a port where nobody is.
    let Some(pebble) = Pebble::start(&lab, free_port()).await else { return };
    let world = world(lab, &pebble.settings(free_port())).await;
    let before = shown(&world).await;
    let began = Instant::now();
    let point = loop {
        let point = doctor(&world, "ACME");
        if point["state"] != "ok" {
            break point;
        }
        assert!(began.elapsed() < PATIENCE, "{}", pebble.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let finding = point["finding"].as_str().unwrap();
    assert!(point["state"] == "warning" && finding.contains(NAME) && finding.contains("connection"), "{point}");
    assert!(finding.contains("tried again 2"), "{point}");
    assert_eq!(doctor(&world, "certificate")["state"], "warning");
    assert_eq!(shown(&world).await, before);
    assert!(!world.directory.join("data/acme-certificate.pem").exists());
}
