//! Telling on real sockets, with a clock that the test sets.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Instant;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use policy::tls::{TlsSettings, resolve};
use rustls::ServerConfig;
use serde_json::Value;
use store::webhook::{LastAnswer, Subscription};
use store::{Location, Method, NewDomain, NewMessage, Role};
use testkit::{Authority, Ca, Issue, Rtype, Zone};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// How long anything may take before a test gives up. Far more than is needed, since machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);
const SENDER: &str = "sender.example";

/// A receiver of notifications.
#[derive(Clone, Default)]
struct Receiver(Arc<Received>);

#[derive(Default)]
struct Received {
    /// What is answered, one after the other; then 200.
    answers: Mutex<VecDeque<u16>>,
    delay: Mutex<Duration>,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
}

impl Receiver {
    async fn listen(&self, address: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    async fn start() -> (Receiver, String) {
        let receiver = Receiver::default();
        let address = receiver.listen("127.0.0.1:0".parse().unwrap()).await;
        (receiver, format!("http://{address}/hook"))
    }

    fn router(&self) -> Router {
        Router::new().route("/hook", post(take)).with_state(self.clone())
    }

    fn answering(&self, answers: &[u16]) {
        self.0.answers.lock().unwrap().extend(answers);
    }

    fn seen(&self) -> Vec<Value> {
        self.0.seen.lock().unwrap().iter().map(|(_, payload)| payload.clone()).collect()
    }

    fn subjects(&self) -> Vec<String> {
        let subject =
            |payload: &Value| payload["event-data"]["message"]["headers"]["subject"].as_str().unwrap().to_owned();
        self.seen().iter().map(subject).collect()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let delay = *receiver.0.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    receiver.0.seen.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
    match receiver.0.answers.lock().unwrap().pop_front().unwrap_or(200) {
        303 => Redirect::to("/hook").into_response(),
        status => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

/// A store with a sending domain, and the task that tells.
struct Scene {
    directory: PathBuf,
    store: Store,
    now: Arc<AtomicI64>,
    stop: watch::Sender<bool>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Scene {
    async fn new() -> Scene {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("waxwing-webhooks-{}-{number}", std::process::id()));
        let store = Store::open(&Location::sqlite(&directory), Role::Server).await.unwrap();
        let now = Timestamp::now();
        let name = SENDER.parse().unwrap();
        store.create_domain(NewDomain { name, tls: TlsSettings::default(), dkim: None, now }).await.unwrap();
        Scene { directory, store, now: Arc::new(now.as_micros().into()), stop: watch::Sender::new(false) }
    }

    fn options(&self) -> Options {
        let now = self.now.clone();
        Options {
            look_every: Duration::from_millis(20),
            grace: Duration::from_secs(5),
            clock: Arc::new(move || Timestamp::from_micros(now.load(Ordering::Relaxed))),
            ..Options::default()
        }
    }

    fn advance(&self, minutes: i64) {
        self.now.fetch_add(minutes * 60_000_000, Ordering::Relaxed);
    }

    fn tell(&self, allowed: &str, resolver: Option<SocketAddr>) -> JoinHandle<()> {
        self.tell_with(self.options(), &config(allowed, resolver))
    }

    fn tell_with(&self, options: Options, config: &Config) -> JoinHandle<()> {
        let webhooks = Webhooks::new(self.store.clone(), web_of(config).unwrap(), options);
        tokio::spawn(webhooks.run(self.stop.subscribe()))
    }

    /// Tells the URL of what was accepted from now on.
    async fn subscribe(&self, url: &str, subjects: &[Subject]) {
        let (url, subjects) = (url.to_owned(), subjects.to_vec());
        let domain = SENDER.parse().unwrap();
        let edit = move |all: &mut Vec<Subscription>| {
            let mut new = Subscription::new(url.clone(), Timestamp::now());
            subjects.iter().for_each(|subject| new.add(*subject));
            all.push(new);
            Ok::<_, ()>(())
        };
        self.store.edit_webhooks(Some(&domain), edit).await.unwrap().unwrap();
    }

    /// A message with that subject line: one event.
    async fn accept(&self, subject: &str) {
        let message = NewMessage {
            domain: SENDER.parse().unwrap(),
            message_id: format!("{subject}@{SENDER}"),
            return_path: format!("a@{SENDER}"),
            header_from: String::new(),
            header_to: String::new(),
            subject: subject.to_owned(),
            size: 14,
            wire: Bytes::from_static(b"Subject: x\r\n\r\n"),
            attachments: Vec::new(),
            tags: Vec::new(),
            user_variables: serde_json::Map::new(),
            tls: resolve(TlsSettings::default(), TlsSettings::default()),
            method: Method::Http,
            test_mode: false,
            dkim: false,
            deliver_at: None,
            expires_at: None,
            copies: None,
            template: None,
            tracking: None,
            recipients: vec!["b@receiver.test".parse().unwrap()],
            dsn: None,
            api_key_id: None,
            originating_ip: None,
        };
        self.store.accept(message).await.unwrap();
    }

    async fn webhook(&self) -> Webhook {
        self.store.webhooks(WebhooksOf::Everybody).await.unwrap().remove(0)
    }

    async fn last_failure(&self) -> Option<LastAnswer> {
        self.webhook().await.last_failure
    }

    async fn end(&self, running: JoinHandle<()>) {
        self.stop.send_replace(true);
        running.await.unwrap();
        self.stop.send_replace(false);
    }
}

fn config(allowed: &str, resolver: Option<SocketAddr>) -> Config {
    Config { webhook_allow_networks: vec![allowed.parse::<IpAddr>().unwrap().into()], resolver, ..Config::default() }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn events_are_told_signed_and_in_order() {
    let scene = Scene::new().await;
    let (receiver, url) = Receiver::start().await;
    scene.accept("before").await;
    scene.subscribe(&url.replace("http://", "http://me:pw@"), &[Subject::Accepted]).await;
    let running = scene.tell("127.0.0.1", None);
    for number in 0..5 {
        scene.accept(&number.to_string()).await;
        until("told", async || receiver.seen().len() > number).await;
    }
    assert_eq!(receiver.subjects(), ["0", "1", "2", "3", "4"]);
    scene.end(running).await;

    let key = scene.store.signing_key("unused".to_owned()).await.unwrap();
    for (headers, payload) in receiver.0.seen.lock().unwrap().iter() {
        let part = |name: &str| payload["signature"][name].as_str().unwrap().to_owned();
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let tag: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&part("signature")[2 * at..][..2], 16).unwrap()).collect();
        hmac::verify(&key, (part("timestamp") + &part("token")).as_bytes(), &tag).unwrap();
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["authorization"], "Basic bWU6cHc=");
        assert_eq!(payload["event-data"]["event"], "accepted");
    }
    // A stop has written how far it came, so nothing is told again.
    let running = scene.tell("127.0.0.1", None);
    scene.accept("5").await;
    until("told after a restart", async || receiver.seen().len() == 6).await;
    scene.end(running).await;
    assert_eq!(receiver.subjects().last().unwrap(), "5");
}

#[tokio::test]
async fn a_failure_is_told_again_on_schedule_until_the_end_of_it() {
    let scene = Scene::new().await;
    let (receiver, url) = Receiver::start().await;
    receiver.answering(&[500; 7]);
    scene.subscribe(&url, &[Subject::Accepted]).await;
    let running = scene.tell("127.0.0.1", None);
    scene.accept("x").await;
    for (told, minutes) in [10, 10, 15, 30, 60, 120, 240].into_iter().enumerate() {
        until("told and set aside", async || {
            receiver.seen().len() == told + 1
                && scene
                    .store
                    .set_aside(scene.webhook().await.id, 9)
                    .await
                    .unwrap()
                    .1
                    .iter()
                    .any(|one| one.attempts as usize == told + 1)
        })
        .await;
        scene.advance(minutes - 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(receiver.seen().len(), told + 1, "too early");
        scene.advance(1);
    }
    until("taken", async || receiver.seen().len() == 8 && scene.webhook().await.set_aside == 0).await;
    let webhook = scene.webhook().await;
    assert_eq!(webhook.last.unwrap().status, Some(200));
    assert_eq!(webhook.last_failure.unwrap().words, "answered 500");
    let ids: HashMap<_, _> =
        receiver.seen().iter().map(|payload| (payload["event-data"]["id"].to_string(), ())).collect();
    assert_eq!(ids.len(), 1);
    scene.end(running).await;
}

#[tokio::test]
async fn what_is_not_wanted_and_what_has_failed_too_often_is_told_no_more() {
    let scene = Scene::new().await;
    let (receiver, url) = Receiver::start().await;
    receiver.answering(&[406, 500, 500]);
    scene.subscribe(&url, &[Subject::Accepted]).await;
    let options = Options { schedule: Schedule::new(vec![Duration::from_secs(60)]), ..scene.options() };
    let running = scene.tell_with(options, &config("127.0.0.1", None));
    scene.accept("unwanted").await;
    until("told", async || receiver.seen().len() == 1).await;
    scene.accept("failing").await;
    until("set aside", async || scene.webhook().await.set_aside == 1).await;
    scene.advance(1);
    until("given up", async || receiver.seen().len() == 3 && scene.webhook().await.set_aside == 0).await;
    scene.advance(100_000);
    scene.accept("next").await;
    until("the next", async || receiver.seen().len() == 4).await;
    assert_eq!(receiver.subjects(), ["unwanted", "failing", "failing", "next"]);
    scene.end(running).await;
}

#[tokio::test]
async fn one_that_is_slow_or_dead_keeps_nobody_waiting() {
    let scene = Scene::new().await;
    let (quick, quick_url) = Receiver::start().await;
    let (slow, slow_url) = Receiver::start().await;
    *slow.0.delay.lock().unwrap() = PATIENCE;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    scene.subscribe(&slow_url, &[Subject::Accepted]).await;
    scene.subscribe(&format!("http://{dead}/"), &[Subject::Accepted]).await;
    scene.subscribe(&quick_url, &[Subject::Accepted]).await;
    let started = Instant::now();
    let running = scene.tell_with(Options { grace: Duration::ZERO, ..scene.options() }, &config("127.0.0.1", None));
    for number in 0..40 {
        scene.accept(&number.to_string()).await;
    }
    until("all told", async || quick.seen().len() == 40).await;
    assert!(started.elapsed() < PATIENCE && slow.seen().is_empty());
    let mut told = quick.subjects();
    told.sort_by_key(|subject| subject.parse::<u32>().unwrap());
    assert_eq!(told, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    scene.end(running).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let scene = Scene::new().await;
    let (receiver, url) = Receiver::start().await;
    receiver.answering(&[303]);
    scene.subscribe(&url, &[Subject::Accepted]).await;
    let running = scene.tell("127.0.0.1", None);
    scene.accept("x").await;
    until("set aside", async || scene.webhook().await.set_aside == 1).await;
    assert_eq!(scene.last_failure().await.unwrap().words, "answered 303, and redirects are not followed");
    assert_eq!(receiver.seen().len(), 1);
    scene.end(running).await;
}

/// The network of one address stands for the public ones.
#[tokio::test]
async fn a_name_that_leads_elsewhere_after_it_was_checked_is_not_followed() {
    let name = "hook.test";
    let zone = |address: &str| Zone::new().address(name, address.parse::<IpAddr>().unwrap());
    let dns = Authority::start("127.0.0.1:0".parse().unwrap(), zone("127.0.0.2")).await.unwrap();
    let (inside, _) = Receiver::start().await;
    let public = Receiver::default();
    let port = public.listen("127.0.0.2:0".parse().unwrap()).await.port();
    inside.listen(SocketAddr::new("127.0.0.1".parse().unwrap(), port)).await;

    let scene = Scene::new().await;
    scene.subscribe(&format!("http://{name}:{port}/hook"), &[Subject::Accepted]).await;
    let running = scene.tell("127.0.0.2", Some(dns.address()));
    scene.accept("first").await;
    until("told", async || public.seen().len() == 1).await;
    // It was asked once: between the check and the connection there was no other answer to be had.
    let asked = |rtype| dns.queries().iter().filter(|asked| asked.name == name && asked.rtype == rtype).count();
    assert_eq!(asked(Rtype::A), 1);
    scene.end(running).await;

    dns.set(zone("127.0.0.1"));
    let running = scene.tell("127.0.0.2", Some(dns.address()));
    scene.accept("second").await;
    until("refused", async || scene.webhook().await.set_aside == 1).await;
    let words = scene.last_failure().await.unwrap().words;
    assert_eq!(words, "[127.0.0.1] is not a public address (see webhook_allow_networks)");
    assert!(inside.seen().is_empty());
    scene.end(running).await;
}

#[tokio::test]
async fn certificates_are_verified() {
    let (trusted, stranger) = (Ca::new().unwrap(), Ca::new().unwrap());
    let dns = Authority::start(
        "127.0.0.1:0".parse().unwrap(),
        Zone::new().address("hook.test", "127.0.0.1".parse().unwrap()),
    );
    let dns = dns.await.unwrap();
    let scene = Scene::new().await;
    let roots = scene.directory.join("roots.pem");
    std::fs::write(&roots, trusted.pem()).unwrap();
    let config = Config { trust_roots: Some(roots), ..config("127.0.0.1", Some(dns.address())) };
    let (good, bad) = (Receiver::default(), Receiver::default());
    for (receiver, ca) in [(&good, &trusted), (&bad, &stranger)] {
        let port = listen_tls(receiver, ca).await;
        scene.subscribe(&format!("https://hook.test:{port}/hook"), &[Subject::Accepted]).await;
    }
    let running = scene.tell_with(scene.options(), &config);
    scene.accept("x").await;
    until("told", async || good.seen().len() == 1).await;
    let refused = async || scene.store.webhooks(WebhooksOf::Everybody).await.unwrap().remove(1).last_failure;
    until("refused", async || refused().await.is_some()).await;
    assert!(refused().await.unwrap().words.contains("certificate"), "{:?}", refused().await);
    assert!(bad.seen().is_empty());
    scene.end(running).await;
}

async fn listen_tls(receiver: &Receiver, ca: &Ca) -> u16 {
    let identity = ca.issue(&Issue::new("hook.test")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = TowerToHyperService::new(receiver.router());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, service) = (acceptor.clone(), service.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_webhook_that_is_changed_or_deleted_is_obeyed_while_the_server_runs() {
    let scene = Scene::new().await;
    let (receiver, url) = Receiver::start().await;
    scene.subscribe(&url, &[Subject::Accepted]).await;
    let running = scene.tell("127.0.0.1", None);
    scene.accept("told").await;
    until("told", async || receiver.seen().len() == 1).await;
    let domain = SENDER.parse().unwrap();
    let only_opened = |all: &mut Vec<Subscription>| {
        all[0].subjects = vec![Subject::Opened];
        Ok::<_, ()>(())
    };
    scene.store.edit_webhooks(Some(&domain), only_opened).await.unwrap().unwrap();
    let (other, other_url) = Receiver::start().await;
    scene.subscribe(&other_url, &[Subject::Accepted]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    scene.accept("for the other").await;
    until("told", async || other.seen().len() == 1).await;
    scene.store.delete_domain(&domain).await.unwrap();
    until("gone", async || scene.store.webhooks(WebhooksOf::Everybody).await.unwrap().is_empty()).await;
    assert_eq!((receiver.seen().len(), other.seen().len()), (1, 1));
    scene.end(running).await;
}
