//! The tables, and the steps that lead to them from older ones.
//!
//! `PRAGMA user_version`, and on PostgreSQL the table `waxwing_schema`, says how many steps a database has behind it. A step,
//! once released, is never edited.

use rusqlite::Connection;

use super::sql::postgres::Session;
use super::sql::{self, NONE, OptionalExtension, dialect};
use crate::StoreError;

/// The steps, oldest first.
const STEPS: &[&str] = &[
    FIRST,
    TLS_CHOICES,
    super::posture::TABLES,
    super::tlsrpt::TABLES,
    super::sts::TABLES,
    super::dkim::TABLES,
    super::key::ACCESS,
    super::copy::TABLES,
    super::dns_check::TABLES,
    super::credential::TABLES,
    super::webhook::TABLES,
    super::suppression::TABLES,
    super::template::TABLES,
    super::site::TABLES,
    super::traffic::TABLES,
    super::secret::TABLES,
    super::bounce::TABLES,
    super::dropped::TABLES,
    super::tracking::TABLES,
    super::retention::TABLES,
    super::rotation::TABLES,
    super::complaint::TABLES,
    super::dsn::TABLES,
    super::user::TABLES,
];

/// The version that this program reads and writes.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// The first version with a table `dkim_key`.
pub(super) const WITH_DKIM_KEYS: i64 = 6;

/// Times are microseconds since the epoch, flags 0 or 1, lists JSON.
const FIRST: &str = "
CREATE TABLE domain (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    require_tls INTEGER,
    skip_verification INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    description TEXT NOT NULL,
    hint TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- The name of the sending domain is written out: deleting a domain touches none of its mail.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    domain TEXT NOT NULL,
    message_id TEXT NOT NULL,
    return_path TEXT NOT NULL,
    header_from TEXT NOT NULL,
    header_to TEXT NOT NULL,
    subject TEXT NOT NULL,
    size INTEGER NOT NULL,
    attachments TEXT NOT NULL,
    tags TEXT NOT NULL,
    user_variables TEXT NOT NULL,
    require_tls INTEGER NOT NULL,
    require_tls_from TEXT NOT NULL,
    skip_verification INTEGER NOT NULL,
    skip_verification_from TEXT NOT NULL,
    method TEXT NOT NULL,
    test_mode INTEGER NOT NULL,
    deliver_at INTEGER,
    api_key INTEGER,
    originating_ip TEXT,
    accepted_at INTEGER NOT NULL,
    -- How many of its recipients are still to be delivered.
    unfinished INTEGER NOT NULL,
    wire_kept INTEGER NOT NULL
) STRICT;
CREATE INDEX message_age ON message (accepted_at);
CREATE INDEX message_message_id ON message (message_id COLLATE NOCASE);
CREATE INDEX message_wire_age ON message (accepted_at) WHERE unfinished = 0 AND wire_kept = 1;

-- Apart from the message, so that reading what is told about it does not wade through its content.
CREATE TABLE wire (
    message INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    content BLOB NOT NULL
) STRICT;

-- due_at: when somebody may take it next, that is next_attempt_at, or the end of the lease of whoever took it.
-- NULL when it is finished, so that the index holds the queue and nothing else.
CREATE TABLE recipient (
    id INTEGER PRIMARY KEY,
    message INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    address TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'delivered', 'failed')),
    attempts INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    due_at INTEGER CHECK ((due_at IS NULL) = (state <> 'queued')),
    leased INTEGER NOT NULL
) STRICT;
CREATE INDEX recipient_message ON recipient (message, destination);
CREATE INDEX recipient_due ON recipient (destination, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX recipient_leased ON recipient (destination) WHERE leased = 1;

-- For each destination that has anything queued the earliest due_at of it, so that a claim looks at destinations
-- and not at a million recipients of one of them.
CREATE TABLE destination (
    name TEXT PRIMARY KEY,
    due_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX destination_due ON destination (due_at);

-- at is strictly increasing in the order of commits: see Writing::event_time.
CREATE TABLE event (
    at INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    message INTEGER NOT NULL REFERENCES message (id),
    domain TEXT NOT NULL,
    recipient TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT,
    reason TEXT,
    attempt_no INTEGER,
    code INTEGER,
    enhanced_code TEXT,
    text TEXT,
    description TEXT,
    session INTEGER,
    retry_after INTEGER,
    utf8 INTEGER,
    mx_host TEXT,
    tls INTEGER,
    certificate_verified INTEGER,
    sending_ip TEXT,
    details TEXT,
    last_code INTEGER,
    last_text TEXT
) STRICT;
-- Every index of SQLite ends in the primary key, so these two also give the order of time.
CREATE INDEX event_domain ON event (domain);
CREATE INDEX event_recipient ON event (domain, recipient COLLATE NOCASE);
CREATE INDEX event_message ON event (message);
";

/// What a domain chooses beside the two switches, and what was resolved of it for each message.
const TLS_CHOICES: &str = "
ALTER TABLE domain ADD COLUMN tls_fallback TEXT;
ALTER TABLE domain ADD COLUMN tls_failure TEXT;
ALTER TABLE message ADD COLUMN tls_fallback TEXT NOT NULL DEFAULT 'plaintext';
ALTER TABLE message ADD COLUMN tls_failure TEXT NOT NULL DEFAULT 'defer';
ALTER TABLE message ADD COLUMN tls_tag TEXT NOT NULL DEFAULT 'none';
";

/// The version that the database has; an error when it is newer than what this program knows.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION {
        return Err(StoreError::NewerSchema { found, known: VERSION });
    }
    Ok(found)
}

