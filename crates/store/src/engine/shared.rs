//! A store that several nodes share: the connection by which this one writes, and what is to be done around its transactions.
//!
//! Each node has a line in `node`, and every transaction counts itself there. So when a connection is lost before the
//! database said whether it committed, the next connection can tell: the line, once it can be locked, is what it was before
//! or one more. A node that is not heard of for [`DEAD_AFTER`] loses its line, and with it what it had leased; should it
//! only have been cut off, it finds its line gone and commits nothing by it (docs/decisions/0021).

use std::cell::Cell;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use policy::share::Place;
use rusqlite::params;

use super::Engine;
use super::committer::Failure;
use super::queue::release_of_node;
use super::sql::postgres::{Session, is_last_word};
use super::sql::{Connection, Error, OptionalExtension};
use super::standing::SETTLED;
use super::writer::Writing;
use crate::database::Database;
use crate::{Role, StoreError};

/// The number of the lock that one writer at a time holds, among all nodes: "wax".
pub(super) const WRITING: i64 = 0x77_61_78;
/// How long a node may be silent.
pub(super) const DEAD_AFTER: Duration = if cfg!(test) { Duration::from_secs(2) } else { Duration::from_secs(30) };
/// How long one tries to learn whether a transaction was committed.
const RESOLVE: Duration = Duration::from_secs(20);
/// Between two tries to connect.
const RECONNECT: Duration = Duration::from_millis(250);

/// The node as this program runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(pub(super) i64);

const JOIN: &str = "INSERT INTO node (name, serves, started_at, seen_at, commits) VALUES (?1, ?2, now(), now(), 0)";
const COUNT: &str = "UPDATE node SET commits = ?2, seen_at = now() WHERE id = ?1";
const COUNTED: &str = "SELECT commits FROM node WHERE id = ?1 FOR UPDATE";
const SERVING: &str = "SELECT count(*) FROM node WHERE serves = 1 AND seen_at > now() - make_interval(secs => ?1)";
/// Who has a line and serves, those who came first before the others, and whether each has for so many seconds.
const PRESENT: &str = "
    SELECT id, started_at <= now() - make_interval(secs => ?1) FROM node WHERE serves = 1 ORDER BY id";
const DEAD: &str = "
    SELECT id FROM node WHERE seen_at <= now() - make_interval(secs => ?1) AND id <> ?2 ORDER BY id
    /*+ FOR UPDATE SKIP LOCKED */";
const LEAVE: &str = "DELETE FROM node WHERE id = ?1";
const LEAVE_EMPTY: &str =
    "DELETE FROM node WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM recipient WHERE leased = ?1 AND leased <> 0)";

/// The way to the database.
pub(super) struct Shared {
    database: Database,
    role: Role,
    node: NodeId,
    /// Transactions of this node that were committed.
    commits: Cell<i64>,
    /// The last try to connect, and why it failed.
    failed: Option<(Instant, String)>,
}

impl Shared {
    /// Joins those who share the database.
    pub(super) fn join(database: Database, role: Role, session: &Connection) -> Result<Shared, StoreError> {
        let mut shared = Shared { database, role, node: NodeId(0), commits: Cell::new(0), failed: None };
        shared.set_up(session)?;
        Ok(shared)
    }

