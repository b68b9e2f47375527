//! What goes when it is old, and what stays however old it is.

use std::time::Duration;

use super::super::sql::NONE;
use super::*;
use crate::{Purge, Purged};

#[tokio::test]
async fn only_what_is_finished_and_old_goes() {
    let directory = Directory::new();
    let store = directory.server().await;
    for number in 0..120 {
        store.accept(message(&[&format!("r{number}@done.example")])).await.unwrap();
    }
    store.accept(message(&["a@open.example", "b@done.example"])).await.unwrap();
    let now = soon();
    let jobs = claim_at(&store, now, 1000, &[domain("open.example")]).await;
    assert_eq!(jobs.len(), 121);
    store.record(now, outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    let (finished, half_done) = (jobs[0].message, jobs[120].message);

    let long_ago = Timestamp::from_secs(1);
    let nothing = store.purge(Purge { events_before: long_ago, wire_before: long_ago }).await.unwrap();
    assert_eq!(nothing, Purged::default());

    let later = now + Duration::from_secs(9);
    let wires = store.purge(Purge { events_before: long_ago, wire_before: later }).await.unwrap();
    assert_eq!(wires, Purged { wires: 120, ..Purged::default() });
    assert_eq!(store.wire(finished).await.unwrap(), None);
    assert!(store.wire(half_done).await.unwrap().is_some(), "one of its recipients still waits");
    assert_eq!(all_events(&store).await.len(), 122 + 121);

    let rest = store.purge(Purge { events_before: later, wire_before: later }).await.unwrap();
    assert_eq!(rest, Purged { wires: 0, events: 240, messages: 120 });
    assert_eq!(all_events(&store).await.len(), 3, "the half done message keeps all of its events");

    let jobs = claim(&store, 10).await;
    assert_eq!(addresses(&jobs), ["a@open.example"]);
    store.record(now, outcomes(&jobs, NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    let last = store.purge(Purge { events_before: later, wire_before: later }).await.unwrap();
    assert_eq!(last, Purged { wires: 1, events: 4, messages: 1 });
    let rows: i64 = store
        .engine()
        .readers
        .run(|connection| {
            let sql = "SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM wire)
                + (SELECT count(*) FROM recipient) + (SELECT count(*) FROM event) + (SELECT count(*) FROM destination)";
            Ok(connection.query_row(sql, NONE, |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_message_stays_as_long_as_one_of_its_events() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    let jobs = claim(&store, 1).await;
    let between = Timestamp::now() + Duration::from_secs(60);
    let delivered_at = between + Duration::from_secs(60);
    store.record(delivered_at, outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    let purged = store.purge(Purge { events_before: between, wire_before: between }).await.unwrap();
    assert_eq!(purged, Purged { wires: 1, events: 1, messages: 0 });
    let events = all_events(&store).await;
    assert_eq!(kinds(&events), [EventKind::Delivered]);
    assert_eq!(events[0].message.recipients, [address("a@example.com")]);
}
