//! From counters to reports that arrive, on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;

use policy::tlsrpt::{AppliedPolicy, Counted, Failure, Outcome, Report, ResultType, SessionResult};
use store::NewDomain;
use store::tlsrpt::{Kept, TlsCount, TlsReportState, Via};
use testkit::{Behaviour, Identity, Issue, Lab, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::incoming::{self, Refused};
use super::*;
use crate::serve::Server;

/// The key of RFC 8463 §A.1.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

/// A directory of its own for each test, gone at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("waxwing-tlsrpt-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("key.pem"), KEY).unwrap();
        Directory(path)
    }

    fn config(&self, resolver: SocketAddr) -> Config {
        Config {
            http_listen: "127.0.0.1:0".parse().unwrap(),
            store: store::Location::sqlite(self.0.join("data")),
            resolver: Some(resolver),
            deliver_to_private: vec!["127.0.0.0/8".parse().unwrap()],
            tls_report_from: Some("tls@x.example".parse().unwrap()),
            tls_report_organization: Some("Company-X".to_owned()),
            tls_report_dkim_selector: Some("s1".parse().unwrap()),
            tls_report_dkim_key: Some(self.0.join("key.pem")),
            ..Config::default()
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}

fn failed(name: &str) -> SessionResult {
    let failure = Failure::of(ResultType::CertificateExpired);
    SessionResult::new(AppliedPolicy::none(domain(name)), Outcome::Failure(failure))
}

/// Seven sessions that failed yesterday.
async fn yesterday(store: &Store, name: &str) -> Day {
    let day = Day::from_number(day_of(Timestamp::now()).number() - 1);
    let counted = Counted { result: failed(name), sessions: 7 };
    store.count_tls(vec![TlsCount { day, destination: domain(name), counted }]).await.unwrap();
    day
}

fn reporter(store: &Store, config: &Config, wake: &Arc<Notify>) -> Reporter {
    let settings = Settings::of(config).unwrap();
    let reporter = Reporter::new(store.clone(), Tally::off(), settings, config, wake.clone());
    Reporter { offset: Duration::ZERO, ..reporter }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_arrives_by_mail_signed_and_over_broken_tls() {
    let mut lab = Lab::empty().await.unwrap();
    // The very host that the report is about: without STARTTLS.
    let receiver = lab.add("y", Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }).await.unwrap();
    lab.dns().update(|zone| zone.txt("_smtp._tls.y.test", "v=TLSRPTv1;rua=mailto:rua@y.test"));
    let directory = Directory::new();
    let config = Config { smtp_port: lab.smtp_port(), ..directory.config(lab.dns_addr()) };
    let store = Store::open(&config.store, store::Role::Server).await.unwrap();
    let day = yesterday(&store, "y.test").await;
    yesterday(&store, "silent.test").await;

    let wake = Arc::new(Notify::new());
    reporter(&store, &config, &wake).work(Timestamp::now()).await;
    assert!(
        store.tls_days(day_of(Timestamp::now()), 10).await.unwrap().is_empty(),
        "no record, no report, no counters"
    );
    let sent = store.tls_reports_sent(10, 0).await.unwrap().1;
    assert_eq!((sent.len(), sent[0].state), (1, TlsReportState::Sent));
    store.close().await;

    let server = Server::start(config.clone()).await.unwrap();
    let messages = receiver.wait_for_messages(1, Duration::from_secs(60)).await;
    let mail = messages[0].text();
    assert_eq!(
        (messages[0].return_path.as_str(), messages[0].recipients.as_slice()),
        ("tls@x.example", &["rua@y.test".to_owned()][..])
    );
    assert!(mail.contains("TLS-Required: No\r\n") && mail.contains("TLS-Report-Domain: y.test\r\n"), "{mail}");

    // Ed25519 gives the same signature for the same octets: signing what arrived again shows that it is right.
    let unsigned = &mail[mail.find("From: ").unwrap()..];
    let seconds = mail.split("t=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    let signer = Settings::of(&config).unwrap().unwrap().signer.unwrap();
    let field = String::from_utf8(signer.sign(unsigned.as_bytes(), seconds).unwrap()).unwrap();
    assert_eq!(format!("{field}{unsigned}"), mail);

    let report = incoming::read(&message::tls_report::find(mail.as_bytes()).unwrap()).unwrap();
    assert_eq!(report.sessions(), (0, 7));
    assert_eq!((report.organization_name.as_str(), report.contact_info.as_str()), ("Company-X", "tls@x.example"));
    assert_eq!(report.date_range.start_datetime, format!("{day}T00:00:00Z"));
    server.stop().await;
}

/// Takes one request, gives an answer, and tells what it was asked.
async fn take_one(listener: &TcpListener, acceptor: &tokio_rustls::TlsAcceptor, status: &str) -> Vec<u8> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = acceptor.accept(stream).await.unwrap();
    let mut request = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some(head) = request.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let length: usize =
            text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
        if request.len() >= head + 4 + length || read == 0 {
            break;
        }
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_arrives_by_https_whatever_the_certificate_and_is_tried_again() {
    let lab = Lab::empty().await.unwrap();
    let identity = Identity::self_signed(&Issue::new("another-name.test")).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let record = format!("v=TLSRPTv1; rua=https://r.y.test:{port}/in?a=b");
    lab.dns().update(|zone| zone.txt("_smtp._tls.y.test", &record).a("r.y.test", [127, 0, 0, 1].into()));

    let directory = Directory::new();
    // Without a key: by HTTPS alone.
    let config =
        Config { tls_report_dkim_selector: None, tls_report_dkim_key: None, ..directory.config(lab.dns_addr()) };
    let store = Store::open(&config.store, store::Role::Server).await.unwrap();
    yesterday(&store, "y.test").await;
    let reporter = reporter(&store, &config, &Arc::new(Notify::new()));
    let now = Timestamp::now();
    let (_, first) = tokio::join!(reporter.work(now), take_one(&listener, &acceptor, "503 Busy"));
    let state = |sent: &[store::tlsrpt::OutgoingTlsReport]| (sent[0].state, sent[0].last.clone());
    let sent = store.tls_reports_sent(10, 0).await.unwrap().1;
    let later = now + Duration::from_secs(600);
    assert_eq!(state(&sent), (TlsReportState::Waiting(later), "answered 503".to_owned()));
    let (_, second) = tokio::join!(reporter.work(later), take_one(&listener, &acceptor, "201 Created"));
    assert_eq!(state(&store.tls_reports_sent(10, 0).await.unwrap().1), (TlsReportState::Sent, "taken".to_owned()));

    let head_of = |request: &[u8]| request.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    assert_eq!(first[head_of(&first)..], second[head_of(&second)..], "the same report again");
    let head = String::from_utf8_lossy(&second[..head_of(&second)]).to_lowercase();
    assert!(
        head.starts_with("post /in?a=b http/1.1\r\n") && head.contains("content-type: application/tlsrpt+gzip"),
        "{head}"
    );
    let report = incoming::read(&second[head_of(&second) + 4..]).unwrap();
    assert_eq!((report.sessions(), report.domains().next()), ((0, 7), Some(domain("y.test"))));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_nobody_takes_is_given_up_after_a_day() {
    let lab = Lab::empty().await.unwrap();
    lab.dns().update(|zone| {
        let zone = zone.txt("_smtp._tls.y.test", "v=TLSRPTv1; rua=https://127.0.0.1:1/, https://10.0.0.1/");
        zone.servfail("_smtp._tls.broken.test")
    });
    let directory = Directory::new();
    let config = directory.config(lab.dns_addr());
    let store = Store::open(&config.store, store::Role::Server).await.unwrap();
    let day = yesterday(&store, "y.test").await;
    yesterday(&store, "broken.test").await;
    let reporter = reporter(&store, &config, &Arc::new(Notify::new()));
    let start = Timestamp::now();
    let mut hours = 0;
    while !store.due_tls_reports(start + Duration::from_secs(999 * 3600), 10).await.unwrap().is_empty() || hours == 0 {
        reporter.work(start + Duration::from_secs(hours * 3600)).await;
        hours += 1;
        assert!(hours < 30);
    }
    let sent = store.tls_reports_sent(10, 0).await.unwrap().1;
    assert!(sent.iter().all(|report| report.state == TlsReportState::Failed && report.attempts > 5), "{sent:?}");
    assert!(hours > 18);
    // What could not be looked up waits with its counters.
    assert_eq!(store.tls_days(Day::from_number(day.number() + 1), 10).await.unwrap(), [(day, domain("broken.test"))]);
    store.close().await;
}

#[tokio::test]
async fn sessions_are_counted_in_memory_and_written_later() {
    let directory = Directory::new();
    let config = directory.config("127.0.0.1:1".parse().unwrap());
    let store = Store::open(&config.store, store::Role::Server).await.unwrap();
    let (now, y) = (Timestamp::now(), domain("y.test"));
    let counted = async || store.tls_results(day_of(now), &y).await.unwrap();

    Tally::off().record(now, "a@x.example", &y, [failed("y.test")]);
    Tally::off().flush(&store).await;
    let tally = Settings::of(&config).unwrap().unwrap().tally();
    tally.clone().record(now, "a@x.example", &y, [failed("y.test"), failed("y.test")]);
    tally.record(now, "", &y, [failed("y.test")]);
    // Reports' own sessions are not reported.
    tally.record(now, "tls@x.example", &y, [failed("y.test")]);
    assert_eq!(counted().await, []);
    tally.flush(&store).await;
    assert_eq!(counted().await, [Counted { result: failed("y.test"), sessions: 3 }]);
    tally.flush(&store).await;
    assert_eq!(counted().await[0].sessions, 3);

    // What the store does not take is not lost.
    tally.record(now, "", &y, [failed("y.test")]);
    store.close().await;
    tally.flush(&store).await;
    let store = Store::open(&config.store, store::Role::Server).await.unwrap();
    tally.flush(&store).await;
    assert_eq!(store.tls_results(day_of(now), &y).await.unwrap()[0].sessions, 4);
    store.close().await;
}

#[test]
fn settings_are_whole_or_refused_in_words() {
    let directory = Directory::new();
    let good = || directory.config("127.0.0.1:1".parse().unwrap());
    assert!(Settings::of(&Config::default()).unwrap().is_none());
    let plain = Config { tls_report_organization: None, ..good() };
    let settings = Settings::of(&plain).unwrap().unwrap();
    assert_eq!((settings.organization.as_str(), settings.contact.as_str()), ("x.example", "tls@x.example"));
    let nowhere = Some(directory.0.join("nowhere.pem"));
    let no_key = Some(directory.0.join("no-key.pem"));
    std::fs::write(directory.0.join("no-key.pem"), "hello").unwrap();
    for (config, words) in [
        (Config { tls_report_dkim_key: None, ..good() }, "tls_report_dkim_selector: needs tls_report_dkim_key"),
        (Config { tls_report_dkim_selector: None, ..good() }, "tls_report_dkim_key: needs tls_report_dkim_selector"),
        (Config { tls_report_from: None, ..good() }, "tls_report_dkim_key: needs tls_report_from"),
        (Config { tls_report_dkim_key: nowhere, ..good() }, "nowhere.pem: No such file"),
        (Config { tls_report_dkim_key: no_key, ..good() }, "there is no private key in PEM form"),
    ] {
        let error = Settings::of(&config).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

fn report_about(names: &[&str]) -> Report {
    let counted: Vec<_> = names.iter().map(|name| Counted { result: failed(name), sessions: 1 }).collect();
    let head = policy::tlsrpt::report::Head { organization: "Y", contact: "", id: "1", day: Day::from_number(1) };
    Report::of(head, &counted)
}

#[tokio::test]
async fn only_reports_about_our_own_domains_are_kept() {
    let directory = Directory::new();
    let store = Store::open(&store::Location::sqlite(directory.0.join("data")), store::Role::Server).await.unwrap();
    let now = Timestamp::now();
    store
        .create_domain(NewDomain { name: domain("x.example"), tls: Default::default(), dkim: None, now })
        .await
        .unwrap();
    let keep = async |names: &[&str]| incoming::keep(&store, report_about(names), Via::Mail, now).await;
    assert_eq!(keep(&["other.test", "x.example"]).await.unwrap(), (domain("x.example"), Kept::New));
    assert_eq!(keep(&["x.example"]).await.unwrap(), (domain("x.example"), Kept::Known));
    // DANE's policies are of hosts.
    assert_eq!(keep(&["mx1.x.example"]).await.unwrap(), (domain("x.example"), Kept::Known));
    for names in [&["other.test"][..], &["example"], &["ax.example"]] {
        assert!(matches!(keep(names).await, Err(Refused::NotOurs)), "{names:?}");
    }
    store.close().await;
}

#[test]
fn reports_are_unpacked_within_bounds() {
    use std::io::Write as _;
    let packed = |octets: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(octets).unwrap();
        encoder.finish().unwrap()
    };
    let json = report_about(&["x.example"]).to_json();
    assert_eq!(incoming::read(&packed(&json)).unwrap(), incoming::read(&json).unwrap());
    let bomb = packed(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert!(matches!(incoming::read(&bomb), Err(Refused::Report(policy::tlsrpt::ReportError::TooLong))));
    let whole = packed(&json);
    assert!(matches!(incoming::read(&whole[..whole.len() / 2]), Err(Refused::Damaged)));
    assert!(matches!(incoming::read(b"hello"), Err(Refused::Report(_))));
}
