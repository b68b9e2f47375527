//! A look from outside: one connection that reads, and a file that is written and removed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::open::{DATABASE, LOCK, reading_connection};
use super::sql::{Connection, NONE};
use super::{schema, shared};
use crate::database::Database;
use crate::inspect::{DOMAINS_SHOWN, Inspection, Signing};
use crate::{StoreError, Timestamp};

pub(crate) fn inspect(directory: &Path) -> Result<Option<Inspection>, StoreError> {
    let cannot_open =
        |error: io::Error| StoreError::CannotOpen { path: directory.display().to_string(), reason: error.to_string() };
    let path = directory.join(DATABASE);
    if !path.try_exists().map_err(cannot_open)? {
        return Ok(None);
    }
    // Opening tells more than the permissions do; nothing is written.
    let unwritable = OpenOptions::new().write(true).open(&path).err().or_else(|| write_something(directory).err());
    let space = rustix::fs::statvfs(directory).map_err(|error| cannot_open(error.into()))?;
    let connection = reading_connection(&path)?;
    let schema = schema::version(&connection)?;
    let connection = Connection::Sqlite(connection);
    if schema == 0 {
        // The file is there and its tables are not: whoever made it died before.
        return Ok(None);
    }
    let found = Found {
        schema,
        is_served: is_served(directory).map_err(cannot_open)?,
        unwritable: unwritable.map(|error| error.to_string()),
        free: Some(space.f_bavail.saturating_mul(space.f_frsize)),
    };
    found.inspection(&connection).map(Some)
}

/// The same for a database that nodes share.
pub(crate) fn inspect_shared(database: &Database) -> Result<Option<Inspection>, StoreError> {
    let cannot_open = |error: super::sql::Error| StoreError::CannotOpen {
        path: database.shown(),
        reason: StoreError::from(error).to_string(),
    };
    let connection = shared::connect_reader(database).map_err(cannot_open)?;
    let schema = schema::shared_version(&connection)?;
    if schema == 0 {
        return Ok(None);
    }
    let may_write: bool =
        connection.query_row("SELECT has_table_privilege('message', 'INSERT')", NONE, |row| row.get(0))?;
    let unwritable = (!may_write).then(|| "this user may not write into its tables".to_owned());
    let found = Found { schema, is_served: shared::serving(&connection)? > 0, unwritable, free: None };
    found.inspection(&connection).map(Some)
}

/// What is known beside what its tables hold.
struct Found {
    schema: i64,
    is_served: bool,
    unwritable: Option<String>,
    free: Option<u64>,
}

impl Found {
    fn inspection(self, connection: &Connection) -> Result<Inspection, StoreError> {
        let (domains, first_domains) = domains(connection)?;
        Ok(Inspection {
            schema: self.schema,
            known_schema: schema::VERSION,
            is_served: self.is_served,
            unwritable: self.unwritable,
            free: self.free,
            keys: count(connection, "api_key")?,
            domains,
            signing: signing(connection, self.schema)?,
            first_domains,
            latest_event: latest_event(connection)?,
        })
    }
}

/// Whether somebody holds the lock.
fn is_served(directory: &Path) -> io::Result<bool> {
    let file = match File::open(directory.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Shared and for a moment: a server that starts just then tries again.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Full disks and read-only file systems show only when something is written.
fn write_something(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!("waxwing.doctor-{:016x}", rand::random::<u64>()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&[0; 4096]).and_then(|()| file.sync_all()));
    match (written, std::fs::remove_file(&path)) {
        (Ok(()), removed) => removed,
        (written, _) => written,
    }
}

/// The rows of a table of ours.
fn count(connection: &Connection, table: &str) -> Result<u64, StoreError> {
    let rows: i64 = connection.query_row(&format!("SELECT count(*) FROM {table}"), NONE, |row| row.get(0))?;
    Ok(rows.unsigned_abs())
}

fn shown() -> i64 {
    DOMAINS_SHOWN as i64
}

fn domains(connection: &Connection) -> Result<(u64, Vec<smtp::Domain>), StoreError> {
    let total = count(connection, "domain")?;
    let mut statement = connection.prepare_cached("SELECT name FROM domain ORDER BY name LIMIT ?1")?;
    let names = statement.query_map([shown()], |row| row.get::<_, String>(0))?;
    let mut first = Vec::new();
    for name in names {
        let name = name?;
        first.push(name.parse().map_err(|_| StoreError::Damaged(format!("'{name}' is no domain")))?);
    }
    Ok((total, first))
}

fn signing(connection: &Connection, schema: i64) -> Result<Vec<Signing>, StoreError> {
    // An older store has no such table.
    if schema < schema::WITH_DKIM_KEYS {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT domain, selector, record FROM dkim_key
         WHERE active = 1 AND domain IN (SELECT name FROM domain ORDER BY name LIMIT ?1)
         ORDER BY domain, selector",
    )?;
    let keys = statement.query_map([shown()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut found = Vec::new();
    for key in keys {
        let (domain, selector, record): (String, String, String) = key?;
        let name = |text: String| text.parse().map_err(|_| StoreError::Damaged(format!("'{text}' is no domain")));
        found.push(Signing { domain: name(domain)?, selector: name(selector)?, record });
    }
    Ok(found)
}

fn latest_event(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let latest: Option<i64> = connection.query_row("SELECT max(at) FROM event", NONE, |row| row.get(0))?;
    Ok(latest.map(Timestamp::from_micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Location, Role, Store};

    #[tokio::test]
    async fn a_look_changes_nothing_and_sees_a_server() {
        let directory = std::env::temp_dir().join(format!("waxwing-inspect-{:016x}", rand::random::<u64>()));
        let location = Location::sqlite(&directory);
        assert_eq!(Store::inspect(&location).await, Ok(None));
        assert!(!directory.exists(), "it makes nothing");

        let server = Store::open(&location, Role::Server).await.unwrap();
        let seen = Store::inspect(&location).await.unwrap().unwrap();
        assert_eq!((seen.schema, seen.is_served, seen.unwritable, seen.keys), (schema::VERSION, true, None, 0));
        server.close().await;
        drop(server);

        // An older store stays one, and a newer one is told.
        let set = |version: i64| {
            let connection = rusqlite::Connection::open(directory.join(DATABASE)).unwrap();
            connection.pragma_update(None, "user_version", version).unwrap();
        };
        set(schema::VERSION - 1);
        for _ in 0..2 {
            let seen = Store::inspect(&location).await.unwrap().unwrap();
            assert_eq!((seen.schema, seen.known_schema, seen.is_served), (schema::VERSION - 1, schema::VERSION, false));
        }
        set(schema::VERSION + 1);
        assert!(matches!(Store::inspect(&location).await, Err(StoreError::NewerSchema { .. })));
        let left: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("doctor")), "{left:?}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