/// Takes the database to [`VERSION`], a transaction for each step. Whoever calls holds the lock of the directory.
pub(super) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let done = usize::try_from(version(connection)?).unwrap_or(0);
    for (number, step) in STEPS.iter().enumerate().skip(done) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", (number + 1) as i64)?;
        transaction.commit()?;
    }
    Ok(())
}

/// What PostgreSQL has beside the tables: nodes, and settings of tables that change much. Beyond SQLite's words.
const SHARED: &str = include_str!("shared.sql");

/// The number of the lock under which nodes that start together bring the tables up to date, one after another.
const MIGRATING: i64 = super::shared::WRITING + 1;

/// The same for a database that is shared. Returns the version that was found.
pub(super) fn migrate_shared(connection: &sql::Connection) -> Result<i64, StoreError> {
    let Some(session) = connection.postgres() else { return Ok(VERSION) };
    session.execute_batch(&format!("SELECT pg_advisory_lock({MIGRATING})"))?;
    let migrated = under_lock(connection, session);
    if migrated.is_err() {
        session.execute_batch("ROLLBACK")?;
    }
    session.execute_batch(&format!("SELECT pg_advisory_unlock({MIGRATING})"))?;
    migrated
}

fn under_lock(connection: &sql::Connection, session: &Session) -> Result<i64, StoreError> {
    session
        .execute_batch("CREATE TABLE IF NOT EXISTS waxwing_schema (version bigint NOT NULL, beside text NOT NULL)")?;
    let found = connection
        .query_row("SELECT version, beside FROM waxwing_schema", NONE, |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let beside = format!("{}{SHARED}", dialect::FUNCTIONS);
    let (version, known) = found.clone().unwrap_or((0, String::new()));
    if version > VERSION {
        return Err(StoreError::NewerSchema { found: version, known: VERSION });
    }
    if found.is_none() {
        session.execute_batch("INSERT INTO waxwing_schema (version, beside) VALUES (0, '')")?;
    }
    if known != beside {
        session.execute_batch(&format!("BEGIN; {}", dialect::FUNCTIONS))?;
        session.execute_batch("COMMIT")?;
    }
    let done = usize::try_from(version).unwrap_or(0);
    for (number, step) in STEPS.iter().enumerate().skip(done) {
        session.execute_batch("BEGIN")?;
        connection.execute_batch(step)?;
        connection.prepare_cached("UPDATE waxwing_schema SET version = ?1")?.execute([(number + 1) as i64])?;
        session.execute_batch("COMMIT")?;
    }
    if known != beside {
        session.execute_batch("BEGIN")?;
        session.execute_batch(SHARED)?;
        connection.prepare_cached("UPDATE waxwing_schema SET beside = ?1")?.execute([beside])?;
        session.execute_batch("COMMIT")?;
    }
    Ok(version)
}

/// The version that a shared database has; 0 when nobody has made its tables.
pub(super) fn shared_version(connection: &sql::Connection) -> Result<i64, StoreError> {
    let is_there: bool =
        connection.query_row("SELECT to_regclass('waxwing_schema') IS NOT NULL", NONE, |row| row.get(0))?;
    if !is_there {
        return Ok(0);
    }
    let found =
        connection.query_row("SELECT version FROM waxwing_schema", NONE, |row| row.get(0)).optional()?.unwrap_or(0);
    if found > VERSION { Err(StoreError::NewerSchema { found, known: VERSION }) } else { Ok(found) }
}
