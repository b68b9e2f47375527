//! Long queues, long searches: what must not grow does not.

use std::time::Instant;

use super::super::sql::{Connection, NONE};
use super::*;

/// Readers that overlap without a gap keep the log of changes from beginning anew by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_changes_does_not_grow_without_end() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    let readers: Vec<_> = (0..2)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(150 * number)).await;
                loop {
                    let search = |connection: &Connection| {
                        let _: i64 = connection.query_row("SELECT count(*) FROM message", NONE, |row| row.get(0))?;
                        std::thread::sleep(Duration::from_millis(300));
                        Ok(())
                    };
                    store.engine().readers.run(search).await.unwrap();
                }
            })
        })
        .collect();
    let wire = Bytes::from(vec![b'x'; 1 << 20]);
    let mut longest = 0;
    for _ in 0..150 {
        store.accept(NewMessage { wire: wire.clone(), ..message(&["a@example.com"]) }).await.unwrap();
        longest = longest.max(std::fs::metadata(directory.0.join("waxwing.db-wal")).unwrap().len() >> 20);
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    println!("the log had up to {longest} MiB");
    assert!(longest < 100, "{longest} MiB");
}

/// A measurement: `--ignored --nocapture`.
#[tokio::test]
#[ignore = "measures"]
async fn a_long_queue_for_a_dead_destination() {
    let directory = Directory::new();
    let store = directory.server().await;
    let crowd: Vec<String> = (0..1000).map(|number| format!("r{number}@dead.example")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let begun = Instant::now();
    for _ in 0..50 {
        store.accept(message(&crowd)).await.unwrap();
    }
    println!("50 messages to 1,000 recipients each: {:?}", begun.elapsed());
    let begun = Instant::now();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..1000 {
                    store.accept(message(&["a@dead.example"])).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!("50,000 messages: {:?}", begun.elapsed());
    for number in 0..2000 {
        store.accept(message(&[&format!("a@d{number}.example")])).await.unwrap();
    }
    let now = soon();
    let busy = [domain("dead.example")];
    for (what, busy) in [("with the dead one", &[][..]), ("without it", &busy[..])] {
        for _ in 0..3 {
            let begun = Instant::now();
            let limits = Limits { busy: busy.to_vec(), per_destination: Some(5), ..Limits::default() };
            let jobs = store.claim(claim_with(now, 64, limits)).await.unwrap();
            let recipients: usize = jobs.iter().map(|job| job.recipients.len()).sum();
            let claimed = begun.elapsed();
            let begun = Instant::now();
            let until = now + LEASE;
            let deferred = outcomes(&jobs, NewState::Deferred { until }, &[failed(Severity::Temporary)]);
            store.record(now, deferred).await.unwrap();
            println!(
                "{what}: {} jobs, {recipients} recipients, {claimed:?}; recorded {:?}",
                jobs.len(),
                begun.elapsed()
            );
        }
    }
    let begun = Instant::now();
    println!("{} queued, counted in {:?}", store.queued().await.unwrap(), begun.elapsed());
    let begun = Instant::now();
    store.release_leases().await.unwrap();
    println!("released in {:?}", begun.elapsed());
}
