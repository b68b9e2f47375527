//! The queue: recipients claimed under a lease, and what became of them.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{OptionalExtension, Rows, params};
use smtp::{Domain, EnhancedCode};

use super::posture::{Recorded, Tally};
use super::row::{from_json, get, number, optional_json, optional_time, parsed, resolved, time, to_json};
use super::writer::Writing;
use super::{Engine, event, suppression};
use crate::{
    AttemptRecord, Claim, ClaimedRecipient, EventKind, FailureReason, Job, MessageId, NewEvent, NewState,
    RECIPIENTS_PER_JOB, RecipientId, RecipientOutcome, Severity, StoreError, Timestamp,
};

/// About how many octets one outcome and its events take in the tables.
const OCTETS_PER_OUTCOME: usize = 4096;

/// Due destinations, the longest waiting first. Goes along `destination_due` and steps over those that are busy.
pub(super) const DUE_DESTINATIONS: &str = "
    SELECT name FROM destination INDEXED BY destination_due
    WHERE due_at <= ?1 AND name NOT IN (SELECT value FROM json_each(?2))
    ORDER BY due_at LIMIT ?3";

/// The recipient at a destination that has waited longest, and its message: the first entry in `recipient_due`.
pub(super) const OLDEST_OF_DESTINATION: &str = "
    SELECT message, id FROM recipient INDEXED BY recipient_due
    WHERE destination = ?1 AND due_at <= ?2
    ORDER BY due_at LIMIT 1";

/// The due recipients of a message at a destination.
pub(super) const DUE_OF_MESSAGE: &str = "
    SELECT id, address, attempts FROM recipient INDEXED BY recipient_message
    WHERE message = ?1 AND destination = ?2 AND due_at <= ?3
    ORDER BY id LIMIT ?4";

/// A recipient alone, where each one gets a copy of its own.
const ONE_OF_MESSAGE: &str = "
    SELECT id, address, attempts FROM recipient
    WHERE id = ?1 AND EXISTS (SELECT 1 FROM message WHERE message.id = recipient.message AND copy_plan IS NOT NULL)";

const WAITING_AT_DESTINATION: &str =
    "SELECT id FROM recipient INDEXED BY recipient_due WHERE destination = ?1 AND due_at IS NOT NULL";

const LEASE: &str = "UPDATE recipient SET due_at = ?2, leased = 1 WHERE id = ?1";

const JOB: &str = "
    SELECT domain, return_path, message_id, size, require_tls, require_tls_from, skip_verification,
        skip_verification_from, tls_fallback, tls_failure, tls_tag, tags, dkim, accepted_at, expires_at, copy_plan
    FROM message WHERE id = ?1";

pub(super) const NEXT_DUE: &str =
    "SELECT due_at FROM destination INDEXED BY destination_due WHERE due_at > ?1 ORDER BY due_at LIMIT 1";

const RECIPIENT: &str = "
    SELECT r.message, r.destination, r.address, r.state, r.next_attempt_at, m.domain
    FROM recipient r JOIN message m ON m.id = r.message WHERE r.id = ?1";

const FINISH: &str =
    "UPDATE recipient SET state = ?2, due_at = NULL, leased = 0, attempts = attempts + 1 WHERE id = ?1";
const DEFER: &str = "
    UPDATE recipient SET next_attempt_at = ?2, due_at = ?2, leased = 0, attempts = attempts + 1 WHERE id = ?1";
const RELEASE: &str = "UPDATE recipient SET due_at = next_attempt_at, leased = 0 WHERE id = ?1";
const ONE_LESS_UNFINISHED: &str = "UPDATE message SET unfinished = unfinished - 1 WHERE id = ?1";

const RELEASE_ALL: &str = "UPDATE recipient SET due_at = next_attempt_at, leased = 0 WHERE leased = 1";

const DUE_NO_LATER_THAN: &str = "
    INSERT INTO destination (name, due_at) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at WHERE excluded.due_at < due_at";
