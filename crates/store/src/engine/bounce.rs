//! Delayed bounces: a delivered recipient becomes a failed one.

use rusqlite::params;
use smtp::Address;
use smtp::dsn::Action;

use super::row::{get, to_json};
use super::writer::Writing;
use super::{Engine, dsn, event, suppression};
use crate::bounce::{DelayedBounce, Recorded};
use crate::dsn::Facts;
use crate::{
    AttemptRecord, EventKind, FailureReason, MessageId, NewEvent, RecipientId, Severity, StoreError, Timestamp,
};

/// What a report tells beyond the columns of every event: of delayed bounces, and of complaints by now.
pub(super) const TABLES: &str = "
ALTER TABLE event ADD COLUMN bounce TEXT;
";

/// The recipient, or the one of that address that went with it: of the same message, to the same destination.
pub(super) const FIND: &str = "
    SELECT r.id, r.message, r.address, r.state, r.attempts, m.domain FROM recipient AS named
    JOIN message m ON m.id = named.message AND m.accepted_at / 1000000 = ?2
    JOIN recipient r ON r.message = named.message AND r.destination = named.destination
        AND CASE WHEN r.address = ?3 COLLATE NOCASE THEN 1 = 1 ELSE ?3 IS NULL AND r.id = named.id END
    WHERE named.id = ?1 LIMIT 1";
const FAIL: &str = "UPDATE recipient SET state = 'failed' WHERE id = ?1";
pub(super) const SET_REPORT: &str = "UPDATE event SET bounce = ?2 WHERE at = ?1";

impl Engine {
    pub(crate) async fn record_bounce(&self, now: Timestamp, bounce: DelayedBounce) -> Result<Recorded, StoreError> {
        let report = to_json(&bounce.report)?;
        self.writer.run_traffic(report.len(), move |writing| record(writing, now, &bounce, &report)).await
    }
}

fn record(writing: &Writing<'_>, now: Timestamp, bounce: &DelayedBounce, report: &str) -> Result<Recorded, StoreError> {
    let connection = writing.connection;
    let found = find(writing, bounce.transaction, bounce.accepted_at, bounce.address.as_ref())?;
    let Some(Found { message, recipient, domain, address, state, attempts }) = found else {
        return Ok(Recorded::Unknown);
    };
    match &*state {
        "delivered" => {}
        "queued" => return Ok(Recorded::Early),
        _ => return Ok(Recorded::Known),
    }
    connection.prepare_cached(FAIL)?.execute([recipient])?;
    let event = failed(bounce, attempts);
    let at = event::insert(writing, now, message, &domain, &address, &event)?;
    connection.prepare_cached(SET_REPORT)?.execute(params![at.as_micros(), report])?;
    dsn::notice(writing, now, message, recipient, Action::Failed, &facts(bounce, attempts))?;
    if bounce.no_such_mailbox {
        suppression::bounced(writing, now, &domain, &address, &[event])?;
    }
    Ok(Recorded::Failed)
}

/// A recipient that a report is about.
pub(super) struct Found {
    pub(super) message: MessageId,
    pub(super) recipient: i64,
    pub(super) domain: String,
    pub(super) address: String,
    pub(super) state: String,
    pub(super) attempts: u32,
}

/// The recipient that a report of a transaction is about.
pub(super) fn find(
    writing: &Writing<'_>,
    transaction: RecipientId,
    accepted_at: i64,
    address: Option<&Address>,
) -> Result<Option<Found>, StoreError> {
    let mut select = writing.connection.prepare_cached(FIND)?;
    let mut rows = select.query(params![transaction.0, accepted_at, address.map(ToString::to_string)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Found {
        message: MessageId(get(row, "message")?),
        recipient: get(row, "id")?,
        domain: get(row, "domain")?,
        address: get(row, "address")?,
        state: get(row, "state")?,
        attempts: get(row, "attempts")?,
    }))
}

/// What the sender is told by mail: the report came to us and not to him.
fn facts(bounce: &DelayedBounce, attempts: u32) -> Facts {
    let reporter = |name: &str| bounce.report.get(name).and_then(|host| host.as_str()).map(str::to_owned);
    Facts {
        attempts,
        code: Some(bounce.code),
        status: bounce.enhanced_code.map(|code| code.to_string()),
        words: bounce.message.clone(),
        from_host: true,
        host: reporter("remote-mta").or_else(|| reporter("reporting-mta")),
        reported: true,
        ..Facts::default()
    }
}

/// No connection of ours is behind it: how the mail travelled is told by the event of its delivery.
fn failed(bounce: &DelayedBounce, attempt_no: u32) -> NewEvent {
    let attempt = AttemptRecord {
        enhanced_code: bounce.enhanced_code,
        message: bounce.message.clone(),
        description: "reported after the delivery".to_owned(),
        ..AttemptRecord::unconnected(attempt_no, bounce.code)
    };
    NewEvent {
        kind: EventKind::Failed,
        severity: Some(Severity::Permanent),
        reason: Some(FailureReason::Bounce),
        attempt: Some(attempt),
    }
}
