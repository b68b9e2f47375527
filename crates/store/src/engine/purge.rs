//! What is old enough goes, a little at a time.

use rusqlite::{ToSql, params};

use super::retention::NEXT_WITH_CONTENT;
use super::writer::Writing;
use super::{Engine, posture};
use crate::{Purge, Purged, StoreError};

/// Most rows of each kind in one transaction. Whoever waits to write waits no longer than this takes.
pub(super) const ROWS_AT_ONCE: i64 = 500;
/// Most contents in one transaction; each may be large.
pub(super) const WIRES_AT_ONCE: i64 = 50;

/// Goes along `message_kept`, which holds finished messages with content and no others.
pub(super) const OLD_WIRES: &str = "
    SELECT id FROM message INDEXED BY message_kept
    WHERE unfinished = 0 AND wire_kept = 1 AND domain = ?3 AND accepted_at < ?1
    ORDER BY accepted_at LIMIT ?2";
const DELETE_WIRE: &str = "DELETE FROM wire WHERE message = ?1";
const MARK_WIRE: &str = "UPDATE message SET wire_kept = 0 WHERE id = ?1";

pub(super) const OLD_EVENTS: &str = "
    SELECT event.at FROM event CROSS JOIN message ON message.id = event.message
    WHERE event.at < ?1 AND message.unfinished = 0
    ORDER BY event.at LIMIT ?2";
const DELETE_EVENT: &str = "DELETE FROM event WHERE at = ?1";

/// Recipients and content go with their message, by their foreign keys. One of which somebody is still to be told stays.
pub(super) const OLD_MESSAGES: &str = "
    SELECT id FROM message INDEXED BY message_age
    WHERE accepted_at < ?1 AND unfinished = 0 AND NOT EXISTS (SELECT 1 FROM event WHERE event.message = message.id)
        AND NOT EXISTS (SELECT 1 FROM notice WHERE notice.message = message.id)
    ORDER BY accepted_at LIMIT ?2";
const DELETE_MESSAGE: &str = "DELETE FROM message WHERE id = ?1";

pub(super) const OLD_HISTORIES: &str = "SELECT id FROM tls_history WHERE last_at < ?1 ORDER BY last_at LIMIT ?2";
const DELETE_HISTORY: &str = "DELETE FROM tls_history WHERE id = ?1";

impl Engine {
    pub(crate) async fn purge(&self, purge: Purge) -> Result<Purged, StoreError> {
        let wire_before = purge.wire_before.as_micros();
        let events_before = purge.events_before.as_micros();
        let (mut wires, mut after) = (0, String::new());
        while let Some(domain) = self.next_domain(NEXT_WITH_CONTENT, &after).await? {
            wires += self.purge_wires(&domain, wire_before).await?;
            after = domain;
        }
        let events = self.all_of(ROWS_AT_ONCE, OLD_EVENTS, &[DELETE_EVENT], events_before).await?;
        let messages = self.all_of(WIRES_AT_ONCE, OLD_MESSAGES, &[DELETE_MESSAGE], events_before).await?;
        self.purge_posture(events_before).await?;
        self.purge_sites().await?;
        Ok(Purged { wires, events, messages })
    }

    /// Counts go with the events that they counted, histories with the deliveries that they remember.
    async fn purge_posture(&self, before: i64) -> Result<(), StoreError> {
        self.all_of(ROWS_AT_ONCE, OLD_HISTORIES, &[DELETE_HISTORY], before).await?;
        while self.writer.run(0, move |writing| posture::purge_some(writing, before)).await? {}
        Ok(())
    }

    /// Carries out `each` for every row that `select` finds, in transactions of at most `most` rows.
    async fn all_of(
        &self,
        most: i64,
        select: &'static str,
        each: &'static [&'static str],
        before: i64,
    ) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let done = self.writer.run(0, move |writing| some_of(writing, most, select, each, before)).await?;
            total += done;
            if done < most.unsigned_abs() {
                return Ok(total);
            }
        }
    }
}

/// Deletes contents of a domain's finished messages that were accepted before `before`.
pub(super) fn some_wires(writing: &Writing<'_>, domain: &str, before: i64) -> Result<u64, StoreError> {
    each_of(writing, OLD_WIRES, params![before, WIRES_AT_ONCE, domain], &[DELETE_WIRE, MARK_WIRE])
}

fn some_of(writing: &Writing<'_>, most: i64, select: &str, each: &[&str], before: i64) -> Result<u64, StoreError> {
    each_of(writing, select, params![before, most], each)
}

fn each_of(writing: &Writing<'_>, select: &str, values: &[&dyn ToSql], each: &[&str]) -> Result<u64, StoreError> {
    let ids: Vec<i64> =
        writing.connection.prepare_cached(select)?.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?;
    for sql in each {
        let mut statement = writing.connection.prepare_cached(sql)?;
        for id in &ids {
            statement.execute([id])?;
        }
    }
    Ok(ids.len() as u64)
}