pub(super) const FIRST_DUE_OF_DESTINATION: &str = "
    SELECT due_at FROM recipient INDEXED BY recipient_due
    WHERE destination = ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1";
const SET_DESTINATION: &str = "
    INSERT INTO destination (name, due_at) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at";
const FORGET_DESTINATION: &str = "DELETE FROM destination WHERE name = ?1";
const FORGET_DESTINATIONS: &str = "DELETE FROM destination";
pub(super) const FIND_DESTINATIONS: &str = "
    INSERT INTO destination (name, due_at)
    SELECT destination, min(due_at) FROM recipient INDEXED BY recipient_due
    WHERE due_at IS NOT NULL GROUP BY destination";

const COUNT: &str = "SELECT count(*) FROM recipient INDEXED BY recipient_due WHERE due_at IS NOT NULL";

impl Engine {
    pub(crate) async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Job>, StoreError> {
        if claim.lease_until <= claim.now {
            return Err(StoreError::Invalid("a lease must end after it begins".to_owned()));
        }
        let ask = Ask {
            now: claim.now,
            lease_until: claim.lease_until,
            limit: claim.limit,
            per_destination: claim.per_destination,
            busy: to_json(&claim.busy)?,
        };
        self.writer.run(0, move |writing| ask.jobs(writing)).await
    }

    pub(crate) async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(NEXT_DUE)?;
                let due = select.query_row([now.as_micros()], |row| row.get(0)).optional()?;
                Ok(due.map(Timestamp::from_micros))
            })
            .await
    }

    pub(crate) async fn record(&self, now: Timestamp, outcomes: Vec<RecipientOutcome>) -> Result<(), StoreError> {
        let octets = OCTETS_PER_OUTCOME * outcomes.len();
        self.writer.run(octets, move |writing| record_all(writing, now, &outcomes)).await
    }

    pub(crate) async fn release_leases(&self) -> Result<u64, StoreError> {
        self.writer.run(0, release_all).await
    }

    pub(crate) async fn queued(&self) -> Result<u64, StoreError> {
        let count =
            |connection: &rusqlite::Connection| Ok(connection.query_row(COUNT, [], |row| row.get::<_, i64>(0))?);
        self.readers.run(count).await.map(i64::unsigned_abs)
    }
}

/// A claim in the form in which the writer can keep it.
struct Ask {
    now: Timestamp,
    lease_until: Timestamp,
    limit: usize,
    per_destination: usize,
    busy: String,
}

impl Ask {
    /// In rounds: a job for each due destination, then a second one for each, and so on. So no destination, however
    /// much it has waiting, keeps another one from its turn.
    fn jobs(&self, writing: &Writing<'_>) -> Result<Vec<Job>, StoreError> {
        let destinations = self.destinations(writing)?;
        let mut open: Vec<&Domain> = destinations.iter().collect();
        let mut jobs = Vec::new();
        for _ in 0..self.per_destination {
            let mut with_more = Vec::new();
            for destination in open {
                if jobs.len() == self.limit {
                    break;
                }
                if let Some(job) = self.job(writing, destination)? {
                    jobs.push(job);
                    with_more.push(destination);
                }
            }
            open = with_more;
        }
        for destination in &destinations {
            refresh(writing, destination.as_str())?;
        }
        Ok(jobs)
    }

    fn destinations(&self, writing: &Writing<'_>) -> Result<Vec<Domain>, StoreError> {
        let mut select = writing.connection.prepare_cached(DUE_DESTINATIONS)?;
        let mut rows = select.query(params![self.now.as_micros(), self.busy, number(self.limit as u64)])?;
        let mut names = Vec::new();
        let mut unreadable = Vec::new();
        while let Some(row) = rows.next()? {
            match parsed(row, "name") {
                Ok(name) => names.push(name),
                Err(_) => unreadable.push(get::<String>(row, "name")?),
            }
        }
        drop(rows);
        for name in unreadable {
            self.give_up_destination(writing, &name)?;
        }
        Ok(names)
    }

