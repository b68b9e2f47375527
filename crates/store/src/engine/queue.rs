//! The queue: what became of recipients that were claimed, and what is due next.

use std::sync::Arc;

use rusqlite::params;
use smtp::EnhancedCode;

use super::posture::Recorded;
use super::row::{get, time};
use super::shared::NodeId;
use super::sql::{Connection, NONE, OptionalExtension};
use super::writer::Writing;
use super::{Engine, dsn, event, site, suppression};
use crate::{
    AttemptRecord, EventKind, FailureReason, MessageId, NewEvent, NewState, RecipientId, RecipientOutcome, Severity,
    StoreError, Timestamp,
};

/// About how many octets one outcome and its events take in the tables.
const OCTETS_PER_OUTCOME: usize = 4096;

const WAITING_AT_DESTINATION: &str =
    "SELECT id FROM recipient INDEXED BY recipient_due WHERE destination = ?1 AND due_at IS NOT NULL";

/// Asked for each of the two kinds of sites.
pub(super) const NEXT_DUE: &str = "
    SELECT due_at FROM site INDEXED BY site_due
    WHERE prompt = ?1 AND due_at > ?2 ORDER BY due_at LIMIT 1";

const RECIPIENT: &str = "
    SELECT r.message, r.destination, r.address, r.state, r.next_attempt_at, r.leased, m.domain, m.tags,
        EXISTS (SELECT 1 FROM dsn WHERE dsn.message = m.id) AS has_dsn,
        EXISTS (SELECT 1 FROM notification WHERE notification.message = m.id) AS is_notification
    FROM recipient r JOIN message m ON m.id = r.message WHERE r.id = ?1";

const FINISH: &str =
    "UPDATE recipient SET state = ?2, due_at = NULL, leased = 0, attempts = attempts + 1 WHERE id = ?1";
const DEFER: &str = "
    UPDATE recipient SET next_attempt_at = ?2, due_at = ?2, leased = 0, attempts = attempts + 1 WHERE id = ?1";
const ONE_LESS_UNFINISHED: &str = "UPDATE message SET unfinished = unfinished - 1 WHERE id = ?1";

/// Where nodes share the store: `leased` is the node that has the recipient, and `due_at` says until when.
const TAKE: &str = "UPDATE recipient SET due_at = ?2, leased = ?3 WHERE id = ?1";
const RELEASE: &str = "UPDATE recipient SET due_at = next_attempt_at, leased = 0 WHERE id = ?1";
const RELEASE_OF_NODE: &str = "
    UPDATE recipient SET due_at = next_attempt_at, leased = 0 WHERE leased = ?1 RETURNING destination";

/// Older servers wrote leases down.
const RELEASE_ALL: &str = "UPDATE recipient SET due_at = next_attempt_at, leased = 0 WHERE leased = 1";

const COUNT: &str = "SELECT count(*) FROM recipient INDEXED BY recipient_due WHERE due_at IS NOT NULL";

impl Engine {
    pub(crate) async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(NEXT_DUE)?;
                let mut next = |is_prompt| {
                    select.query_row(params![is_prompt, now.as_micros()], |row| row.get::<_, i64>(0)).optional()
                };
                let both = [next(true)?, next(false)?];
                Ok(both.into_iter().flatten().min().map(Timestamp::from_micros))
            })
            .await
    }

    pub(crate) async fn record(&self, now: Timestamp, outcomes: Arc<[RecipientOutcome]>) -> Result<(), StoreError> {
        let octets = OCTETS_PER_OUTCOME * outcomes.len();
        self.writer.run_traffic(octets, move |writing| record_all(writing, now, &outcomes)).await
    }

    pub(crate) async fn release_leases(&self) -> Result<u64, StoreError> {
        self.writer.run_traffic(0, release_all).await
    }

    pub(crate) async fn queued(&self) -> Result<u64, StoreError> {
        let count = |connection: &Connection| Ok(connection.query_row(COUNT, NONE, |row| row.get::<_, i64>(0))?);
        self.readers.run(count).await.map(i64::unsigned_abs)
    }
}

/// Damage, or a row of an older program that this one understands no more. Reported failed, since nobody will ever be
/// able to deliver it.
pub(super) fn give_up(
    writing: &Writing<'_>,
    now: Timestamp,
    ids: &[RecipientId],
    what: &str,
) -> Result<(), StoreError> {
    for id in ids {
        tracing::error!(recipient = id.0, what, "the store is damaged: a recipient is given up");
        let outcome = RecipientOutcome { recipient: *id, state: NewState::Failed, events: vec![given_up(what)] };
        record_one(writing, now, &outcome)?;
    }
    Ok(())
}

/// The same for all that waits at a destination whose name cannot be read.
pub(super) fn give_up_destination(writing: &Writing<'_>, now: Timestamp, name: &str) -> Result<(), StoreError> {
    let ids: Vec<RecipientId> = writing
        .connection
        .prepare_cached(WAITING_AT_DESTINATION)?
        .query_map([name], |row| row.get(0).map(RecipientId))?
        .collect::<Result<_, _>>()?;
    give_up(writing, now, &ids, "unreadable destination")?;
    site::refresh(writing, [name])
}

/// No attempt was made, and none will be.
fn given_up(what: &str) -> NewEvent {
    let attempt = AttemptRecord {
        enhanced_code: Some(EnhancedCode::new(5, 3, 0)),
        message: format!("the store is damaged: {what}"),
        ..AttemptRecord::unconnected(0, 554)
    };
    NewEvent {
        kind: EventKind::Failed,
        severity: Some(Severity::Permanent),
        reason: Some(FailureReason::Generic),
        attempt: Some(attempt),
    }
}

