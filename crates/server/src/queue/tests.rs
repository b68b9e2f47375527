//! The worker against a real store and real receivers, where time or the store misbehaves.

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use policy::tls::{TlsSettings, resolve};
use smtp::Domain;
use store::{Direction, Event, EventKind, EventQuery, Filter, Location, Method, NewMessage, NewState, Role, Severity};
use testkit::{Behaviour, Lab, Receiver, Stage, Tls};

use super::*;
use crate::config::Config;

/// Far more than is needed, since machines are busy; and far less than [`NAP`].
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    _lab: Lab,
    receiver: Receiver,
    directory: PathBuf,
    store: Store,
    stop: watch::Sender<bool>,
    tally: Tally,
}

impl Scene {
    /// A receiver for `a@slow.test` that takes its time with the final dot.
    async fn new(slowness: Duration) -> (Scene, Queue) {
        let mut lab = Lab::empty().await.unwrap();
        let delays = [(Stage::EndOfData, slowness)].into();
        // One connection for each attempt.
        let behaviour = Behaviour { delays, tls: Tls::NotOffered, ..Behaviour::default() };
        let receiver = lab.add("slow", behaviour).await.unwrap();
        let directory = std::env::temp_dir().join(format!("waxwing-queue-{:016x}", rand::random::<u64>()));
        let config = Config {
            resolver: Some(lab.dns_addr()),
            deliver_to_private: vec!["127.0.0.0/8".parse().unwrap()],
            smtp_port: lab.smtp_port(),
            ..Config::default()
        };
        let store = Store::open(&Location::sqlite(&directory), Role::Server).await.unwrap();
        let tally = Tally::without(&"reports@sender.example".parse().unwrap());
        let queue = Queue::new(
            store.clone(),
            client_of(&config, Arc::new(StoredPolicies(store.clone()))).unwrap(),
            Schedule::default(),
            Limits { total: 50, concurrency: 4, ..Limits::default() },
            Arc::new(Notify::new()),
            tally.clone(),
        );
        (Scene { _lab: lab, receiver, directory, store, stop: watch::Sender::new(false), tally }, queue)
    }

    async fn accept(&self, deliver_at: Option<Timestamp>) {
        self.store.accept(message(deliver_at)).await.unwrap();
    }

    async fn claim_one(&self) -> Job {
        let now = Timestamp::now();
        self.store.claim(Claim::all(now, now + LEASE, 1)).await.unwrap().remove(0)
    }

    fn run(&self, queue: Queue, grace: Duration) -> tokio::task::JoinHandle<()> {
        tokio::spawn(queue.run(self.stop.subscribe(), grace))
    }

    /// Takes the database away under the store, which then refuses everything; or gives it back.
    fn lose_database(&self, lose: bool) {
        let (here, away) = (self.directory.join("waxwing.db"), self.directory.join("away"));
        let (from, to) = if lose { (here, away) } else { (away, here) };
        std::fs::rename(from, to).unwrap();
    }

    async fn kinds(&self) -> Vec<EventKind> {
        events(&self.store).await.iter().map(|event| event.kind).collect()
    }
}

/// All that was told.
pub(super) async fn events(store: &Store) -> Vec<Event> {
    let query = EventQuery {
        domain: Some("sender.example".parse().unwrap()),
        begin: None,
        end: None,
        direction: Direction::Ascending,
        after: None,
        limit: 1000,
        filter: Filter::All,
    };
    store.events(query).await.unwrap()
}

