//! The queue: what is claimed, by whom, in which order, and what becomes of it.

use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::StoreError;

#[tokio::test]
async fn a_job_is_one_message_for_one_destination() {
    let directory = Directory::new();
    let store = directory.server().await;
    let mut recipients: Vec<String> = (0..230).map(|number| format!("r{number}@big.example")).collect();
    recipients.extend(["a@small.example".to_owned(), "b@small.example".to_owned()]);
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let new = message(&recipients);
    store.accept(new.clone()).await.unwrap();

    let jobs = claim(&store, 10).await;
    let sizes: Vec<_> = jobs.iter().map(|job| (job.destination.as_str(), job.recipients.len())).collect();
    assert_eq!(sizes, [("big.example", 100), ("small.example", 2), ("big.example", 100), ("big.example", 30)]);
    let job = &jobs[1];
    assert_eq!((&job.domain, &job.return_path, &job.message_id), (&new.domain, &new.return_path, &new.message_id));
    assert_eq!((job.size, job.tls), (new.size, new.tls));
    assert_eq!(job.recipients[0].attempts, 0);
    assert_eq!(store.wire(job.message).await.unwrap(), Some(new.wire));
    assert_eq!(addresses(&jobs).len(), 232);
    assert!(claim(&store, 10).await.is_empty(), "all of it is leased");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_claimed_twice() {
    let directory = Directory::new();
    let store = directory.server().await;
    for number in 0..120 {
        let to = [format!("a@d{}.example", number % 17), format!("b@d{}.example", number % 5)];
        store.accept(message(&[&to[0], &to[1]])).await.unwrap();
    }
    let now = soon();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let jobs = claim_at(&store, now, 3, &[]).await;
                    if jobs.is_empty() {
                        return mine;
                    }
                    mine.extend(jobs.iter().flat_map(|job| &job.recipients).map(|recipient| recipient.id));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    check_destinations(&store).await;
    assert_eq!(all.len(), 240);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 240);
}

