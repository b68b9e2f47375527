//! What the DNS said of sending domains.

use std::sync::Arc;

use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::row::{from_json, get, time, to_json};
use super::sql::Connection;
use crate::StoreError;
use crate::dns_check::DnsCheck;

pub(super) const TABLES: &str = "
ALTER TABLE domain ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
CREATE TABLE dns_check (
    domain TEXT PRIMARY KEY REFERENCES domain (name) ON DELETE CASCADE,
    checked_at INTEGER NOT NULL,
    found TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

const SET_VERIFIED: &str = "UPDATE domain SET verified = coalesce(?2, verified) WHERE name = ?1";
const PUT: &str = "
    INSERT INTO dns_check (domain, checked_at, found) VALUES (?1, ?2, ?3)
    ON CONFLICT (domain) DO UPDATE SET checked_at = excluded.checked_at, found = excluded.found";
const SELECT: &str = "
    SELECT checked_at, found, verified FROM dns_check JOIN domain ON domain.name = dns_check.domain WHERE name = ?1";

impl Engine {
    pub(crate) async fn put_dns_check(&self, domain: &Domain, check: DnsCheck) -> Result<bool, StoreError> {
        let (domain, found) = (domain.clone(), to_json(&check.found)?);
        self.writer
            .run(found.len(), move |writing| {
                let mut update = writing.connection.prepare_cached(SET_VERIFIED)?;
                if update.execute(params![domain.as_str(), check.verified])? == 0 {
                    return Ok(false);
                }
                let values = params![domain.as_str(), check.checked_at.as_micros(), found];
                writing.connection.prepare_cached(PUT)?.execute(values)?;
                Ok(true)
            })
            .await
    }

    pub(crate) async fn dns_check(&self, domain: &Domain) -> Result<Option<Arc<DnsCheck>>, StoreError> {
        let ask =
            |domain: Domain| self.readers.run(move |connection| Ok(Some(last(connection, &domain)?.map(Arc::new))));
        Ok(self.settings.find(&self.settings.dns_checks, domain.clone(), ask).await?.flatten())
    }
}

fn last(connection: &Connection, domain: &Domain) -> Result<Option<DnsCheck>, StoreError> {
    let mut select = connection.prepare_cached(SELECT)?;
    let mut rows = select.query([domain.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(DnsCheck {
        checked_at: time(row, "checked_at")?,
        verified: get(row, "verified")?,
        found: from_json(row, "found")?,
    }))
}
