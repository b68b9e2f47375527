//! Queues so many messages that are due, for measurements of a long queue.
//!
//!     cargo run -p store --example fill -- DIRECTORY MESSAGES DOMAINS OCTETS DESTINATION
//!
//! The recipients are `nNUMBER@dI.DESTINATION`. No server may run on the directory.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::message;
use store::{Location, Role, Store};

/// Messages that wait for the writer at a time: they share a sync.
const WAITING: usize = 256;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, messages, domains, octets, destination] = arguments.as_slice() else {
        panic!("usage: fill DIRECTORY MESSAGES DOMAINS OCTETS DESTINATION");
    };
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let (messages, domains, octets) = (number(messages), number(domains).max(1), number(octets));
    let store = Store::open(&Location::sqlite(directory), Role::Server).await.expect("a store");
    let wire = Bytes::from(format!("Subject: filled\r\n\r\n{}\r\n", "x".repeat(70)).repeat(octets / 90 + 1));
    let (next, destination) = (Arc::new(AtomicUsize::new(0)), Arc::<str>::from(destination.as_str()));
    let fill = || {
        let (store, next, wire, destination) = (store.clone(), next.clone(), wire.clone(), destination.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    return;
                }
                let recipient = format!("n{number}@d{}.{destination}", number % domains);
                store.accept(message(number, "durable.sender.test", &recipient, wire.clone())).await.expect("accepted");
            }
        })
    };
    let tasks: Vec<_> = (0..WAITING).map(|_| fill()).collect();
    for task in tasks {
        task.await.expect("filled");
    }
    store.close().await;
}
