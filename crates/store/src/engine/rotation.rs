//! Rotation of DKIM keys. What waits for a key goes with it, and all of it with its domain.

use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::dkim::{insert, key_of, of_id};
use super::row::{duration, get, micros, parsed};
use super::sql::OptionalExtension;
use crate::dkim::{DkimKey, DkimKeyId, NewDkimKey};
use crate::rotation::{DkimRotation, DkimSuccessor};
use crate::{StoreError, Timestamp};

pub(super) const TABLES: &str = "
CREATE TABLE dkim_rotation (
    domain TEXT PRIMARY KEY REFERENCES domain (name) ON DELETE CASCADE,
    enabled INTEGER NOT NULL,
    interval INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE dkim_successor (
    key INTEGER PRIMARY KEY REFERENCES dkim_key (id) ON DELETE CASCADE,
    replaces INTEGER NOT NULL UNIQUE REFERENCES dkim_key (id) ON DELETE CASCADE
) STRICT;
ALTER TABLE dkim_key ADD COLUMN retired_at INTEGER;
";

const SELECT: &str = "SELECT enabled, interval FROM dkim_rotation WHERE domain = ?1";
const SET: &str = "
    INSERT INTO dkim_rotation (domain, enabled, interval) SELECT name, ?2, ?3 FROM domain WHERE name = ?1
    ON CONFLICT (domain) DO UPDATE SET enabled = excluded.enabled, interval = excluded.interval";
const DUE: &str = "
    SELECT DISTINCT rotation.domain FROM dkim_rotation rotation JOIN dkim_key key ON key.domain = rotation.domain
    WHERE rotation.enabled = 1 AND key.active = 1 AND key.created_at + rotation.interval <= ?1
        AND NOT EXISTS (SELECT 1 FROM dkim_successor WHERE replaces = key.id)
    ORDER BY rotation.domain";
const DOMAIN_OF: &str = "
    SELECT domain FROM dkim_key
    WHERE id = ?1 AND active = 1 AND NOT EXISTS (SELECT 1 FROM dkim_successor WHERE replaces = dkim_key.id)";
const INSERT: &str = "INSERT INTO dkim_successor (key, replaces) VALUES (?1, ?2)";
const SUCCESSORS: &str = "
    SELECT dkim_key.*, replaces FROM dkim_successor JOIN dkim_key ON dkim_key.id = dkim_successor.key
    WHERE domain = ?1 OR ?1 IS NULL ORDER BY domain, id";
const REPLACES: &str = "
    SELECT replaces, active FROM dkim_successor JOIN dkim_key ON dkim_key.id = replaces WHERE dkim_successor.key = ?1";
const SIGN: &str = "UPDATE dkim_key SET active = 1, retired_at = NULL WHERE id = ?1";
const RETIRE: &str = "UPDATE dkim_key SET active = 0, retired_at = ?2 WHERE id = ?1";
const DONE: &str = "DELETE FROM dkim_successor WHERE key = ?1";
const DELETE_RETIRED: &str = "DELETE FROM dkim_key WHERE active = 0 AND retired_at < ?1";

impl Engine {
    pub(crate) async fn dkim_rotation(&self, domain: &Domain) -> Result<Option<DkimRotation>, StoreError> {
        let domain = domain.clone();
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(SELECT)?;
                let mut rows = select.query([domain.as_str()])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                Ok(Some(DkimRotation { enabled: get(row, "enabled")?, interval: duration(get(row, "interval")?) }))
            })
            .await
    }

    pub(crate) async fn set_dkim_rotation(&self, domain: &Domain, rotation: DkimRotation) -> Result<bool, StoreError> {
        let domain = domain.clone();
        self.writer
            .run(0, move |writing| {
                let values = params![domain.as_str(), rotation.enabled, micros(rotation.interval)];
                Ok(writing.connection.prepare_cached(SET)?.execute(values)? > 0)
            })
            .await
    }

    pub(crate) async fn dkim_rotations_due(&self, now: Timestamp) -> Result<Vec<Domain>, StoreError> {
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(DUE)?;
                let mut rows = select.query([now.as_micros()])?;
                let mut domains = Vec::new();
                while let Some(row) = rows.next()? {
                    domains.push(parsed(row, "domain")?);
                }
                Ok(domains)
            })
            .await
    }

    pub(crate) async fn create_dkim_successor(
        &self,
        replaces: DkimKeyId,
        key: NewDkimKey,
    ) -> Result<Option<DkimKey>, StoreError> {
        self.writer
            .run(key.private.expose().len(), move |writing| {
                let connection = writing.connection;
                let mut select = connection.prepare_cached(DOMAIN_OF)?;
                let mut rows = select.query([replaces.0])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let id = insert(connection, &parsed(row, "domain")?, &key)?;
                connection.prepare_cached(INSERT)?.execute([id, replaces.0])?;
                of_id(connection, id)
            })
            .await
    }

    pub(crate) async fn dkim_successors(&self, domain: Option<&Domain>) -> Result<Vec<DkimSuccessor>, StoreError> {
        let domain = domain.cloned();
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(SUCCESSORS)?;
                let mut rows = select.query([domain.as_ref().map(Domain::as_str)])?;
                let mut successors = Vec::new();
                while let Some(row) = rows.next()? {
                    successors.push(DkimSuccessor { key: key_of(row)?, replaces: DkimKeyId(get(row, "replaces")?) });
                }
                Ok(successors)
            })
            .await
    }

    pub(crate) async fn promote_dkim_successor(&self, key: DkimKeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.writer
            .run(0, move |writing| {
                let connection = writing.connection;
                let mut select = connection.prepare_cached(REPLACES)?;
                let replaced = select.query_row([key.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)));
                let Some((replaces, is_active)) = replaced.optional()? else { return Ok(false) };
                // Whoever switched the other off wanted its domain to sign with one key less.
                if is_active {
                    connection.prepare_cached(SIGN)?.execute([key.0])?;
                    connection.prepare_cached(RETIRE)?.execute([replaces, now.as_micros()])?;
                }
                connection.prepare_cached(DONE)?.execute([key.0])?;
                Ok(is_active)
            })
            .await
    }

    pub(crate) async fn delete_retired_dkim_keys(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.writer
            .run(0, move |writing| {
                Ok(writing.connection.prepare_cached(DELETE_RETIRED)?.execute([before.as_micros()])?)
            })
            .await
    }
}
