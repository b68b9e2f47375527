//! What one domain may keep, and that others do not lose by it.

use std::time::Duration;

use super::*;
use crate::retention::{Retention, RetentionChange};
use crate::{NewDomain, Purge, Purged};

const HOUR: Duration = Duration::from_secs(3600);

async fn with_domains(store: &Store, names: &[&str]) {
    for name in names {
        let new = NewDomain { name: domain(name), tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
        store.create_domain(new).await.unwrap();
    }
}

async fn accept(store: &Store, sender: &str, recipient: &str, size: u64) -> crate::MessageKey {
    let mut new = message(&[recipient]);
    (new.domain, new.size) = (domain(sender), size);
    store.accept(new).await.unwrap()
}

/// Delivers all that is queued: a second event for each.
async fn deliver(store: &Store) {
    let jobs = claim(store, 10_000).await;
    store.record(soon(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
}

async fn events_of(store: &Store, sender: &str) -> Vec<Event> {
    let query = EventQuery { domain: Some(domain(sender)), limit: 10_000, ..query(Filter::All) };
    store.events(query).await.unwrap()
}

async fn limit(store: &Store, name: &str, limits: RetentionChange) -> Retention {
    store.limit_domain(&domain(name), limits).await.unwrap().unwrap().retention
}

#[tokio::test]
async fn limits_are_set_each_on_its_own_kept_and_lifted() {
    let directory = Directory::new();
    let store = directory.server().await;
    let new = |name| NewDomain { name: domain(name), tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
    let limits = RetentionChange { events: Some(Some(HOUR)), ..RetentionChange::default() };
    let made = store.create_limited_domain(new("a.example"), limits).await.unwrap();
    assert_eq!(made.retention, Retention { events: Some(HOUR), ..Retention::default() });
    assert_eq!(store.create_domain(new("b.example")).await.unwrap().retention, Retention::default());

    let limits = RetentionChange {
        contents: Some(Some(2 * HOUR)),
        most_events: Some(Some(7)),
        most_octets: Some(Some(u64::MAX >> 1)),
        ..RetentionChange::default()
    };
    let all = Retention {
        events: Some(HOUR),
        contents: Some(2 * HOUR),
        most_events: Some(7),
        most_octets: Some(u64::MAX >> 1),
    };
    assert_eq!(limit(&store, "a.example", limits).await, all);
    assert_eq!(limit(&store, "a.example", RetentionChange::default()).await, all);
    let lifted = RetentionChange { events: Some(None), most_events: Some(None), ..RetentionChange::default() };
    let rest = Retention { events: None, most_events: None, ..all };
    assert_eq!(limit(&store, "a.example", lifted).await, rest);
    assert_eq!(store.domain(&domain("a.example")).await.unwrap().unwrap().retention, rest);
    assert_eq!(store.domain(&domain("b.example")).await.unwrap().unwrap().retention, Retention::default());
    assert_eq!(store.limit_domain(&domain("c.example"), lifted).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_old_by_a_domains_own_limit_goes_and_others_keep_theirs() {
    let directory = Directory::new();
    let store = directory.server().await;
    with_domains(&store, &["short.example", "long.example"]).await;
    // Two steps of each kind.
    for number in 0..300 {
        accept(&store, "short.example", &format!("r{number}@x.example"), 30).await;
    }
    accept(&store, "long.example", "a@x.example", 30).await;
    deliver(&store).await;
    accept(&store, "short.example", "waits@x.example", 30).await;
    let limits =
        RetentionChange { events: Some(Some(2 * HOUR)), contents: Some(Some(HOUR)), ..RetentionChange::default() };
    limit(&store, "short.example", limits).await;

    let general = Retention { events: Some(100 * HOUR), contents: Some(100 * HOUR), ..Retention::default() };
    let now = Timestamp::now();
    assert_eq!(store.purge_domains(now, general).await.unwrap(), Purged::default());
    let contents = store.purge_domains(now + HOUR + Duration::from_secs(60), general).await.unwrap();
    assert_eq!(contents, Purged { wires: 300, ..Purged::default() });
    let events = store.purge_domains(now + 2 * HOUR + Duration::from_secs(60), general).await.unwrap();
    assert_eq!(events, Purged { events: 600, messages: 300, ..Purged::default() });
    assert_eq!(events_of(&store, "short.example").await.len(), 1, "what waits keeps its events");
    assert_eq!(claim(&store, 10).await.len(), 1, "and is still delivered");
    assert_eq!(events_of(&store, "long.example").await.len(), 2);

    // What holds for all holds where a domain says nothing, and where it would keep more.
    let all = store.purge_domains(now + 101 * HOUR, general).await.unwrap();
    assert_eq!(all, Purged { wires: 1, events: 2, messages: 1 });
}

#[tokio::test]
async fn a_domain_keeps_its_latest_events_and_no_more_of_them_than_it_may() {
    let directory = Directory::new();
    let store = directory.server().await;
    with_domains(&store, &["one.example", "two.example"]).await;
    for sender in ["one.example", "two.example"] {
        for number in 0..10 {
            accept(&store, sender, &format!("r{number}@x.example"), 30).await;
        }
    }
    deliver(&store).await;
    let before = events_of(&store, "one.example").await;
    assert_eq!(before.len(), 20);
    let limits = RetentionChange { most_events: Some(Some(7)), ..RetentionChange::default() };
    limit(&store, "one.example", limits).await;

    let purged = store.purge_domains(Timestamp::now(), Retention::default()).await.unwrap();
    // Ten accepted, then ten delivered: the three whose last event went are gone with all that was left of them.
    assert_eq!(purged, Purged { wires: 0, events: 13, messages: 3 });
    let keys = |events: &[Event]| events.iter().map(|event| event.key.clone()).collect::<Vec<_>>();
    let after = events_of(&store, "one.example").await;
    assert_eq!(keys(&after), keys(&before[13..]));
    assert_eq!(events_of(&store, "two.example").await.len(), 20);
    let contents: Vec<_> = after.iter().map(|event| event.message.id).collect();
    for id in contents {
        assert!(store.wire(id).await.unwrap().is_some(), "messages with events keep their content");
    }

    // The limit for all is stricter than the domain's own.
    let general = Retention { most_events: Some(5), ..Retention::default() };
    store.purge_domains(Timestamp::now(), general).await.unwrap();
    assert_eq!(events_of(&store, "one.example").await.len(), 5);
    assert_eq!(events_of(&store, "two.example").await.len(), 5);
}

#[tokio::test]
async fn a_domain_keeps_the_content_of_its_latest_messages_up_to_so_many_octets() {
    let directory = Directory::new();
    let store = directory.server().await;
    with_domains(&store, &["one.example", "two.example"]).await;
    for number in 0..10 {
        accept(&store, "one.example", &format!("r{number}@x.example"), 1000).await;
    }
    accept(&store, "two.example", "a@x.example", 1_000_000).await;
    deliver(&store).await;
    // Still queued: needed whatever its size, and not counted until it is finished.
    accept(&store, "one.example", "waits@x.example", 1_000_000).await;
    let limits = RetentionChange { most_octets: Some(Some(3500)), ..RetentionChange::default() };
    limit(&store, "one.example", limits).await;

    let purged = store.purge_domains(Timestamp::now(), Retention::default()).await.unwrap();
    assert_eq!(purged, Purged { wires: 7, ..Purged::default() });
    let events = events_of(&store, "one.example").await;
    let mut kept = Vec::new();
    for event in events.iter().filter(|event| event.kind == EventKind::Accepted) {
        kept.push(store.wire(event.message.id).await.unwrap().is_some());
    }
    assert_eq!(kept, [[false; 7].as_slice(), &[true; 4]].concat());
    assert_eq!(store.purge_domains(Timestamp::now(), Retention::default()).await.unwrap(), Purged::default());

    // The age that holds for all still does, domain by domain.
    let later = soon() + HOUR;
    let rest = store.purge(Purge { events_before: Timestamp::from_secs(1), wire_before: later }).await.unwrap();
    assert_eq!(rest, Purged { wires: 4, ..Purged::default() });
}
