//! What waits, and orders about it.

use super::*;
use crate::waiting::{Order, Waiting, WaitingQuery, Whom};

async fn all(store: &Store) -> Vec<Waiting> {
    store.waiting(WaitingQuery { limit: 100, ..WaitingQuery::default() }).await.unwrap()
}

async fn order(store: &Store, order: Order, whom: Whom) -> u64 {
    store.order(order, whom, None).await.unwrap()
}

fn of(domain: &str, recipients: &[&str]) -> NewMessage {
    NewMessage { domain: super::domain(domain), ..message(recipients) }
}

async fn deferred(store: &Store, limit: usize) {
    let jobs = claim(store, limit).await;
    let until = Timestamp::now() + Duration::from_secs(3600);
    let outcomes = outcomes(&jobs, NewState::Deferred { until }, &[failed(Severity::Temporary)]);
    store.record(Timestamp::now(), outcomes).await.unwrap();
}

#[tokio::test]
async fn what_waits_is_listed_in_pages() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(of("one.example", &["a@x.example", "b@y.example", "c@x.example"])).await.unwrap();
    store.accept(of("two.example", &["d@x.example", "e@z.example"])).await.unwrap();
    for (domain, destination, expected) in [
        (None, None, "a c d b e"),
        (None, Some("x.example"), "a c d"),
        (Some("one.example"), None, "a c b"),
        (Some("one.example"), Some("x.example"), "a c"),
        (Some("none.example"), None, ""),
    ] {
        let mut query = WaitingQuery {
            domain: domain.map(super::domain),
            destination: destination.map(super::domain),
            limit: 2,
            after: None,
        };
        let mut names = Vec::new();
        loop {
            let page = store.waiting(query.clone()).await.unwrap();
            let Some(last) = page.last() else { break };
            query.after = Some(last.place.clone());
            names.extend(page.iter().map(|one| one.recipient.split('@').next().unwrap().to_owned()));
        }
        assert_eq!(names.join(" "), expected, "{domain:?} {destination:?}");
    }
}

#[tokio::test]
async fn it_says_why_it_waits() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@x.example"])).await.unwrap();
    assert!(all(&store).await[0].last.is_none());
    deferred(&store, 1).await;
    let one = all(&store).await.remove(0);
    assert_eq!((one.attempts, one.is_held), (1, false));
    let last = one.last.unwrap();
    assert_eq!((last.code, last.text), (451, attempt().message));
    assert!(one.next_attempt_at > Timestamp::now());
}

#[tokio::test]
async fn what_is_held_waits_until_it_is_released_also_over_a_restart() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@x.example", "b@x.example"])).await.unwrap();
    let held = all(&store).await[0].id;
    assert_eq!(order(&store, Order::Hold, Whom::Ids(vec![held])).await, 1);
    assert_eq!(order(&store, Order::Hold, Whom::Ids(vec![held])).await, 0, "it is held already");
    assert_eq!(addresses(&claim(&store, 9).await), ["b@x.example"]);
    store.close().await;

    let store = directory.server().await;
    assert_eq!(addresses(&claim(&store, 9).await), ["b@x.example"], "the other was being tried when the server ended");
    assert!(all(&store).await.iter().any(|one| one.id == held && one.is_held));
    assert_eq!(order(&store, Order::Release, Whom::All).await, 1);
    assert_eq!(addresses(&claim(&store, 9).await), ["a@x.example"]);
    check_destinations(&store).await;
}

#[tokio::test]
async fn a_retry_does_not_wait_for_the_schedule() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@x.example", "b@y.example"])).await.unwrap();
    deferred(&store, 9).await;
    assert!(claim(&store, 9).await.is_empty());
    assert_eq!(order(&store, Order::Release, Whom::All).await, 0, "nothing is held");
    assert_eq!(order(&store, Order::Retry, Whom::Destination(domain("x.example"))).await, 1);
    assert_eq!(addresses(&claim(&store, 9).await), ["a@x.example"]);
    // What is held is tried too.
    assert_eq!(order(&store, Order::Hold, Whom::Destination(domain("y.example"))).await, 1);
    assert_eq!(order(&store, Order::Retry, Whom::Destination(domain("y.example"))).await, 1);
    assert_eq!(addresses(&claim(&store, 9).await), ["b@y.example"]);
    check_destinations(&store).await;
}

#[tokio::test]
async fn a_retry_sends_nothing_before_its_sender_wants_it() {
    let directory = Directory::new();
    let store = directory.server().await;
    let later = Some(Timestamp::now() + Duration::from_secs(3600));
    store.accept(NewMessage { deliver_at: later, ..message(&["a@x.example"]) }).await.unwrap();
    assert_eq!(order(&store, Order::Retry, Whom::All).await, 0);
    assert_eq!(order(&store, Order::Hold, Whom::All).await, 1);
    assert_eq!(order(&store, Order::Retry, Whom::All).await, 0);
    assert_eq!(order(&store, Order::Release, Whom::All).await, 1);
    assert!(claim(&store, 9).await.is_empty());
    assert_eq!(Some(all(&store).await[0].next_attempt_at), later);
}

#[tokio::test]
async fn what_is_being_tried_is_left_alone_and_what_is_removed_has_failed() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@x.example", "b@y.example"])).await.unwrap();
    let jobs = claim(&store, 1).await;
    for what in [Order::Hold, Order::Retry, Order::Remove] {
        let whom = Whom::Ids(vec![jobs[0].recipients[0].id]);
        assert_eq!(order(&store, what, whom).await, 0, "{what:?}");
    }
    assert_eq!(order(&store, Order::Remove, Whom::All).await, 1);
    let events = all_events(&store).await;
    let last = events.last().unwrap();
    assert_eq!((last.kind, last.reason), (EventKind::Failed, Some(FailureReason::Dropped)));
    // Its attempt ends as it ends.
    store.record(Timestamp::now(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    assert!(all(&store).await.is_empty());
    check_destinations(&store).await;
}

#[tokio::test]
async fn an_order_of_one_domain_touches_no_other() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(of("one.example", &["a@x.example"])).await.unwrap();
    store.accept(of("two.example", &["b@x.example"])).await.unwrap();
    let ids: Vec<_> = all(&store).await.iter().map(|one| one.id).collect();
    let own = domain("two.example");
    for whom in [Whom::Ids(ids), Whom::Destination(domain("x.example")), Whom::All] {
        assert_eq!(store.order(Order::Hold, whom.clone(), Some(&own)).await.unwrap(), 1, "{whom:?}");
        assert_eq!(store.order(Order::Release, whom, Some(&own)).await.unwrap(), 1);
    }
    assert_eq!(store.order(Order::Remove, Whom::All, Some(&own)).await.unwrap(), 1);
    let left: Vec<_> = all(&store).await.into_iter().map(|one| one.recipient).collect();
    assert_eq!(left, ["a@x.example"]);
}