    /// Which node this is.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Sees to it that there is a connection.
    pub(super) fn connect(&mut self, connection: &mut Connection) -> Result<(), Error> {
        if connection.postgres().is_some_and(|session| !session.is_lost()) {
            return Ok(());
        }
        if let Some((at, reason)) = &self.failed
            && at.elapsed() < RECONNECT
        {
            return Err(Error::Lost(reason.clone()));
        }
        let connected = connect(&self.database).and_then(|session| self.set_up(&session).map(|()| session));
        match connected {
            Ok(session) => {
                *connection = session;
                self.failed = None;
                tracing::info!(node = self.node.0, "connected to the database again");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "the database cannot be reached");
                self.failed = Some((Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    /// Takes the node's line, or writes one, and learns how many of its transactions were committed.
    fn set_up(&mut self, connection: &Connection) -> Result<(), Error> {
        let read = |row: super::sql::Row<'_>| row.get::<_, i64>(0);
        let counted = connection.query_row(COUNTED, [self.node.0], read).optional()?;
        if let Some(commits) = counted {
            self.commits.set(commits);
            return Ok(());
        }
        if self.node != NodeId(0) {
            tracing::warn!(
                node = self.node.0,
                "this node was cut off for long, and others have taken what it had leased"
            );
        }
        let id = connection.insert(JOIN, params![name(), self.role == Role::Server])?;
        self.node = NodeId(id);
        self.commits.set(0);
        Ok(())
    }

    /// A transaction begins, in which nobody else writes.
    pub(super) fn begin(&self, connection: &Connection) -> Result<(), Error> {
        let Some(session) = connection.postgres() else { return Ok(()) };
        session.begins();
        session.execute_batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({WRITING})"))
    }

    /// Commits what was done, and counts it.
    pub(super) fn commit(&self, connection: &Connection) -> Result<(), Failure> {
        let Some(session) = connection.postgres() else { return Ok(()) };
        let commits = self.commits.get() + 1;
        if connection.prepare_cached(COUNT)?.execute(params![self.node.0, commits])? != 1 {
            session.give_up();
            let reason = "this node was cut off, and others have taken what it had leased";
            return Err(Failure::Other(StoreError::Unavailable(reason.to_owned())));
        }
        match session.execute_batch("COMMIT") {
            Ok(()) => {
                self.commits.set(commits);
                Ok(())
            }
            Err(error) if session.is_lost() || leaves_doubt(&error) => {
                session.give_up();
                Err(Failure::InDoubt(error.into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As if the answer to the last commit had not come.
    #[cfg(test)]
    pub(super) fn lose_answer(&self, connection: &Connection) -> Failure {
        self.commits.set(self.commits.get() - 1);
        connection.postgres().into_iter().for_each(Session::give_up);
        Failure::InDoubt(StoreError::Unavailable("the answer was thrown away".to_owned()))
    }

    /// Whether the last transaction, the end of which was not heard, was committed.
    pub(super) fn was_committed(&mut self, connection: &mut Connection) -> bool {
        let (began, before) = (Instant::now(), self.commits.get());
        let node = self.node;
        while began.elapsed() < RESOLVE {
            if self.connect(connection).is_ok() {
                let committed = self.node == node && self.commits.get() == before + 1;
                tracing::warn!(committed, "a connection was lost in the middle of a commit: the next one told its end");
                return committed;
            }
            std::thread::sleep(RECONNECT);
        }
        tracing::error!(
            "a connection was lost in the middle of a commit, and nobody tells its end: it counts as not kept"
        );
        false
    }

    /// The node ends. What it still had leased, others free when they find it dead, and for that its line must stay.
    pub(super) fn leave(&self, connection: &Connection) {
        let left = connection.prepare_cached(LEAVE_EMPTY).and_then(|mut leave| leave.execute([self.node.0]));
        if let Err(error) = left {
            tracing::debug!(%error, "the node's line stays until others find it dead");
        }
    }
}

/// Whether with that error the fate of a commit is unknown: the server goes, or said nothing.
fn leaves_doubt(error: &Error) -> bool {
    matches!(error, Error::Postgres(error) if error.code().is_none_or(is_last_word))
}

/// A connection that writes: every commit is on disk before it is told. A node that hangs, or is cut off, in the middle of a
/// transaction does not keep the others from theirs for long.
pub(super) fn connect(database: &Database) -> Result<Connection, Error> {
    let session = Session::connect(database)?;
    session.execute_batch(
        "SET client_min_messages = warning;
         SET idle_in_transaction_session_timeout = '20s';
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    )?;
    Ok(Connection::Postgres(session))
}

/// A connection that reads.
pub(super) fn connect_reader(database: &Database) -> Result<Connection, Error> {
    let session = Session::connect(database)?;
    session.execute_batch("SET client_min_messages = warning; SET default_transaction_read_only = on")?;
    Ok(Connection::Postgres(session))
}

impl Engine {
    /// This node lives; those that were silent for long are dead, and what they had is free. No work where a server has its
    /// store alone.
    pub(crate) async fn beat(&self) -> Result<(), StoreError> {
        let Some(standing) = &self.standing else { return Ok(()) };
        // Before it is asked: what is found out may be as old as that.
        let asked = Instant::now();
        let (freed, place) = self.writer.run_traffic(0, beat).await?;
        standing.lock().unwrap_or_else(PoisonError::into_inner).learn(asked, place);
        if freed > 0 {
            tracing::warn!(recipients = freed, "a node died, and what it had leased is free");
        }
        Ok(())
    }

    /// Whether this node does what only one of them shall do: the one that has been there longest. A node that was cut off
    /// has none any more before the others find it dead. A server that has its store alone always does.
    pub(crate) fn has_duties(&self) -> bool {
        let Some(standing) = &self.standing else { return true };
        standing.lock().unwrap_or_else(PoisonError::into_inner).is_first(Instant::now())
    }

    /// The places among the nodes by which this one works out its part of what all may have together.
    pub(crate) fn places(&self) -> Vec<Place> {
        let Some(standing) = &self.standing else { return vec![Place::ALONE] };
        standing.lock().unwrap_or_else(PoisonError::into_inner).places(Instant::now())
    }
}

/// Buries the dead, and says how much they had and which place this node has among those who live. One that is new has none
/// until the others must know of it, unless there is none before it.
fn beat(writing: &Writing<'_>) -> Result<(u64, Option<Place>), StoreError> {
    let freed = bury_the_dead(writing)?;
    let mut select = writing.connection.prepare_cached(PRESENT)?;
    let both = |row: super::sql::Row<'_>| Ok((NodeId(row.get(0)?), row.get(1)?));
    let present: Vec<(NodeId, bool)> = select.query_map([SETTLED.as_secs_f64()], both)?.collect::<Result<_, _>>()?;
    let own = present.iter().position(|(id, _)| writing.node == Some(*id));
    let place = own.filter(|index| *index == 0 || present[*index].1);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Ok((freed, place.map(|index| Place { index: number(index), nodes: number(present.len()) })))
}

/// Takes the lines of nodes that were silent for too long, and frees what they had leased.
fn bury_the_dead(writing: &Writing<'_>) -> Result<u64, StoreError> {
    let mut select = writing.connection.prepare_cached(DEAD)?;
    let own = writing.node.map_or(0, |node| node.0);
    let silent = params![DEAD_AFTER.as_secs_f64(), own];
    let dead: Vec<i64> = select.query_map(silent, |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut freed = 0;
    for node in dead {
        freed += release_of_node(writing, NodeId(node))?;
        writing.connection.prepare_cached(LEAVE)?.execute([node])?;
        tracing::warn!(node, "a node was silent for {} seconds: it counts as dead", DEAD_AFTER.as_secs());
    }
    Ok(freed)
}

/// How many nodes run.
pub(super) fn serving(connection: &Connection) -> Result<i64, Error> {
    connection.query_row(SERVING, [DEAD_AFTER.as_secs_f64()], |row| row.get(0))
}

/// What the node is called in lists.
fn name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
}

/// What the database must be for mail to be safe in it.
pub(super) fn check(connection: &Connection) -> Result<(), StoreError> {
    let setting = |name: &str| -> Result<String, StoreError> {
        Ok(connection.query_row("SELECT current_setting(?1)", [name], |row| row.get(0))?)
    };
    let encoding = setting("server_encoding")?;
    if encoding != "UTF8" {
        return Err(StoreError::Unavailable(format!("the database is encoded in {encoding}, where UTF8 is needed")));
    }
    if setting("fsync")? == "off" || setting("full_page_writes")? == "off" {
        tracing::error!("the database runs with fsync or full_page_writes off: a crash of its machine loses mail");
    }
    Ok(())
}
