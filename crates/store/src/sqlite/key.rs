//! API keys, by their hashes.

use rusqlite::{OptionalExtension, Row, params};

use super::{Engine, is_duplicate};
use crate::{ApiKey, KeyHash, NewKey, StoreError, Timestamp};

const INSERT: &str = "INSERT INTO api_key (hash, description, hint, created_at) VALUES (?1, ?2, ?3, ?4)";
const FIND: &str = "SELECT id, description, hint, created_at FROM api_key WHERE hash = ?1";
const LIST: &str = "SELECT id, description, hint, created_at FROM api_key ORDER BY id";
const DELETE: &str = "DELETE FROM api_key WHERE id = ?1";
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM api_key)";

impl Engine {
    pub(crate) async fn create_key(&self, key: NewKey) -> Result<ApiKey, StoreError> {
        self.writer
            .run(0, move |writing| {
                let NewKey { hash, description, hint, now } = &key;
                let mut insert = writing.connection.prepare_cached(INSERT)?;
                match insert.execute(params![hash.0, description, hint, now.as_micros()]) {
                    Err(e) if is_duplicate(&e) => return Err(StoreError::Conflict("this API key".to_owned())),
                    done => done?,
                };
                let id = writing.connection.last_insert_rowid();
                Ok(ApiKey { id, description: description.clone(), hint: hint.clone(), created_at: *now })
            })
            .await
    }

    pub(crate) async fn find_key(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
        let hash = hash.0;
        self.readers
            .run(move |connection| Ok(connection.prepare_cached(FIND)?.query_row([hash], key).optional()?))
            .await
    }

    pub(crate) async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.readers
            .run(|connection| Ok(connection.prepare_cached(LIST)?.query_map([], key)?.collect::<Result<_, _>>()?))
            .await
    }

    pub(crate) async fn delete_key(&self, id: i64) -> Result<bool, StoreError> {
        self.writer.run(0, move |writing| Ok(writing.connection.prepare_cached(DELETE)?.execute([id])? > 0)).await
    }

    pub(crate) async fn has_keys(&self) -> Result<bool, StoreError> {
        self.readers.run(|connection| Ok(connection.prepare_cached(ANY)?.query_row([], |row| row.get(0))?)).await
    }
}

fn key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        id: row.get(0)?,
        description: row.get(1)?,
        hint: row.get(2)?,
        created_at: Timestamp::from_micros(row.get(3)?),
    })
}
