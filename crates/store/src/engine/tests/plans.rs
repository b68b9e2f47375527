//! How SQLite goes about the statements that must not grow with the table: along an index, never through a table,
//! never by sorting.

use super::super::{claim, copy, dropped, dsn, event, figures, purge, queue, retention, site, suppression, waiting};
use super::*;
use crate::{Cursor, Field};

pub(super) async fn plan(store: &Store, sql: String) -> String {
    store
        .engine()
        .readers
        .run(move |connection| {
            let sqlite = connection.sqlite().expect("these are the plans of SQLite");
            let mut explain = sqlite.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            // Nothing is bound: the plan does not depend on it.
            let mut rows = explain.raw_query();
            let mut lines: Vec<String> = Vec::new();
            while let Some(row) = rows.next()? {
                lines.push(row.get(3)?);
            }
            Ok(lines.join("\n"))
        })
        .await
        .unwrap()
}

/// Going through a list that the caller gave is no going through a table. At a start the queue's index is gone through
/// once, and that index holds the queue alone.
fn scans(plan: &str) -> Vec<&str> {
    plan.lines()
        .filter(|line| {
            let may = ["json_each", "COVERING INDEX recipient_due", "COVERING INDEX destination_site", "_idle"];
            line.contains("SCAN") && !may.iter().any(|name| line.contains(name))
        })
        .collect()
}

#[tokio::test]
async fn the_queue_is_never_searched_whole() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    for (sql, index) in [
        (claim::OLDEST_OF_DESTINATION, "recipient_due (destination=? AND due_at<?)"),
        (claim::DUE_OF_MESSAGE, "recipient_message (message=? AND destination=?)"),
        (claim::DUE_SITES, "site_due (prompt=? AND due_at<?)"),
        (claim::DUE_OF_SITE, "destination_site (site=? AND due_at<?)"),
        (claim::DESTINATIONS_OF_SITE, "destination_site (site=?"),
        (claim::OVERDUE, "recipient_due (destination=? AND due_at<?)"),
        (claim::EXPIRED, "message_expires (expires_at<?)"),
        (site::FIRST_DUE_OF_DESTINATION, "recipient_due (destination=?"),
        (site::FIRST_DUE_OF_SITE, "destination_site (site=?"),
        (site::FIND_DESTINATIONS, "SCAN recipient USING COVERING INDEX recipient_due"),
        (site::FIND_SITES, "SCAN destination USING COVERING INDEX destination_site"),
        (site::FORGET_IDLE[0], "destination_idle"),
        (site::FORGET_IDLE[1], "site_idle"),
        (figures::QUEUE, "SCAN recipient USING COVERING INDEX recipient_due"),
        (queue::NEXT_DUE, "site_due (prompt=? AND due_at>?)"),
        (waiting::OF_ALL, "recipient_due ((destination,due_at)>(?,?))"),
        (waiting::OF_DESTINATION, "recipient_due (destination=? AND due_at>?)"),
        (waiting::OF_DOMAIN, "message_unfinished (domain=? AND rowid>?)"),
        (waiting::OF_DOMAIN, "recipient_message (message=?)"),
        (waiting::LAST, "event_recipient (domain=? AND recipient=?)"),
        (dropped::SOME, "message_unfinished (domain=? AND rowid>?)"),
        (dropped::SOME, "recipient_message (message=?)"),
        (dropped::END_WINDOWS, "message_unfinished (domain=?)"),
        (copy::WHOLE_OF_ADDRESS, "copy_address (message=? AND address=?)"),
        (dsn::FIRST_DUE, "notice_due (due_at<?)"),
        (dsn::NOTICES, "notice_message (message=?)"),
        (copy::OF_ADDRESS, "copy_address (message=? AND address=?)"),
        (suppression::OF_ADDRESS, "PRIMARY KEY (domain=? AND list=? AND subject=?)"),
        (suppression::LIST_UP, "PRIMARY KEY (domain=? AND list=? AND subject>? AND subject<?)"),
        (suppression::LIST_DOWN, "PRIMARY KEY (domain=? AND list=? AND subject>? AND subject<?)"),
        (purge::OLD_WIRES, "message_kept (domain=? AND accepted_at<?)"),
        (retention::NEXT_WITH_CONTENT, "COVERING INDEX message_kept (domain>?)"),
        (retention::NEXT_WITH_EVENTS, "COVERING INDEX event_domain (domain>?)"),
        (retention::CONTENTS, "COVERING INDEX message_kept (domain=? AND accepted_at<?)"),
        (retention::LAST_OF, "COVERING INDEX event_domain (domain=? AND rowid<?)"),
        (retention::EVENTS, "event_domain (domain=? AND rowid>? AND rowid<?)"),
        (purge::OLD_EVENTS, "PRIMARY KEY (rowid<?)"),
        (purge::OLD_MESSAGES, "message_age (accepted_at<?)"),
    ] {
        let plan = plan(&store, sql.to_owned()).await;
        assert!(plan.contains(index), "{sql}\n{plan}");
        assert!(scans(&plan).is_empty() && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}

#[tokio::test]
async fn events_are_read_along_an_index() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    let now = Some(Timestamp::now());
    let is = |field, text: &str| Filter::Is(field, text.to_owned());
    for (filter, index) in [
        (Filter::All, "event_domain (domain=? AND rowid>? AND rowid<?)"),
        (Filter::Contains(Field::Subject, "x".to_owned()), "event_domain (domain=? AND rowid>? AND rowid<?)"),
        (is(Field::Tag, "x"), "event_domain (domain=? AND rowid>? AND rowid<?)"),
        (
            Filter::And(vec![is(Field::Event, "failed"), is(Field::Recipient, "a@example.com")]),
            "event_recipient (domain=? AND recipient=? AND rowid>? AND rowid<?)",
        ),
        (is(Field::MessageId, "x@example.com"), "event_message (message=?"),
        (is(Field::MessageId, "x@example.com"), "message_message_id (message_id=?)"),
    ] {
        for direction in [Direction::Ascending, Direction::Descending] {
            let query = EventQuery { begin: now, end: now, direction, ..query(filter.clone()) };
            let (sql, _) = event::statement(&query);
            let plan = plan(&store, sql).await;
            assert!(plan.contains(index), "{plan}");
            assert!(scans(&plan).is_empty(), "{plan}");
            // The few events of one message may be sorted.
            assert!(
                index.starts_with("event_message") || index.starts_with("message") || !plan.contains("TEMP"),
                "{plan}"
            );
        }
    }
    let of_all = EventQuery { domain: None, begin: now, end: now, ..query(is(Field::Recipient, "a@example.com")) };
    let of_all = plan(&store, event::statement(&of_all).0).await;
    assert!(of_all.contains("SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"), "{of_all}");
    assert!(scans(&of_all).is_empty() && !of_all.contains("TEMP"), "{of_all}");
    let paged = EventQuery { after: Some(Cursor::at(Timestamp::now())), ..query(Filter::All) };
    let plan = plan(&store, event::statement(&paged).0).await;
    assert!(plan.contains("event_domain (domain=? AND rowid>?)"), "{plan}");
}
