//! Sending domains.

use policy::tls::{Fallback, TlsSettings, WhenLeft};
use rusqlite::params;
use smtp::Domain;

use super::row::{from_json, get, number, optional_word, parsed, time};
use super::sql::{Connection, Error, Row, Rows};
use super::{Engine, retention};
use crate::retention::RetentionChange;
use crate::{DomainQuery, DomainSort, NewDomain, SendingDomain, StoreError};

const INSERT: &str = "
    INSERT INTO domain (name, id, created_at, require_tls, skip_verification, tls_fallback, tls_failure)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    RETURNING *";
const SELECT: &str = "SELECT * FROM domain WHERE name = ?1";
const UPDATE: &str = "
    UPDATE domain
    SET require_tls = coalesce(?2, require_tls), skip_verification = coalesce(?3, skip_verification),
        tls_fallback = coalesce(?4, tls_fallback), tls_failure = coalesce(?5, tls_failure)
    WHERE name = ?1 RETURNING *";
const DELETE: &str = "DELETE FROM domain WHERE name = ?1";
const COUNT: &str = "SELECT count(*) FROM domain WHERE instr(name, ?1) > 0 AND (name = ?2 OR ?2 IS NULL) AND verified = coalesce(?3, verified)";
const LIST_NEWEST: &str = "
    SELECT * FROM domain WHERE instr(name, ?1) > 0 AND (name = ?2 OR ?2 IS NULL) AND verified = coalesce(?3, verified)
    ORDER BY created_at DESC, name LIMIT ?4 OFFSET ?5";
const LIST_ASCENDING: &str = "
    SELECT * FROM domain WHERE instr(name, ?1) > 0 AND (name = ?2 OR ?2 IS NULL) AND verified = coalesce(?3, verified)
    ORDER BY name LIMIT ?4 OFFSET ?5";
const LIST_DESCENDING: &str = "
    SELECT * FROM domain WHERE instr(name, ?1) > 0 AND (name = ?2 OR ?2 IS NULL) AND verified = coalesce(?3, verified)
    ORDER BY name DESC LIMIT ?4 OFFSET ?5";

impl Engine {
    pub(crate) async fn create_domain(
        &self,
        domain: NewDomain,
        limits: RetentionChange,
    ) -> Result<SendingDomain, StoreError> {
        let id: String = rand::random::<[u8; 12]>().iter().map(|byte| format!("{byte:02x}")).collect();
        self.writer
            .run(0, move |writing| {
                let mut insert = writing.connection.prepare_cached(INSERT)?;
                let NewDomain { name, tls, dkim, now } = &domain;
                let (fallback, when_left) = choices(tls);
                let values = params![
                    name.as_str(),
                    id,
                    now.as_micros(),
                    tls.require_tls,
                    tls.skip_verification,
                    fallback,
                    when_left
                ];
                match insert.query(values).map_err(Failed::Statement).and_then(one) {
                    Err(Failed::Statement(e)) if e.is_duplicate() => {
                        Err(StoreError::Conflict(format!("the domain {name}")))
                    }
                    Ok(None) => Err(StoreError::Unavailable("nothing was written".to_owned())),
                    Ok(Some(domain)) => {
                        dkim.as_ref().map(|key| super::dkim::insert(writing.connection, name, key)).transpose()?;
                        Ok(retention::update(writing.connection, name, limits)?.unwrap_or(domain))
                    }
                    Err(other) => Err(other.into()),
                }
            })
            .await
    }

    pub(crate) async fn domain(&self, name: &Domain) -> Result<Option<SendingDomain>, StoreError> {
        let ask = |name: Domain| {
            self.readers.run(move |connection| Ok(one(connection.prepare_cached(SELECT)?.query([name.as_str()])?)?))
        };
        self.settings.find(&self.settings.domains, name.clone(), ask).await
    }

    pub(crate) async fn list_domains(&self, query: DomainQuery) -> Result<(u64, Vec<SendingDomain>), StoreError> {
        self.readers.run(move |connection| list(connection, &query)).await
    }

    pub(crate) async fn update_domain(
        &self,
        name: &Domain,
        tls: TlsSettings,
    ) -> Result<Option<SendingDomain>, StoreError> {
        let name = name.clone();
        self.writer
            .run(0, move |writing| {
                let mut update = writing.connection.prepare_cached(UPDATE)?;
                let (fallback, when_left) = choices(&tls);
                let values = params![name.as_str(), tls.require_tls, tls.skip_verification, fallback, when_left];
                Ok(one(update.query(values)?)?)
            })
            .await
    }

    pub(crate) async fn delete_domain(&self, name: &Domain) -> Result<bool, StoreError> {
        let name = name.clone();
        self.writer
            .run(0, move |writing| {
                super::key::delete_of_domain(writing.connection, &name)?;
                Ok(writing.connection.prepare_cached(DELETE)?.execute([name.as_str()])? > 0)
            })
            .await
    }
}

fn list(connection: &Connection, query: &DomainQuery) -> Result<(u64, Vec<SendingDomain>), StoreError> {
    // Names are kept in lower case; the empty text is part of every name.
    let search = query.search.as_deref().unwrap_or_default().to_lowercase();
    let only = query.only.as_ref().map(Domain::as_str);
    let total: i64 =
        connection.prepare_cached(COUNT)?.query_row(params![search, only, query.verified], |row| row.get(0))?;
    let sql = match query.sort {
        DomainSort::Newest => LIST_NEWEST,
        DomainSort::NameAscending => LIST_ASCENDING,
        DomainSort::NameDescending => LIST_DESCENDING,
    };
    let mut select = connection.prepare_cached(sql)?;
    let mut rows =
        select.query(params![search, only, query.verified, number(query.limit as u64), number(query.skip as u64)])?;
    let mut domains = Vec::new();
    while let Some(row) = rows.next()? {
        domains.push(domain(row)?);
    }
    Ok((total.unsigned_abs(), domains))
}

/// The two choices of a domain, as they are kept.
fn choices(tls: &TlsSettings) -> (Option<&'static str>, Option<&'static str>) {
    (tls.fallback.map(Fallback::as_str), tls.when_left.map(WhenLeft::as_str))
}

/// Why a row could not be had: the statement failed, or the row is unreadable.
pub(super) enum Failed {
    Statement(Error),
    Row(StoreError),
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> StoreError {
        match failed {
            Failed::Statement(error) => error.into(),
            Failed::Row(error) => error,
        }
    }
}

pub(super) fn one(mut rows: Rows<'_>) -> Result<Option<SendingDomain>, Failed> {
    rows.next().map_err(Failed::Statement)?.map(domain).transpose().map_err(Failed::Row)
}

fn domain(row: Row<'_>) -> Result<SendingDomain, StoreError> {
    Ok(SendingDomain {
        id: get(row, "id")?,
        name: parsed(row, "name")?,
        created_at: time(row, "created_at")?,
        verified: get(row, "verified")?,
        tracking: from_json(row, "tracking")?,
        retention: retention::retention(row)?,
        tls: TlsSettings {
            require_tls: get(row, "require_tls")?,
            skip_verification: get(row, "skip_verification")?,
            fallback: optional_word(row, "tls_fallback", |word| word.parse().ok())?,
            when_left: optional_word(row, "tls_failure", |word| word.parse().ok())?,
            tag: None,
        },
    })
}
