//! Users of the control panel and their sessions.

use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::row::{damaged, get, optional_time, time};
use super::sql::{Connection, NONE, OptionalExtension, Params, Row};
use crate::user::{NewSession, NewUser, Session, User, UserRole};
use crate::{KeyHash, PasswordHash, StoreError, Timestamp};

pub(super) const TABLES: &str = "
CREATE TABLE user (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    -- The name in lower case.
    folded TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL,
    -- Nothing: the user may do everything.
    domain TEXT REFERENCES domain (name) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    signed_in_at INTEGER
) STRICT;
CREATE INDEX user_domain ON user (domain) WHERE domain IS NOT NULL;

CREATE TABLE session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token BLOB NOT NULL UNIQUE,
    user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
CREATE INDEX session_user ON session (user);
CREATE INDEX session_end ON session (ends_at);
";

const ANY: &str = "SELECT EXISTS (SELECT 1 FROM user)";
const INSERT: &str = "INSERT INTO user (name, folded, hash, domain, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
const FIND: &str = "SELECT * FROM user WHERE folded = ?1";
const LIST: &str = "SELECT * FROM user ORDER BY folded";
const SET_HASH: &str = "UPDATE user SET hash = ?2 WHERE id = ?1";
const IS_LAST_ADMIN: &str = "
    SELECT domain IS NULL AND NOT EXISTS (SELECT 1 FROM user WHERE domain IS NULL AND id <> ?1) FROM user WHERE id = ?1";
const DELETE: &str = "DELETE FROM user WHERE id = ?1";
const SIGNED_IN: &str = "UPDATE user SET signed_in_at = ?2 WHERE id = ?1";

const FORGET_ENDED: &str = "DELETE FROM session WHERE ends_at <= ?1";
const OPEN: &str = "
    INSERT INTO session (token, user, address, agent, created_at, used_at, ends_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)";
const SESSION: &str = "SELECT * FROM session WHERE token = ?1 AND ends_at > ?2";
const USER: &str = "SELECT * FROM user WHERE id = ?1";
const USE: &str = "UPDATE session SET used_at = max(used_at, ?2) WHERE token = ?1";
const SESSIONS: &str = "SELECT * FROM session WHERE user = ?1 AND ends_at > ?2 ORDER BY used_at DESC";
const CLOSE: &str = "DELETE FROM session WHERE token = ?1";
const CLOSE_ALL: &str = "DELETE FROM session WHERE user = ?1";
const CLOSE_OTHERS: &str = "DELETE FROM session WHERE user = ?1 AND token IS DISTINCT FROM ?2";

impl Engine {
    pub(crate) async fn create_user(&self, user: NewUser, first: bool) -> Result<User, StoreError> {
        self.writer.run(0, move |writing| create(writing.connection, user.clone(), first)).await
    }

    pub(crate) async fn has_users(&self) -> Result<bool, StoreError> {
        self.readers.run(any).await
    }

    pub(crate) async fn find_user(&self, name: &str) -> Result<Option<User>, StoreError> {
        let folded = name.to_lowercase();
        self.readers.run(move |connection| one(connection, FIND, [folded], user)).await
    }

    pub(crate) async fn list_users(&self) -> Result<Vec<User>, StoreError> {
        self.readers.run(|connection| all(connection, LIST, NONE, user)).await
    }

    pub(crate) async fn set_user_password(
        &self,
        user: i64,
        hash: PasswordHash,
        but: Option<KeyHash>,
    ) -> Result<bool, StoreError> {
        self.writer
            .run(0, move |writing| {
                writing.connection.prepare_cached(CLOSE_OTHERS)?.execute(params![user, but.map(|token| token.0)])?;
                Ok(writing.connection.prepare_cached(SET_HASH)?.execute(params![user, hash.as_str()])? > 0)
            })
            .await
    }

    pub(crate) async fn delete_user(&self, user: i64) -> Result<bool, StoreError> {
        self.writer
            .run(0, move |writing| {
                let mut ask = writing.connection.prepare_cached(IS_LAST_ADMIN)?;
                if ask.query_row([user], |row| row.get(0)).optional()? == Some(true) {
                    return Err(StoreError::Invalid("nobody would be left who may do everything".to_owned()));
                }
                Ok(writing.connection.prepare_cached(DELETE)?.execute([user])? > 0)
            })
            .await
    }

