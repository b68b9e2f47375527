//! The worker and many domains: behind one provider, behind nobody, at a rate. Real store, real receivers.

use std::collections::BTreeMap;
use std::time::Instant;

use policy::backoff::Pauses;
use store::{Event, FailureReason, NewMessage};
use testkit::{Answer, Host, Listen, Zone};

use super::tests::{PATIENCE, message, until};
use super::*;
use crate::config::Config;

struct World {
    lab: testkit::Lab,
    directory: std::path::PathBuf,
    store: Store,
    stop: watch::Sender<bool>,
    wake: Arc<Notify>,
}

impl World {
    async fn new() -> World {
        let lab = testkit::Lab::empty().await.unwrap();
        let directory = std::env::temp_dir().join(format!("waxwing-sites-{:016x}", rand::random::<u64>()));
        let store = Store::open(&store::Location::sqlite(&directory), store::Role::Server).await.unwrap();
        World { lab, directory, store, stop: watch::Sender::new(false), wake: Arc::new(Notify::new()) }
    }

    fn change_zone(&self, change: impl FnOnce(Zone) -> Zone) {
        self.lab.dns().update(change);
    }

    async fn accept(&self, recipient: &str) {
        let message = NewMessage { recipients: vec![recipient.parse().unwrap()], ..message(None) };
        self.store.accept(message).await.unwrap();
    }

    fn run(&self, limits: Limits, schedule: &[Duration]) -> tokio::task::JoinHandle<()> {
        let config = Config {
            resolver: Some(self.lab.dns_addr()),
            deliver_to_private: vec!["127.0.0.0/8".parse().unwrap()],
            smtp_port: self.lab.smtp_port(),
            smtp_timeout: Some(Duration::from_secs(1)),
            mta_sts: crate::config::Switch::Off,
            dnssec: crate::config::Dnssec::Off,
            ..Config::default()
        };
        let client = client_of(&config, Arc::new(StoredPolicies(self.store.clone()))).unwrap();
        let (schedule, tally) = (Schedule::new(schedule.to_vec()), Tally::off());
        let queue = Queue::new(self.store.clone(), client, schedule, limits, self.wake.clone(), tally);
        tokio::spawn(queue.run(self.stop.subscribe(), PATIENCE))
    }

    async fn empty(&self) {
        until("the queue is empty", async || self.store.queued().await.unwrap() == 0).await;
    }

    async fn end(&self, running: tokio::task::JoinHandle<()>) {
        self.stop.send_replace(true);
        running.await.unwrap();
    }

