//! Killed, full, lost: what was acknowledged is there, and what cannot be kept is refused.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::super::sql::{Connection, NONE};
use super::super::writer::Writing;
use super::*;
use crate::StoreError;

/// Set for the process that is going to be killed: the directory to work in.
const VICTIM: &str = "WAXWING_STORE_TEST_VICTIM";

/// Not a test by itself: accepts mail and tells each acknowledged key, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(directory) = std::env::var_os(VICTIM) else { return };
    let store = Store::open(&Location::sqlite(directory), Role::Server).await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let wire = Bytes::from("x".repeat(3000));
                for number in 0.. {
                    let to = format!("r{number}@d{task}.example");
                    let key = store.accept(NewMessage { wire: wire.clone(), ..message(&[&to]) }).await.unwrap();
                    println!("acknowledged {key}");
                    if number % 5 == 0 {
                        let jobs = claim(&store, 3).await;
                        let done = outcomes(&jobs, NewState::Delivered, &[delivered()]);
                        store.record(Timestamp::now(), done).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_kill_9() {
    let directory = Directory::of_files();
    for acknowledgements in [1, 150, 600] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "engine::tests::disaster::victim", "--nocapture"])
            .env(VICTIM, &directory.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut told = String::new();
        while told.matches("acknowledged ").count() < acknowledgements {
            assert_ne!(out.read_line(&mut told).unwrap(), 0, "the victim died by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        out.read_to_string(&mut told).unwrap();

        let store = directory.server().await;
        let events = store.events(EventQuery { limit: 100_000, ..query(Filter::All) }).await.unwrap();
        // The last line may be cut in the middle.
        let whole = told.rfind('\n').map_or("", |end| &told[..end]);
        let mut checked = 0;
        for key in whole.lines().filter_map(|line| line.split_once("acknowledged ")).map(|(_, key)| key) {
            let event = events.iter().find(|event| event.message.key.as_str() == key);
            let event = event.unwrap_or_else(|| panic!("{key} was acknowledged and is gone"));
            assert_eq!(store.wire(event.message.id).await.unwrap().unwrap().len(), 3000);
            checked += 1;
        }
        assert!(checked >= acknowledgements);
        // Each recipient is queued, or has an event that says that it is not.
        let finished = events.iter().filter(|event| event.kind == EventKind::Delivered).count();
        assert_eq!(store.queued().await.unwrap() as usize, events.len() - 2 * finished);
        let claimable: usize = claim(&store, 100_000).await.iter().map(|job| job.recipients.len()).sum();
        assert_eq!(claimable, events.len() - 2 * finished);
        check_integrity(&store).await;
        store.close().await;
    }
}

async fn check_integrity(store: &Store) {
    let check = |connection: &Connection| Ok(connection.query_row("PRAGMA integrity_check", NONE, |row| row.get(0))?);
    let verdict: String = store.engine().readers.run(check).await.unwrap();
    assert_eq!(verdict, "ok");
}

async fn set_room(store: &Store, pages: Option<i64>) {
    let set = move |writing: &Writing<'_>| {
        let used: i64 = writing.connection.query_row("PRAGMA page_count", NONE, |row| row.get(0))?;
        let most = pages.map_or(1 << 30, |pages| used + pages);
        let _: i64 =
            writing.connection.query_row(&format!("PRAGMA max_page_count = {most}"), NONE, |row| row.get(0))?;
        Ok(())
    };
    store.engine().writer.run(0, set).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_and_keeps_what_it_has() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    let key = store.accept(message(&["a@example.com"])).await.unwrap();
    set_room(&store, Some(20)).await;

    let large = NewMessage { wire: Bytes::from(vec![b'x'; 1 << 20]), ..message(&["b@example.com"]) };
    for _ in 0..3 {
        let refused = store.accept(large.clone()).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    // What is small and no mail is kept, also together with mail that does not fit.
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let (store, large) = (store.clone(), large.clone());
            tokio::spawn(async move {
                if number % 2 == 0 {
                    return store.accept(large).await.is_ok();
                }
                let name = domain(&format!("d{number}.example"));
                let new = crate::NewDomain { name, tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
                store.create_domain(new).await.is_ok()
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), number % 2 == 1);
    }
    let jobs = claim(&store, 1).await;
    store.record(Timestamp::now(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();

    let events = all_events(&store).await;
    assert_eq!(events[0].message.key, key);
    assert_eq!(events.len(), 2);
    assert!(store.wire(events[0].message.id).await.unwrap().is_some());
    check_integrity(&store).await;

    set_room(&store, None).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    store.accept(large).await.unwrap();
    store.close().await;
    let store = directory.server().await;
    assert_eq!(all_events(&store).await.len(), 3);
    check_integrity(&store).await;
}

#[tokio::test]
async fn without_a_reserve_mail_is_delivered_and_not_taken() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    store.close().await;
    // A directory in the place of the file: there is no way to fill it.
    let reserve = directory.0.join("waxwing.reserve");
    std::fs::remove_file(&reserve).unwrap();
    std::fs::create_dir(&reserve).unwrap();

    let store = directory.server().await;
    let refused = store.accept(message(&["b@example.com"])).await;
    assert_eq!(refused.err(), Some(StoreError::Unavailable("the disk is full".to_owned())));
    let jobs = claim(&store, 1).await;
    store.record(Timestamp::now(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    assert_eq!(kinds(&all_events(&store).await), [EventKind::Accepted, EventKind::Delivered]);

    std::fs::remove_dir(&reserve).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    store.accept(message(&["c@example.com"])).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_fails_is_undone_and_answered() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    // A broken reference that is only looked at in COMMIT, which then fails and leaves the transaction open.
    let poison = |writing: &Writing<'_>| {
        writing.connection.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        writing.connection.execute("INSERT INTO wire (message, content) VALUES (99, x'00')", NONE)?;
        Ok(())
    };
    let (poisoned, accepted) =
        tokio::join!(store.engine().writer.run(0, poison), store.accept(message(&["a@example.com"])));
    assert!(matches!(poisoned, Err(StoreError::Unavailable(_))), "{poisoned:?}");
    // Whether the two met in one transaction is up to the scheduler; an answer of Ok is true either way.
    assert_eq!(all_events(&store).await.len(), usize::from(accepted.is_ok()));
    assert_eq!(store.stats().failed_commits, 1);
    store.accept(message(&["b@example.com"])).await.unwrap();
    check_integrity(&store).await;
}

#[tokio::test]
async fn after_a_sync_that_failed_nothing_is_kept_until_a_restart() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    let key = store.accept(message(&["a@example.com"])).await.unwrap();
    assert_eq!(store.health(), Ok(()));

    store.engine().writer.fail_next_sync();
    // All that share the transaction, and all that come after.
    for _ in 0..2 {
        let (first, second) =
            tokio::join!(store.accept(message(&["b@example.com"])), store.accept(message(&["c@example.com"])));
        assert!(matches!(first, Err(StoreError::Unavailable(_))), "{first:?}");
        assert!(matches!(second, Err(StoreError::Unavailable(_))), "{second:?}");
    }
    let Err(StoreError::Unavailable(reason)) = store.health() else { panic!("called well") };
    assert!(reason.contains("disk I/O error"), "{reason}");
    let refused = store.claim(claim_with(soon(), 1, Limits::default())).await;
    assert!(refused.is_err(), "what is claimed could not be recorded: {refused:?}");
    assert_eq!(all_events(&store).await.len(), 1, "what is there is still read");
    store.close().await;

    let store = directory.server().await;
    assert_eq!(store.health(), Ok(()));
    assert_eq!(all_events(&store).await[0].message.key, key);
    store.accept(message(&["d@example.com"])).await.unwrap();
    check_integrity(&store).await;
}

#[tokio::test]
async fn a_database_that_is_gone_takes_no_mail() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    for file in ["waxwing.db", "waxwing.db-wal"] {
        let (path, aside) = (directory.0.join(file), directory.0.join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        let refused = store.accept(message(&["b@example.com"])).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{file}: {refused:?}");
        std::fs::rename(&aside, &path).unwrap();
        let kept = all_events(&store).await;
        assert!(kept.iter().all(|event| event.recipient != address("b@example.com")), "refused and kept");
        store.accept(message(&["c@example.com"])).await.unwrap();
    }
}

/// Needs a small file system of its own, which only an operator can make:
/// `mount -t tmpfs -o size=3m tmpfs /mnt/small`, then `WAXWING_STORE_TEST_SMALL_DISK=/mnt/small` and `--ignored`.
#[tokio::test]
#[ignore = "needs a small file system"]
async fn a_file_system_without_room_refuses_and_keeps_what_it_has() {
    let Some(disk) = std::env::var_os("WAXWING_STORE_TEST_SMALL_DISK").map(PathBuf::from) else { return };
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; 600_000]).unwrap();
    let directory = Directory(disk.join("data"), None);
    let store = directory.server().await;
    let wire = Bytes::from(vec![b'x'; 50_000]);
    let new = || NewMessage { wire: wire.clone(), ..message(&["a@example.com"]) };
    let mut acknowledged = Vec::new();
    let refused = loop {
        match store.accept(new()).await {
            Ok(key) => acknowledged.push(key),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    println!("{} messages, then: {refused}; {:?}", acknowledged.len(), store.stats());
    for _ in 0..20 {
        assert!(store.accept(new()).await.is_err());
    }
    // The mail that is there goes on, in the room of the reserve.
    let jobs = claim(&store, 1).await;
    store.record(Timestamp::now(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    assert_eq!(all_events(&store).await.len(), acknowledged.len() + 1);
    assert!(store.accept(new()).await.is_err());

    std::fs::remove_file(&ballast).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    acknowledged.push(store.accept(new()).await.unwrap());
    store.close().await;

    let store = directory.server().await;
    let accepted = query(Filter::Is(crate::Field::Event, "accepted".to_owned()));
    let kept: Vec<_> = store.events(accepted).await.unwrap().iter().map(|event| event.message.key.clone()).collect();
    assert_eq!(kept, acknowledged);
    check_integrity(&store).await;
}
