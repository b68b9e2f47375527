//! What the store costs per message: accepts, claims and records so many, and prints the processor time of each part.
//!
//!     cargo run --release -p store --example flow -- MESSAGES WAITING DOMAINS OCTETS
//!
//! `WAITING` operations wait for the writer at a time. The store is made below the system's temporary folder and removed.

mod common;
#[path = "common/outcomes.rs"]
mod outcomes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::message;
use outcomes::outcomes;
use store::{Claim, Location, Role, Store, Timestamp};

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let mut argument = |otherwise: usize| arguments.next().unwrap_or(otherwise);
    let (messages, waiting, domains, octets) = (argument(20_000), argument(32), argument(10), argument(10_000));
    let directory = std::env::temp_dir().join(format!("waxwing-flow-{:016x}", rand::random::<u64>()));
    let store = Store::open(&Location::sqlite(&directory), Role::Server).await.expect("a store");

    let line = "All work and no play makes a dull message, and so on to the end of it.\r\n";
    let wire = Bytes::from(line.repeat(octets / line.len() + 1));
    let next = Arc::new(AtomicUsize::new(0));
    measure("accept", &store, messages, async {
        each(waiting, || {
            let (store, next, wire) = (store.clone(), next.clone(), wire.clone());
            async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        return;
                    }
                    let recipient = format!("n{number}@d{}.example", number % domains);
                    store.accept(message(number, "sender.example", &recipient, wire.clone())).await.expect("accepted");
                }
            }
        })
        .await;
    })
    .await;

    let now = Timestamp::now() + Duration::from_secs(1);
    let mut jobs = Vec::new();
    measure("claim", &store, messages, async {
        loop {
            let claim = Claim::all(now, now + Duration::from_secs(3600), 256);
            let some = store.claim(claim).await.expect("jobs");
            if some.is_empty() {
                break;
            }
            jobs.extend(some);
        }
    })
    .await;

    let jobs = Arc::new(jobs);
    let next = Arc::new(AtomicUsize::new(0));
    measure("record", &store, messages, async {
        each(waiting, || {
            let (store, next, jobs) = (store.clone(), next.clone(), jobs.clone());
            async move {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    store.record(Timestamp::now(), outcomes(job)).await.expect("recorded");
                }
            }
        })
        .await;
    })
    .await;
    store.close().await;
    std::fs::remove_dir_all(directory).expect("removed");
}

async fn each<F: Future<Output = ()> + Send + 'static>(tasks: usize, task: impl Fn() -> F) {
    let all: Vec<_> = (0..tasks).map(|_| tokio::spawn(task())).collect();
    for one in all {
        one.await.expect("done");
    }
}

async fn measure(what: &str, store: &Store, messages: usize, work: impl Future<Output = ()>) {
    let (began, used, commits) = (Instant::now(), processor_time(), store.stats().commits);
    work.await;
    let (elapsed, commits) = (began.elapsed(), store.stats().commits - commits);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / messages as f64;
    println!(
        "{what:8} {:7.1} us CPU a message, {:7.0}/s, {:6.1} a commit",
        micros(processor_time() - used),
        messages as f64 / elapsed.as_secs_f64(),
        messages as f64 / commits.max(1) as f64
    );
}

/// Of this process so far, in hundredths of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}