    /// The next job for a destination. What cannot be read is given up, so that it holds up nobody else.
    fn job(&self, writing: &Writing<'_>, destination: &Domain) -> Result<Option<Job>, StoreError> {
        let mut oldest = writing.connection.prepare_cached(OLDEST_OF_DESTINATION)?;
        loop {
            let values = params![destination.as_str(), self.now.as_micros()];
            let found = oldest.query_row(values, |row| Ok((MessageId(row.get(0)?), RecipientId(row.get(1)?))));
            let Some((message, first)) = found.optional()? else { return Ok(None) };
            let recipients = self.lease(writing, message, first, destination)?;
            let ids: Vec<RecipientId> = recipients.iter().map(|recipient| recipient.id).collect();
            if ids.is_empty() {
                continue;
            }
            match job_of(writing, message, destination, recipients) {
                Err(StoreError::Damaged(what)) => self.give_up(writing, &ids, &what)?,
                job => return job,
            }
        }
    }

    fn lease(
        &self,
        writing: &Writing<'_>,
        message: MessageId,
        first: RecipientId,
        destination: &Domain,
    ) -> Result<Vec<ClaimedRecipient>, StoreError> {
        let connection = writing.connection;
        let mut one = connection.prepare_cached(ONE_OF_MESSAGE)?;
        let (mut recipients, mut unreadable) = claimed(one.query([first.0])?)?;
        if recipients.is_empty() && unreadable.is_empty() {
            let mut select = connection.prepare_cached(DUE_OF_MESSAGE)?;
            let most = number(RECIPIENTS_PER_JOB as u64);
            let values = params![message.0, destination.as_str(), self.now.as_micros(), most];
            (recipients, unreadable) = claimed(select.query(values)?)?;
        }
        self.give_up(writing, &unreadable, "unreadable recipient")?;
        let mut lease = connection.prepare_cached(LEASE)?;
        for recipient in &recipients {
            lease.execute(params![recipient.id.0, self.lease_until.as_micros()])?;
        }
        Ok(recipients)
    }

    /// Damage, or a row of an older program that this one understands no more. Reported failed, since nobody will ever
    /// be able to deliver it.
    fn give_up(&self, writing: &Writing<'_>, ids: &[RecipientId], what: &str) -> Result<(), StoreError> {
        for id in ids {
            tracing::error!(recipient = id.0, what, "the store is damaged: a recipient is given up");
            let outcome = RecipientOutcome { recipient: *id, state: NewState::Failed, events: vec![given_up(what)] };
            record_one(writing, self.now, &outcome)?;
        }
        Ok(())
    }

    fn give_up_destination(&self, writing: &Writing<'_>, name: &str) -> Result<(), StoreError> {
        let ids: Vec<RecipientId> = writing
            .connection
            .prepare_cached(WAITING_AT_DESTINATION)?
            .query_map([name], |row| row.get(0).map(RecipientId))?
            .collect::<Result<_, _>>()?;
        self.give_up(writing, &ids, "unreadable destination")?;
        refresh(writing, name)
    }
}

/// The recipients that can be read, and the numbers of those that cannot.
fn claimed(mut rows: Rows<'_>) -> Result<(Vec<ClaimedRecipient>, Vec<RecipientId>), StoreError> {
    let (mut recipients, mut unreadable) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let id = RecipientId(get(row, "id")?);
        match (parsed(row, "address"), get(row, "attempts")) {
            (Ok(address), Ok(attempts)) => recipients.push(ClaimedRecipient { id, address, attempts }),
            _ => unreadable.push(id),
        }
    }
    Ok((recipients, unreadable))
}

fn job_of(
    writing: &Writing<'_>,
    message: MessageId,
    destination: &Domain,
    recipients: Vec<ClaimedRecipient>,
) -> Result<Option<Job>, StoreError> {
    let mut select = writing.connection.prepare_cached(JOB)?;
    let mut rows = select.query([message.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Job {
        message,
        domain: parsed(row, "domain")?,
        destination: destination.clone(),
        return_path: get(row, "return_path")?,
        message_id: get(row, "message_id")?,
        tls: resolved(row)?,
        tags: from_json(row, "tags")?,
        dkim: get(row, "dkim")?,
        size: get::<i64>(row, "size")?.unsigned_abs(),
        recipients,
        copy_plan: optional_json(row, "copy_plan")?,
        expires_at: optional_time(row, "expires_at")?,
        accepted_at: time(row, "accepted_at")?,
    }))
}

