//! After a write or a sync that failed nothing more is kept until the program is started again.
//!
//! A system that could not write a page may call it clean all the same: the next sync goes well, and the page is not on
//! disk. So nobody can be told any more that something is. The next start reads the log of changes from the files as they
//! are and moves it whole ([`open`](super::open)), before anything is answered.

use std::cell::Cell;
use std::sync::OnceLock;

use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE};

use crate::StoreError;

/// Whether a write or a sync failed, and how.
#[derive(Debug, Default)]
pub(super) struct Broken {
    how: OnceLock<String>,
    #[cfg(test)]
    fail_next_sync: std::sync::atomic::AtomicBool,
}

impl Broken {
    /// Refuses for good. Tells it once.
    pub(super) fn set(&self, how: &dyn std::fmt::Display) {
        if self.how.set(how.to_string()).is_ok() {
            tracing::error!(
                %how,
                "the disk failed to write: nothing more is taken, and no delivery begins, until waxwing is started again"
            );
        }
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.how.get().map_or(Ok(()), |how| {
            Err(StoreError::Unavailable(format!("the disk failed to write ({how}), nothing is kept until a restart")))
        })
    }
}

/// Whether the error leaves in doubt what is on disk. No room does not: that is told before anything is promised.
pub(super) fn breaks(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(error.extended_code, SQLITE_IOERR_WRITE | SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC)
    })
}

thread_local! {
    /// Whether such an error became a [`StoreError`] on this thread, which no longer tells.
    static SEEN: Cell<bool> = const { Cell::new(false) };
}

/// Remembers an error that is about to lose its code.
pub(super) fn see(error: &rusqlite::Error) {
    if breaks(error) {
        SEEN.set(true);
    }
}

/// Whether one was seen since the last time.
pub(super) fn take_seen() -> bool {
    SEEN.replace(false)
}

#[cfg(test)]
impl Broken {
    pub(super) fn fail_next_sync(&self) {
        self.fail_next_sync.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// The error of a sync, once, if one is to fail.
    pub(super) fn injected(&self) -> Result<(), rusqlite::Error> {
        if !self.fail_next_sync.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(SQLITE_IOERR_FSYNC), None))
    }
}
