//! What one domain has beyond its limits goes, a little at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::params;
use smtp::Domain;

use super::domain::{Failed, one};
use super::purge::{ROWS_AT_ONCE, WIRES_AT_ONCE};
use super::row::{get, number};
use super::sql::{Connection, OptionalExtension, Row};
use super::writer::Writing;
use super::{Engine, purge};
use crate::retention::{Retention, RetentionChange};
use crate::{Purged, SendingDomain, StoreError, Timestamp};

/// Times are seconds. `message_kept` takes the place of an index by age alone: it holds finished messages with content and
/// no others, and tells how much of it each domain has.
pub(super) const TABLES: &str = "
ALTER TABLE domain ADD COLUMN event_retention INTEGER;
ALTER TABLE domain ADD COLUMN content_retention INTEGER;
ALTER TABLE domain ADD COLUMN event_limit INTEGER;
ALTER TABLE domain ADD COLUMN content_limit INTEGER;
DROP INDEX message_wire_age;
CREATE INDEX message_kept ON message (domain, accepted_at, size) WHERE unfinished = 0 AND wire_kept = 1;
";

/// A search ends after some seconds, and holds up the log of changes until then: what is much is counted in parts.
const ROWS_COUNTED_AT_ONCE: u64 = if cfg!(test) { 3 } else { 500_000 };

const UPDATE: &str = "
    UPDATE domain SET
        event_retention = CASE WHEN ?2 = 1 THEN ?3 ELSE event_retention END, content_retention = CASE WHEN ?4 = 1 THEN ?5 ELSE content_retention END,
        event_limit = CASE WHEN ?6 = 1 THEN ?7 ELSE event_limit END, content_limit = CASE WHEN ?8 = 1 THEN ?9 ELSE content_limit END
    WHERE name = ?1 RETURNING *";
const OF_DOMAIN: &str = "SELECT * FROM domain WHERE name = ?1";

/// The first domain after one that has content, or events; of deleted ones too.
pub(super) const NEXT_WITH_CONTENT: &str = "
    SELECT domain FROM message INDEXED BY message_kept
    WHERE unfinished = 0 AND wire_kept = 1 AND domain > ?1 ORDER BY domain LIMIT 1";
pub(super) const NEXT_WITH_EVENTS: &str =
    "SELECT domain FROM event INDEXED BY event_domain WHERE domain > ?1 ORDER BY domain LIMIT 1";

pub(super) const CONTENTS: &str = "
    SELECT accepted_at, size FROM message INDEXED BY message_kept
    WHERE unfinished = 0 AND wire_kept = 1 AND domain = ?1 AND accepted_at < ?2 ORDER BY accepted_at DESC LIMIT ?3";
/// The last of so many events, from the latest before a time on.
pub(super) const LAST_OF: &str =
    "SELECT at FROM event INDEXED BY event_domain WHERE domain = ?1 AND at < ?2 ORDER BY at DESC LIMIT 1 OFFSET ?3";
/// In order of time, so that those that have to stay are passed once.
pub(super) const EVENTS: &str = "
    SELECT event.at, event.message FROM event INDEXED BY event_domain CROSS JOIN message ON message.id = event.message
    WHERE event.domain = ?1 AND event.at > ?2 AND event.at < ?3 AND message.unfinished = 0
    ORDER BY event.at LIMIT ?4";
const DELETE_EVENT: &str = "DELETE FROM event WHERE at = ?1";
/// Its content and its recipients go with it, by their foreign keys.
const DELETE_MESSAGE: &str = "
    DELETE FROM message
    WHERE id = ?1 AND unfinished = 0 AND NOT EXISTS (SELECT 1 FROM event WHERE event.message = message.id)
        AND NOT EXISTS (SELECT 1 FROM notice WHERE notice.message = message.id)";

impl Engine {
    pub(crate) async fn limit_domain(
        &self,
        name: &Domain,
        limits: RetentionChange,
    ) -> Result<Option<SendingDomain>, StoreError> {
        let name = name.clone();
        self.writer.run(0, move |writing| Ok(update(writing.connection, &name, limits)?)).await
    }