    pub(crate) async fn open_session(&self, session: NewSession) -> Result<(), StoreError> {
        self.writer
            .run(0, move |writing| {
                let NewSession { token, user, address, agent, now, ends_at } = &session;
                let now = now.as_micros();
                writing.connection.prepare_cached(FORGET_ENDED)?.execute([now])?;
                let values = params![token.0, user, address, agent, now, ends_at.as_micros()];
                match writing.connection.prepare_cached(OPEN)?.execute(values) {
                    Err(e) if e.has_no_parent() => return Err(StoreError::Invalid("there is no such user".to_owned())),
                    done => done?,
                };
                writing.connection.prepare_cached(SIGNED_IN)?.execute(params![user, now])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn session(&self, token: KeyHash, now: Timestamp) -> Result<Option<(Session, User)>, StoreError> {
        self.readers
            .run(move |connection| {
                let with_user = |row: Row<'_>| Ok((session(row)?, get::<i64>(row, "user")?));
                let found = one(connection, SESSION, params![token.0, now.as_micros()], with_user)?;
                let Some((session, of)) = found else { return Ok(None) };
                Ok(one(connection, USER, [of], user)?.map(|user| (session, user)))
            })
            .await
    }

    pub(crate) async fn use_session(&self, token: KeyHash, now: Timestamp) -> Result<(), StoreError> {
        self.writer
            .run(0, move |writing| {
                writing.connection.prepare_cached(USE)?.execute(params![token.0, now.as_micros()])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn list_sessions(&self, user: i64, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.readers.run(move |connection| all(connection, SESSIONS, [user, now.as_micros()], session)).await
    }

    pub(crate) async fn close_session(&self, token: KeyHash) -> Result<(), StoreError> {
        self.writer
            .run(0, move |writing| {
                writing.connection.prepare_cached(CLOSE)?.execute([token.0])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn close_sessions(&self, user: i64) -> Result<u64, StoreError> {
        self.writer
            .run(0, move |writing| Ok(writing.connection.prepare_cached(CLOSE_ALL)?.execute([user])? as u64))
            .await
    }
}

fn any(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached(ANY)?.query_row(NONE, |row| row.get(0))?)
}

fn create(connection: &Connection, new: NewUser, first: bool) -> Result<User, StoreError> {
    if first && any(connection)? {
        return Err(StoreError::Conflict("the first user".to_owned()));
    }
    let NewUser { name, hash, role, now } = new;
    let domain = role.domain().map(Domain::as_str);
    let values = params![name, name.to_lowercase(), hash.as_str(), domain, now.as_micros()];
    let id = match connection.insert(INSERT, values) {
        Err(e) if e.is_duplicate() => return Err(StoreError::Conflict(format!("the user {name}"))),
        Err(e) if e.has_no_parent() => {
            return Err(StoreError::Invalid(format!("there is no domain {}", domain.unwrap_or_default())));
        }
        done => done?,
    };
    Ok(User { id, name, hash, role, created_at: now, signed_in_at: None })
}

type Read<T> = fn(Row<'_>) -> Result<T, StoreError>;

fn one<T>(connection: &Connection, sql: &str, values: impl Params, read: Read<T>) -> Result<Option<T>, StoreError> {
    connection.prepare_cached(sql)?.query_row(values, |row| Ok(read(row))).optional()?.transpose()
}

fn all<T>(connection: &Connection, sql: &str, values: impl Params, read: Read<T>) -> Result<Vec<T>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn user(row: Row<'_>) -> Result<User, StoreError> {
    let role = match get::<Option<String>>(row, "domain")? {
        None => UserRole::Admin,
        Some(name) => UserRole::Domain(name.parse().map_err(|_| damaged("domain"))?),
    };
    Ok(User {
        id: get(row, "id")?,
        name: get(row, "name")?,
        hash: PasswordHash::new(get::<String>(row, "hash")?),
        role,
        created_at: time(row, "created_at")?,
        signed_in_at: optional_time(row, "signed_in_at")?,
    })
}

fn session(row: Row<'_>) -> Result<Session, StoreError> {
    Ok(Session {
        id: get(row, "id")?,
        address: get(row, "address")?,
        agent: get(row, "agent")?,
        created_at: time(row, "created_at")?,
        used_at: time(row, "used_at")?,
        ends_at: time(row, "ends_at")?,
    })
}
