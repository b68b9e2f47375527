//! MTA-STS policies of recipient domains (RFC 8461 §3.3), so that a restart forgets none of them.

use policy::mta_sts::{Cached, UnixSeconds, still_used_since};
use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::row::{number, parsed, time};
use super::sql::Row;
use crate::{StoreError, Timestamp};

/// The policy is kept as a file. `expires_at` follows from it and from `fetched_at`, and is there for its index.
pub(super) const TABLES: &str = "
CREATE TABLE sts_policy (
    domain TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    policy TEXT NOT NULL,
    fetched_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    refresh_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sts_policy_refresh ON sts_policy (refresh_at);
CREATE INDEX sts_policy_expiry ON sts_policy (expires_at);
";

const PUT: &str = "
    INSERT INTO sts_policy (domain, id, policy, fetched_at, expires_at, refresh_at, used_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (domain) DO UPDATE SET id = excluded.id, policy = excluded.policy, fetched_at = excluded.fetched_at,
        expires_at = excluded.expires_at, refresh_at = excluded.refresh_at, used_at = excluded.used_at";
const SELECT: &str = "SELECT * FROM sts_policy WHERE domain = ?1";
const NOTE: &str = "
    UPDATE sts_policy SET refresh_at = ?4, used_at = ?5 WHERE domain = ?1 AND id = ?2 AND fetched_at = ?3";
pub(super) const DUE: &str = "
    SELECT * FROM sts_policy INDEXED BY sts_policy_refresh
    WHERE refresh_at <= ?1 AND expires_at > ?1 AND used_at > ?2 ORDER BY refresh_at LIMIT ?3";
pub(super) const FORGET: &str = "DELETE FROM sts_policy WHERE expires_at <= ?1";

impl Engine {
    pub(crate) async fn put_sts_policy(&self, domain: &Domain, cached: &Cached) -> Result<(), StoreError> {
        let (domain, cached) = (domain.clone(), cached.clone());
        let file = cached.policy.to_string();
        self.writer
            .run_traffic(file.len(), move |writing| {
                let Cached { id, fetched_at, refresh_at, used_at, .. } = &cached;
                let (fetched_at, expires_at) = (micros(*fetched_at), micros(cached.expires_at()));
                writing.connection.prepare_cached(PUT)?.execute(params![
                    domain.as_str(),
                    id.as_str(),
                    file,
                    fetched_at,
                    expires_at,
                    micros(*refresh_at),
                    micros(*used_at)
                ])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn sts_policy(&self, domain: &Domain) -> Result<Option<Cached>, StoreError> {
        let domain = domain.clone();
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(SELECT)?;
                let mut rows = select.query([domain.as_str()])?;
                rows.next()?.map(cached).transpose()
            })
            .await
    }

    pub(crate) async fn note_sts_policy(&self, domain: &Domain, cached: &Cached) -> Result<(), StoreError> {
        let (domain, id) = (domain.clone(), cached.id.clone());
        let times = [cached.fetched_at, cached.refresh_at, cached.used_at].map(micros);
        self.writer
            .run_traffic(0, move |writing| {
                let [fetched_at, refresh_at, used_at] = times;
                let values = params![domain.as_str(), id.as_str(), fetched_at, refresh_at, used_at];
                writing.connection.prepare_cached(NOTE)?.execute(values)?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn due_sts_policies(
        &self,
        now: UnixSeconds,
        limit: usize,
    ) -> Result<Vec<(Domain, Cached)>, StoreError> {
        let (now, used_since) = (micros(now), micros(still_used_since(now)));
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(DUE)?;
                let mut rows = select.query(params![now, used_since, number(limit as u64)])?;
                let mut due = Vec::new();
                while let Some(row) = rows.next()? {
                    match parsed(row, "domain").and_then(|domain| Ok((domain, cached(row)?))) {
                        Ok(found) => due.push(found),
                        // It cannot be refreshed; the others can.
                        Err(error) => tracing::error!(%error, "an MTA-STS policy cannot be read"),
                    }
                }
                Ok(due)
            })
            .await
    }

    pub(crate) async fn forget_expired_sts_policies(&self, now: UnixSeconds) -> Result<(), StoreError> {
        let now = micros(now);
        self.writer
            .run_traffic(0, move |writing| {
                writing.connection.prepare_cached(FORGET)?.execute([now])?;
                Ok(())
            })
            .await
    }
}

fn cached(row: Row<'_>) -> Result<Cached, StoreError> {
    Ok(Cached {
        id: parsed(row, "id")?,
        policy: parsed(row, "policy")?,
        fetched_at: seconds(row, "fetched_at")?,
        refresh_at: seconds(row, "refresh_at")?,
        used_at: seconds(row, "used_at")?,
    })
}

fn micros(time: UnixSeconds) -> i64 {
    Timestamp::from_secs(time.0).as_micros()
}

fn seconds(row: Row<'_>, column: &str) -> Result<UnixSeconds, StoreError> {
    // Whole seconds were written; division that rounds down gives them back, also before 1970.
    Ok(UnixSeconds(time(row, column)?.as_micros().div_euclid(1_000_000)))
}