    pub(crate) async fn purge_domains(&self, now: Timestamp, general: Retention) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        let mut after = String::new();
        while let Some(domain) = self.next_domain(NEXT_WITH_CONTENT, &after).await? {
            let limits = self.limits_of(&domain).await?.and(general);
            let before = latest(before(now, limits.contents), self.contents_beyond(&domain, limits.most_octets).await?);
            if let Some(before) = before {
                purged.wires += self.purge_wires(&domain, before).await?;
            }
            after = domain;
        }
        after.clear();
        while let Some(domain) = self.next_domain(NEXT_WITH_EVENTS, &after).await? {
            let limits = self.limits_of(&domain).await?.and(general);
            let before = latest(before(now, limits.events), self.events_beyond(&domain, limits.most_events).await?);
            if let Some(before) = before {
                self.purge_events(&domain, before, &mut purged).await?;
            }
            after = domain;
        }
        Ok(purged)
    }

    /// Deletes the content of a domain's finished messages that were accepted before `before`.
    pub(super) async fn purge_wires(&self, domain: &str, before: i64) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let domain = domain.to_owned();
            let done = self.writer.run(0, move |writing| purge::some_wires(writing, &domain, before)).await?;
            total += done;
            if done < WIRES_AT_ONCE.unsigned_abs() {
                return Ok(total);
            }
        }
    }

    /// The first domain after `after` that `select` finds.
    pub(super) async fn next_domain(&self, select: &'static str, after: &str) -> Result<Option<String>, StoreError> {
        let after = after.to_owned();
        self.readers
            .run(move |connection| {
                Ok(connection.prepare_cached(select)?.query_row([after], |row| row.get(0)).optional()?)
            })
            .await
    }

    async fn limits_of(&self, domain: &str) -> Result<Retention, StoreError> {
        let domain = domain.to_owned();
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(OF_DOMAIN)?;
                let mut rows = select.query([domain])?;
                rows.next()?.map(retention).transpose().map(Option::unwrap_or_default)
            })
            .await
    }

    /// Before when the content of messages is more than `most` octets.
    async fn contents_beyond(&self, domain: &str, most: Option<u64>) -> Result<Option<i64>, StoreError> {
        let Some(most) = most else { return Ok(None) };
        let (mut octets, mut before) = (0u64, i64::MAX);
        loop {
            let domain = domain.to_owned();
            let counted = self.readers.run(move |connection| sum(connection, &domain, before, octets, most)).await?;
            match counted {
                Counted::Beyond(before) => return Ok(Some(before)),
                Counted::More { octets: so_far, before: rest } => (octets, before) = (so_far, rest),
                Counted::All => return Ok(None),
            }
        }
    }

    /// Before when events are more than `most`.
    async fn events_beyond(&self, domain: &str, most: Option<u64>) -> Result<Option<i64>, StoreError> {
        let Some(mut left) = most else { return Ok(None) };
        let mut before = i64::MAX;
        while left > 0 {
            let (domain, step) = (domain.to_owned(), left.min(ROWS_COUNTED_AT_ONCE));
            let last = self.readers.run(move |connection| {
                let mut select = connection.prepare_cached(LAST_OF)?;
                Ok(select.query_row(params![domain, before, number(step - 1)], |row| row.get(0)).optional()?)
            });
            match last.await? {
                Some(at) => before = at,
                None => return Ok(None),
            }
            left -= step;
        }
        Ok(Some(before))
    }

    async fn purge_events(&self, domain: &str, before: i64, purged: &mut Purged) -> Result<(), StoreError> {
        let mut after = i64::MIN;
        loop {
            let domain = domain.to_owned();
            let gone = self.writer.run(0, move |writing| some_events(writing, &domain, after, before)).await?;
            purged.events += gone.events;
            let messages: Vec<i64> = gone.messages.into_iter().collect();
            for some in messages.chunks(WIRES_AT_ONCE as usize) {
                let some = some.to_vec();
                purged.messages += self.writer.run(0, move |writing| forgotten(writing, &some)).await?;
            }
            match gone.last {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }
}

/// Changes the limits of a domain.
pub(super) fn update(
    connection: &Connection,
    name: &Domain,
    limits: RetentionChange,
) -> Result<Option<SendingDomain>, Failed> {
    let seconds = |limit: Option<Option<Duration>>| limit.flatten().map(|time| number(time.as_secs()));
    let RetentionChange { events, contents, most_events, most_octets } = limits;
    let mut update = connection.prepare_cached(UPDATE).map_err(Failed::Statement)?;
    let values = params![
        name.as_str(),
        events.is_some(),
        seconds(events),
        contents.is_some(),
        seconds(contents),
        most_events.is_some(),
        most_events.flatten().map(number),
        most_octets.is_some(),
        most_octets.flatten().map(number),
    ];
    one(update.query(values).map_err(Failed::Statement)?)
}

/// The limits in the row of a domain.
pub(super) fn retention(row: Row<'_>) -> Result<Retention, StoreError> {
    let limit = |column| Ok::<_, StoreError>(get::<Option<i64>>(row, column)?.map(i64::unsigned_abs));
    Ok(Retention {
        events: limit("event_retention")?.map(Duration::from_secs),
        contents: limit("content_retention")?.map(Duration::from_secs),
        most_events: limit("event_limit")?,
        most_octets: limit("content_limit")?,
    })
}

fn before(now: Timestamp, kept: Option<Duration>) -> Option<i64> {
    kept.map(|kept| (now - kept).as_micros())
}

fn latest(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.max(other)
}

/// How far counting octets has come.
enum Counted {
    /// There are more than may be, by what was accepted before this.
    Beyond(i64),
    /// So many until now; what was accepted before this is still to be counted.
    More { octets: u64, before: i64 },
    /// No more than may be.
    All,
}

/// Counts octets of content on from `octets`, from the latest before a time on. Of messages that were accepted in one and
/// the same microsecond some may go uncounted.
fn sum(connection: &Connection, domain: &str, before: i64, octets: u64, most: u64) -> Result<Counted, StoreError> {
    let (mut octets, mut rows_seen, mut last) = (octets, 0, before);
    let mut select = connection.prepare_cached(CONTENTS)?;
    let mut rows = select.query(params![domain, before, number(ROWS_COUNTED_AT_ONCE)])?;
    while let Some(row) = rows.next()? {
        rows_seen += 1;
        last = get(row, "accepted_at")?;
        octets = octets.saturating_add(get::<i64>(row, "size")?.unsigned_abs());
        if octets > most {
            return Ok(Counted::Beyond(last + 1));
        }
    }
    Ok(if rows_seen < ROWS_COUNTED_AT_ONCE { Counted::All } else { Counted::More { octets, before: last } })
}

/// What one step deleted.
struct Gone {
    events: u64,
    /// The time of the last of them, if there may be more.
    last: Option<i64>,
    /// Whose they were.
    messages: BTreeSet<i64>,
}

fn some_events(writing: &Writing<'_>, domain: &str, after: i64, before: i64) -> Result<Gone, StoreError> {
    let mut select = writing.connection.prepare_cached(EVENTS)?;
    let found: Vec<(i64, i64)> = select
        .query_map(params![domain, after, before, ROWS_AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut delete = writing.connection.prepare_cached(DELETE_EVENT)?;
    for (at, _) in &found {
        delete.execute([at])?;
    }
    let events = found.len() as u64;
    let last = found.last().map(|(at, _)| *at).filter(|_| events == ROWS_AT_ONCE.unsigned_abs());
    Ok(Gone { events, last, messages: found.into_iter().map(|(_, message)| message).collect() })
}

/// Deletes those of the messages that no event tells of any more, and says how many these were.
fn forgotten(writing: &Writing<'_>, messages: &[i64]) -> Result<u64, StoreError> {
    let mut delete = writing.connection.prepare_cached(DELETE_MESSAGE)?;
    messages.iter().try_fold(0, |total, id| Ok(total + delete.execute([id])? as u64))
}
