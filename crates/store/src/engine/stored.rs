//! Messages by their keys.

use bytes::Bytes;
use rusqlite::params;
use smtp::{Address, Domain};

use super::message::summary;
use super::row::{damaged, get};
use super::sql::{Connection, OptionalExtension};
use super::{Engine, copy};
use crate::{MessageId, StoreError, StoredMessage};

const BY_KEY: &str = "
    SELECT id, dkim, copy_plan, tracking, content FROM message JOIN wire ON wire.message = message.id
    WHERE key = ?1 AND domain = ?2";

impl Engine {
    pub(crate) async fn stored_message(
        &self,
        domain: &Domain,
        key: &str,
        recipient: Option<&Address>,
    ) -> Result<Option<StoredMessage>, StoreError> {
        let (domain, key, recipient) = (domain.to_string(), key.to_owned(), recipient.map(Address::to_string));
        self.readers.run(move |connection| read(connection, &domain, &key, recipient.as_deref())).await
    }
}

fn read(
    connection: &Connection,
    domain: &str,
    key: &str,
    recipient: Option<&str>,
) -> Result<Option<StoredMessage>, StoreError> {
    let mut select = connection.prepare_cached(BY_KEY)?;
    let found = select.query_row(params![key, domain], |row| {
        let content: Vec<u8> = row.get("content")?;
        let json = |name| get::<Option<String>>(row, name);
        Ok(get::<i64>(row, "id")
            .and_then(|id| Ok((id, get::<bool>(row, "dkim")?, json("copy_plan")?, json("tracking")?, content))))
    });
    let Some((id, dkim, plan, tracking, content)) = found.optional()?.transpose()? else { return Ok(None) };
    let id = MessageId(id);
    let copy = match recipient {
        None => None,
        Some(address) => match copy::whole_of_address(connection, id, address)? {
            None => return Ok(None),
            copy => copy,
        },
    };
    let copy_plan = plan.map(|plan| serde_json::from_str(&plan).map_err(|_| damaged("copy_plan"))).transpose()?;
    let tracking = tracking.map(|json| serde_json::from_str(&json).map_err(|_| damaged("tracking"))).transpose()?;
    let message = summary(connection, id)?.ok_or_else(|| damaged("message"))?;
    Ok(Some(StoredMessage { message, dkim, copy_plan, copy, tracking, wire: Bytes::from(content) }))
}
