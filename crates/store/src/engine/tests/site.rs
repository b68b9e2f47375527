//! Claims by site: who counts together, who is held back, and who hides nobody.

use super::*;
use crate::{Held, Overdue, Purge, SiteNote};

async fn note(store: &Store, destination: &str, site: &str) {
    store.note_site(note_of(destination, site)).await.unwrap();
}

fn note_of(destination: &str, site: &str) -> SiteNote {
    SiteNote { destination: domain(destination), site: Site::named(site), prompt: None, is_back: false }
}

fn sites(rooms: &[(&'static str, Room)]) -> Limits {
    Limits { sites: rooms.to_vec(), ..Limits::default() }
}

async fn claimed(store: &Store, now: Timestamp, limits: Limits) -> Vec<String> {
    let jobs = store.claim(claim_with(now, 100, limits)).await.unwrap();
    check_destinations(store).await;
    let told = jobs.iter().map(|job| format!("{} {}", job.site, job.destination)).collect();
    store.record(now, outcomes(&jobs, NewState::Released, &[])).await.unwrap();
    check_destinations(store).await;
    told
}

#[tokio::test]
async fn what_is_known_of_a_destination_outlives_its_mail_for_a_while() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@one.example"])).await.unwrap();
    let now = soon();
    assert_eq!(claimed(&store, now, Limits::default()).await, ["?one.example one.example"]);
    note(&store, "one.example", "provider.example").await;
    assert_eq!(claimed(&store, now, Limits::default()).await, ["provider.example one.example"]);

    let jobs = claim(&store, 1).await;
    store.record(now, outcomes(&jobs, NewState::Delivered, &[])).await.unwrap();
    assert_eq!(store.next_due(Timestamp::from_micros(0)).await.unwrap(), None, "nothing is queued");
    check_destinations(&store).await;
    store.accept(message(&["b@one.example"])).await.unwrap();
    assert_eq!(claimed(&store, soon(), Limits::default()).await, ["provider.example one.example"]);

    let jobs = claim(&store, 1).await;
    store.record(now, outcomes(&jobs, NewState::Failed, &[])).await.unwrap();
    let zero = Timestamp::from_micros(0);
    store.purge(Purge { events_before: zero, wire_before: zero }).await.unwrap();
    store.accept(message(&["c@one.example"])).await.unwrap();
    assert_eq!(claimed(&store, soon(), Limits::default()).await, ["?one.example one.example"], "purged");
    // Of a destination that nobody knows nothing is kept.
    note(&store, "other.example", "provider.example").await;
    check_destinations(&store).await;
}

#[tokio::test]
async fn destinations_of_one_site_count_together() {
    let directory = Directory::new();
    let store = directory.server().await;
    for number in 0..10 {
        let name = format!("d{number}.example");
        store.accept(message(&[&format!("a@{name}")])).await.unwrap();
        store.accept(message(&[&format!("b@{name}")])).await.unwrap();
        note(&store, &name, "provider.example").await;
    }
    store.accept(message(&["a@else.example"])).await.unwrap();
    let now = soon();
    let three = [("provider.example", Room::Jobs(3))];
    assert_eq!(
        claimed(&store, now, sites(&three)).await,
        [
            "provider.example d0.example",
            "?else.example else.example",
            "provider.example d1.example",
            "provider.example d2.example"
        ]
    );
    let one_of_each = Limits { per_destination: Some(1), ..sites(&[("provider.example", Room::Jobs(12))]) };
    assert_eq!(claimed(&store, now, one_of_each).await.len(), 11);
    assert_eq!(claimed(&store, now, Limits::default()).await.len(), 21);
    let none = [("provider.example", Room::Jobs(0))];
    assert_eq!(claimed(&store, now, sites(&none)).await, ["?else.example else.example"]);
}

#[tokio::test]
async fn what_is_held_back_is_not_due_before_its_time() {
    let directory = Directory::new();
    let store = directory.server().await;
    for name in ["one.example", "two.example", "else.example"] {
        store.accept(message(&[&format!("a@{name}")])).await.unwrap();
    }
    for name in ["one.example", "two.example"] {
        note(&store, name, "provider.example").await;
    }
    let now = soon();
    let until = now + Duration::from_secs(60);
    let held = [("provider.example", Room::NotBefore(until))];
    assert_eq!(claimed(&store, now, sites(&held)).await, ["?else.example else.example"]);
    let else_only = Limits { busy: vec![domain("else.example")], ..Limits::default() };
    assert!(claimed(&store, now, else_only.clone()).await.is_empty(), "no longer due, whatever the gate says");
    assert_eq!(store.next_due(now).await.unwrap(), Some(until), "that is when to look again");
    // New mail does not make it due.
    store.accept(message(&["b@one.example", "b@two.example"])).await.unwrap();
    assert!(claimed(&store, now, else_only.clone()).await.is_empty());
    assert_eq!(claimed(&store, until, else_only.clone()).await.len(), 4);

    // A destination by itself.
    let later = until + Duration::from_secs(60);
    let one = Limits { destinations: vec![("one.example", Room::NotBefore(later))], ..else_only.clone() };
    let two = ["provider.example two.example"; 2];
    assert_eq!(claimed(&store, until, one).await, two);
    assert_eq!(claimed(&store, until, else_only.clone()).await, two, "no longer due, whatever the gate says");

    // Both are let go at once.
    let held = Limits { sites: vec![("provider.example", Room::NotBefore(later))], ..else_only.clone() };
    assert!(claimed(&store, until, held).await.is_empty());
    let back = SiteNote { is_back: true, ..note_of("one.example", "provider.example") };
    store.note_site(back).await.unwrap();
    check_destinations(&store).await;
    assert_eq!(claimed(&store, until, else_only).await.len(), 4);
}

#[tokio::test]
async fn those_that_are_not_prompt_leave_something_to_those_that_are() {
    let directory = Directory::new();
    let store = directory.server().await;
    for number in 0..50 {
        store.accept(message(&[&format!("a@dead{number}.example")])).await.unwrap();
    }
    for name in ["a@live.example", "b@live.example", "c@live.example"] {
        store.accept(message(&[name])).await.unwrap();
    }
    let prompt = SiteNote { prompt: Some(true), ..note_of("live.example", "live.example") };
    store.note_site(prompt).await.unwrap();
    let now = soon();
    let claim = Claim { slow_limit: 6, ..Claim::all(now, now + LEASE, 8) };
    let jobs = store.claim(claim.clone()).await.unwrap();
    let live = jobs.iter().filter(|job| job.destination == domain("live.example")).count();
    assert_eq!((jobs.len(), live), (8, 2));
    assert!(jobs.iter().all(|job| job.is_prompt == (job.destination == domain("live.example"))));
    store.release_leases().await.unwrap();
    if store.engine().is_shared() {
        return;
    }

    // Who starts anew knows of nobody, if he is alone.
    let jobs = store.claim(claim).await.unwrap();
    assert!(jobs.len() == 6 && jobs.iter().all(|job| !job.is_prompt));
}

#[tokio::test]
async fn who_waits_too_long_behind_what_is_held_back_is_found() {
    let directory = Directory::new();
    let store = directory.server().await;
    let start = Timestamp::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    for (to, deliver_at) in [("old@dead.example", 10), ("new@dead.example", 20), ("old@live.example", 10)] {
        store.accept(NewMessage { deliver_at: Some(at(deliver_at)), ..message(&[to]) }).await.unwrap();
    }
    // Tried once before.
    store.accept(NewMessage { deliver_at: Some(at(5)), ..message(&["tried@dead.example"]) }).await.unwrap();
    let jobs = claim_at(&store, at(5), 1, &[]).await;
    let deferred = NewState::Deferred { until: at(15) };
    store.record(at(5), outcomes(&jobs, deferred, &[failed(Severity::Temporary)])).await.unwrap();
    for name in ["dead.example", "live.example"] {
        note(&store, name, "provider.example").await;
    }

    let overdue = async |held: Held, due_before: &[u64]| {
        let overdue = Overdue {
            held,
            now: at(100),
            lease_until: at(100) + LEASE,
            due_before: due_before.iter().map(|seconds| at(*seconds)).collect(),
            limit: 10,
        };
        let jobs = store.claim_overdue(overdue).await.unwrap();
        check_destinations(&store).await;
        store.record(at(100), outcomes(&jobs, NewState::Released, &[])).await.unwrap();
        addresses(&jobs)
    };
    let dead = || Held::Destination(domain("dead.example"));
    let provider = || Held::Site(Site::named("provider.example"));
    assert_eq!(overdue(dead(), &[50]).await, ["new@dead.example", "old@dead.example", "tried@dead.example"]);
    assert_eq!(overdue(dead(), &[12]).await, ["old@dead.example"]);
    assert_eq!(overdue(dead(), &[12, 17]).await, ["old@dead.example", "tried@dead.example"]);
    assert_eq!(overdue(dead(), &[0, 17, 0]).await, ["tried@dead.example"]);
    assert!(overdue(dead(), &[]).await.is_empty());
    assert_eq!(overdue(provider(), &[12, 0]).await, ["old@dead.example", "old@live.example"]);
    assert!(overdue(Held::Site(Site::named("other.example")), &[50]).await.is_empty());

    // A message may have a time of its own.
    for (to, end) in [("brief@live.example", 90), ("long@live.example", 110), ("brief@else.example", 90)] {
        let (deliver_at, expires_at) = (Some(at(60)), Some(at(end)));
        store.accept(NewMessage { deliver_at, expires_at, ..message(&[to]) }).await.unwrap();
    }
    assert_eq!(overdue(provider(), &[0]).await, ["brief@live.example"]);
    assert_eq!(overdue(Held::Destination(domain("live.example")), &[0]).await, ["brief@live.example"]);
    assert!(overdue(dead(), &[0]).await.is_empty());

    // Who is being tried is not among them.
    let jobs = claim_at(&store, at(100), 100, &[]).await;
    assert_eq!(jobs.len(), 7);
    assert!(overdue(provider(), &[50]).await.is_empty());
}
