//! The engine: one thread that writes, a few connections that read, on SQLite's file in WAL mode or on a PostgreSQL.
//!
//! - [`sql`]: one way to speak SQL with both.
//! - [`open`]: directory, lock, file, connections.
//! - [`schema`]: the tables, and the steps from older ones.
//! - [`writer`]: group commit. Every change goes through it; the thread is [`committer`]'s.
//! - [`file`](mod@file): what a store of this machine needs around its transactions.
//! - [`shared`]: what a store that nodes share needs: connections that come back, commits whose end is found out, nodes that die.
//! - [`broken`]: what a failed sync means.
//! - [`settings`]: what is given from memory, until something changes.
//! - [`reserve`]: room for what must still be written when the disk is full.
//! - [`readers`]: the connections that read.
//! - [`inspect`](mod@inspect): a look from outside that changes nothing.
//! - One file for each aggregate with its statements in full view: [`message`], [`queue`], [`claim`], [`site`], [`event`]
//!   (and [`filter`]), [`copy`], [`domain`], [`key`], [`purge`], [`posture`] (and [`posture_read`]), [`tlsrpt`], [`sts`],
//!   [`dkim`], [`dns_check`], [`credential`], [`webhook`], [`template`], [`traffic`], [`tag`], [`secret`],
//!   [`bounce`], [`complaint`], [`tracking`], [`dsn`].

mod bounce;
mod broken;
mod claim;
mod committer;
mod complaint;
mod copy;
mod credential;
mod dkim;
mod dns_check;
mod domain;
mod dropped;
mod dsn;
mod event;
mod figures;
mod file;
mod filter;
mod inspect;
mod key;
mod known;
mod leases;
mod load;
mod message;
mod open;
mod posture;
mod posture_read;
mod purge;
mod queue;
mod readers;
mod reserve;
mod retention;
mod rotation;
mod row;
mod schema;
mod secret;
mod settings;
mod shared;
mod site;
mod sql;
mod standing;
mod stored;
mod sts;
mod suppression;
mod tag;
mod template;
#[cfg(test)]
mod tests;
mod tlsrpt;
mod tracking;
mod traffic;
mod traffic_tag;
mod user;
mod waiting;
mod webhook;
mod writer;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smtp::Domain;

pub(crate) use inspect::{inspect, inspect_shared};
pub(crate) use message::random_text;

use crate::location::Place;
use crate::{Location, Role, Stats, StoreError, Timestamp};

/// How long one waits for another process (a command beside the server) to finish its transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a transaction waits for more operations while they come in crowds. What a transaction costs beside its
/// operations, its sync first, is as much as a dozen of them.
const GATHER: Duration = Duration::from_millis(1);
/// Most operations in one transaction.
const OPERATIONS_PER_COMMIT: usize = 512;
/// About how many octets of content go into one transaction.
const OCTETS_PER_COMMIT: usize = 32 << 20;
/// Most operations that wait for the writer. Who comes then waits for a place.
const OPERATIONS_WAITING: usize = 4096;
/// Connections that read. More than a few searches at once only slow each other down.
const READERS: usize = 4;
/// How long one search may take. A long one also keeps the log of changes from being folded into the file.
const READ_TIME: Duration = Duration::from_secs(10);
/// Size of the log of changes, in pages of 4 KiB, at which it is folded into the file.
const PAGES_BETWEEN_CHECKPOINTS: i32 = 4000;
/// To how many octets the log of changes is cut when it begins anew.
const LOG_KEPT: u64 = 32 << 20;
/// At how many octets the writer waits for those who read, so that the log can begin anew.
const LOG_AT_MOST: u64 = 2 * LOG_KEPT;

/// The engine.
#[derive(Debug)]
pub(crate) struct Engine {
    writer: writer::Writer,
    readers: readers::Readers,
    settings: settings::Settings,
    /// Of a store that nodes share: this one's place among them.
    standing: Option<Mutex<standing::Standing>>,
    /// The lines of destinations and sites are still those of the last server, which may say that all of it is taken.
    lines_are_old: AtomicBool,
    /// Sending domains whose queues were dropped, and when.
    dropped: Mutex<HashMap<Domain, Timestamp>>,
}

impl Engine {
    pub(crate) async fn open(location: &Location, role: Role) -> Result<Engine, StoreError> {
        let place = location.0.clone();
        let open = move || match place {
            Place::Directory(directory) => open::open(&directory, role),
            Place::Database(database) => open::open_shared(&database, role),
        };
        let engine = tokio::task::spawn_blocking(open).await.map_err(|e| StoreError::Unavailable(e.to_string()))??;
        if role == Role::Server && location.directory().is_some() {
            match engine.release_leases().await {
                Ok(0) => {}
                Ok(freed) => tracing::info!(recipients = freed, "freed what the last server had leased"),
                // A full disk must not keep a server from starting: it can still tell what happened, and goes on when
                // there is room.
                Err(StoreError::Unavailable(reason)) => {
                    tracing::warn!(reason, "what the last server had leased cannot be freed yet");
                    engine.lines_are_old.store(true, Ordering::Relaxed);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(engine)
    }

    pub(crate) async fn close(&self) {
        if self.is_shared()
            && let Err(error) = self.release_leases().await
        {
            tracing::debug!(%error, "what this node had leased is free when others find it dead");
        }
        self.readers.close();
        self.writer.close().await;
    }

    /// Whether nodes share the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.readers.is_shared()
    }

    pub(crate) fn health(&self) -> Result<(), StoreError> {
        if self.writer.is_cut_off() {
            return Err(StoreError::Unreachable("the database cannot be reached".to_owned()));
        }
        self.writer.health()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.writer.stats()
    }
}

/// What an error of SQLite means to a caller.
fn unavailable(error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    broken::see(&error);
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow,
        Some(ErrorCode::TooBig) => StoreError::Invalid("larger than the store can keep".to_owned()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(text),
        Some(_) => StoreError::Unavailable(text),
        // Not from the engine but from reading a row: it holds what was never written.
        None => StoreError::Damaged(text),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        unavailable(error)
    }
}
