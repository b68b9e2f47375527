//! Webhooks: who is told, which events are found for whom, and how far telling has come.

use super::super::webhook::{FIND_OF_ALL, FIND_OF_DOMAIN, NEWS, SOONEST};
use super::plans::plan;
use super::*;
use crate::webhook::{LastAnswer, SetAside, Subject, Subscription, Told, Webhook, WebhooksOf};
use crate::{Cursor, NewDomain, StoreError};

async fn subscribe(store: &Store, of: Option<&Domain>, url: &str, subjects: &[Subject]) -> Webhook {
    let (url, subjects) = (url.to_owned(), subjects.to_vec());
    let edit = move |all: &mut Vec<Subscription>| {
        let mut new = Subscription::new(url.clone(), Timestamp::now());
        subjects.iter().for_each(|subject| new.add(*subject));
        all.push(new);
        Ok::<_, ()>(())
    };
    store.edit_webhooks(of, edit).await.unwrap().unwrap();
    store.webhooks(WebhooksOf::Everybody).await.unwrap().pop().unwrap()
}

async fn with_domains(store: &Store) {
    for name in ["sender.test", "other.test"] {
        let new = NewDomain { name: domain(name), tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
        store.create_domain(new).await.unwrap();
    }
}

async fn times(store: &Store, of: &str) -> Vec<Timestamp> {
    let query = EventQuery { domain: Some(domain(of)), ..query(Filter::All) };
    store.events(query).await.unwrap().iter().map(|event| Cursor::timestamp(event.cursor())).collect()
}

#[tokio::test]
async fn events_are_found_for_those_whom_they_concern() {
    let directory = Directory::new();
    let store = directory.server().await;
    with_domains(&store).await;
    let before = NewMessage { domain: domain("sender.test"), ..message(&["a@x.test"]) };
    store.accept(before).await.unwrap();
    let its = subscribe(&store, Some(&domain("sender.test")), "https://a.test/", &[Subject::Accepted]).await;
    let opened = subscribe(&store, Some(&domain("sender.test")), "https://b.test/", &[Subject::Opened]).await;
    let all = subscribe(&store, None, "https://c.test/", &[Subject::Accepted]).await;
    let pulse = store.webhook_pulse().await.unwrap();
    for name in ["other.test", "sender.test", "other.test", "sender.test"] {
        store.accept(NewMessage { domain: domain(name), ..message(&["a@x.test"]) }).await.unwrap();
    }
    let (of_sender, of_other) = (times(&store, "sender.test").await, times(&store, "other.test").await);
    let last = store.webhook_pulse().await.unwrap().last_event;

    // What was there before the webhook is not told.
    assert_eq!(its.told_to, of_sender[0]);
    let found = store.find_for_webhook(&its, its.told_to, 100).await.unwrap();
    assert_eq!((found.events, found.searched_to, found.more), (of_sender[1..].to_vec(), last, false));
    // A search that is cut short goes on where it was.
    let some = store.find_for_webhook(&its, its.told_to, 1).await.unwrap();
    assert_eq!((some.events, some.searched_to, some.more), (vec![of_sender[1]], of_sender[1], true));
    let none = store.find_for_webhook(&opened, opened.told_to, 100).await.unwrap();
    assert_eq!((none.events.len(), none.searched_to), (0, last));
    let both = store.find_for_webhook(&all, all.told_to, 100).await.unwrap();
    assert_eq!(both.events, [of_other[0], of_sender[1], of_other[1], of_sender[2]]);

    let mut news = store.webhook_news(pulse.last_event, last).await.unwrap();
    news.sort();
    assert_eq!(news, [(domain("other.test"), Subject::Accepted), (domain("sender.test"), Subject::Accepted)]);
    assert!(store.webhook_news(last, last).await.unwrap().is_empty());
    assert_eq!(store.event_at(of_sender[1]).await.unwrap().unwrap().timestamp, of_sender[1]);
    assert!(store.event_at(Timestamp::from_secs(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_told_stays_told() {
    let directory = Directory::new();
    let store = directory.server().await;
    with_domains(&store).await;
    let webhook = subscribe(&store, Some(&domain("sender.test")), "https://a.test/", &[Subject::Accepted]).await;
    let at = |seconds| Timestamp::from_secs(seconds);
    let aside = |event, due| SetAside { event: at(event), attempts: 1, due_at: at(due) };
    let last = LastAnswer { at: at(9), status: Some(500), words: "answered 500".to_owned() };
    let told = Told {
        to: Some(at(5)),
        set_aside: vec![aside(1, 30), aside(2, 20)],
        last: Some(last.clone()),
        last_failure: Some(last.clone()),
        ..Told::default()
    };
    store.told(webhook.id, told).await.unwrap();
    // A place never goes back, and what says nothing about the last answer changes nothing of it.
    store.told(webhook.id, Told { to: Some(at(3)), finished: vec![at(1)], ..Told::default() }).await.unwrap();
    assert_eq!(store.set_aside(webhook.id, 9).await.unwrap(), (1, vec![aside(2, 20)]));
    store.close().await;

    let store = directory.server().await;
    let again = store.webhooks(WebhooksOf::Domain(domain("sender.test"))).await.unwrap().remove(0);
    assert_eq!(
        (again.told_to, again.set_aside, again.last, again.last_failure),
        (at(5), 1, Some(last.clone()), Some(last))
    );
    // With its domain goes the webhook and what it has set aside; what is written for it then is nobody's.
    let changes = store.webhook_pulse().await.unwrap().changes;
    store.delete_domain(&domain("sender.test")).await.unwrap();
    assert!(store.webhook_pulse().await.unwrap().changes > changes);
    store.told(webhook.id, Told { set_aside: vec![aside(7, 7)], ..Told::default() }).await.unwrap();
    assert_eq!(store.set_aside(webhook.id, 9).await.unwrap(), (0, vec![]));
}

#[tokio::test]
async fn an_edit_is_all_or_nothing() {
    let directory = Directory::new();
    let store = directory.server().await;
    with_domains(&store).await;
    let name = domain("sender.test");
    let webhook = subscribe(&store, Some(&name), "https://a.test/", &[Subject::Accepted]).await;
    let refused = store.edit_webhooks(Some(&name), |all| {
        all.clear();
        Err::<(), _>("no")
    });
    assert_eq!(refused.await.unwrap(), Err("no"));
    assert_eq!(store.webhooks(WebhooksOf::Everybody).await.unwrap(), std::slice::from_ref(&webhook));
    let nobody = store.edit_webhooks(Some(&domain("nobody.test")), |_| Ok::<_, ()>(())).await;
    assert!(matches!(nobody, Err(StoreError::Invalid(_))));

    // Whoever has no subject left goes; who gets another one stays where it was.
    let changed = |all: &mut Vec<Subscription>| {
        all[0].add(Subject::Opened);
        Ok::<_, ()>(())
    };
    store.edit_webhooks(Some(&name), changed).await.unwrap().unwrap();
    let now = store.webhooks(WebhooksOf::Everybody).await.unwrap().remove(0);
    assert_eq!((now.id, now.told_to, now.subscription.subjects.len()), (webhook.id, webhook.told_to, 2));
    let emptied = |all: &mut Vec<Subscription>| {
        all[0].subjects.clear();
        Ok::<_, ()>(())
    };
    store.edit_webhooks(Some(&name), emptied).await.unwrap().unwrap();
    assert!(store.webhooks(WebhooksOf::Everybody).await.unwrap().is_empty());
}

#[tokio::test]
async fn there_is_one_signing_key() {
    let directory = Directory::new();
    let store = directory.server().await;
    let (one, other) = tokio::join!(store.signing_key("a".to_owned()), store.signing_key("b".to_owned()));
    assert_eq!(one, other);
    store.set_signing_key("c".to_owned()).await.unwrap();
    assert_eq!(store.signing_key("d".to_owned()).await.unwrap(), "c");
}

#[tokio::test]
async fn events_are_never_searched_whole() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    for (sql, index) in [
        (FIND_OF_DOMAIN, "event_domain (domain=? AND rowid>?)"),
        (FIND_OF_ALL, "PRIMARY KEY (rowid>?)"),
        (NEWS, "PRIMARY KEY (rowid>? AND rowid<?)"),
        (SOONEST, "webhook_set_aside_due (webhook=?)"),
    ] {
        let plan = plan(&store, sql.to_owned()).await;
        assert!(plan.contains(index) && !plan.contains("SCAN"), "{sql}\n{plan}");
    }
}
