//! The queue of a domain, dropped.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use rusqlite::params;
use smtp::Domain;

use super::writer::Writing;
use super::{Engine, queue};
use crate::{
    AttemptRecord, EventKind, FailureReason, NewEvent, NewState, RecipientId, RecipientOutcome, Severity, StoreError,
    Timestamp,
};

/// The messages of a domain that are still to be delivered.
pub(super) const TABLES: &str = "
CREATE INDEX message_unfinished ON message (domain) WHERE unfinished > 0;
";

/// Most recipients in one transaction. Whoever waits to write waits no longer than this takes.
const AT_ONCE: usize = 250;
/// The code of what no host said: this server will not deliver it.
const CODE: u16 = 554;

pub(super) const SOME: &str = "
    SELECT m.id, r.id, r.attempts, r.destination FROM message AS m INDEXED BY message_unfinished
    CROSS JOIN recipient AS r INDEXED BY recipient_message ON r.message = m.id
    WHERE m.domain = ?1 AND m.unfinished > 0 AND m.id >= ?2 AND m.accepted_at <= ?3
        AND r.due_at IS NOT NULL AND (r.leased = 0 OR r.due_at <= ?3)
    ORDER BY m.id LIMIT ?4";

pub(super) const END_WINDOWS: &str = "
    UPDATE message INDEXED BY message_unfinished SET expires_at = ?2
    WHERE domain = ?1 AND unfinished > 0 AND accepted_at <= ?2 AND (expires_at IS NULL OR expires_at > ?2)";

impl Engine {
    pub(crate) async fn drop_queued(&self, domain: &Domain) -> Result<u64, StoreError> {
        let begun = Timestamp::now();
        self.lock_dropped().insert(domain.clone(), begun);
        let (mut total, mut from) = (0, 0);
        loop {
            let domain = domain.clone();
            let some = move |writing: &Writing<'_>| drop_some(writing, &domain, from, begun);
            let (last, dropped) = self.writer.run(0, some).await?;
            total += dropped as u64;
            from = last;
            if dropped < AT_ONCE {
                break;
            }
        }
        let domain = domain.clone();
        let end = move |writing: &Writing<'_>| {
            let mut end = writing.connection.prepare_cached(END_WINDOWS)?;
            Ok(end.execute(params![domain.as_str(), begun.as_micros()])?)
        };
        self.writer.run(0, end).await?;
        Ok(total)
    }

    pub(crate) fn was_dropped(&self, domain: &Domain, accepted_at: Timestamp) -> bool {
        self.lock_dropped().get(domain).is_some_and(|dropped| accepted_at <= *dropped)
    }

    /// Nothing that holds the lock can fail halfway. There are no more of them than sending domains.
    fn lock_dropped(&self) -> MutexGuard<'_, HashMap<Domain, Timestamp>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what waits of the messages from that number on; tells the last of them, and how many recipients it dropped.
fn drop_some(writing: &Writing<'_>, domain: &Domain, from: i64, begun: Timestamp) -> Result<(i64, usize), StoreError> {
    let mut select = writing.connection.prepare_cached(SOME)?;
    // Those that are being tried are passed over, however many there are.
    let most = AT_ONCE + writing.leases.borrow().total();
    let mut rows = select.query(params![domain.as_str(), from, begun.as_micros(), most as i64])?;
    let mut found = Vec::new();
    while found.len() < AT_ONCE
        && let Some(row) = rows.next()?
    {
        let (message, recipient, attempts): (i64, _, u32) = (row.get(0)?, RecipientId(row.get(1)?), row.get(2)?);
        if !writing.leases.borrow().holds(&row.get::<_, String>(3)?, recipient, begun) {
            found.push((message, recipient, attempts));
        }
    }
    drop(rows);
    let outcome = |(_, recipient, attempts): &(i64, RecipientId, u32)| RecipientOutcome {
        recipient: *recipient,
        state: NewState::Failed,
        events: vec![dropped(*attempts)],
    };
    let outcomes: Vec<_> = found.iter().map(outcome).collect();
    queue::record_all(writing, Timestamp::now(), &outcomes)?;
    Ok((found.last().map_or(from, |(message, ..)| *message), found.len()))
}

/// No further attempt is made.
pub(super) fn dropped(attempts: u32) -> NewEvent {
    let attempt = AttemptRecord {
        description: "dropped from the queue, as its domain was asked to".to_owned(),
        ..AttemptRecord::unconnected(attempts, CODE)
    };
    NewEvent {
        kind: EventKind::Failed,
        severity: Some(Severity::Permanent),
        reason: Some(FailureReason::Dropped),
        attempt: Some(attempt),
    }
}
