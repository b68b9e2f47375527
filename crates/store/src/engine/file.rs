//! A store of this machine alone: the files beneath the writer, and what is to be done for them around its transactions.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::broken::{self, Broken};
use super::open::Identity;
use super::readers::Gate;
use super::reserve::Reserve;
use super::{LOG_AT_MOST, PAGES_BETWEEN_CHECKPOINTS};
use crate::StoreError;

/// The files of a store.
pub(super) struct Files {
    /// The file and its log of changes.
    identities: [Identity; 2],
    reserve: Option<Reserve>,
    gate: Gate,
    /// How long the log of changes is, in pages.
    log_pages: Arc<AtomicI32>,
    /// How long the log of changes may be until the next [`Files::fold`].
    fold_at: u64,
    /// Keeps a second server out as long as it is open.
    _lock: Option<File>,
}

impl Files {
    /// A server's lock is held until these files are let go.
    pub(super) fn new(
        connection: &mut Connection,
        path: PathBuf,
        server: Option<(File, Reserve)>,
        gate: Gate,
    ) -> io::Result<Files> {
        let (lock, reserve) = server.unzip();
        let log_pages = Arc::new(AtomicI32::new(0));
        // In the place of SQLite's own hook, which moves the log inside of a commit and tells nobody when that fails.
        let pages_now = log_pages.clone();
        let note = move |_: &mut Wal, pages| {
            pages_now.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(note)).map_err(io::Error::other)?;
        let log = PathBuf::from(format!("{}-wal", path.display()));
        let identities = [Identity::of(path)?, Identity::of(log)?];
        Ok(Files { identities, reserve, gate, log_pages, fold_at: LOG_AT_MOST, _lock: lock })
    }

    /// Whether there is room for new mail.
    pub(super) fn has_room(&mut self) -> bool {
        self.reserve.as_mut().is_none_or(Reserve::is_held)
    }

    /// There was no room for a transaction: what is in reserve goes. Says whether new mail is taken all the same.
    pub(super) fn spend(&mut self) -> bool {
        self.reserve.as_mut().is_none_or(|reserve| !reserve.spend() && reserve.is_held())
    }

    /// A file that was deleted or replaced still takes writes, and nobody will ever find them.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.identities.iter().try_for_each(Identity::check)
    }

    /// Searches that overlap without a gap keep the log of changes from beginning anew by itself, and it would grow until
    /// the disk is full. So at a certain length those that run are waited for, and new ones wait.
    pub(super) fn fold(&mut self, connection: &Connection, broken: &Broken) {
        if self.log_pages.load(Ordering::Relaxed) >= PAGES_BETWEEN_CHECKPOINTS {
            let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            moved.unwrap_or_else(|error| note(&error, broken));
        }
        let octets = self.identities[1].octets();
        if octets < self.fold_at {
            return;
        }
        let alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let folded = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0));
        drop(alone);
        self.fold_at = LOG_AT_MOST;
        folded.as_ref().map_or_else(|error| note(error, broken), |_| ());
        if folded != Ok(0) {
            tracing::warn!(octets, ?folded, "the log of changes grows: another process reads the database for long");
            self.fold_at = octets + LOG_AT_MOST;
        }
    }

    /// The writer ends: the log goes into the file.
    pub(super) fn close(connection: &Connection) {
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::debug!(%error, "the log of changes stays for the next start");
        }
    }
}

/// The log stays as it is when it cannot be moved, and is tried again; but not after a sync that failed.
fn note(error: &rusqlite::Error, broken: &Broken) {
    if broken::breaks(error) {
        broken.set(error);
    }
    tracing::warn!(%error, "the log of changes could not be moved into the file");
}
