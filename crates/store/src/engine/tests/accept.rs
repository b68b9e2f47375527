//! Accepting: what is kept, and that many are kept by one sync.

use std::time::Duration;

use super::super::sql::NONE;
use super::*;
use crate::StoreError;

#[tokio::test]
async fn what_was_accepted_is_read_back_as_it_was() {
    let directory = Directory::new();
    let store = directory.server().await;
    let deliver_at = Timestamp::now() + Duration::from_secs(3600);
    let new = NewMessage { deliver_at: Some(deliver_at), ..message(&["Bob@example.com", "jörg@example.net"]) };
    let key = store.accept(new.clone()).await.unwrap();
    store.close().await;

    let store = directory.server().await;
    let events = all_events(&store).await;
    assert_eq!(kinds(&events), [EventKind::Accepted; 2]);
    assert_eq!(events[0].recipient, new.recipients[0]);
    assert_eq!(events[1].recipient, new.recipients[1]);
    assert!(events[0].attempt.is_none());
    assert_ne!(events[0].key, events[1].key);
    let told = &*events[0].message;
    assert_eq!(told.key, key);
    assert_eq!((&told.domain, &told.message_id, &told.return_path), (&new.domain, &new.message_id, &new.return_path));
    assert_eq!((&told.header_from, &told.header_to, &told.subject), (&new.header_from, &new.header_to, &new.subject));
    assert_eq!((told.size, told.method, told.test_mode), (new.size, new.method, new.test_mode));
    assert_eq!((&told.attachments, &told.tags), (&new.attachments, &new.tags));
    assert_eq!(serde_json::to_string(&told.user_variables).unwrap(), r#"{"z":1,"a":"2"}"#, "in their order");
    assert_eq!((told.tls, told.deliver_at), (new.tls, new.deliver_at));
    assert_eq!((&told.recipients, told.api_key_id), (&new.recipients, new.api_key_id));
    assert_eq!(told.originating_ip, new.originating_ip);
    assert_eq!(store.wire(told.id).await.unwrap(), Some(new.wire));
}

#[tokio::test]
async fn a_message_in_test_mode_is_delivered_at_once_and_never_queued() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(NewMessage { test_mode: true, ..message(&["a@example.com", "b@example.com"]) }).await.unwrap();
    assert_eq!(store.queued().await.unwrap(), 0);
    assert!(claim(&store, 10).await.is_empty());
    let events = all_events(&store).await;
    use EventKind::{Accepted, Delivered};
    assert_eq!(kinds(&events), [Accepted, Accepted, Delivered, Delivered]);
    let attempt = events[2].attempt.as_ref().unwrap();
    assert_eq!((attempt.code, &attempt.connection), (650, &None));
}

#[tokio::test]
async fn a_message_without_recipients_is_refused() {
    let directory = Directory::new();
    let store = directory.server().await;
    assert!(matches!(store.accept(message(&[])).await, Err(StoreError::Invalid(_))));
    assert!(all_events(&store).await.is_empty());
}

/// Keeps the writer busy, so that what comes meanwhile is one batch.
async fn hold_the_writer(store: &Store) -> tokio::task::JoinHandle<()> {
    let (store, (begun, has_begun)) = (store.clone(), tokio::sync::oneshot::channel());
    let mut begun = Some(begun);
    let held = tokio::spawn(async move {
        let hold = move |_: &super::super::writer::Writing<'_>| {
            if let Some(begun) = begun.take() {
                let _ = begun.send(());
            }
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        };
        store.engine().writer.run(0, hold).await.unwrap();
    });
    has_begun.await.unwrap();
    held
}

#[tokio::test]
async fn whoever_waits_together_is_committed_together() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    let before = store.stats();
    let held = hold_the_writer(&store).await;
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.accept(message(&[&format!("r{number}@example.com")])).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    held.await.unwrap();
    let after = store.stats();
    assert_eq!(after.operations - before.operations, 201);
    let commits = after.commits - before.commits;
    assert!(commits <= 5, "200 messages in {commits} commits");
    assert_eq!(all_events(&store).await.len(), 200);
}

#[tokio::test]
async fn one_that_fails_spoils_nothing_of_the_others() {
    let directory = Directory::new();
    let store = directory.server().await;
    let held = hold_the_writer(&store).await;
    let before = store.stats();
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let recipients = format!("r{number}@example.com");
                if number % 2 == 0 {
                    return store.accept(message(&[&recipients])).await.map(|_| ());
                }
                // Half of its work is done when it fails.
                let prepared = message(&[&recipients]);
                store
                    .engine()
                    .writer
                    .run(0, move |writing| {
                        let sql = "INSERT INTO domain (name, id, created_at) VALUES (?1, ?1, 0)";
                        writing.connection.execute(sql, [&prepared.header_to])?;
                        Err::<(), _>(StoreError::Invalid("no".to_owned()))
                    })
                    .await
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        let expected = if number % 2 == 0 { Ok(()) } else { Err(StoreError::Invalid("no".to_owned())) };
        assert_eq!(task.await.unwrap(), expected);
    }
    held.await.unwrap();
    assert!(store.stats().commits - before.commits <= 3);
    assert_eq!(all_events(&store).await.len(), 10);
    assert_eq!(store.list_domains(crate::DomainQuery::default()).await.unwrap().0, 0, "half of a failure was kept");
}

#[tokio::test]
async fn a_defect_in_one_operation_does_not_end_the_writer() {
    let directory = Directory::new();
    let store = directory.server().await;
    let defect = |writing: &super::super::writer::Writing<'_>| {
        let sql = "INSERT INTO domain (name, id, created_at) VALUES ('x', 'x', 0)";
        writing.connection.execute(sql, NONE)?;
        if sql.len() > 3 {
            panic!("on purpose");
        }
        Ok(())
    };
    let outcome = store.engine().writer.run(0, defect).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))));
    store.accept(message(&["a@example.com"])).await.unwrap();
    assert_eq!(store.list_domains(crate::DomainQuery::default()).await.unwrap().0, 0);
}

/// Not a test of anything but speed; run it with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn accepts_per_second() {
    let directory = Directory::new();
    let store = directory.server().await;
    let wire = Bytes::from("x".repeat(78) + "\r\n").repeat(128);
    let (callers, each) = (64, 100);
    let begin = std::time::Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (store, wire) = (store.clone(), Bytes::from(wire.clone()));
            tokio::spawn(async move {
                for number in 0..each {
                    let to = format!("r{number}@d{caller}.example");
                    store.accept(NewMessage { wire: wire.clone(), ..message(&[&to]) }).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{:.0} accepts/s, {:?}", f64::from(callers * each) / seconds, store.stats());
    let begin = std::time::Instant::now();
    let mut claimed = 0;
    loop {
        let jobs = claim(&store, 64).await;
        if jobs.is_empty() {
            break;
        }
        claimed += jobs.len();
        store.record(Timestamp::now(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    }
    println!("{:.0} claimed and recorded/s", claimed as f64 / begin.elapsed().as_secs_f64());
}