    /// What was told of each recipient, without its acceptance.
    async fn told(&self) -> BTreeMap<String, Vec<Event>> {
        let mut told = BTreeMap::<_, Vec<Event>>::new();
        for event in super::tests::events(&self.store).await {
            if event.kind != store::EventKind::Accepted {
                told.entry(event.recipient.to_string()).or_default().push(event);
            }
        }
        told
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn plain() -> testkit::Behaviour {
    testkit::Behaviour { tls: testkit::Tls::NotOffered, ..testkit::Behaviour::default() }
}

/// Keeps everybody waiting, and then takes nothing.
fn overloaded() -> testkit::Behaviour {
    let greeting = Some(Answer::new(421, "4.3.2 too busy").after(Duration::from_millis(400)));
    testkit::Behaviour { greeting, ..plain() }
}

fn is_delivered(events: &[Event]) -> bool {
    events.last().is_some_and(|event| event.kind == store::EventKind::Delivered)
}

#[tokio::test]
async fn domains_behind_one_provider_count_together() {
    let mut world = World::new().await;
    let slow =
        testkit::Behaviour { delays: [(testkit::Stage::EndOfData, Duration::from_millis(30))].into(), ..plain() };
    let receiver = world.lab.add("provider", slow).await.unwrap();
    for number in 0..50 {
        let name = format!("d{number}.test");
        world.change_zone(|zone| zone.mx(&name, 10, "mx.provider.test"));
        world.accept(&format!("a@{name}")).await;
        world.accept(&format!("b@{name}")).await;
    }
    let running = world.run(Limits { concurrency: 3, ..Limits::default() }, &[]);
    world.empty().await;
    world.end(running).await;
    assert_eq!((receiver.messages().len(), receiver.most_at_once()), (100, 3));
    // Nobody hears of a domain that was looked up and had to wait.
    let told = world.told().await;
    assert!(told.len() == 100 && told.values().all(|events| events.len() == 1 && is_delivered(events)));
    assert!(told.values().flatten().all(|event| event.attempt.as_ref().unwrap().attempt_no == 1));
}

#[tokio::test]
async fn the_operator_limits_a_site_and_another_not() {
    let mut world = World::new().await;
    let slow =
        testkit::Behaviour { delays: [(testkit::Stage::EndOfData, Duration::from_millis(200))].into(), ..plain() };
    let narrow = world.lab.add("narrow", slow.clone()).await.unwrap();
    let wide = world.lab.add("wide", slow).await.unwrap();
    for _ in 0..8 {
        world.accept("a@narrow.test").await;
        world.accept("a@wide.test").await;
    }
    let hosts = vec!["*.narrow.test".parse().unwrap()];
    let own = vec![OwnSite { hosts, concurrency: Some(1), rate: None }];
    let running = world.run(Limits { concurrency: 8, own, ..Limits::default() }, &[]);
    world.empty().await;
    world.end(running).await;
    assert_eq!((narrow.most_at_once(), narrow.messages().len(), wide.messages().len()), (1, 8, 8));
    assert!(wide.most_at_once() > 1);
}

#[tokio::test]
async fn messages_go_out_at_the_rate_of_their_site() {
    let mut world = World::new().await;
    let receiver = world.lab.add("paced", plain()).await.unwrap();
    world.lab.add("free", plain()).await.unwrap();
    for _ in 0..9 {
        world.accept("a@paced.test").await;
    }
    world.accept("a@free.test").await;
    let begun = Instant::now();
    // Two at once, and one each half second.
    let hosts = vec!["mx.paced.test".parse().unwrap()];
    let own = vec![OwnSite { hosts, concurrency: None, rate: Some("2/s".parse().unwrap()) }];
    let running = world.run(Limits { own, ..Limits::default() }, &[]);
    world.empty().await;
    assert!(begun.elapsed() >= Duration::from_millis(3500), "{:?}", begun.elapsed());
    world.end(running).await;
    assert_eq!(receiver.messages().len(), 9);
}

#[tokio::test]
async fn a_dead_site_costs_one_slot_and_its_recipients_wait() {
    let mut world = World::new().await;
    let dead = world.lab.add("dead", overloaded()).await.unwrap();
    let live = world.lab.add("live", plain()).await.unwrap();
    for _ in 0..20 {
        world.accept("a@dead.test").await;
    }
    for number in 0..30 {
        let name = format!("d{number}.test");
        world.change_zone(|zone| zone.mx(&name, 10, "mx.live.test"));
        world.accept(&format!("a@{name}")).await;
    }
    let pauses = Pauses { first: Duration::from_millis(100), most: Duration::from_millis(400) };
    let limits = Limits { total: 4, concurrency: 2, pauses, ..Limits::default() };
    let running = world.run(limits, &[Duration::from_secs(1); 30]);
    until("the live ones are delivered", async || live.messages().len() == 30).await;
    dead.wait_for_sessions(4, PATIENCE).await;
    // Two at first; from then on one probe at a time.
    assert!(dead.most_at_once() <= 2, "{}", dead.most_at_once());
    let attempts: usize = world.told().await.get("a@dead.test").map_or(0, Vec::len);
    assert!(attempts <= dead.sessions().len(), "nobody was attempted but by a probe");

    dead.behave(plain()).unwrap();
    world.empty().await;
    world.end(running).await;
    assert_eq!(dead.messages().len(), 20);
}

/// Fifty dead domains behind one provider, and none of them a provider of its own.
#[tokio::test]
async fn a_dead_provider_is_probed_through_one_domain_at_a_time() {
    let mut world = World::new().await;
    let dead = world.lab.add("dead", overloaded()).await.unwrap();
    for number in 0..50 {
        let name = format!("d{number}.test");
        world.change_zone(|zone| zone.mx(&name, 10, "mx.dead.test"));
        world.accept(&format!("a@{name}")).await;
    }
    let pauses = Pauses { first: Duration::from_secs(30), most: Duration::from_secs(60) };
    let running = world.run(Limits { concurrency: 4, pauses, ..Limits::default() }, &[Duration::from_secs(600)]);
    // Four, then two, then one, then a pause that lasts longer than this test.
    dead.wait_for_sessions(7, PATIENCE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!((7..=9).contains(&dead.sessions().len()), "{}", dead.sessions().len());
    assert_eq!(world.told().await.len(), dead.sessions().len());
    world.end(running).await;
}

#[tokio::test]
async fn who_waits_behind_a_dead_site_is_told_in_time() {
    let mut world = World::new().await;
    world.lab.add_hosts("dead", vec![Host::new("mx", 10, plain()).on(Listen::Closed)]).await.unwrap();
    for number in 0..12 {
        world.accept(&format!("a{number}@dead.test")).await;
    }
    let pauses = Pauses { first: Duration::from_millis(300), most: Duration::from_millis(300) };
    let limits = Limits { concurrency: 2, pauses, patience: Duration::from_secs(1), ..Limits::default() };
    let running = world.run(limits, &[Duration::from_millis(100)]);
    world.empty().await;
    world.end(running).await;
    let told = world.told().await;
    assert_eq!(told.len(), 12);
    let mut without_attempt = 0;
    for events in told.values() {
        let last = events.last().unwrap();
        let attempt = last.attempt.as_ref().unwrap();
        assert_eq!((last.reason, attempt.code), (Some(FailureReason::Old), 602));
        if attempt.attempt_no == 0 {
            without_attempt += 1;
            assert!(events.len() == 1 && attempt.description.contains("held back"));
        }
    }
    assert!(without_attempt > 0);
}