pub(super) fn record_all(
    writing: &Writing<'_>,
    now: Timestamp,
    outcomes: &[RecipientOutcome],
) -> Result<(), StoreError> {
    for outcome in outcomes {
        if let Some(recorded) = record_one(writing, now, outcome)? {
            writing.tally(|tally| tally.add(now, &recorded, &outcome.events));
        }
    }
    Ok(())
}

/// Writes one outcome and returns whose it is.
fn record_one(
    writing: &Writing<'_>,
    now: Timestamp,
    outcome: &RecipientOutcome,
) -> Result<Option<Recorded>, StoreError> {
    let connection = writing.connection;
    let id = outcome.recipient.0;
    let mut select = connection.prepare_cached(RECIPIENT)?;
    let mut rows = select.query([id])?;
    let Some(row) = rows.next()? else {
        tracing::warn!(recipient = id, "an outcome for a recipient that is not there");
        writing.leases.borrow_mut().forget(outcome.recipient);
        return Ok(None);
    };
    let destination: String = get(row, "destination")?;
    writing.leases.borrow_mut().end(&destination, outcome.recipient);
    if get::<String>(row, "state")? != "queued" {
        tracing::warn!(recipient = id, "a late outcome for a recipient that is finished");
        return Ok(None);
    }
    let is_final = !matches!(outcome.state, NewState::Deferred { .. } | NewState::Released);
    if !is_final && is_anothers(writing, get(row, "leased")?) {
        tracing::warn!(recipient = id, "a late outcome for a recipient that another node has");
        return Ok(None);
    }
    let message = MessageId(get(row, "message")?);
    let due = match outcome.state {
        NewState::Delivered | NewState::Relayed | NewState::Failed | NewState::Bounced => {
            let is_delivered = matches!(outcome.state, NewState::Delivered | NewState::Relayed);
            let state = if is_delivered { "delivered" } else { "failed" };
            connection.prepare_cached(FINISH)?.execute(params![id, state])?;
            connection.prepare_cached(ONE_LESS_UNFINISHED)?.execute([message.0])?;
            None
        }
        NewState::Deferred { until } => {
            connection.prepare_cached(DEFER)?.execute(params![id, until.as_micros()])?;
            Some(until)
        }
        NewState::Released => {
            if writing.node.is_some() {
                connection.prepare_cached(RELEASE)?.execute([id])?;
            }
            Some(time(row, "next_attempt_at")?)
        }
    };
    is_free(writing, &destination, due)?;
    let (domain, address): (String, String) = (get(row, "domain")?, get(row, "address")?);
    if !outcome.events.is_empty() {
        let tags = if get(row, "is_notification")? { None } else { Some(get::<String>(row, "tags")?) };
        writing.counts.know(message, tags.as_deref());
    }
    for new in &outcome.events {
        event::insert(writing, now, message, &domain, &address, new)?;
    }
    if get(row, "has_dsn")? {
        dsn::tell(writing, now, message, id, outcome.state, &outcome.events)?;
    }
    if outcome.state == NewState::Bounced {
        suppression::bounced(writing, now, &domain, &address, &outcome.events)?;
    }
    Ok(Some(Recorded { message, domain, destination, address }))
}

/// Nobody has a recipient any more, who is due then if he is not finished.
///
/// The line of his destination is never later than what waits there. While others of it are being tried it may be
/// earlier, which the next claim puts right; when nobody is, it is brought up to date.
fn is_free(writing: &Writing<'_>, destination: &str, due: Option<Timestamp>) -> Result<(), StoreError> {
    if writing.leases.borrow().count(destination) == 0 {
        writing.touch(destination);
    }
    match due {
        Some(due) => site::due_no_later_than(writing, destination, due),
        None => Ok(()),
    }
}

/// Leases a recipient to whoever claims.
pub(super) fn take(
    writing: &Writing<'_>,
    destination: &str,
    recipient: RecipientId,
    until: Timestamp,
) -> Result<(), StoreError> {
    match writing.node {
        Some(node) => {
            writing.connection.prepare_cached(TAKE)?.execute(params![recipient.0, until.as_micros(), node.0])?;
        }
        None => writing.leases.borrow_mut().begin(destination, recipient, until),
    }
    Ok(())
}

/// Whether another node has a recipient, by what its row says.
fn is_anothers(writing: &Writing<'_>, leased: i64) -> bool {
    writing.node.is_some_and(|node| leased != 0 && leased != node.0)
}

/// Frees what a node had leased.
pub(super) fn release_of_node(writing: &Writing<'_>, node: NodeId) -> Result<u64, StoreError> {
    let mut release = writing.connection.prepare_cached(RELEASE_OF_NODE)?;
    let destinations: Vec<String> = release.query_map([node.0], |row| row.get(0))?.collect::<Result<_, _>>()?;
    destinations.iter().for_each(|destination| writing.touch(destination));
    Ok(destinations.len() as u64)
}

/// Frees what is leased, and writes the lines of all destinations and sites anew. A node frees its own.
fn release_all(writing: &Writing<'_>) -> Result<u64, StoreError> {
    if let Some(node) = writing.node {
        return release_of_node(writing, node);
    }
    let released = writing.leases.borrow().total();
    writing.leases.borrow_mut().clear();
    writing.connection.prepare_cached(RELEASE_ALL)?.execute(NONE)?;
    site::find_all(writing)?;
    Ok(released as u64)
}
