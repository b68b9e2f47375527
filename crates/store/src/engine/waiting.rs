//! What waits, a page at a time by an index, and orders about it.

use std::collections::BTreeSet;

use rusqlite::params;
use smtp::Domain;

use super::dropped::dropped;
use super::row::{get, optional_time, time};
use super::sql::{Connection, Error, OptionalExtension, Row};
use super::writer::Writing;
use super::{Engine, queue, site};
use crate::waiting::{HELD, LastFailure, ORDERED_AT_ONCE, Order, Waiting, WaitingPlace, WaitingQuery, Whom};
use crate::{MessageKey, NewState, RecipientId, RecipientOutcome, StoreError, Timestamp};

/// Most recipients in one transaction. Whoever waits to write waits no longer than this takes.
const AT_ONCE: usize = 250;

/// Along the queue: by destination, then by time.
pub(super) const OF_ALL: &str = "
    SELECT id, message, destination, due_at FROM recipient INDEXED BY recipient_due
    WHERE due_at IS NOT NULL AND (destination, due_at, id) > (?1, ?2, ?3)
    ORDER BY destination, due_at, id LIMIT ?4";
pub(super) const OF_DESTINATION: &str = "
    SELECT id, message, destination, due_at FROM recipient INDEXED BY recipient_due
    WHERE destination = ?1 AND due_at IS NOT NULL AND (due_at, id) > (?2, ?3)
    ORDER BY due_at, id LIMIT ?4";
/// Along the messages of a domain that are still to be delivered.
pub(super) const OF_DOMAIN: &str = "
    SELECT r.id, r.message, r.destination, r.due_at
    FROM message AS m INDEXED BY message_unfinished
    CROSS JOIN recipient AS r INDEXED BY recipient_message ON r.message = m.id
    WHERE m.domain = ?1 AND m.unfinished > 0 AND m.id >= ?2 AND r.due_at IS NOT NULL
        AND (m.id, r.destination, r.id) > (?2, ?6, ?3) AND (r.destination = ?5 OR ?5 IS NULL)
    ORDER BY m.id, r.destination, r.id LIMIT ?4";
const ONE: &str = "
    SELECT r.address, r.attempts, r.next_attempt_at, r.due_at, m.key, m.message_id, m.domain, m.header_from, m.subject,
        m.accepted_at, m.expires_at
    FROM recipient r JOIN message m ON m.id = r.message WHERE r.id = ?1";
pub(super) const LAST: &str = "
    SELECT at, code, text, mx_host FROM event INDEXED BY event_recipient
    WHERE domain = ?1 AND recipient = ?2 COLLATE NOCASE AND message = ?3 AND kind = 'failed'
    ORDER BY at DESC LIMIT 1";

const ORDERED: &str = "
    SELECT r.destination, r.attempts, r.due_at, m.domain, r.attempts = 0 AND r.next_attempt_at > ?2 AS is_scheduled
    FROM recipient r JOIN message m ON m.id = r.message WHERE r.id = ?1 AND r.due_at IS NOT NULL
        AND (r.leased = 0 OR r.due_at <= ?2)";
const DUE_NOW: &str = "UPDATE recipient SET due_at = ?2, next_attempt_at = ?2 WHERE id = ?1";
const NOT_DUE: &str = "UPDATE recipient SET due_at = ?2 WHERE id = ?1";
const DUE_AGAIN: &str = "UPDATE recipient SET due_at = next_attempt_at WHERE id = ?1 RETURNING due_at";

impl Engine {
    pub(crate) async fn waiting(&self, query: WaitingQuery) -> Result<Vec<Waiting>, StoreError> {
        self.readers
            .run(move |connection| {
                let found = found(connection, &query)?;
                found.into_iter().map(|(place, message)| one(connection, place, message)).collect()
            })
            .await
    }

    pub(crate) async fn order(&self, order: Order, whom: Whom, domain: Option<&Domain>) -> Result<u64, StoreError> {
        let ids = match whom {
            Whom::Ids(ids) => ids,
            Whom::Destination(destination) => self.ids(domain, Some(destination)).await?,
            Whom::All => self.ids(domain, None).await?,
        };
        let mut total = 0;
        for some in ids.chunks(AT_ONCE) {
            let (some, domain) = (some.to_vec(), domain.map(ToString::to_string));
            let carry_out = move |writing: &Writing<'_>| carry_out(writing, order, &some, domain.as_deref());
            total += self.writer.run(0, carry_out).await?;
        }
        Ok(total)
    }

    async fn ids(&self, domain: Option<&Domain>, destination: Option<Domain>) -> Result<Vec<RecipientId>, StoreError> {
        let query = WaitingQuery { domain: domain.cloned(), destination, after: None, limit: ORDERED_AT_ONCE };
        let all = move |connection: &Connection| found(connection, &query);
        Ok(self.readers.run(all).await?.into_iter().map(|(place, _)| place.recipient).collect())
    }
}