/// No attempt was made, and none will be.
fn given_up(what: &str) -> NewEvent {
    let attempt = AttemptRecord {
        attempt_no: 0,
        code: 554,
        enhanced_code: Some(EnhancedCode::new(5, 3, 0)),
        message: format!("the store is damaged: {what}"),
        description: String::new(),
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
        reason: Some(FailureReason::Generic),
        attempt: Some(attempt),
    }
}

fn record_all(writing: &Writing<'_>, now: Timestamp, outcomes: &[RecipientOutcome]) -> Result<(), StoreError> {
    let mut destinations = BTreeSet::new();
    let mut tally = Tally::default();
    for outcome in outcomes {
        let Some(recorded) = record_one(writing, now, outcome)? else { continue };
        tally.add(&recorded, &outcome.events);
        destinations.insert(recorded.destination);
    }
    tally.write(writing, now)?;
    for destination in destinations {
        refresh(writing, &destination)?;
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
        return Ok(None);
    };
    if get::<String>(row, "state")? != "queued" {
        tracing::warn!(recipient = id, "a late outcome for a recipient that is finished");
        return Ok(None);
    }
    let message = MessageId(get(row, "message")?);
    match outcome.state {
        NewState::Delivered | NewState::Failed | NewState::Bounced => {
            let state = if outcome.state == NewState::Delivered { "delivered" } else { "failed" };
            connection.prepare_cached(FINISH)?.execute(params![id, state])?;
            connection.prepare_cached(ONE_LESS_UNFINISHED)?.execute([message.0])?;
        }
        NewState::Deferred { until } => {
            connection.prepare_cached(DEFER)?.execute(params![id, until.as_micros()])?;
        }
        NewState::Released => {
            connection.prepare_cached(RELEASE)?.execute([id])?;
        }
    }
    let (domain, address): (String, String) = (get(row, "domain")?, get(row, "address")?);
    for new in &outcome.events {
        event::insert(writing, now, message, &domain, &address, new)?;
    }
    if outcome.state == NewState::Bounced {
        suppression::bounced(writing, now, &domain, &address, &outcome.events)?;
    }
    Ok(Some(Recorded { message, domain, destination: get(row, "destination")?, address }))
}

/// Frees what is leased, and writes the lines of all destinations anew: a destination without a line would never be
/// claimed again, and this runs at each start.
fn release_all(writing: &Writing<'_>) -> Result<u64, StoreError> {
    let released = writing.connection.prepare_cached(RELEASE_ALL)?.execute([])?;
    writing.connection.prepare_cached(FORGET_DESTINATIONS)?.execute([])?;
    writing.connection.prepare_cached(FIND_DESTINATIONS)?.execute([])?;
    Ok(released as u64)
}

/// Something of this destination becomes due at `due`.
pub(super) fn due_no_later_than(writing: &Writing<'_>, destination: &str, due: Timestamp) -> Result<(), StoreError> {
    writing.connection.prepare_cached(DUE_NO_LATER_THAN)?.execute(params![destination, due.as_micros()])?;
    Ok(())
}

/// Brings the line of a destination up to date with its recipients.
fn refresh(writing: &Writing<'_>, destination: &str) -> Result<(), StoreError> {
    let connection = writing.connection;
    let first: Option<i64> =
        connection.prepare_cached(FIRST_DUE_OF_DESTINATION)?.query_row([destination], |row| row.get(0)).optional()?;
    match first {
        Some(due) => connection.prepare_cached(SET_DESTINATION)?.execute(params![destination, due])?,
        None => connection.prepare_cached(FORGET_DESTINATION)?.execute([destination])?,
    };
    Ok(())
}
