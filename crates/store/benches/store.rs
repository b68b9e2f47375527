//! What the store costs where a change could slow it unseen: batches that are accepted and recorded, and lists of events.
//!
//! Each batch ends when all of it is on disk, so its time is mostly that of one sync: compare runs on one quiet machine.

#[path = "../examples/common/mod.rs"]
mod common;
#[path = "../examples/common/outcomes.rs"]
mod outcomes;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::message;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use outcomes::outcomes;
use store::{Claim, Direction, EventQuery, Field, Filter, Job, Location, Role, Store, Timestamp};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

fn main() {
    divan::main();
}

/// Operations that wait for the writer together.
const BATCHES: [usize; 3] = [1, 16, 64];
const DOMAIN: &str = "sender.example";
/// Messages of the store that events are read from; each has two.
const PAST: usize = 10_000;

/// A store of its own, gone when this is.
struct Place {
    runtime: Runtime,
    store: Store,
    directory: PathBuf,
    next: AtomicUsize,
}

impl Place {
    fn new() -> Place {
        let runtime = Runtime::new().expect("a runtime");
        let directory = std::env::temp_dir().join(format!("waxwing-bench-{:016x}", rand::random::<u64>()));
        let store = runtime.block_on(Store::open(&Location::sqlite(&directory), Role::Server)).expect("a store");
        Place { runtime, store, directory, next: AtomicUsize::new(0) }
    }

    /// Accepts so many messages of 10 KB that wait for the writer together.
    fn accept(&self, count: usize) {
        let wire = Bytes::from("All work and no play makes a dull message.\r\n".repeat(230));
        let mut all = JoinSet::new();
        for _ in 0..count {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (store, recipient) = (self.store.clone(), format!("n{number}@d{}.example", number % 10));
            let message = message(number, DOMAIN, &recipient, wire.clone());
            all.spawn_on(async move { store.accept(message).await.expect("accepted") }, self.runtime.handle());
        }
        self.runtime.block_on(all.join_all());
    }

    fn claim(&self, count: usize) -> Vec<Job> {
        let now = Timestamp::now() + Duration::from_secs(1);
        let claim = Claim::all(now, now + Duration::from_secs(600), count);
        self.runtime.block_on(self.store.claim(claim)).expect("jobs")
    }

    /// Records that these were delivered, each by an operation of its own.
    fn record(&self, jobs: Vec<Job>) {
        let mut all = JoinSet::new();
        for job in jobs {
            let store = self.store.clone();
            let recording = async move { store.record(Timestamp::now(), outcomes(&job)).await.expect("recorded") };
            all.spawn_on(recording, self.runtime.handle());
        }
        self.runtime.block_on(all.join_all());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[divan::bench(args = BATCHES, sample_count = 50, sample_size = 1)]
fn accept(bencher: Bencher, count: usize) {
    let place = Place::new();
    bencher.counter(ItemsCount::new(count)).bench_local(|| place.accept(count));
}

#[divan::bench(args = BATCHES, sample_count = 50, sample_size = 1)]
fn record(bencher: Bencher, count: usize) {
    let place = Place::new();
    let jobs = || {
        place.accept(count);
        place.claim(count)
    };
    bencher.counter(ItemsCount::new(count)).with_inputs(jobs).bench_local_values(|jobs| place.record(jobs));
}

/// Lists of events, by what they are limited to.
#[divan::bench(args = ["all", "recipient", "not-encrypted", "message-id"], sample_count = 50, sample_size = 1)]
fn events(bencher: Bencher, what: &str) {
    let place = Place::new();
    for _ in 0..PAST / 1000 {
        place.accept(1000);
        place.record(place.claim(1000));
    }
    let filter = match what {
        "recipient" => Filter::Is(Field::Recipient, "n77@d7.example".to_owned()),
        "not-encrypted" => Filter::Is(Field::Tls, "false".to_owned()),
        "message-id" => Filter::Is(Field::MessageId, format!("{:016x}@{DOMAIN}", 77)),
        _ => Filter::All,
    };
    let query = EventQuery {
        domain: DOMAIN.parse().ok(),
        begin: None,
        end: None,
        direction: Direction::Descending,
        after: None,
        limit: 100,
        filter,
    };
    let found = place.runtime.block_on(place.store.events(query.clone())).expect("events").len();
    let expected = match what {
        "all" => 100,
        "not-encrypted" => 0,
        _ => 2,
    };
    assert_eq!(found, expected, "{what}");
    bencher.bench_local(|| place.runtime.block_on(place.store.events(black_box(query.clone()))).expect("events"));
}
