//! What is counted while events are written, and for how long it is kept.

use super::plans::plan;
use super::*;
use crate::engine::traffic as sql;
use crate::traffic::{Resolution, Slice, TagQuery, TrafficCount, TrafficQuery, VALUES};
use crate::{Purge, StoreError};

fn asked(slice: Slice, resolution: Resolution) -> TrafficQuery {
    TrafficQuery {
        domain: Some(domain("sender.example")),
        slice,
        value: None,
        begin: Timestamp::from_secs(0),
        end: Timestamp::from_secs(10_000_000_000),
        resolution,
        over_time: false,
    }
}

/// `value kind protected count`, as they come.
fn told(counts: &[TrafficCount]) -> Vec<String> {
    let told = |count: &TrafficCount| {
        let what = &count.what;
        let words = [&count.value, &what.kind, &what.severity, &what.protected].map(String::as_str);
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        format!("{} {}", words.join(" "), count.count)
    };
    counts.iter().map(told).collect()
}

async fn counts(store: &Store, slice: Slice, resolution: Resolution) -> Vec<String> {
    told(&store.traffic(asked(slice, resolution)).await.unwrap())
}

#[tokio::test]
async fn events_are_counted_by_time_tag_destination_and_address() {
    let directory = Directory::new();
    let store = directory.server().await;
    let tags = vec!["One".to_owned(), "two".to_owned(), "TWO".to_owned()];
    store.accept(NewMessage { tags, ..message(&["a@example.com", "b@example.org"]) }).await.unwrap();
    let jobs = claim(&store, 10).await;
    let now = soon();
    store.record(now, outcomes(&jobs[..1], NewState::Delivered, &[delivered()])).await.unwrap();
    store.record(now, outcomes(&jobs[1..], NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    for resolution in Resolution::ALL {
        let all = counts(&store, Slice::All, resolution).await;
        assert_eq!(all.len(), 3, "{all:?}");
        assert_eq!((all[0].as_str(), all[2].as_str()), ("accepted 2", "failed permanent 1"), "{resolution:?}");
        let by_tag = counts(&store, Slice::Tag, resolution).await;
        assert_eq!(by_tag.iter().filter(|told| told.starts_with("two accepted 2")).count(), 1, "{by_tag:?}");
        assert_eq!(by_tag.len(), 6, "a tag that is there twice counts once: {by_tag:?}");
        let by_destination = counts(&store, Slice::Destination, resolution).await;
        assert_eq!(by_destination.iter().filter(|told| told.starts_with("example.com accepted 1")).count(), 1);
    }
    let one = TrafficQuery { value: Some("one".to_owned()), ..asked(Slice::Tag, Resolution::Day) };
    assert_eq!(store.traffic(one.clone()).await.unwrap().len(), 3);
    let of_all = TrafficQuery { domain: None, over_time: true, ..one };
    let of_all = store.traffic(of_all).await.unwrap();
    assert!(of_all.iter().all(|count| count.start.is_some() && count.domain == "sender.example"), "{of_all:?}");
    assert_eq!(store.count_tags(Some(&domain("sender.example")), "").await.unwrap(), 2);
    // Counts outlive the events that they count.
    let later = now + Duration::from_secs(86_400);
    store.purge(Purge { events_before: later, wire_before: later }).await.unwrap();
    assert_eq!(all_events(&store).await.len(), 0);
    assert_eq!(counts(&store, Slice::All, Resolution::Month).await.len(), 3);
}

#[tokio::test]
async fn what_is_not_kept_is_not_counted() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    let before = counts(&store, Slice::All, Resolution::Hour).await;
    let broken = store
        .engine()
        .writer
        .run(0, |writing| {
            let event = NewEvent { kind: EventKind::Delivered, severity: None, reason: None, attempt: None };
            crate::engine::event::insert(
                writing,
                Timestamp::now(),
                crate::MessageId(1),
                "sender.example",
                "a@example.com",
                &event,
            )?;
            Err::<(), _>(StoreError::Invalid("no".to_owned()))
        })
        .await;
    assert!(broken.is_err());
    store.accept(message(&["b@example.com"])).await.unwrap();
    assert_eq!(before, ["accepted 1"]);
    assert_eq!(counts(&store, Slice::All, Resolution::Hour).await, ["accepted 2"]);
}

#[tokio::test]
async fn hours_and_days_go_and_months_stay() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    let days = |days: u64| Timestamp::now() + Duration::from_secs(days * 86_400);
    for (later, left) in [(days(60), [1, 1, 1]), (days(64), [0, 1, 1]), (days(368), [0, 0, 1]), (days(9000), [0, 0, 1])]
    {
        store.purge_traffic(later).await.unwrap();
        for (resolution, left) in Resolution::ALL.into_iter().zip(left) {
            for slice in [Slice::All, Slice::Destination] {
                assert_eq!(counts(&store, slice, resolution).await.len(), left, "{resolution:?} {later:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_told_apart_has_a_limit() {
    let directory = Directory::new();
    let store = directory.server().await;
    let many: Vec<String> = (0..VALUES + 10).map(|number| format!("a@d{number}.example")).collect();
    for some in many.chunks(1000) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        store.accept(message(&some)).await.unwrap();
    }
    let by_destination = store.traffic(asked(Slice::Destination, Resolution::Day)).await.unwrap();
    assert_eq!(by_destination.len(), VALUES + 1);
    assert_eq!((by_destination[0].value.as_str(), by_destination[0].count), ("", 10));
}

#[tokio::test]
async fn tags_are_listed_described_and_forgotten() {
    let directory = Directory::new();
    let store = directory.server().await;
    for number in 0..5 {
        let tags = vec![format!("tag-{number}"), "Other".to_owned()];
        store.accept(NewMessage { tags, ..message(&["a@example.com"]) }).await.unwrap();
    }
    let of = domain("sender.example");
    let page = |from: Option<&str>, backward, limit| {
        let (from, prefix, store) = (from.map(str::to_owned), "TAG".to_owned(), store.clone());
        let query =
            TagQuery { domain: Some(domain("sender.example")), prefix, from, backward, by_use: false, skip: 0, limit };
        async move { store.tags(query).await.unwrap().into_iter().map(|tag| tag.name).collect::<Vec<_>>() }
    };
    assert_eq!(page(None, false, 2).await, ["tag-0", "tag-1"]);
    assert_eq!(page(Some("tag-1"), false, 9).await, ["tag-2", "tag-3", "tag-4"]);
    assert_eq!(page(Some("tag-3"), true, 2).await, ["tag-1", "tag-2"]);
    assert_eq!(page(None, true, 2).await, ["tag-3", "tag-4"]);
    store.accept(NewMessage { tags: vec!["tag-1".to_owned()], ..message(&["a@example.com"]) }).await.unwrap();
    for (backward, expected) in [(false, ["tag-0", "tag-2"]), (true, ["tag-4", "tag-1"])] {
        let query =
            TagQuery { domain: None, prefix: String::new(), from: None, backward, by_use: true, skip: 0, limit: 2 };
        let tags = store.tags(query).await.unwrap();
        assert_eq!(tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), expected);
    }
    assert!(store.describe_tag(Some(&of), "OTHER", "all the rest").await.unwrap());
    let other = store.tag(&of, "other").await.unwrap().unwrap();
    assert_eq!(other.description, "all the rest");
    assert!(other.first_at < other.last_at);
    assert!(!store.describe_tag(Some(&domain("x.example")), "other", "").await.unwrap());
    assert!(!store.delete_tag(Some(&domain("x.example")), "other").await.unwrap());
    assert!(store.delete_tag(Some(&of), "Other").await.unwrap());
    assert!(store.tag(&of, "other").await.unwrap().is_none());
    assert_eq!(counts(&store, Slice::Tag, Resolution::Month).await.len(), 5);
}

#[tokio::test]
async fn counts_are_kept_and_read_along_an_index() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    let by_value = TrafficQuery { value: Some("x".to_owned()), ..asked(Slice::Tag, Resolution::Day) };
    let by_time = asked(Slice::Tag, Resolution::Day);
    for (sql, index) in [
        (sql::statement(&by_value), "PRIMARY KEY (resolution=? AND slice=? AND domain=? AND value=? AND start>?"),
        (sql::statement(&by_time), "traffic_time (resolution=? AND slice=? AND domain=? AND start>?"),
        (sql::IS_TOLD.to_owned(), "traffic_time (resolution=? AND slice=? AND domain=? AND start=? AND value=?)"),
        (sql::NEXT_DOMAIN.to_owned(), "(resolution=? AND slice=? AND domain>?)"),
        (sql::OLDEST.to_owned(), "traffic_time (resolution=? AND slice=? AND domain=? AND start<?)"),
    ] {
        let plan = plan(&store, sql.clone()).await;
        assert!(plan.contains(index) && !plan.contains("SCAN"), "{sql}\n{plan}");
    }
}

/// A measurement: `--ignored --nocapture`.
#[tokio::test]
#[ignore = "measures"]
async fn what_counting_costs() {
    let directory = Directory::new();
    let store = directory.server().await;
    let tags = vec!["bulk-email".to_owned(), "letter-7".to_owned()];
    let begun = std::time::Instant::now();
    for number in 0..2000 {
        let to = format!("a@d{}.example", number % 300);
        store.accept(NewMessage { tags: tags.clone(), ..message(&[&to]) }).await.unwrap();
    }
    println!("2,000 messages, one commit each: {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    let jobs = claim_at(&store, soon(), 2000, &[]).await;
    println!("claimed {} jobs in {:?}", jobs.len(), begun.elapsed());
    let begun = std::time::Instant::now();
    for job in &jobs {
        store.record(soon(), outcomes(std::slice::from_ref(job), NewState::Delivered, &[delivered()])).await.unwrap();
    }
    println!("recorded one by one in {:?}", begun.elapsed());
}
