//! MTA-STS policies.

use policy::mta_sts::{Cached, UnixSeconds};

use super::super::sql::NONE;
use super::super::sts;
use super::plans::plan;
use super::*;
use crate::StoreError;

const DAY: i64 = 86_400;

fn cached(id: &str, max_age: i64, fetched_at: i64) -> Cached {
    let file = format!("version: STSv1\nmode: enforce\nmx: *.d.example\nmx: mx.e.example\nmax_age: {max_age}\n");
    let at = UnixSeconds(fetched_at);
    Cached::fetched(id.parse().unwrap(), file.parse().unwrap(), at, at)
}

#[tokio::test]
async fn a_policy_outlives_a_restart() {
    let directory = Directory::new();
    let store = directory.server().await;
    let name = domain("d.example");
    assert_eq!(store.sts_policy(&name).await.unwrap(), None);
    let first = cached("1", DAY, 1_800_000_000);
    store.put_sts_policy(&name, &first).await.unwrap();
    store.close().await;

    let store = directory.server().await;
    assert_eq!(store.sts_policy(&name).await.unwrap(), Some(first.clone()));
    let second = cached("2", 7 * DAY, 1_800_000_100);
    store.put_sts_policy(&name, &second).await.unwrap();
    assert_eq!(store.sts_policy(&name).await.unwrap(), Some(second.clone()));

    // A note is for the policy that it was made for.
    let late = Cached { used_at: UnixSeconds(1_900_000_000), ..first };
    store.note_sts_policy(&name, &late).await.unwrap();
    assert_eq!(store.sts_policy(&name).await.unwrap(), Some(second.clone()));
    let noted = Cached { used_at: UnixSeconds(1_900_000_000), refresh_at: UnixSeconds(7), ..second };
    store.note_sts_policy(&name, &noted).await.unwrap();
    assert_eq!(store.sts_policy(&name).await.unwrap(), Some(noted));
    assert_eq!(store.sts_policy(&domain("below.d.example")).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_due_and_what_has_expired() {
    let directory = Directory::new();
    let store = directory.server().await;
    let long_unused = Cached { used_at: UnixSeconds(-40 * DAY), ..cached("1", 90 * DAY, 0) };
    for (name, cached) in [
        ("week.example", cached("1", 7 * DAY, 0)),
        ("day.example", cached("1", DAY, 0)),
        ("hour.example", cached("1", 3600, 0)),
        ("unused.example", long_unused),
    ] {
        store.put_sts_policy(&domain(name), &cached).await.unwrap();
    }
    for (now, limit, expected) in [
        (0, 10, &[][..]),
        (1800, 10, &["hour.example"]),
        (3599, 10, &["hour.example"]),
        (3600, 10, &[]),
        (DAY / 2, 10, &["day.example"]),
        (DAY - 1, 10, &["day.example"]),
        (DAY, 10, &["week.example"]),
        (7 * DAY, 10, &[]),
    ] {
        let due = store.due_sts_policies(UnixSeconds(now), limit).await.unwrap();
        // The store finds what the policy says, and nothing else.
        assert!(due.iter().all(|(_, cached)| cached.is_due(UnixSeconds(now))));
        let names: Vec<_> = due.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected, "at {now}");
    }
    store.put_sts_policy(&domain("second.example"), &cached("1", 3600, -10)).await.unwrap();
    let due = store.due_sts_policies(UnixSeconds(2000), 1).await.unwrap();
    assert_eq!(due[0].0.as_str(), "second.example");

    store.forget_expired_sts_policies(UnixSeconds(DAY)).await.unwrap();
    for (name, kept) in [("hour.example", false), ("day.example", false), ("week.example", true)] {
        assert_eq!(store.sts_policy(&domain(name)).await.unwrap().is_some(), kept, "{name}");
    }
}

#[tokio::test]
async fn a_damaged_policy_fails_alone() {
    let directory = Directory::new();
    let store = directory.server().await;
    for name in ["a.example", "b.example"] {
        store.put_sts_policy(&domain(name), &cached("1", DAY, 0)).await.unwrap();
    }
    let damage = "UPDATE sts_policy SET policy = 'nothing' WHERE domain = 'a.example'";
    store.engine().writer.run(0, move |writing| Ok(writing.connection.execute(damage, NONE)?)).await.unwrap();
    let read = store.sts_policy(&domain("a.example")).await;
    assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
    let due = store.due_sts_policies(UnixSeconds(DAY / 2), 10).await.unwrap();
    assert_eq!(due.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b.example"]);
}

#[tokio::test]
async fn policies_are_found_along_an_index() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    for (sql, index) in
        [(sts::DUE, "sts_policy_refresh (refresh_at<?)"), (sts::FORGET, "sts_policy_expiry (expires_at<?)")]
    {
        let plan = plan(&store, sql.to_owned()).await;
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}
