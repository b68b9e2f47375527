//! Suppression lists.

use policy::suppression::{EVERY_TAG, Listed, folded};
use rusqlite::{named_params, params};
use smtp::{Address, Domain};

use super::Engine;
use super::row::{from_json, get, number, time, to_json};
use super::sql::{Connection, Row};
use super::writer::Writing;
use crate::suppression::{Suppression, SuppressionList, SuppressionPlace, SuppressionQuery, TAGS_PER_ADDRESS};
use crate::{NewEvent, StoreError, Timestamp};

/// The lists outlive their domain: mail that is still queued then obeys them, and so does a domain that is made anew.
pub(super) const TABLES: &str = "
CREATE TABLE suppression (
    domain TEXT NOT NULL,
    list TEXT NOT NULL CHECK (list IN ('bounces', 'unsubscribes', 'complaints', 'allowlist')),
    subject TEXT NOT NULL,
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    tags TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (domain, list, subject)
) STRICT, WITHOUT ROWID;
";

/// About how many octets an entry takes.
const OCTETS_PER_ENTRY: usize = 500;
/// Most entries that one transaction deletes.
const DELETED_AT_ONCE: i64 = 5000;

const PUT: &str = "
    INSERT INTO suppression (domain, list, subject, code, text, tags, created_at)
    VALUES (:domain, :list, :subject, :code, :text, :tags, :created_at)
    ON CONFLICT (domain, list, subject) DO UPDATE SET code = excluded.code, text = excluded.text, tags = excluded.tags";
const FIND: &str = "SELECT * FROM suppression WHERE domain = ?1 AND list = ?2 AND subject = ?3";
pub(super) const OF_ADDRESS: &str = "
    SELECT list, tags FROM suppression
    WHERE domain = ?1 AND list IN ('bounces', 'unsubscribes', 'complaints') AND subject = ?2";
const IS_ALLOWED: &str = "
    SELECT EXISTS (SELECT 1 FROM suppression WHERE domain = ?1 AND list = 'allowlist' AND subject IN (?2, ?3))";
const SET_TAGS: &str = "UPDATE suppression SET tags = ?4 WHERE domain = ?1 AND list = ?2 AND subject = ?3";
const DELETE: &str = "DELETE FROM suppression WHERE domain = ?1 AND list = ?2 AND subject = ?3";
const DELETE_SOME: &str = "
    DELETE FROM suppression WHERE domain = ?1 AND list = ?2
    AND subject IN (SELECT subject FROM suppression WHERE domain = ?1 AND list = ?2 ORDER BY subject LIMIT ?3)";
pub(super) const LIST_UP: &str = "
    SELECT * FROM suppression WHERE domain = ?1 AND list = ?2 AND subject >= ?3 AND subject < ?4
    ORDER BY subject LIMIT ?5";
pub(super) const LIST_DOWN: &str = "
    SELECT * FROM suppression WHERE domain = ?1 AND list = ?2 AND subject >= ?3 AND subject < ?4
    ORDER BY subject DESC LIMIT ?5";

impl Engine {
    pub(crate) async fn suppress(
        &self,
        domain: &Domain,
        list: SuppressionList,
        entries: Vec<Suppression>,
    ) -> Result<(), StoreError> {
        let (domain, octets) = (domain.clone(), OCTETS_PER_ENTRY * entries.len());
        let put_all =
            move |writing: &Writing<'_>| entries.iter().try_for_each(|entry| put(writing, &domain, list, entry));
        self.writer.run(octets, put_all).await
    }

    pub(crate) async fn listed(&self, domain: &Domain, addresses: &[Address]) -> Result<Vec<Listed>, StoreError> {
        let domain = domain.clone();
        let subjects: Vec<String> = addresses.iter().map(folded).collect();
        let all = move |connection: &Connection| {
            subjects.iter().map(|subject| listed(connection, domain.as_str(), subject)).collect()
        };
        self.readers.run(all).await
    }

    pub(crate) async fn suppressions(&self, query: SuppressionQuery) -> Result<Vec<Suppression>, StoreError> {
        self.readers.run(move |connection| page(connection, query)).await
    }

    pub(crate) async fn suppression(
        &self,
        domain: &Domain,
        list: SuppressionList,
        subject: &str,
    ) -> Result<Option<Suppression>, StoreError> {
        let (domain, subject) = (domain.clone(), subject.to_owned());
        self.readers.run(move |connection| find(connection, &domain, list, &subject)).await
    }

    pub(crate) async fn unsuppress(
        &self,
        domain: &Domain,
        list: SuppressionList,
        subject: &str,
        tag: Option<&str>,
    ) -> Result<bool, StoreError> {
        let (domain, subject, tag) = (domain.clone(), subject.to_owned(), tag.map(str::to_lowercase));
        self.writer.run(0, move |writing| remove(writing, &domain, list, &subject, tag.as_deref())).await
    }

    pub(crate) async fn clear_suppressions(&self, domain: &Domain, list: SuppressionList) -> Result<(), StoreError> {
        loop {
            let domain = domain.clone();
            let some = move |writing: &Writing<'_>| {
                let mut delete = writing.connection.prepare_cached(DELETE_SOME)?;
                Ok(delete.execute(params![domain.as_str(), list.as_str(), DELETED_AT_ONCE])?)
            };
            if (self.writer.run(0, some).await? as i64) < DELETED_AT_ONCE {
                return Ok(());
            }
        }
    }
}