/// The places of the page, each with its message.
fn found(connection: &Connection, query: &WaitingQuery) -> Result<Vec<(WaitingPlace, i64)>, StoreError> {
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let (after, first, recipient) = match &query.after {
        Some(place) => (place.destination.as_str(), place.first, place.recipient.0),
        None => ("", i64::MIN, i64::MIN),
    };
    let destination = query.destination.as_ref().map(Domain::as_str);
    let by_message = query.domain.is_some();
    let read = |row: Row<'_>| {
        let (id, message, destination, due): (i64, i64, String, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let first = if by_message { message } else { due };
        Ok((WaitingPlace { destination, first, recipient: RecipientId(id) }, message))
    };
    let places: Result<Vec<_>, Error> = match (&query.domain, destination) {
        (Some(domain), destination) => {
            let values = params![domain.as_str(), first, recipient, limit, destination, after];
            connection.prepare_cached(OF_DOMAIN)?.query_map(values, read)?.collect()
        }
        (None, Some(destination)) => {
            let values = params![destination, first, recipient, limit];
            connection.prepare_cached(OF_DESTINATION)?.query_map(values, read)?.collect()
        }
        (None, None) => {
            let values = params![after, first, recipient, limit];
            connection.prepare_cached(OF_ALL)?.query_map(values, read)?.collect()
        }
    };
    Ok(places?)
}

fn one(connection: &Connection, place: WaitingPlace, message: i64) -> Result<Waiting, StoreError> {
    let mut select = connection.prepare_cached(ONE)?;
    let mut rows = select.query([place.recipient.0])?;
    let row = rows.next()?.ok_or_else(|| super::row::damaged("queue"))?;
    let (domain, recipient): (String, String) = (get(row, "domain")?, get(row, "address")?);
    Ok(Waiting {
        id: place.recipient,
        key: MessageKey(get(row, "key")?),
        message_id: get(row, "message_id")?,
        from: get(row, "header_from")?,
        subject: get(row, "subject")?,
        accepted_at: time(row, "accepted_at")?,
        attempts: get(row, "attempts")?,
        next_attempt_at: time(row, "next_attempt_at")?,
        expires_at: optional_time(row, "expires_at")?,
        is_held: time(row, "due_at")? == HELD,
        last: last(connection, &domain, &recipient, message)?,
        place,
        domain,
        recipient,
    })
}

fn last(
    connection: &Connection,
    domain: &str,
    recipient: &str,
    message: i64,
) -> Result<Option<LastFailure>, StoreError> {
    let read = |row: Row<'_>| {
        Ok(LastFailure {
            at: Timestamp::from_micros(row.get(0)?),
            code: row.get::<_, Option<i64>>(1)?.unwrap_or_default(),
            text: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
            mx_host: row.get(3)?,
        })
    };
    Ok(connection.prepare_cached(LAST)?.query_row(params![domain, recipient, message], read).optional()?)
}

fn carry_out(
    writing: &Writing<'_>,
    order: Order,
    ids: &[RecipientId],
    domain: Option<&str>,
) -> Result<u64, StoreError> {
    let now = Timestamp::now();
    let (mut done, mut removed, mut touched) = (0, Vec::new(), BTreeSet::new());
    for id in ids {
        let mut select = writing.connection.prepare_cached(ORDERED)?;
        let read = |row: Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
        let found: Option<(String, u32, i64, String, bool)> =
            select.query_row(params![id.0, now.as_micros()], read).optional()?;
        let Some((destination, attempts, due, of, is_scheduled)) = found else { continue };
        let is_anothers = domain.is_some_and(|domain| domain != of);
        if is_anothers || writing.leases.borrow().holds(&destination, *id, now) {
            continue;
        }
        let is_held = due == HELD.as_micros();
        match order {
            Order::Remove => removed.push((*id, attempts)),
            // Its sender wants it later.
            Order::Retry if is_scheduled => continue,
            Order::Retry => {
                set(writing, DUE_NOW, *id, now)?;
                site::let_go(writing, &destination)?;
            }
            Order::Hold if is_held => continue,
            Order::Hold => set(writing, NOT_DUE, *id, HELD)?,
            Order::Release if !is_held => continue,
            Order::Release => {
                writing.connection.prepare_cached(DUE_AGAIN)?.query_row([id.0], |row| row.get::<_, i64>(0))?;
            }
        }
        touched.insert(destination);
        done += 1;
    }
    let outcome = |(recipient, attempts): &(RecipientId, u32)| RecipientOutcome {
        recipient: *recipient,
        state: NewState::Failed,
        events: vec![dropped(*attempts)],
    };
    let outcomes: Vec<_> = removed.iter().map(outcome).collect();
    queue::record_all(writing, now, &outcomes)?;
    // The lines of destinations and their sites say when the first of them is due.
    site::refresh(writing, touched.iter().map(String::as_str))?;
    Ok(done)
}

fn set(writing: &Writing<'_>, sql: &str, id: RecipientId, due: Timestamp) -> Result<(), StoreError> {
    writing.connection.prepare_cached(sql)?.execute(params![id.0, due.as_micros()])?;
    Ok(())
}
