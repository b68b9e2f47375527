//! A store with a past: so many messages accepted and delivered, two events each, for measurements of lists and charts.
//!
//!     cargo run --release -p store --example past -- DIRECTORY MESSAGES DESTINATIONS DOMAIN
//!
//! Every thousandth message waits instead. No server may run on the directory.

mod common;
#[path = "common/outcomes.rs"]
mod outcomes;

use std::time::Duration;

use bytes::Bytes;
use common::message;
use outcomes::outcomes;
use store::{Claim, Location, NewDomain, NewState, Role, Store, Timestamp};

/// Messages that are accepted, then claimed, then delivered together.
const AT_ONCE: usize = 5000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, messages, destinations, domain] = arguments.as_slice() else {
        panic!("usage: past DIRECTORY MESSAGES DESTINATIONS DOMAIN");
    };
    let number = |text: &String| text.parse::<usize>().expect("a number").max(1);
    let (messages, destinations) = (number(messages), number(destinations));
    let store = Store::open(&Location::sqlite(directory), Role::Server).await.expect("a store");
    let (name, now) = (domain.parse().expect("a name"), Timestamp::now());
    store.create_domain(NewDomain { name, tls: Default::default(), dkim: None, now }).await.expect("a domain");
    for first in (0..messages).step_by(AT_ONCE) {
        let accepted = (first..messages.min(first + AT_ONCE)).map(|number| {
            let (store, domain) = (store.clone(), domain.clone());
            tokio::spawn(async move {
                let recipient = format!("n{number}@d{}.test", number % destinations);
                let wire = Bytes::from_static(b"Subject: past\r\n\r\nHello.\r\n");
                store.accept(message(number, &domain, &recipient, wire)).await.expect("accepted");
            })
        });
        for one in accepted.collect::<Vec<_>>() {
            one.await.expect("accepted");
        }
        deliver(&store).await;
    }
    store.close().await;
}

/// Delivers what is due, but for every thousandth.
async fn deliver(store: &Store) {
    let now = Timestamp::now() + Duration::from_secs(1);
    let jobs = store.claim(Claim::all(now, now + Duration::from_secs(600), AT_ONCE)).await.expect("jobs");
    let mut all: Vec<_> = jobs.iter().flat_map(outcomes).collect();
    for (index, outcome) in all.iter_mut().enumerate() {
        if index % 1000 == 0 {
            outcome.state = NewState::Deferred { until: now + Duration::from_secs(86_400) };
            outcome.events.clear();
        }
    }
    for some in all.chunks(256) {
        store.record(Timestamp::now(), some.to_vec()).await.expect("recorded");
    }
}
