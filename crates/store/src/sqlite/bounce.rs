//! Delayed bounces: a delivered recipient becomes a failed one.

use std::time::Duration;

use rusqlite::params;

use super::row::{get, to_json};
use super::writer::Writing;
use super::{Engine, event, suppression};
use crate::bounce::{DelayedBounce, Recorded};
use crate::{AttemptRecord, EventKind, FailureReason, MessageId, NewEvent, Severity, StoreError, Timestamp};

/// What a report tells beyond the columns of every event: of delayed bounces, and of complaints by now.
pub(super) const TABLES: &str = "
ALTER TABLE event ADD COLUMN bounce TEXT;
";

/// The recipient, or the one of that address that went with it: of the same message, to the same destination.
pub(super) const FIND: &str = "
    SELECT r.id, r.message, r.address, r.state, r.attempts, m.domain FROM recipient AS named
    JOIN message m ON m.id = named.message AND m.accepted_at / 1000000 = ?2
    JOIN recipient r ON r.message = named.message AND r.destination = named.destination
        AND CASE WHEN ?3 IS NULL THEN r.id = named.id ELSE r.address = ?3 COLLATE NOCASE END
    WHERE named.id = ?1 LIMIT 1";
const FAIL: &str = "UPDATE recipient SET state = 'failed' WHERE id = ?1";
pub(super) const SET_REPORT: &str = "UPDATE event SET bounce = ?2 WHERE at = ?1";

impl Engine {
    pub(crate) async fn record_bounce(&self, now: Timestamp, bounce: DelayedBounce) -> Result<Recorded, StoreError> {
        let report = to_json(&bounce.report)?;
        self.writer.run(report.len(), move |writing| record(writing, now, &bounce, &report)).await
    }
}

fn record(writing: &Writing<'_>, now: Timestamp, bounce: &DelayedBounce, report: &str) -> Result<Recorded, StoreError> {
    let connection = writing.connection;
    let mut select = connection.prepare_cached(FIND)?;
    let address = bounce.address.as_ref().map(ToString::to_string);
    let mut rows = select.query(params![bounce.transaction.0, bounce.accepted_at, address])?;
    let Some(row) = rows.next()? else { return Ok(Recorded::Unknown) };
    match &*get::<String>(row, "state")? {
        "delivered" => {}
        "queued" => return Ok(Recorded::Early),
        _ => return Ok(Recorded::Known),
    }
    connection.prepare_cached(FAIL)?.execute([get::<i64>(row, "id")?])?;
    let (domain, address): (String, String) = (get(row, "domain")?, get(row, "address")?);
    let event = failed(bounce, get(row, "attempts")?);
    event::insert(writing, now, MessageId(get(row, "message")?), &domain, &address, &event)?;
    connection.prepare_cached(SET_REPORT)?.execute(params![connection.last_insert_rowid(), report])?;
    if bounce.no_such_mailbox {
        suppression::bounced(writing, now, &domain, &address, &[event])?;
    }
    Ok(Recorded::Failed)
}

/// No connection of ours is behind it: how the mail travelled is told by the event of its delivery.
fn failed(bounce: &DelayedBounce, attempt_no: u32) -> NewEvent {
    let attempt = AttemptRecord {
        attempt_no,
        code: bounce.code,
        enhanced_code: bounce.enhanced_code,
        message: bounce.message.clone(),
        description: "reported after the delivery".to_owned(),
        session: Duration::ZERO,
        retry_after: None,
        utf8: false,
        connection: None,
        details: serde_json::Value::Null,
        last_code: None,
        last_message: None,
    };
    NewEvent {
        kind: EventKind::Failed,
        severity: Some(Severity::Permanent),
        reason: Some(FailureReason::Bounce),
        attempt: Some(attempt),
    }
}