pub(super) fn message(deliver_at: Option<Timestamp>) -> NewMessage {
    NewMessage {
        domain: "sender.example".parse().unwrap(),
        message_id: "1@sender.example".to_owned(),
        return_path: String::new(),
        header_from: String::new(),
        header_to: String::new(),
        subject: String::new(),
        size: 14,
        wire: Bytes::from_static(b"Subject: x\r\n\r\n"),
        attachments: Vec::new(),
        tags: Vec::new(),
        user_variables: serde_json::Map::new(),
        tls: resolve(TlsSettings::default(), TlsSettings::default()),
        dkim: true,
        method: Method::Http,
        test_mode: false,
        deliver_at,
        expires_at: None,
        template: None,
        copies: None,
        tracking: None,
        recipients: vec!["a@slow.test".parse().unwrap()],
        dsn: None,
        api_key_id: None,
        originating_ip: None,
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(super) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a clock that jumps forward, or a machine that slept, makes of leases.
#[tokio::test]
async fn a_lease_that_ends_under_an_attempt_repeats_nothing() {
    let (scene, mut queue) = Scene::new(Duration::from_millis(700)).await;
    queue.lease = Duration::from_millis(50);
    scene.accept(None).await;
    let running = scene.run(queue, PATIENCE);
    until("delivered", async || scene.kinds().await.contains(&EventKind::Delivered)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.receiver.sessions().len(), 1, "another attempt began beside the first");
    scene.stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn a_destination_with_more_waiting_is_claimed_again_at_once() {
    let (scene, queue) = Scene::new(Duration::from_secs(3)).await;
    for _ in 0..6 {
        scene.accept(None).await;
    }
    let running = scene.run(queue, Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(scene.receiver.sessions().len(), 4);
    scene.stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn what_became_due_since_the_last_claim_is_seen() {
    let (scene, _) = Scene::new(Duration::ZERO).await;
    let claimed = Timestamp::now();
    scene.accept(Some(claimed + Duration::from_millis(1))).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(until_next_due(&scene.store, claimed).await, Duration::from_millis(1));
}

#[tokio::test]
async fn a_store_that_failed_is_asked_again_soon() {
    let (scene, queue) = Scene::new(Duration::ZERO).await;
    scene.accept(None).await;
    scene.lose_database(true);
    let running = scene.run(queue, PATIENCE);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(scene.receiver.messages().is_empty());
    scene.lose_database(false);
    until("delivered", async || scene.receiver.messages().len() == 1).await;
    scene.stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_delivered_and_cannot_be_recorded_yet_is_delivered_once() {
    let (scene, mut queue) = Scene::new(Duration::from_millis(500)).await;
    queue.lease = Duration::from_millis(50);
    scene.accept(None).await;
    scene.accept(Some(Timestamp::now() + Duration::from_secs(1))).await;
    let running = scene.run(queue, PATIENCE);
    until("connected", async || scene.receiver.sessions().len() == 1).await;
    scene.lose_database(true);
    until("taken", async || scene.receiver.messages().len() == 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.receiver.sessions().len(), 1, "nothing begins while an outcome waits to be written");
    scene.lose_database(false);
    until("both delivered", async || scene.store.queued().await.unwrap() == 0).await;
    assert_eq!(scene.receiver.messages().len(), 2);
    scene.stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn a_stop_cuts_short_what_runs_and_not_what_is_known() {
    let (scene, queue) = Scene::new(Duration::from_millis(500)).await;
    scene.accept(None).await;
    let running = scene.run(queue, Duration::from_millis(100));
    until("connected", async || scene.receiver.sessions().len() == 1).await;
    scene.lose_database(true);
    // QUIT has its time too.
    scene.receiver.wait_for_sessions(1, PATIENCE).await;
    assert_eq!(scene.receiver.messages().len(), 1);
    scene.stop.send_replace(true);
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.lose_database(false);
    running.await.unwrap();
    assert_eq!(scene.kinds().await, [EventKind::Accepted, EventKind::Delivered]);

    // And what still talks to a host is dropped, without a word of it in the events.
    let (scene, queue) = Scene::new(PATIENCE).await;
    scene.accept(None).await;
    let running = scene.run(queue, Duration::from_millis(100));
    until("connected", async || scene.receiver.sessions().len() == 1).await;
    let stopped = Instant::now();
    scene.stop.send_replace(true);
    running.await.unwrap();
    assert!(stopped.elapsed() < RECORD_GRACE, "{:?}", stopped.elapsed());
    assert_eq!(scene.kinds().await, [EventKind::Accepted]);
}

#[tokio::test]
async fn a_stop_begins_nothing() {
    let (scene, queue) = Scene::new(Duration::ZERO).await;
    scene.accept(None).await;
    scene.stop.send_replace(true);
    scene.run(queue, PATIENCE).await.unwrap();
    assert!(scene.receiver.sessions().is_empty());
}

/// What waits for a place at the stop is free for the next start, or for another server, without waiting for its lease.
#[tokio::test]
async fn what_waits_at_a_stop_is_given_back() {
    let (scene, queue) = Scene::new(Duration::from_millis(100)).await;
    for _ in 0..40 {
        scene.accept(None).await;
    }
    let shared = queue.shared.clone();
    let running = scene.run(queue, PATIENCE);
    until("some wait for a place", async || shared.ahead.waiting() > 0).await;
    scene.stop.send_replace(true);
    running.await.unwrap();
    let delivered = scene.receiver.messages().len();
    let now = Timestamp::now();
    let left = scene.store.claim(Claim::all(now, now + LEASE, 100)).await.unwrap();
    assert!(delivered < 40);
    assert_eq!(left.len() + delivered, 40);
    assert!(left.iter().all(|job| job.recipients[0].attempts == 0));
}

#[tokio::test]
async fn a_fault_of_our_own_is_told_and_comes_to_an_end() {
    let (scene, _) = Scene::new(Duration::ZERO).await;
    scene.accept(None).await;
    let mut job = scene.claim_one().await;
    let schedule = Schedule::new(vec![Duration::from_secs(60)]);
    let now = Timestamp::now();

    let first = outcome::fault(&job, "broken", &schedule, now).remove(0);
    assert_eq!(first.state, NewState::Deferred { until: now + Duration::from_secs(60) });
    let attempt = first.events[0].attempt.as_ref().unwrap();
    assert_eq!((first.events.len(), first.events[0].severity), (1, Some(Severity::Temporary)));
    assert_eq!((attempt.attempt_no, attempt.code, attempt.message.as_str()), (1, 451, "broken"));

    job.recipients[0].attempts = 1;
    let last = outcome::fault(&job, "broken", &schedule, now).remove(0);
    assert_eq!(last.state, NewState::Failed);
    let attempt = last.events[1].attempt.as_ref().unwrap();
    assert_eq!((last.events.len(), last.events[1].severity), (2, Some(Severity::Permanent)));
    assert_eq!((attempt.code, attempt.last_code, attempt.retry_after), (602, Some(451), None));
}

/// Each new session is counted for the reports about TLS (RFC 8460 §4.3.1).
#[tokio::test]
async fn sessions_are_counted_for_reports_about_tls() {
    use policy::tlsrpt::{Outcome, PolicyType, ResultType};
    let (scene, queue) = Scene::new(Duration::ZERO).await;
    scene.accept(None).await;
    let running = scene.run(queue, Duration::from_secs(5));
    until("delivered", async || scene.kinds().await.contains(&EventKind::Delivered)).await;
    scene.stop.send_replace(true);
    running.await.unwrap();
    scene.tally.flush(&scene.store).await;
    let (destination, tomorrow) = ("slow.test".parse().unwrap(), Timestamp::now() + Duration::from_secs(86_400));
    let day = policy::tlsrpt::Day::of(tomorrow.as_micros() / 1_000_000);
    let days = scene.store.tls_days(day, 10).await.unwrap();
    let counted = scene.store.tls_results(days[0].0, &destination).await.unwrap();
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0].result.policy().kind, PolicyType::NoPolicyFound);
    let Outcome::Failure(failure) = counted[0].result.outcome() else { panic!("{counted:?}") };
    assert_eq!(failure.result, ResultType::StarttlsNotSupported);
    assert_eq!(failure.receiving_mx_hostname.as_deref(), Some("mx.slow.test"));
}

/// Every active key of the sending domain signs, whoever activated it and when; `dkim: false` is left alone.
#[tokio::test]
async fn what_goes_out_is_signed_with_the_keys_of_the_moment() {
    use crate::dkim::{Source, new_key};
    use message::dkim::KeyKind;
    let (scene, queue) = Scene::new(Duration::ZERO).await;
    let domain: Domain = "sender.example".parse().unwrap();
    let key = async |kind, selector: &str| {
        let selector = selector.parse().unwrap();
        new_key(Source::Made(kind), Some(selector), true).await.unwrap()
    };
    let dkim = Some(key(KeyKind::Ed25519, "ed").await);
    let new = store::NewDomain { name: domain.clone(), tls: TlsSettings::default(), dkim, now: Timestamp::now() };
    scene.store.create_domain(new).await.unwrap();
    let prepared = async |wire: &'static [u8], dkim: bool| {
        let message = NewMessage { wire: Bytes::from_static(wire), dkim, ..message(None) };
        scene.store.accept(message).await.unwrap();
        let job = scene.claim_one().await;
        queue.shared.prepare.content(&job, None).await.unwrap()
    };
    const WIRE: &[u8] = b"From: a@sender.example\r\n\r\n..dot\r\n";
    let selectors = |signed: Bytes| -> Vec<String> {
        assert!(signed.ends_with(WIRE), "what was accepted is changed");
        let text = String::from_utf8(signed.to_vec()).unwrap().replace("\r\n ", " ");
        let fields = text.lines().filter(|line| line.starts_with("DKIM-Signature:"));
        fields.map(|field| field.split("s=").nth(1).unwrap().split(';').next().unwrap().to_owned()).collect()
    };
    assert_eq!(selectors(prepared(WIRE, true).await), ["ed"]);
    scene.store.create_dkim_key(&domain, key(KeyKind::Rsa2048, "rsa").await).await.unwrap();
    assert_eq!(selectors(prepared(WIRE, true).await), ["rsa", "ed"]);
    scene.store.set_dkim_key_active(&domain, &"ed".parse().unwrap(), false).await.unwrap();
    assert_eq!(selectors(prepared(WIRE, true).await), ["rsa"]);
    assert_eq!(prepared(WIRE, false).await, WIRE);
    // Nothing that can be signed, and still to be delivered.
    assert_eq!(prepared(b"Subject: x\r\n\r\n", true).await, b"Subject: x\r\n\r\n"[..]);
}
