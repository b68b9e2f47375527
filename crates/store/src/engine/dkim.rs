//! DKIM keys. They go with their domain.

use std::sync::Arc;

use rusqlite::{named_params, params};
use smtp::Domain;

use super::Engine;
use super::row::{get, number, parsed, time};
use super::sql::{Connection, OptionalExtension, Row};
use crate::dkim::{
    DKIM_KEYS_PER_DOMAIN, DkimKey, DkimKeyDeletion, DkimKeyId, DkimKeyQuery, DkimSigner, NewDkimKey, PrivateKey,
};
use crate::{StoreError, Timestamp};

/// rsa_bits is NULL for Ed25519. AUTOINCREMENT: no key ever gets the number of another.
/// Messages of before are signed too, once their domain has a key.
pub(super) const TABLES: &str = "
CREATE TABLE dkim_key (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    selector TEXT NOT NULL,
    rsa_bits INTEGER,
    private_key TEXT NOT NULL,
    record TEXT NOT NULL,
    active INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (domain, selector)
) STRICT;
ALTER TABLE message ADD COLUMN dkim INTEGER NOT NULL DEFAULT 1;
";

const INSERT: &str = "
    INSERT INTO dkim_key (domain, selector, rsa_bits, private_key, record, active, created_at)
    VALUES (:domain, :selector, :rsa_bits, :private_key, :record, :active, :created_at)";
const OF_ID: &str = "SELECT * FROM dkim_key WHERE id = ?1";
const FIND: &str = "SELECT id FROM dkim_key WHERE domain = ?1 AND selector = ?2";
const IS_DOMAIN: &str = "SELECT EXISTS (SELECT 1 FROM domain WHERE name = ?1)";
const COUNT_OF_DOMAIN: &str = "SELECT count(*) FROM dkim_key WHERE domain = ?1";
const COUNT: &str = "SELECT count(*) FROM dkim_key WHERE (domain = ?1 OR ?1 IS NULL) AND (selector = ?2 OR ?2 IS NULL)";
const LIST: &str = "
    SELECT * FROM dkim_key WHERE (domain = ?1 OR ?1 IS NULL) AND (selector = ?2 OR ?2 IS NULL)
    ORDER BY domain, id LIMIT ?3 OFFSET ?4";
const SIGNERS: &str = "
    SELECT id, selector, private_key FROM dkim_key WHERE domain = ?1 AND active = 1
    ORDER BY rsa_bits IS NULL, id";
/// What a person turns on or off is no longer retired by rotation.
const SET_ACTIVE: &str = "UPDATE dkim_key SET active = ?2, retired_at = NULL WHERE id = ?1";
const RENAME: &str = "UPDATE dkim_key SET selector = ?2 WHERE id = ?1";
const IS_LAST_ACTIVE: &str = "
    SELECT active = 1 AND NOT EXISTS (
        SELECT 1 FROM dkim_key other WHERE other.domain = key.domain AND other.active = 1 AND other.id <> key.id)
    FROM dkim_key key WHERE id = ?1";
const DELETE: &str = "DELETE FROM dkim_key WHERE id = ?1";

impl Engine {
    pub(crate) async fn create_dkim_key(
        &self,
        domain: &Domain,
        key: NewDkimKey,
    ) -> Result<Option<DkimKey>, StoreError> {
        let domain = domain.clone();
        self.writer
            .run(key.private.expose().len(), move |writing| {
                if !writing.connection.prepare_cached(IS_DOMAIN)?.query_row([domain.as_str()], |row| row.get(0))? {
                    return Ok(None);
                }
                let id = insert(writing.connection, &domain, &key)?;
                of_id(writing.connection, id)
            })
            .await
    }

    pub(crate) async fn dkim_keys(&self, query: DkimKeyQuery) -> Result<(u64, Vec<DkimKey>), StoreError> {
        self.readers
            .run(move |connection| {
                let (domain, selector) = (query.domain.as_ref(), query.selector.as_ref());
                let (domain, selector) = (domain.map(Domain::as_str), selector.map(Domain::as_str));
                let count = params![domain, selector];
                let total: i64 = connection.prepare_cached(COUNT)?.query_row(count, |row| row.get(0))?;
                let mut select = connection.prepare_cached(LIST)?;
                let page = params![domain, selector, number(query.limit as u64), number(query.skip as u64)];
                let mut rows = select.query(page)?;
                let mut keys = Vec::new();
                while let Some(row) = rows.next()? {
                    keys.push(key_of(row)?);
                }
                Ok((total.unsigned_abs(), keys))
            })
            .await
    }

    pub(crate) async fn dkim_signers(&self, domain: &Domain) -> Result<Arc<[DkimSigner]>, StoreError> {
        let ask = |domain: Domain| self.readers.run(move |connection| signers(connection, &domain).map(Some));
        let found = self.settings.find(&self.settings.signers, domain.clone(), ask).await?;
        Ok(found.unwrap_or_default())
    }

