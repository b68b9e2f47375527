//! Logins for SMTP submission, with the hashes of their passwords.

use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::row::{get, number, parsed, time};
use super::sql::Row;
use crate::StoreError;
use crate::credential::{Credential, PasswordHash};

pub(super) const TABLES: &str = "
CREATE TABLE credential (
    domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    mailbox TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (domain, mailbox)
) STRICT, WITHOUT ROWID;
";

const INSERT: &str = "INSERT INTO credential (domain, mailbox, hash, created_at) VALUES (?1, ?2, ?3, ?4)";
const SET_HASH: &str = "UPDATE credential SET hash = ?3 WHERE domain = ?1 AND mailbox = ?2";
const SELECT: &str = "SELECT * FROM credential WHERE domain = ?1 AND mailbox = ?2";
const COUNT: &str = "SELECT count(*) FROM credential WHERE domain = ?1";
const LIST: &str = "SELECT * FROM credential WHERE domain = ?1 ORDER BY mailbox LIMIT ?2 OFFSET ?3";
const DELETE: &str = "DELETE FROM credential WHERE domain = ?1 AND mailbox = ?2";
const DELETE_ALL: &str = "DELETE FROM credential WHERE domain = ?1";

impl Engine {
    pub(crate) async fn create_credential(&self, credential: Credential) -> Result<(), StoreError> {
        self.writer
            .run(0, move |writing| {
                let Credential { domain, mailbox, hash, created_at } = &credential;
                let values = params![domain.as_str(), mailbox, hash.as_str(), created_at.as_micros()];
                match writing.connection.prepare_cached(INSERT)?.execute(values) {
                    Err(e) if e.is_duplicate() => {
                        Err(StoreError::Conflict(format!("the credential {}", credential.login())))
                    }
                    Err(e) if e.has_no_parent() => Err(StoreError::Invalid(format!("there is no domain {domain}"))),
                    done => Ok(done.map(|_| ())?),
                }
            })
            .await
    }

    pub(crate) async fn set_credential_password(
        &self,
        domain: &Domain,
        mailbox: &str,
        hash: PasswordHash,
    ) -> Result<bool, StoreError> {
        let (domain, mailbox) = (domain.clone(), mailbox.to_owned());
        self.writer
            .run(0, move |writing| {
                let mut update = writing.connection.prepare_cached(SET_HASH)?;
                Ok(update.execute(params![domain.as_str(), mailbox, hash.as_str()])? > 0)
            })
            .await
    }

    pub(crate) async fn credential(&self, domain: &Domain, mailbox: &str) -> Result<Option<Credential>, StoreError> {
        let ask = |(domain, mailbox): (Domain, String)| {
            self.readers.run(move |connection| {
                let mut select = connection.prepare_cached(SELECT)?;
                let mut rows = select.query(params![domain.as_str(), mailbox])?;
                rows.next()?.map(credential).transpose()
            })
        };
        self.settings.find(&self.settings.credentials, (domain.clone(), mailbox.to_owned()), ask).await
    }

    pub(crate) async fn list_credentials(
        &self,
        domain: &Domain,
        limit: usize,
        skip: usize,
    ) -> Result<(u64, Vec<Credential>), StoreError> {
        let domain = domain.clone();
        self.readers
            .run(move |connection| {
                let total: i64 = connection.prepare_cached(COUNT)?.query_row([domain.as_str()], |row| row.get(0))?;
                let mut select = connection.prepare_cached(LIST)?;
                let mut rows = select.query(params![domain.as_str(), number(limit as u64), number(skip as u64)])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(credential(row)?);
                }
                Ok((total.unsigned_abs(), found))
            })
            .await
    }

    pub(crate) async fn delete_credential(&self, domain: &Domain, mailbox: &str) -> Result<bool, StoreError> {
        let (domain, mailbox) = (domain.clone(), mailbox.to_owned());
        self.writer
            .run(0, move |writing| {
                Ok(writing.connection.prepare_cached(DELETE)?.execute(params![domain.as_str(), mailbox])? > 0)
            })
            .await
    }

    pub(crate) async fn delete_credentials(&self, domain: &Domain) -> Result<u64, StoreError> {
        let domain = domain.clone();
        self.writer
            .run(
                0,
                move |writing| Ok(writing.connection.prepare_cached(DELETE_ALL)?.execute([domain.as_str()])? as u64),
            )
            .await
    }
}

fn credential(row: Row<'_>) -> Result<Credential, StoreError> {
    Ok(Credential {
        domain: parsed(row, "domain")?,
        mailbox: get(row, "mailbox")?,
        hash: PasswordHash::new(get::<String>(row, "hash")?),
        created_at: time(row, "created_at")?,
    })
}
