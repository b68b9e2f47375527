//! Tags: seen by [`traffic`](super::traffic) when events are counted, and described by people.

use rusqlite::params;
use smtp::Domain;

use super::row::{get, number, parsed, time};
use super::sql::{Connection, Row};
use super::{Engine, traffic};
use crate::StoreError;
use crate::traffic::{Tag, TagQuery};

const SELECT: &str = "SELECT * FROM tag WHERE domain = ?1 AND name = ?2";
const COUNT: &str = "SELECT count(*) FROM tag WHERE (domain = ?1 OR ?1 IS NULL) AND substr(name, 1, length(?2)) = ?2";
const DESCRIBE: &str = "UPDATE tag SET description = ?3 WHERE (domain = ?1 OR ?1 IS NULL) AND name = ?2";
const DELETE: &str = "DELETE FROM tag WHERE (domain = ?1 OR ?1 IS NULL) AND name = ?2 RETURNING domain";
const AFTER: &str = "
    SELECT * FROM tag WHERE (domain = ?1 OR ?1 IS NULL) AND name > ?2 AND substr(name, 1, length(?3)) = ?3
    ORDER BY name, domain LIMIT ?4 OFFSET ?5";
const BEFORE: &str = "
    SELECT * FROM tag
    WHERE (domain = ?1 OR ?1 IS NULL) AND (name < ?2 OR ?2 IS NULL) AND substr(name, 1, length(?3)) = ?3
    ORDER BY name DESC, domain DESC LIMIT ?4 OFFSET ?5";
// There is nothing to go on from by name here; the parameter is only named.
const BY_USE: &str = "
    SELECT * FROM tag WHERE (domain = ?1 OR ?1 IS NULL) AND coalesce(?2, '') IS NOT NULL AND substr(name, 1, length(?3)) = ?3
    ORDER BY last_at, name, domain LIMIT ?4 OFFSET ?5";
const BY_USE_BACKWARD: &str = "
    SELECT * FROM tag WHERE (domain = ?1 OR ?1 IS NULL) AND coalesce(?2, '') IS NOT NULL AND substr(name, 1, length(?3)) = ?3
    ORDER BY last_at DESC, name DESC, domain DESC LIMIT ?4 OFFSET ?5";

impl Engine {
    pub(crate) async fn tags(&self, query: TagQuery) -> Result<Vec<Tag>, StoreError> {
        self.readers.run(move |connection| list(connection, &query)).await
    }

    pub(crate) async fn count_tags(&self, domain: Option<&Domain>, prefix: &str) -> Result<u64, StoreError> {
        let (domain, prefix) = (domain.map(|domain| domain.as_str().to_owned()), prefix.to_lowercase());
        let count = move |connection: &Connection| {
            Ok(connection.prepare_cached(COUNT)?.query_row([domain, Some(prefix)], |row| row.get::<_, i64>(0))?)
        };
        self.readers.run(count).await.map(i64::unsigned_abs)
    }

    pub(crate) async fn tag(&self, domain: &Domain, name: &str) -> Result<Option<Tag>, StoreError> {
        let of = (domain.as_str().to_owned(), name.to_lowercase());
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(SELECT)?;
                let mut rows = select.query(params![of.0, of.1])?;
                rows.next()?.map(tag).transpose()
            })
            .await
    }

    pub(crate) async fn describe_tag(
        &self,
        domain: Option<&Domain>,
        name: &str,
        text: &str,
    ) -> Result<bool, StoreError> {
        let domain = domain.map(|domain| domain.as_str().to_owned());
        let (name, text) = (name.to_lowercase(), text.to_owned());
        self.writer
            .run(0, move |writing| {
                Ok(writing.connection.prepare_cached(DESCRIBE)?.execute(params![domain, name, text])? > 0)
            })
            .await
    }

    pub(crate) async fn delete_tag(&self, domain: Option<&Domain>, name: &str) -> Result<bool, StoreError> {
        let domain = domain.map(|domain| domain.as_str().to_owned());
        let name = name.to_lowercase();
        self.writer
            .run(0, move |writing| {
                let mut delete = writing.connection.prepare_cached(DELETE)?;
                let domains: Vec<String> =
                    delete.query_map(params![domain, name], |row| row.get(0))?.collect::<Result<_, _>>()?;
                for domain in &domains {
                    traffic::forget_tag(writing, domain, &name)?;
                }
                Ok(!domains.is_empty())
            })
            .await
    }
}

fn list(connection: &Connection, query: &TagQuery) -> Result<Vec<Tag>, StoreError> {
    let domain = query.domain.as_ref().map(Domain::as_str);
    let (limit, skip, prefix) = (number(query.limit as u64), number(query.skip as u64), query.prefix.to_lowercase());
    let mut select = connection.prepare_cached(match (query.by_use, query.backward) {
        (false, false) => AFTER,
        (false, true) => BEFORE,
        (true, false) => BY_USE,
        (true, true) => BY_USE_BACKWARD,
    })?;
    let from = if query.backward { query.from.as_deref() } else { Some(query.from.as_deref().unwrap_or_default()) };
    let mut rows = select.query(params![domain, from, prefix, limit, skip])?;
    let mut tags = Vec::new();
    while let Some(row) = rows.next()? {
        tags.push(tag(row)?);
    }
    if query.backward {
        tags.reverse();
    }
    Ok(tags)
}

fn tag(row: Row<'_>) -> Result<Tag, StoreError> {
    Ok(Tag {
        domain: parsed(row, "domain")?,
        name: get(row, "name")?,
        description: get(row, "description")?,
        first_at: time(row, "first_at")?,
        last_at: time(row, "last_at")?,
    })
}
