//! Two levels above the recipients: for each destination that has anything queued its first `due_at`, for each site the
//! first of its destinations. A claim looks at sites, and steps over those alone that are full, of which each has
//! something running.

use std::collections::BTreeSet;

use rusqlite::params;

use super::Engine;
use super::sql::{Connection, NONE, OptionalExtension, Row};
use super::writer::Writing;
use crate::{SiteNote, StoreError, Timestamp};

/// `not_before`: until when it is held back; `due_at` is never earlier. A site is `prompt` when its hosts answered, and
/// soon. What is known of a destination or a site is kept for a while with nothing queued, `due_at` NULL.
pub(super) const TABLES: &str = "
DROP INDEX destination_due;
DROP TABLE destination;
CREATE TABLE destination (
    name TEXT PRIMARY KEY,
    due_at INTEGER,
    -- '?' and its name as long as nobody has looked where its mail goes.
    site TEXT NOT NULL,
    not_before INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX destination_site ON destination (site, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX destination_idle ON destination (name) WHERE due_at IS NULL;
INSERT INTO destination (name, due_at, site, not_before)
    SELECT destination, min(due_at), '?' || destination, 0 FROM recipient WHERE due_at IS NOT NULL GROUP BY destination;

CREATE TABLE site (
    name TEXT PRIMARY KEY,
    due_at INTEGER,
    not_before INTEGER NOT NULL,
    prompt INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX site_due ON site (prompt, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX site_idle ON site (name) WHERE due_at IS NULL;
INSERT INTO site (name, due_at, not_before, prompt) SELECT site, min(due_at), 0, 0 FROM destination GROUP BY site;

CREATE INDEX message_expires ON message (expires_at) WHERE expires_at IS NOT NULL AND unfinished > 0;
";

/// Read until one is found that nobody has. Where nodes share the store that is the first: rows say who has them until when.
pub(super) const FIRST_DUE_OF_DESTINATION: &str = "
    SELECT id, due_at FROM recipient INDEXED BY recipient_due
    WHERE destination = ?1 AND due_at IS NOT NULL ORDER BY due_at /*+ LIMIT 1 */";
pub(super) const FIRST_DUE_OF_SITE: &str = "
    SELECT due_at FROM destination INDEXED BY destination_site
    WHERE site = ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1";

const DESTINATION_DUE_NO_LATER: &str = "
    INSERT INTO destination (name, due_at, site, not_before) VALUES (?1, ?2, '?' || ?1, 0)
    ON CONFLICT (name) DO UPDATE SET due_at = max(excluded.due_at, destination.not_before)
        WHERE destination.due_at IS NULL OR max(excluded.due_at, destination.not_before) < destination.due_at
    RETURNING site, due_at";
const SITE_DUE_NO_LATER: &str = "
    INSERT INTO site (name, due_at, not_before, prompt) VALUES (?1, ?2, 0, 0)
    ON CONFLICT (name) DO UPDATE SET due_at = max(excluded.due_at, site.not_before)
        WHERE site.due_at IS NULL OR max(excluded.due_at, site.not_before) < site.due_at";

const SET_DESTINATION: &str = "
    INSERT INTO destination (name, due_at, site, not_before) VALUES (?1, ?2, '?' || ?1, 0)
    ON CONFLICT (name) DO UPDATE SET due_at = max(excluded.due_at, destination.not_before)
    RETURNING site";
const DESTINATION_IS_IDLE: &str = "UPDATE destination SET due_at = NULL WHERE name = ?1 RETURNING site";
const SET_SITE: &str = "
    INSERT INTO site (name, due_at, not_before, prompt) VALUES (?1, ?2, 0, 0)
    ON CONFLICT (name) DO UPDATE SET due_at = max(excluded.due_at, site.not_before)
        WHERE site.due_at IS DISTINCT FROM max(excluded.due_at, site.not_before)";
const SITE_IS_IDLE: &str = "UPDATE site SET due_at = NULL WHERE name = ?1";

const SITE_OF: &str = "SELECT site FROM destination WHERE name = ?1";
const MOVE_DESTINATION: &str = "UPDATE destination SET site = ?2 WHERE name = ?1";
const HOLD_DESTINATION: &str = "UPDATE destination SET not_before = ?2 WHERE name = ?1";
const HOLD_SITE: &str = "UPDATE site SET not_before = ?2 WHERE name = ?1";
const RANK_SITE: &str = "
    INSERT INTO site (name, not_before, prompt) VALUES (?1, 0, ?2) ON CONFLICT (name) DO UPDATE SET prompt = ?2";

pub(super) const FORGET_ALL: [&str; 2] = ["DELETE FROM destination", "DELETE FROM site"];
pub(super) const FIND_DESTINATIONS: &str = "
    INSERT INTO destination (name, due_at, site, not_before)
    SELECT destination, min(due_at), '?' || destination, 0 FROM recipient INDEXED BY recipient_due
    WHERE due_at IS NOT NULL GROUP BY destination";
pub(super) const FIND_SITES: &str = "
    INSERT INTO site (name, due_at, not_before, prompt)
    SELECT site, min(due_at), 0, 0 FROM destination INDEXED BY destination_site
    WHERE due_at IS NOT NULL GROUP BY site";

/// What has nothing queued is soon known again.
pub(super) const FORGET_IDLE: [&str; 2] = [
    "DELETE FROM destination WHERE name IN
        (SELECT name FROM destination INDEXED BY destination_idle WHERE due_at IS NULL LIMIT 500)",
    "DELETE FROM site WHERE name IN (SELECT name FROM site INDEXED BY site_idle WHERE due_at IS NULL LIMIT 500)",
];

impl Engine {
    pub(crate) async fn note_sites(&self, notes: Vec<SiteNote>) -> Result<(), StoreError> {
        self.writer.run_traffic(0, move |writing| notes.iter().try_for_each(|note| note_site(writing, note))).await
    }

    /// Forgets the destinations and sites that have nothing queued.
    pub(super) async fn purge_sites(&self) -> Result<(), StoreError> {
        for sql in FORGET_IDLE {
            let some = move |writing: &Writing<'_>| Ok(writing.connection.prepare_cached(sql)?.execute(NONE)?);
            while self.writer.run(0, some).await? > 0 {}
        }
        Ok(())
    }
}

fn note_site(writing: &Writing<'_>, note: &SiteNote) -> Result<(), StoreError> {
    let connection = writing.connection;
    let (name, site) = (note.destination.as_str(), note.site.as_str());
    let mut sites = BTreeSet::from([site.to_owned()]);
    if let Some(before) = site_of(connection, name)? {
        connection.prepare_cached(MOVE_DESTINATION)?.execute([name, site])?;
        if note.is_back {
            connection.prepare_cached(HOLD_DESTINATION)?.execute(params![name, 0])?;
        }
        refresh_destination(writing, name)?;
        sites.insert(before);
    }
    if note.is_back {
        connection.prepare_cached(HOLD_SITE)?.execute(params![site, 0])?;
    }
    sites.iter().try_for_each(|site| refresh_site(writing, site))?;
    if let Some(prompt) = note.prompt {
        connection.prepare_cached(RANK_SITE)?.execute(params![site, prompt])?;
    }
    Ok(())
}

fn site_of(connection: &Connection, destination: &str) -> Result<Option<String>, StoreError> {
    Ok(connection.prepare_cached(SITE_OF)?.query_row([destination], |row| row.get(0)).optional()?)
}

/// Something of this destination becomes due at `due`.
pub(super) fn due_no_later_than(writing: &Writing<'_>, destination: &str, due: Timestamp) -> Result<(), StoreError> {
    let mut upsert = writing.connection.prepare_cached(DESTINATION_DUE_NO_LATER)?;
    let both = |row: Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let earlier: Option<(String, i64)> = upsert.query_row(params![destination, due.as_micros()], both).optional()?;
    if let Some((site, due)) = earlier {
        writing.connection.prepare_cached(SITE_DUE_NO_LATER)?.execute(params![site, due])?;
    }
    Ok(())
}

/// Nothing of a destination is due before that time.
pub(super) fn hold_destination(writing: &Writing<'_>, name: &str, until: Timestamp) -> Result<(), StoreError> {
    writing.connection.prepare_cached(HOLD_DESTINATION)?.execute(params![name, until.as_micros()])?;
    Ok(())
}

/// Nothing of a site is due before that time.
pub(super) fn hold_site(writing: &Writing<'_>, name: &str, until: Timestamp) -> Result<(), StoreError> {
    writing.connection.prepare_cached(HOLD_SITE)?.execute(params![name, until.as_micros()])?;
    Ok(())
}

/// Nothing holds a destination and its site back any more; a claim that has no room for them holds them again.
pub(super) fn let_go(writing: &Writing<'_>, destination: &str) -> Result<(), StoreError> {
    let connection = writing.connection;
    connection.prepare_cached(HOLD_DESTINATION)?.execute(params![destination, 0])?;
    if let Some(site) = site_of(connection, destination)? {
        connection.prepare_cached(HOLD_SITE)?.execute(params![site, 0])?;
    }
    Ok(())
}

/// Brings the lines of destinations up to date with their recipients, and those of their sites with them.
pub(super) fn refresh<'a>(
    writing: &Writing<'_>,
    destinations: impl IntoIterator<Item = &'a str>,
) -> Result<(), StoreError> {
    let mut sites = BTreeSet::new();
    for name in destinations {
        sites.extend(refresh_destination(writing, name)?);
    }
    sites.iter().try_for_each(|site| refresh_site(writing, site))
}

/// The site of the destination, if it had a line or has one now.
fn refresh_destination(writing: &Writing<'_>, name: &str) -> Result<Option<String>, StoreError> {
    let connection = writing.connection;
    let site = match first_due(writing, name)? {
        Some(due) => connection.prepare_cached(SET_DESTINATION)?.query_row(params![name, due], |row| row.get(0)),
        None => connection.prepare_cached(DESTINATION_IS_IDLE)?.query_row([name], |row| row.get(0)),
    };
    Ok(site.optional()?)
}

/// When somebody may take something of a destination next: what waits there, or the end of the lease of who took it.
pub(super) fn first_due(writing: &Writing<'_>, name: &str) -> Result<Option<i64>, StoreError> {
    let leases = writing.leases.borrow();
    let leased = leases.of(name);
    let mut select = writing.connection.prepare_cached(FIRST_DUE_OF_DESTINATION)?;
    let mut rows = select.query([name])?;
    let mut first = leased.and_then(|leased| leased.values().min().copied());
    while let Some(row) = rows.next()? {
        let (id, due): (i64, i64) = (row.get(0)?, row.get(1)?);
        if leased.is_none_or(|leased| !leased.contains_key(&id)) {
            first = Some(first.map_or(due, |first| first.min(due)));
            break;
        }
    }
    Ok(first)
}

/// Brings the line of a site up to date with its destinations.
pub(super) fn refresh_site(writing: &Writing<'_>, name: &str) -> Result<(), StoreError> {
    let connection = writing.connection;
    let first: Option<i64> =
        connection.prepare_cached(FIRST_DUE_OF_SITE)?.query_row([name], |row| row.get(0)).optional()?;
    if let Some(due) = first {
        connection.prepare_cached(SET_SITE)?.execute(params![name, due])?;
    } else {
        connection.prepare_cached(SITE_IS_IDLE)?.execute([name])?;
    }
    Ok(())
}

/// Writes all lines anew: a destination without a line would never be claimed again, and this runs at each start. Who
/// starts has nothing running and knows of nobody who fails.
pub(super) fn find_all(writing: &Writing<'_>) -> Result<(), StoreError> {
    for sql in FORGET_ALL.into_iter().chain([FIND_DESTINATIONS, FIND_SITES]) {
        writing.connection.prepare_cached(sql)?.execute(NONE)?;
    }
    Ok(())
}
