//! The connections that read. Each search sees the store as it was at one moment and hinders nobody who writes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::open::reading_connection;
use super::sql::Connection;
use super::{READERS, shared};
use crate::StoreError;
use crate::database::Database;

/// How many steps of SQLite's machine pass between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// Held to read. The writer takes it alone to have nobody read for a moment.
pub(super) type Gate = Arc<RwLock<()>>;

/// Where they come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A file of this machine.
    File { path: PathBuf, gate: Gate },
    /// A database that others share.
    Database(Box<Database>),
}

/// The connections, opened when they are needed first.
#[derive(Debug)]
pub(super) struct Readers {
    source: Source,
    /// How long one search may take.
    time: Duration,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(source: Source, time: Duration) -> Readers {
        Readers { source, time, idle: Arc::default(), permits: Semaphore::new(READERS) }
    }

    /// Whether they read a database that nodes share.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.source, Source::Database(_))
    }

    #[cfg(test)]
    pub(super) fn source(&self) -> Source {
        self.source.clone()
    }

    /// Has `work` done on a connection, all in one read transaction.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = |_| StoreError::Unavailable("it was closed".to_owned());
        let _permit = self.permits.acquire().await.map_err(closed)?;
        let (source, time, idle) = (self.source.clone(), self.time, self.idle.clone());
        let task = tokio::task::spawn_blocking(move || {
            let gate = match &source {
                Source::File { gate, .. } => Some(gate.clone()),
                Source::Database(_) => None,
            };
            let _reading = gate.as_ref().map(|gate| gate.read().unwrap_or_else(PoisonError::into_inner));
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = source.begin(kept, time)?;
            let result =
                work(&connection).and_then(|result| Ok(connection.execute_batch("COMMIT").map(|()| result)?));
            // A connection that failed is not asked again: a fresh one may fare better.
            if result.is_ok() || is_at_rest(&connection, &result) {
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

/// Ends the transaction of a search that failed, and says whether the connection is as good as before.
fn is_at_rest<T>(connection: &Connection, result: &Result<T, StoreError>) -> bool {
    let is_sound =
        !matches!(result, Err(StoreError::Unavailable(_) | StoreError::Unreachable(_) | StoreError::Damaged(_)));
    is_sound && connection.execute_batch("ROLLBACK").is_ok()
}

impl Source {
    /// A connection in a transaction: the one that was kept, unless it was lost meanwhile.
    fn begin(&self, kept: Option<Connection>, time: Duration) -> Result<Connection, StoreError> {
        match self {
            Source::File { path, .. } => {
                let mut connection = match kept {
                    Some(connection) => connection,
                    None => Connection::Sqlite(reading_connection(path)?),
                };
                if let Connection::Sqlite(sqlite) = &mut connection {
                    let deadline = Instant::now() + time;
                    sqlite.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || Instant::now() > deadline))?;
                }
                connection.execute_batch("BEGIN")?;
                Ok(connection)
            }
            Source::Database(database) => {
                let begin = format!(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}",
                    time.as_millis()
                );
                if let Some(connection) = kept
                    && let Some(session) = connection.postgres()
                    && session.execute_batch(&begin).is_ok()
                {
                    return Ok(connection);
                }
                let connection = shared::connect_reader(database)?;
                connection.postgres().map_or(Ok(()), |session| session.execute_batch(&begin))?;
                Ok(connection)
            }
        }
    }
}