    pub(crate) async fn set_dkim_key_active(
        &self,
        domain: &Domain,
        selector: &Domain,
        active: bool,
    ) -> Result<Option<DkimKey>, StoreError> {
        let (domain, selector) = (domain.clone(), selector.clone());
        self.writer
            .run(0, move |writing| {
                let Some(id) = find(writing.connection, &domain, &selector)? else { return Ok(None) };
                writing.connection.prepare_cached(SET_ACTIVE)?.execute(params![id, active])?;
                of_id(writing.connection, id)
            })
            .await
    }

    pub(crate) async fn rename_dkim_key(
        &self,
        id: DkimKeyId,
        selector: &Domain,
    ) -> Result<Option<DkimKey>, StoreError> {
        let selector = selector.clone();
        self.writer
            .run(0, move |writing| {
                let mut rename = writing.connection.prepare_cached(RENAME)?;
                match rename.execute(params![id.0, selector.as_str()]) {
                    Err(error) if error.is_duplicate() => return Err(conflict(&selector)),
                    done => done?,
                };
                of_id(writing.connection, id.0)
            })
            .await
    }

    pub(crate) async fn delete_dkim_key(
        &self,
        domain: &Domain,
        selector: &Domain,
    ) -> Result<DkimKeyDeletion, StoreError> {
        let (domain, selector) = (domain.clone(), selector.clone());
        self.writer
            .run(0, move |writing| {
                let connection = writing.connection;
                let Some(id) = find(connection, &domain, &selector)? else { return Ok(DkimKeyDeletion::NotFound) };
                if connection.prepare_cached(IS_LAST_ACTIVE)?.query_row([id], |row| row.get(0))? {
                    return Ok(DkimKeyDeletion::LastActive);
                }
                connection.prepare_cached(DELETE)?.execute([id])?;
                Ok(DkimKeyDeletion::Deleted)
            })
            .await
    }
}

/// What signs for a domain.
fn signers(connection: &Connection, domain: &Domain) -> Result<Arc<[DkimSigner]>, StoreError> {
    let mut select = connection.prepare_cached(SIGNERS)?;
    let mut rows = select.query([domain.as_str()])?;
    let mut signers = Vec::new();
    while let Some(row) = rows.next()? {
        signers.push(DkimSigner {
            id: DkimKeyId(get(row, "id")?),
            selector: parsed(row, "selector")?,
            private: PrivateKey::new(get(row, "private_key")?),
        });
    }
    Ok(signers.into())
}

/// Keeps a key of a domain that exists, and gives its number.
pub(super) fn insert(connection: &Connection, domain: &Domain, key: &NewDkimKey) -> Result<i64, StoreError> {
    let count: i64 = connection.prepare_cached(COUNT_OF_DOMAIN)?.query_row([domain.as_str()], |row| row.get(0))?;
    if count >= number(DKIM_KEYS_PER_DOMAIN as u64) {
        return Err(StoreError::Invalid(format!("a domain has at most {DKIM_KEYS_PER_DOMAIN} DKIM keys")));
    }
    let inserted = connection.insert(
        INSERT,
        named_params! {
            ":domain": domain.as_str(),
            ":selector": key.selector.as_str(),
            ":rsa_bits": key.rsa_bits,
            ":private_key": key.private.expose(),
            ":record": key.record,
            ":active": key.active,
            ":created_at": Timestamp::as_micros(key.now),
        },
    );
    match inserted {
        Err(error) if error.is_duplicate() => Err(conflict(&key.selector)),
        done => Ok(done?),
    }
}

fn conflict(selector: &Domain) -> StoreError {
    StoreError::Conflict(format!("the DKIM key with the selector {selector}"))
}

fn find(connection: &Connection, domain: &Domain, selector: &Domain) -> Result<Option<i64>, StoreError> {
    let mut find = connection.prepare_cached(FIND)?;
    Ok(find.query_row([domain.as_str(), selector.as_str()], |row| row.get(0)).optional()?)
}

pub(super) fn of_id(connection: &Connection, id: i64) -> Result<Option<DkimKey>, StoreError> {
    let mut select = connection.prepare_cached(OF_ID)?;
    let mut rows = select.query([id])?;
    rows.next()?.map(key_of).transpose()
}

pub(super) fn key_of(row: Row<'_>) -> Result<DkimKey, StoreError> {
    Ok(DkimKey {
        id: DkimKeyId(get(row, "id")?),
        domain: parsed(row, "domain")?,
        selector: parsed(row, "selector")?,
        rsa_bits: get(row, "rsa_bits")?,
        record: get(row, "record")?,
        active: get(row, "active")?,
        created_at: time(row, "created_at")?,
    })
}
