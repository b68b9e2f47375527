//! Several nodes on one database. Where the tests run on files there is nothing to share, and these say so.

use super::super::sql::NONE;
use super::*;
use crate::StoreError;

/// A database for several nodes, if the tests run on one.
fn shared() -> Option<Directory> {
    let directory = Directory::new();
    if directory.1.is_none() {
        println!("skipped: {CLUSTER} names no PostgreSQL");
    }
    Some(directory).filter(|directory| directory.1.is_some())
}

/// What node it is, and the numbers of all.
async fn node(store: &Store) -> i64 {
    store.engine().writer.run(0, |writing| Ok(writing.node.unwrap().0)).await.unwrap()
}

async fn nodes(store: &Store) -> i64 {
    let count = |writing: &super::super::writer::Writing<'_>| {
        Ok(writing.connection.query_row("SELECT count(*) FROM node", NONE, |row| row.get(0))?)
    };
    store.engine().writer.run(0, count).await.unwrap()
}

/// Ends every connection of a node as a database does that is restarted, or as a network that is cut.
async fn cut_off(other: &Store, order: &'static str) {
    let cut = move |writing: &super::super::writer::Writing<'_>| {
        let mut cut = writing.connection.prepare_cached(order)?;
        Ok(cut.query_map(NONE, |row| row.get::<_, bool>(0))?.count())
    };
    assert!(other.engine().writer.run(0, cut).await.unwrap() > 0);
}

