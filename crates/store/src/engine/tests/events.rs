//! Events: their order, and pages that neither miss nor repeat.

use std::time::Duration;

use super::super::sql::{Connection, NONE};
use super::*;
use crate::Cursor;

fn strictly_increasing(events: &[Event]) -> bool {
    events.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paging_while_others_write_misses_nothing_and_repeats_nothing() {
    let directory = Directory::new();
    let store = directory.server().await;
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..40 {
                    let to = [format!("a{number}@d{writer}.example"), format!("b{number}@d{writer}.example")];
                    store.accept(message(&[&to[0], &to[1]])).await.unwrap();
                    if number % 8 == 0 {
                        let jobs = claim(&store, 2).await;
                        let done = outcomes(&jobs, NewState::Delivered, &[delivered()]);
                        store.record(Timestamp::now(), done).await.unwrap();
                    }
                }
            })
        })
        .collect();

    let mut seen: Vec<Event> = Vec::new();
    loop {
        // Asked first: after an answer of "yes" an empty page is the end.
        let finished = writers.iter().all(|writer| writer.is_finished());
        let after = seen.last().map(Event::cursor);
        let page = store.events(EventQuery { after, limit: 7, ..query(Filter::All) }).await.unwrap();
        if page.is_empty() && finished {
            break;
        }
        seen.extend(page);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(strictly_increasing(&seen));
    assert_eq!(seen, all_events(&store).await);
    assert!(seen.len() >= 6 * 40 * 2);
}

#[tokio::test]
async fn a_clock_that_stands_or_goes_back_does_not_disturb_the_order() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com", "b@example.com", "c@example.com"])).await.unwrap();
    let jobs = claim(&store, 1).await;
    let long_ago = Timestamp::from_secs(1_000_000);
    let until = long_ago;
    store
        .record(long_ago, outcomes(&jobs, NewState::Deferred { until }, &[failed(Severity::Temporary); 1]))
        .await
        .unwrap();
    store.close().await;
    let store = directory.server().await;
    store.accept(message(&["d@example.com"])).await.unwrap();
    let events = all_events(&store).await;
    assert_eq!(events.len(), 7);
    assert!(strictly_increasing(&events));
}

#[tokio::test]
async fn begin_is_inclusive_and_end_is_not() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com", "b@example.com", "c@example.com"])).await.unwrap();
    let events = all_events(&store).await;
    let at = |number: usize| Some(events[number].timestamp);
    let ask = |begin, end, direction, after, limit| {
        store.events(EventQuery { begin, end, direction, after, limit, ..query(Filter::All) })
    };
    use Direction::{Ascending, Descending};
    assert_eq!(ask(at(1), None, Ascending, None, 9).await.unwrap(), events[1..]);
    assert_eq!(ask(None, at(1), Ascending, None, 9).await.unwrap(), events[..1]);
    assert_eq!(ask(at(1), at(2), Descending, None, 9).await.unwrap(), events[1..2]);
    let mut backwards = ask(None, None, Descending, None, 9).await.unwrap();
    let next = Some(backwards[0].cursor());
    assert_eq!(ask(None, None, Descending, next, 1).await.unwrap(), backwards[1..2]);
    backwards.reverse();
    assert_eq!(backwards, events);
    let beyond = Some(Cursor::at(Timestamp::now() + Duration::from_secs(9)));
    assert!(ask(None, None, Ascending, beyond, 9).await.unwrap().is_empty());
    assert!(ask(None, None, Ascending, None, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_search_without_end_is_ended() {
    let directory = Directory::new();
    let store = directory.server().await;
    let source = store.engine().readers.source();
    let readers = super::super::readers::Readers::new(source, Duration::from_millis(50));
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let search = move |connection: &Connection| Ok(connection.query_row(endless, NONE, |row| row.get::<_, i64>(0))?);
    assert_eq!(readers.run(search).await, Err(crate::StoreError::TooSlow));
    let quick = |connection: &Connection| Ok(connection.query_row("SELECT 5", NONE, |row| row.get::<_, i64>(0))?);
    assert_eq!(readers.run(quick).await, Ok(5), "the connection is of use again");
    store.close().await;
}

#[tokio::test]
async fn a_domain_sees_its_own_events_only() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    store.accept(NewMessage { domain: domain("other.example"), ..message(&["b@example.com"]) }).await.unwrap();
    let other = EventQuery { domain: Some(domain("other.example")), ..query(Filter::All) };
    let events = store.events(other).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].recipient, address("b@example.com"));
}
