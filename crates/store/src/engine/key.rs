//! API keys, by their hashes.

use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::row::{get, optional_time, time, word};
use super::sql::{Connection, NONE, OptionalExtension, Row};
use crate::{ApiKey, KeyHash, KeyScope, NewKey, StoreError};

/// What a key opens and may do, and until when. Keys from before open and may do everything.
pub(super) const ACCESS: &str = "
ALTER TABLE api_key ADD COLUMN domain TEXT;
ALTER TABLE api_key ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE api_key ADD COLUMN expires_at INTEGER;
CREATE INDEX api_key_domain ON api_key (domain) WHERE domain IS NOT NULL;
";

const INSERT: &str = "
    INSERT INTO api_key (hash, description, hint, domain, role, expires_at, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const DOMAIN_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM domain WHERE name = ?1)";
const FIND: &str = "SELECT * FROM api_key WHERE hash = ?1";
const LIST: &str = "SELECT * FROM api_key ORDER BY id";
const DELETE: &str = "DELETE FROM api_key WHERE id = ?1";
const DELETE_OF_DOMAIN: &str = "DELETE FROM api_key WHERE domain = ?1";
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM api_key WHERE domain IS NULL)";

impl Engine {
    pub(crate) async fn create_key(&self, key: NewKey) -> Result<ApiKey, StoreError> {
        self.writer.run(0, move |writing| create(writing.connection, &key)).await
    }

    pub(crate) async fn find_key(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
        let ask = |hash: KeyHash| {
            self.readers.run(move |connection| {
                let found = connection.prepare_cached(FIND)?.query_row([hash.0], |row| Ok(key(row))).optional()?;
                found.transpose()
            })
        };
        self.settings.find(&self.settings.keys, *hash, ask).await
    }

    pub(crate) async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.readers
            .run(|connection| {
                let mut select = connection.prepare_cached(LIST)?;
                let mut rows = select.query(NONE)?;
                let mut keys = Vec::new();
                while let Some(row) = rows.next()? {
                    keys.push(key(row)?);
                }
                Ok(keys)
            })
            .await
    }

    pub(crate) async fn delete_key(&self, id: i64) -> Result<bool, StoreError> {
        self.writer.run(0, move |writing| Ok(writing.connection.prepare_cached(DELETE)?.execute([id])? > 0)).await
    }

    pub(crate) async fn has_keys(&self) -> Result<bool, StoreError> {
        self.readers.run(|connection| Ok(connection.prepare_cached(ANY)?.query_row(NONE, |row| row.get(0))?)).await
    }
}

fn create(connection: &Connection, new: &NewKey) -> Result<ApiKey, StoreError> {
    let NewKey { hash, description, hint, scope, role, expires_at, now } = new.clone();
    let domain = scope.domain().map(Domain::as_str);
    if let Some(domain) = domain {
        let exists: bool = connection.prepare_cached(DOMAIN_EXISTS)?.query_row([domain], |row| row.get(0))?;
        if !exists {
            return Err(StoreError::Invalid(format!("there is no domain {domain}")));
        }
    }
    let ends = expires_at.map(|end| end.as_micros());
    let values = params![hash.0, description, hint, domain, role.as_str(), ends, now.as_micros()];
    let id = match connection.insert(INSERT, values) {
        Err(e) if e.is_duplicate() => return Err(StoreError::Conflict("this API key".to_owned())),
        done => done?,
    };
    Ok(ApiKey { id, description, hint, scope, role, expires_at, created_at: now })
}

/// Deletes the keys that open this domain alone.
pub(super) fn delete_of_domain(connection: &Connection, domain: &Domain) -> Result<(), StoreError> {
    connection.prepare_cached(DELETE_OF_DOMAIN)?.execute([domain.as_str()])?;
    Ok(())
}

fn key(row: Row<'_>) -> Result<ApiKey, StoreError> {
    let domain: Option<String> = get(row, "domain")?;
    let scope = match domain {
        None => KeyScope::Account,
        Some(name) => KeyScope::Domain(name.parse().map_err(|_| super::row::damaged("domain"))?),
    };
    Ok(ApiKey {
        id: get(row, "id")?,
        description: get(row, "description")?,
        hint: get(row, "hint")?,
        scope,
        role: word(row, "role", |word| word.parse().ok())?,
        expires_at: optional_time(row, "expires_at")?,
        created_at: time(row, "created_at")?,
    })
}