const CUT_OTHERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_make_the_tables_once() {
    let Some(directory) = shared() else { return };
    let starts: Vec<_> = (0..4).map(|_| (directory.location(), Role::Server)).collect();
    let opened =
        starts.into_iter().map(|(location, role)| tokio::spawn(async move { Store::open(&location, role).await }));
    let mut stores = Vec::new();
    for store in opened.collect::<Vec<_>>() {
        stores.push(store.await.unwrap().unwrap());
    }
    assert_eq!(nodes(&stores[0]).await, 4);
    for store in &stores {
        store.engine().beat().await.unwrap();
    }
    let duties: Vec<bool> = stores.iter().map(Store::has_duties).collect();
    assert_eq!(duties.iter().filter(|has| **has).count(), 1, "{duties:?}");
    let first = duties.iter().position(|has| *has).unwrap();
    stores.remove(first).close().await;
    assert_eq!(nodes(&stores[0]).await, 3);
    for store in &stores {
        store.engine().beat().await.unwrap();
    }
    assert_eq!(stores.iter().filter(|store| store.has_duties()).count(), 1, "the duties pass to another");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_recipient_is_leased_to_two_nodes() {
    let Some(directory) = shared() else { return };
    let (one, two) = (directory.server().await, directory.server().await);
    for number in 0..40 {
        let (a, b) = (format!("a{number}@d{}.example", number % 7), format!("b{number}@e.example"));
        let store = if number % 2 == 0 { &one } else { &two };
        store.accept(message(&[&a, &b])).await.unwrap();
    }
    let mut claimed = Vec::new();
    loop {
        let (from_one, from_two) = tokio::join!(claim(&one, 5), claim(&two, 5));
        if from_one.is_empty() && from_two.is_empty() {
            break;
        }
        claimed.extend(from_one.into_iter().chain(from_two));
    }
    let mut all = addresses(&claimed);
    let total = all.len();
    all.dedup();
    assert_eq!((total, all.len()), (80, 80));

    // What each was told is recorded by either, and told in one order.
    let (first, second) = claimed.split_at(claimed.len() / 2);
    let (now, later) = (Timestamp::now(), Timestamp::now());
    let (one_done, two_done) = tokio::join!(
        one.record(now, outcomes(first, NewState::Delivered, &[delivered()])),
        two.record(later, outcomes(second, NewState::Delivered, &[delivered()]))
    );
    one_done.and(two_done).unwrap();
    assert_eq!(one.queued().await.unwrap(), 0);
    assert_eq!(all_events(&two).await.len(), 160);
    check_destinations(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_had_is_free_and_it_disturbs_nobody_when_it_comes_back() {
    let Some(directory) = shared() else { return };
    let (one, two) = (directory.server().await, directory.server().await);
    two.accept(message(&["a@example.com", "b@example.net"])).await.unwrap();
    let jobs = claim(&one, 9).await;
    assert_eq!(jobs.len(), 2);
    assert!(claim(&two, 9).await.is_empty());
    // As if it had been silent for long.
    let silent = node(&one).await;
    let bury = move |writing: &super::super::writer::Writing<'_>| {
        let freed = super::super::queue::release_of_node(writing, super::super::shared::NodeId(silent))?;
        writing.connection.execute("DELETE FROM node WHERE id = ?1", [silent])?;
        Ok(freed)
    };
    assert_eq!(two.engine().writer.run(0, bury).await.unwrap(), 2);
    let again = claim(&two, 9).await;
    assert_eq!(addresses(&again), ["a@example.com", "b@example.net"]);

    // It cannot commit as who it was, and comes back as somebody else.
    let late = outcomes(&jobs, NewState::Released, &[]);
    assert!(matches!(one.record(Timestamp::now(), late.clone()).await, Err(StoreError::Unavailable(_))));
    one.record(Timestamp::now(), late).await.unwrap();
    assert_ne!(node(&one).await, silent);
    assert!(claim(&one, 9).await.is_empty(), "what another node has is not given back by it");
    // What a host took, it took, whoever says so.
    one.record(Timestamp::now(), outcomes(&jobs[..1], NewState::Delivered, &[delivered()])).await.unwrap();
    assert_eq!(one.queued().await.unwrap(), 1);
    check_destinations(&two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_found_dead_by_the_others() {
    let Some(directory) = shared() else { return };
    let two = directory.server().await;
    two.accept(message(&["a@example.com"])).await.unwrap();
    // A node whose tasks end with their runtime: its line stays, and says nothing more.
    let location = directory.location();
    let dead = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let one = runtime.block_on(Store::open(&location, Role::Server)).unwrap();
        assert_eq!(runtime.block_on(claim(&one, 9)).len(), 1);
        let dead = runtime.block_on(node(&one));
        runtime.shutdown_background();
        dead
    });
    let dead = dead.join().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while claim(&two, 9).await.is_empty() {
        assert!(std::time::Instant::now() < deadline, "node {dead} is never found dead");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(nodes(&two).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_changes_holds_at_the_others_at_once() {
    let Some(directory) = shared() else { return };
    let (one, two) = (directory.server().await, directory.server().await);
    let name = domain("sender.example");
    one.create_domain(crate::NewDomain {
        name: name.clone(),
        tls: TlsSettings::default(),
        dkim: None,
        now: Timestamp::now(),
    })
    .await
    .unwrap();
    for require in [true, false, true] {
        let tls = TlsSettings { require_tls: Some(require), ..TlsSettings::default() };
        one.update_domain(&name, tls).await.unwrap();
        assert_eq!(two.domain(&name).await.unwrap().unwrap().tls.require_tls, Some(require));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_anew_and_loses_nothing() {
    let Some(directory) = shared() else { return };
    let (one, two) = (directory.server().await, directory.server().await);
    one.accept(message(&["a@example.com"])).await.unwrap();
    cut_off(&two, CUT_OTHERS).await;
    // What meets the dead connection is refused or kept, as it says.
    let mut kept = 1;
    for _ in 0..20 {
        kept += u64::from(one.accept(message(&["b@example.com"])).await.is_ok());
    }
    assert!(kept >= 19, "{kept}");
    assert_eq!(two.queued().await.unwrap(), kept);
    assert_eq!(one.queued().await.unwrap(), kept, "those who read come back too");
}

/// The connection goes between the commit and its answer: a trigger ends it as the last thing of the transaction, or lets
/// it be committed and ends it then.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_resolved() {
    let Some(directory) = shared() else { return };
    let (one, two) = (directory.server().await, directory.server().await);
    // Deferred: it runs inside COMMIT, before it is on disk.
    cut_in_commit(&two).await;
    let lost = one.accept(message(&["lost@example.com"])).await;
    assert!(matches!(lost, Err(StoreError::Unreachable(_))), "{lost:?}");
    assert_eq!(two.queued().await.unwrap(), 0, "nothing of it was kept");
    two.engine()
        .writer
        .run(0, |writing| Ok(writing.connection.execute_batch("DROP TRIGGER cut ON wire")?))
        .await
        .unwrap();
    one.accept(message(&["kept@example.com"])).await.unwrap();

    // And after: the answer is thrown away, as a network does.
    one.engine().writer.lose_next_answer();
    one.accept(message(&["told@example.com"])).await.expect("it was committed, and that is found out");
    assert_eq!(two.queued().await.unwrap(), 2);
}

async fn cut_in_commit(store: &Store) {
    let trigger = "
        CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$";
    let order = "CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON wire DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION cut()";
    store
        .engine()
        .writer
        .run(0, move |writing| {
            writing.connection.postgres().unwrap().execute_batch(trigger)?;
            Ok(writing.connection.postgres().unwrap().execute_batch(order)?)
        })
        .await
        .unwrap();
}

/// Whoever could not read since the database was away must be able to tell it from damage.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_unreachable_for_readers_and_writers() {
    let Some(directory) = shared() else { return };
    let (one, two) = (directory.server().await, directory.server().await);
    one.queued().await.unwrap();
    let admit = async |anybody: bool| {
        let order = move |writing: &super::super::writer::Writing<'_>| {
            let order = "UPDATE pg_database SET datallowconn = ?1 WHERE datname = current_database()";
            Ok(writing.connection.prepare_cached(order)?.execute([anybody])?)
        };
        two.engine().writer.run(0, order).await.unwrap();
    };
    // Who is connected stays so; nobody comes in any more.
    admit(false).await;
    cut_off(&two, CUT_OTHERS).await;
    assert!(matches!(one.queued().await, Err(StoreError::Unreachable(_))));
    for _ in ["finds the connection lost", "finds no other"] {
        assert!(matches!(one.accept(message(&["a@d.example"])).await, Err(StoreError::Unreachable(_))));
    }
    assert!(matches!(one.health(), Err(StoreError::Unreachable(_))));
    admit(true).await;
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while one.accept(message(&["a@d.example"])).await.is_err() {
        assert!(std::time::Instant::now() < end, "it does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(one.queued().await.unwrap(), 1);
}

/// What nodes may have together each works out from its places; whoever comes has none until the others must know of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_its_place_when_the_others_know_of_it_and_leaves_it_to_them() {
    use policy::share::{Place, of};
    let Some(directory) = shared() else { return };
    let one = directory.server().await;
    assert_eq!(one.places(), [Place::ALONE], "nobody is before it");
    let two = directory.server().await;
    assert!(two.places().is_empty(), "the other may not know of it");
    let parts = || [&one, &two].map(|store| of(7, "mx.example", &store.places()));
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(std::time::Instant::now() < end, "in vain: {what}");
            assert!(parts().iter().sum::<u32>() <= 7, "more than all may have");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until("both have a part", &|| parts().iter().sum::<u32>() == 7 && parts().iter().all(|part| *part >= 3)).await;
    one.close().await;
    until("all is left to the other", &|| two.places() == [Place::ALONE]).await;
}