#[tokio::test]
async fn a_lease_ends_with_its_time() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    let now = soon();
    assert_eq!(claim_at(&store, now, 1, &[]).await.len(), 1);
    assert_eq!(store.next_due(now).await.unwrap(), Some(now + LEASE), "that is when to look again");
    assert!(claim_at(&store, now + LEASE - Duration::from_micros(1), 1, &[]).await.is_empty());
    let again = claim_at(&store, now + LEASE, 1, &[]).await;
    assert_eq!(again[0].recipients[0].attempts, 0, "an attempt of which nobody told is not counted");
    let never = Claim::all(now, now, 1);
    assert!(matches!(store.claim(never).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn a_crowded_destination_hides_no_other() {
    let directory = Directory::new();
    let store = directory.server().await;
    for _ in 0..40 {
        store.accept(message(&["a@crowded.example"])).await.unwrap();
    }
    store.accept(message(&["a@quiet.example"])).await.unwrap();
    store.accept(message(&["a@calm.example"])).await.unwrap();

    let now = soon();
    let jobs = claim_at(&store, now, 4, &[]).await;
    let names: Vec<_> = jobs.iter().map(|job| job.destination.as_str()).collect();
    assert_eq!(names, ["crowded.example", "quiet.example", "calm.example", "crowded.example"]);
    store.release_leases().await.unwrap();

    let one_each = claim_with(now, 100, Limits { per_destination: Some(1), ..Limits::default() });
    assert_eq!(store.claim(one_each).await.unwrap().len(), 3);
    store.release_leases().await.unwrap();

    let busy = [domain("crowded.example"), domain("calm.example"), domain("other.example")];
    assert_eq!(addresses(&claim_at(&store, now, 100, &busy).await), ["a@quiet.example"]);
    check_destinations(&store).await;
    assert_eq!(claim_at(&store, now, 100, &[]).await.len(), 41, "what was busy is still there");
    check_destinations(&store).await;
}

#[tokio::test]
async fn the_oldest_of_a_destination_goes_first() {
    let directory = Directory::new();
    let store = directory.server().await;
    let base = Timestamp::now();
    for (to, after) in [("late@example.com", 30), ("early@example.com", 10), ("middle@example.com", 20)] {
        let deliver_at = Some(base + Duration::from_secs(after));
        store.accept(NewMessage { deliver_at, ..message(&[to]) }).await.unwrap();
    }
    assert_eq!(store.next_due(base).await.unwrap(), Some(base + Duration::from_secs(10)));
    assert!(claim_at(&store, base + Duration::from_secs(9), 10, &[]).await.is_empty());
    let now = base + Duration::from_secs(25);
    let order: Vec<_> =
        claim_at(&store, now, 10, &[]).await.iter().map(|job| job.recipients[0].address.to_string()).collect();
    assert_eq!(order, ["early@example.com", "middle@example.com"]);
    assert_eq!(store.next_due(now).await.unwrap(), Some(base + Duration::from_secs(30)));
}

#[tokio::test]
async fn what_became_of_a_recipient_decides_when_it_is_due() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    let now = soon();

    let jobs = claim_at(&store, now, 1, &[]).await;
    store.record(now, outcomes(&jobs, NewState::Released, &[])).await.unwrap();
    let jobs = claim_at(&store, now, 1, &[]).await;
    assert_eq!(jobs[0].recipients[0].attempts, 0, "released is not tried");

    let until = now + Duration::from_secs(60);
    store.record(now, outcomes(&jobs, NewState::Deferred { until }, &[failed(Severity::Temporary)])).await.unwrap();
    assert!(claim_at(&store, until - Duration::from_micros(1), 1, &[]).await.is_empty());
    assert_eq!(store.next_due(now).await.unwrap(), Some(until));
    let jobs = claim_at(&store, until, 1, &[]).await;
    check_destinations(&store).await;
    assert_eq!(jobs[0].recipients[0].attempts, 1);
    assert_eq!(store.queued().await.unwrap(), 1);

    store.record(until, outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    check_destinations(&store).await;
    assert_eq!((store.queued().await.unwrap(), store.next_due(now).await.unwrap()), (0, None));
    assert!(claim_at(&store, until + LEASE + LEASE, 1, &[]).await.is_empty());

    // Somebody whose lease had ended comes late: what is finished stays finished.
    store.record(until, outcomes(&jobs, NewState::Deferred { until }, &[failed(Severity::Temporary)])).await.unwrap();
    assert_eq!(store.queued().await.unwrap(), 0);
    let events = all_events(&store).await;
    assert_eq!(kinds(&events), [EventKind::Accepted, EventKind::Failed, EventKind::Delivered]);
    assert_eq!(events[1].severity, Some(Severity::Temporary));
    assert_eq!(events[1].reason, Some(FailureReason::Generic));
    assert_eq!(events[1].attempt.as_ref().unwrap().connection, None);
    assert_eq!(events[2].attempt, Some(attempt()), "the evidence comes back as it was");
}

#[tokio::test]
async fn an_outcome_and_its_events_are_kept_together_or_not_at_all() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    store.accept(message(&["a@example.com", "b@example.com"])).await.unwrap();
    let now = soon();
    let jobs = claim_at(&store, now, 1, &[]).await;
    // The second of the two events cannot be written.
    let trigger = "CREATE TRIGGER no_second BEFORE INSERT ON event
        WHEN new.recipient = 'b@example.com' AND new.kind = 'delivered' BEGIN SELECT raise(ABORT, 'no'); END";
    store.engine().writer.run(0, |writing| Ok(writing.connection.execute_batch(trigger)?)).await.unwrap();
    let all = outcomes(&jobs, NewState::Delivered, &[delivered()]);
    assert!(matches!(store.record(now, all.clone()).await, Err(StoreError::Unavailable(_))));
    assert_eq!(all_events(&store).await.len(), 2);
    assert_eq!(store.queued().await.unwrap(), 2, "not even the first is finished");

    let repair =
        |writing: &super::super::writer::Writing<'_>| Ok(writing.connection.execute_batch("DROP TRIGGER no_second")?);
    store.engine().writer.run(0, repair).await.unwrap();
    store.record(now, all).await.unwrap();
    assert_eq!(store.queued().await.unwrap(), 0);
    assert_eq!(all_events(&store).await.len(), 4);
}

#[tokio::test]
async fn a_server_that_starts_frees_what_a_dead_one_had() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    store.accept(message(&["a@example.com", "b@example.net"])).await.unwrap();
    let now = soon();
    assert_eq!(claim_at(&store, now, 10, &[]).await.len(), 2);
    store.close().await;
    drop(store);

    let tool = Store::open(&directory.location(), Role::Tool).await.unwrap();
    assert!(claim_at(&tool, now, 10, &[]).await.is_empty(), "a tool frees nothing");
    let store = directory.server().await;
    assert_eq!(addresses(&claim_at(&store, now, 10, &[]).await), ["a@example.com", "b@example.net"]);
    assert_eq!(store.release_leases().await.unwrap(), 2);
    check_destinations(&store).await;
    assert_eq!(store.release_leases().await.unwrap(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_fails_alone() {
    let directory = Directory::new();
    let store = directory.server().await;
    let damages = [
        ("a@one.example", "UPDATE recipient SET address = 'nobody' WHERE address = 'a@one.example'"),
        ("b@one.example", "UPDATE recipient SET attempts = -1 WHERE address = 'b@one.example'"),
        ("a@two.example", "UPDATE message SET require_tls_from = 'nobody' WHERE header_to = 'a@two.example'"),
        (
            "a@three.example",
            "UPDATE recipient SET destination = 'not a name' WHERE address = 'a@three.example';
            UPDATE destination SET name = 'not a name' WHERE name = 'three.example'",
        ),
    ];
    for (to, damage) in damages {
        store.accept(message(&[to])).await.unwrap();
        store.engine().writer.run(0, move |writing| Ok(writing.connection.execute_batch(damage)?)).await.unwrap();
    }
    for to in ["c@one.example", "c@two.example"] {
        store.accept(message(&[to])).await.unwrap();
    }

    assert_eq!(addresses(&claim(&store, 10).await), ["c@one.example", "c@two.example"]);
    assert!(claim(&store, 10).await.is_empty());
    check_destinations(&store).await;
    assert_eq!(store.queued().await.unwrap(), 2);
    // What can still be told as an event is told.
    let failed: Vec<_> = all_events(&store).await.into_iter().filter(|e| e.kind == EventKind::Failed).collect();
    let told: Vec<_> = failed.iter().map(|event| event.recipient.to_string()).collect();
    assert_eq!(told, ["a@three.example", "b@one.example"]);
    assert!(failed.iter().all(|event| event.severity == Some(Severity::Permanent)));
    let written = "SELECT count(*) FROM event WHERE kind = 'failed'";
    let written = store
        .engine()
        .readers
        .run(|c| Ok(c.query_row(written, super::super::sql::NONE, |row| row.get::<_, i64>(0))?))
        .await;
    assert_eq!(written, Ok(4));
}
