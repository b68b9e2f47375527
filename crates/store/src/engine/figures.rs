//! The store in numbers, read in one moment.

use super::Engine;
use super::sql::{Connection, Error, NONE, OptionalExtension};
use crate::figures::{Figures, Happened};
use crate::{StoreError, Timestamp};

/// Along the queue's index, which holds the queue and nothing else. Numbers of recipients grow with time.
pub(super) const QUEUE: &str = "
    SELECT count(*), min(id), min(due_at) FROM recipient INDEXED BY recipient_due WHERE due_at IS NOT NULL";
const ACCEPTED_AT: &str = "
    SELECT accepted_at FROM message WHERE id = (SELECT message FROM recipient WHERE id = ?1)";
const WEBHOOKS: &str = "SELECT count(*), (SELECT count(*) FROM webhook_set_aside) FROM webhook";

impl Engine {
    pub(crate) async fn figures(&self) -> Result<Figures, StoreError> {
        self.readers.run(|connection| Ok(read(connection)?)).await
    }

    pub(crate) fn happened(&self) -> &Happened {
        self.writer.happened()
    }
}

fn read(connection: &Connection) -> Result<Figures, Error> {
    let count = |number: i64| number.unsigned_abs();
    let time = Timestamp::from_micros;
    let (queued, first, due_at) = connection.prepare_cached(QUEUE)?.query_row(NONE, |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, Option<i64>>(2)?))
    })?;
    let oldest: Option<i64> =
        connection.prepare_cached(ACCEPTED_AT)?.query_row([first], |row| row.get(0)).optional()?;
    connection.prepare_cached(WEBHOOKS)?.query_row(NONE, |row| {
        Ok(Figures {
            queued: count(queued),
            oldest_accepted_at: oldest.map(time),
            due_at: due_at.map(time),
            webhooks: count(row.get(0)?),
            webhook_retries: count(row.get(1)?),
        })
    })
}
