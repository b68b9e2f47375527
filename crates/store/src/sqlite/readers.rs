//! The connections that read. Each search sees the store as it was at one moment and hinders nobody who writes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::READERS;
use super::open::reading_connection;
use crate::StoreError;

/// How many steps of SQLite's machine pass between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// Held to read. The writer takes it alone to have nobody read for a moment.
pub(super) type Gate = Arc<RwLock<()>>;

/// The connections, opened when they are needed first.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    /// How long one search may take.
    time: Duration,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Semaphore,
    gate: Gate,
}

impl Readers {
    pub(super) fn new(path: PathBuf, time: Duration, gate: Gate) -> Readers {
        Readers { path, time, idle: Arc::default(), permits: Semaphore::new(READERS), gate }
    }

    /// Has `work` done on a connection, all in one read transaction.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = |_| StoreError::Unavailable("it was closed".to_owned());
        let _permit = self.permits.acquire().await.map_err(closed)?;
        let (path, time, idle, gate) = (self.path.clone(), self.time, self.idle.clone(), self.gate.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _reading = gate.read().unwrap_or_else(PoisonError::into_inner);
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = kept.map_or_else(|| reading_connection(&path), Ok)?;
            let deadline = Instant::now() + time;
            connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || Instant::now() > deadline))?;
            let result = in_one_moment(&connection, work);
            // A connection that failed is not asked again: a fresh one may fare better.
            if !matches!(result, Err(StoreError::Unavailable(_) | StoreError::Damaged(_))) {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            result
        });
        task.await.map_err(|e| StoreError::Unavailable(e.to_string()))?
    }

    /// Takes no more searches and closes the connections.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn in_one_moment<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let result = work(&transaction)?;
    transaction.finish()?;
    Ok(result)
}