/// Puts the recipient of a refusal on the bounces, unless the sending domain does not want that.
pub(super) fn bounced(
    writing: &Writing<'_>,
    now: Timestamp,
    domain: &str,
    address: &str,
    events: &[NewEvent],
) -> Result<(), StoreError> {
    // What cannot be read as an address or a domain was never sent to.
    let (Ok(domain), Ok(address)) = (domain.parse::<Domain>(), address.parse::<Address>()) else { return Ok(()) };
    let subject = folded(&address);
    let mut allowed = writing.connection.prepare_cached(IS_ALLOWED)?;
    if allowed.query_row(params![domain.as_str(), subject, address.domain().as_str()], |row| row.get(0))? {
        return Ok(());
    }
    let attempt = events.iter().rev().find_map(|event| event.attempt.as_ref());
    let entry = Suppression {
        code: attempt.map(|attempt| attempt.code.to_string()).unwrap_or_default(),
        text: attempt.map(|attempt| attempt.message.clone()).unwrap_or_default(),
        ..Suppression::of(&address, now)
    };
    put(writing, &domain, SuppressionList::Bounces, &entry)
}

/// Writes an entry in the transaction of what leads to it.
pub(super) fn put(
    writing: &Writing<'_>,
    domain: &Domain,
    list: SuppressionList,
    entry: &Suppression,
) -> Result<(), StoreError> {
    let tags = match list {
        SuppressionList::Unsubscribes => {
            let there = find(writing.connection, domain, list, &entry.subject)?;
            together(there.map(|entry| entry.tags).unwrap_or_default(), &entry.tags)
        }
        _ => Vec::new(),
    };
    writing.connection.prepare_cached(PUT)?.execute(named_params! {
        ":domain": domain.as_str(),
        ":list": list.as_str(),
        ":subject": entry.subject,
        ":code": entry.code,
        ":text": entry.text,
        ":tags": to_json(&tags)?,
        ":created_at": entry.created_at.as_micros(),
    })?;
    Ok(())
}

/// The tags of both. No tag at all means all of them, as does more than may be kept.
fn together(mut tags: Vec<String>, more: &[String]) -> Vec<String> {
    tags.extend(more.iter().map(|tag| tag.to_lowercase()));
    tags.sort_unstable();
    tags.dedup();
    let everything = more.is_empty() || tags.len() > TAGS_PER_ADDRESS || tags.iter().any(|tag| tag == EVERY_TAG);
    if everything { vec![EVERY_TAG.to_owned()] } else { tags }
}

pub(super) fn listed(connection: &Connection, domain: &str, subject: &str) -> Result<Listed, StoreError> {
    let mut select = connection.prepare_cached(OF_ADDRESS)?;
    let mut rows = select.query([domain, subject])?;
    let mut listed = Listed::default();
    while let Some(row) = rows.next()? {
        match get::<String>(row, "list")?.as_str() {
            "bounces" => listed.bounced = true,
            "complaints" => listed.complained = true,
            _ => listed.unsubscribed = from_json(row, "tags")?,
        }
    }
    Ok(listed)
}

pub(super) fn find(
    connection: &Connection,
    domain: &Domain,
    list: SuppressionList,
    subject: &str,
) -> Result<Option<Suppression>, StoreError> {
    let mut select = connection.prepare_cached(FIND)?;
    let mut rows = select.query([domain.as_str(), list.as_str(), subject])?;
    rows.next()?.map(entry).transpose()
}

fn remove(
    writing: &Writing<'_>,
    domain: &Domain,
    list: SuppressionList,
    subject: &str,
    tag: Option<&str>,
) -> Result<bool, StoreError> {
    let connection = writing.connection;
    let key = params![domain.as_str(), list.as_str(), subject];
    let Some(tag) = tag else { return Ok(connection.prepare_cached(DELETE)?.execute(key)? > 0) };
    let Some(mut found) = find(connection, domain, list, subject)? else { return Ok(false) };
    let before = found.tags.len();
    found.tags.retain(|one| one != tag);
    if found.tags.is_empty() {
        connection.prepare_cached(DELETE)?.execute(key)?;
    } else {
        let tags = to_json(&found.tags)?;
        connection.prepare_cached(SET_TAGS)?.execute(params![domain.as_str(), list.as_str(), subject, tags])?;
    }
    Ok(found.tags.len() < before)
}

/// The bounds are put together here, so that the index is entered at the page and not at the list's end.
fn page(connection: &Connection, query: SuppressionQuery) -> Result<Vec<Suppression>, StoreError> {
    let mut low = query.prefix.clone();
    let mut high = format!("{}\u{10ffff}", query.prefix);
    let down = match query.place {
        SuppressionPlace::First => false,
        SuppressionPlace::Last => true,
        SuppressionPlace::After(subject) => {
            // No text lies between the two.
            // The next text there can be: no subject has a sign below this one.
            low = low.max(format!("{subject}\u{1}"));
            false
        }
        SuppressionPlace::Before(subject) => {
            high = high.min(subject);
            true
        }
    };
    let mut select = connection.prepare_cached(if down { LIST_DOWN } else { LIST_UP })?;
    let (list, limit) = (query.list.as_str(), number(query.limit as u64));
    let mut rows = select.query(params![query.domain.as_str(), list, low, high, limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    if down {
        entries.reverse();
    }
    Ok(entries)
}

fn entry(row: Row<'_>) -> Result<Suppression, StoreError> {
    Ok(Suppression {
        subject: get(row, "subject")?,
        code: get(row, "code")?,
        text: get(row, "text")?,
        tags: from_json(row, "tags")?,
        created_at: time(row, "created_at")?,
    })
}
