//! Group commit: one thread takes every operation that waits, does all of them in one transaction, and answers them
//! after one sync of the disk.
//!
//! Each operation has its own savepoint, so that one that fails takes nothing of the others with it. Nobody is
//! answered before the commit.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::sync::{mpsc, oneshot};

use super::broken::{self, Broken};
use super::open::Identity;
use super::readers::Gate;
use super::reserve::Reserve;
use super::traffic::Counts;
use super::{LOG_AT_MOST, OCTETS_PER_COMMIT, OPERATIONS_PER_COMMIT, OPERATIONS_WAITING, PAGES_BETWEEN_CHECKPOINTS};
use crate::figures::Happened;
use crate::{Stats, StoreError, Timestamp};

/// The way to the thread that writes.
#[derive(Debug)]
pub(super) struct Writer {
    sender: Mutex<Option<mpsc::Sender<Box<dyn Operation>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    operations: AtomicU64,
    commits: AtomicU64,
    failed_commits: AtomicU64,
    happened: Happened,
    broken: Broken,
    /// How long the log of changes is, in pages.
    log_pages: AtomicI32,
}

impl Writer {
    /// Starts the thread. A server's lock is held until the thread has ended.
    pub(super) fn start(
        mut connection: Connection,
        path: PathBuf,
        server: Option<(File, Reserve)>,
        gate: Gate,
    ) -> io::Result<Writer> {
        let (lock, reserve) = server.unzip();
        let (sender, receiver) = mpsc::channel(OPERATIONS_WAITING);
        let counters = Arc::new(Counters::default());
        // In the place of SQLite's own hook, which moves the log inside of a commit and tells nobody when that fails.
        let log_pages = counters.clone();
        let note = move |_: &mut Wal, pages| {
            log_pages.log_pages.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(note)).map_err(io::Error::other)?;
        let log = PathBuf::from(format!("{}-wal", path.display()));
        let files = [Identity::of(path)?, Identity::of(log)?];
        let committer =
            Committer { connection, files, reserve, counters: counters.clone(), gate, fold_at: LOG_AT_MOST };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            committer.run(receiver);
            drop(lock);
        })?;
        Ok(Writer { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), counters })
    }

    /// Has `work` done in a transaction and returns its result when that is on disk. `octets` is about how much it
    /// writes. `work` may be called again when the transaction it was part of failed.
    pub(super) async fn run<T, F>(&self, octets: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(false, octets, work).await
    }

    /// The same for new mail, which is refused as long as nothing is in reserve for the mail that is there.
    pub(super) async fn run_new_mail<T, F>(&self, octets: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(true, octets, work).await
    }

    async fn submit<T, F>(&self, new_mail: bool, octets: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = || StoreError::Unavailable("it was closed".to_owned());
        self.health()?;
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending { new_mail, octets, work, outcome: None, reply };
        sender.send(Box::new(pending)).await.map_err(|_| closed())?;
        drop(sender);
        answer.await.map_err(|_| StoreError::Unavailable("the writer has stopped".to_owned()))?
    }

    /// Takes no more operations, and returns when those that wait are done.
    pub(super) async fn close(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the store's writer did not end in order");
            }
        }
    }

    /// Why nothing is kept any more, if that is so.
    pub(super) fn health(&self) -> Result<(), StoreError> {
        self.counters.broken.check()
    }

    /// Has the next sync fail.
    #[cfg(test)]
    pub(super) fn fail_next_sync(&self) {
        self.counters.broken.fail_next_sync();
    }

    /// What happened, and how long it took.
    pub(super) fn happened(&self) -> &Happened {
        &self.counters.happened
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            operations: self.counters.operations.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
            failed_commits: self.counters.failed_commits.load(Ordering::Relaxed),
        }
    }
}

/// A transaction under way, as an operation sees it.
pub(super) struct Writing<'a> {
    pub(super) connection: &'a Connection,
    last_event: Cell<Option<i64>>,
    /// What the events of this transaction add to the counts.
    pub(super) counts: Counts,
}

impl Writing<'_> {
    /// The time of the next event: `now`, or a microsecond after the last one where the clock has not moved on.
    ///
    /// There is one writer and its commits have an order, so a reader that has seen an event has seen every earlier
    /// one; no event ever appears behind a reader's back.
    pub(super) fn event_time(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let last = match self.last_event.get() {
            Some(last) => last,
            None => self
                .connection
                .prepare_cached("SELECT max(at) FROM event")?
                .query_row([], |row| row.get::<_, Option<i64>>(0))?
                .unwrap_or(i64::MIN),
        };
        let time = now.as_micros().max(last.saturating_add(1));
        self.last_event.set(Some(time));
        Ok(Timestamp::from_micros(time))
    }
}

/// Something to be done in a transaction, and somebody who waits for it.
trait Operation: Send {
    fn is_new_mail(&self) -> bool;
    fn octets(&self) -> usize;
    /// Does it and keeps the result; says whether it went well.
    fn perform(&mut self, writing: &Writing<'_>) -> bool;
    /// It is not done, for this reason.
    fn refuse(&mut self, reason: StoreError);
    /// Tells whoever waits.
    fn answer(self: Box<Self>);
}

struct Pending<T, F> {
    new_mail: bool,
    octets: usize,
    work: F,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for Pending<T, F>
where
    T: Send,
    F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send,
{
    fn is_new_mail(&self) -> bool {
        self.new_mail
    }

    fn octets(&self) -> usize {
        self.octets
    }

    fn perform(&mut self, writing: &Writing<'_>) -> bool {
        // A defect in one operation must not end the thread that all others need.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(writing)))
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the operation panicked".to_owned())));
        let well = outcome.is_ok();
        self.outcome = Some(outcome);
        well
    }

    fn refuse(&mut self, reason: StoreError) {
        self.outcome = Some(Err(reason));
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // Whoever asked may have gone away.
            let _ = self.reply.send(outcome);
        }
    }
}

/// Why a transaction was not committed.
enum Failure {
    /// No room. A smaller transaction may still fit.
    Full(StoreError),
    /// A write or a sync failed: nothing more is kept.
    Broken(StoreError),
    /// Anything else.
    Other(StoreError),
}

impl Failure {
    fn reason(&self) -> &StoreError {
        let (Failure::Full(reason) | Failure::Broken(reason) | Failure::Other(reason)) = self;
        reason
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Failure::Full(error.into()),
            _ if broken::breaks(&error) => Failure::Broken(error.into()),
            _ => Failure::Other(error.into()),
        }
    }
}

/// The thread's own part.
struct Committer {
    connection: Connection,
    files: [Identity; 2],
    reserve: Option<Reserve>,
    counters: Arc<Counters>,
    gate: Gate,
    /// How long the log of changes may be until the next [`Committer::fold`].
    fold_at: u64,
}

impl Committer {
    fn run(mut self, mut receiver: mpsc::Receiver<Box<dyn Operation>>) {
        while let Some(first) = receiver.blocking_recv() {
            let mut batch = vec![first];
            let mut octets = batch[0].octets();
            while batch.len() < OPERATIONS_PER_COMMIT && octets < OCTETS_PER_COMMIT {
                let Ok(next) = receiver.try_recv() else { break };
                octets = octets.saturating_add(next.octets());
                batch.push(next);
            }
            self.commit_all(&mut batch);
            self.counters.operations.fetch_add(batch.len() as u64, Ordering::Relaxed);
            batch.into_iter().for_each(Operation::answer);
            self.fold();
        }
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = folded {
            tracing::debug!(%error, "the log of changes stays for the next start");
        }
    }

    /// Searches that overlap without a gap keep the log of changes from beginning anew by itself, and it would grow until
    /// the disk is full. So at a certain length those that run are waited for, and new ones wait.
    fn fold(&mut self) {
        if self.counters.broken.check().is_err() {
            return;
        }
        if self.counters.log_pages.load(Ordering::Relaxed) >= PAGES_BETWEEN_CHECKPOINTS {
            let moved = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            moved.unwrap_or_else(|error| self.note(&error));
        }
        let octets = self.files[1].octets();
        if octets < self.fold_at {
            return;
        }
        let alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0));
        drop(alone);
        self.fold_at = LOG_AT_MOST;
        folded.as_ref().map_or_else(|error| self.note(error), |_| ());
        if folded != Ok(0) {
            tracing::warn!(octets, ?folded, "the log of changes grows: another process reads the database for long");
            self.fold_at = octets + LOG_AT_MOST;
        }
    }

    /// The log stays as it is when it cannot be moved, and is tried again; but not after a sync that failed.
    fn note(&self, error: &rusqlite::Error) {
        if broken::breaks(error) {
            self.counters.broken.set(error);
        }
        tracing::warn!(%error, "the log of changes could not be moved into the file");
    }

    /// Commits the batch, or refuses it. Where there is no room for all of it, the reserve goes, and each operation
    /// gets its own chance: the outcome of a delivery is small and must not be lost because mail does not fit.
    fn commit_all(&mut self, batch: &mut [Box<dyn Operation>]) {
        let mail_is_taken = self.reserve.as_mut().is_none_or(Reserve::is_held);
        match self.commit(batch, mail_is_taken) {
            Ok(()) => {}
            Err(Failure::Full(_)) => {
                let mail_is_taken = self.reserve.as_mut().is_none_or(|reserve| !reserve.spend() && reserve.is_held());
                for operation in batch.iter_mut() {
                    if let Err(failure) = self.commit(std::slice::from_mut(operation), mail_is_taken) {
                        operation.refuse(failure.reason().clone());
                    }
                }
            }
            Err(failure) => {
                batch.iter_mut().for_each(|operation| operation.refuse(failure.reason().clone()));
            }
        }
    }

    fn commit(&self, batch: &mut [Box<dyn Operation>], mail_is_taken: bool) -> Result<(), Failure> {
        self.counters.broken.check().map_err(Failure::Other)?;
        let began = Instant::now();
        let done = self.transaction(batch, mail_is_taken);
        if done.is_ok() {
            self.counters.happened.committed(began.elapsed());
        }
        if let Err(failure) = &done {
            self.counters.failed_commits.fetch_add(1, Ordering::Relaxed);
            let reason = failure.reason();
            if let Failure::Broken(StoreError::Unavailable(how)) = failure {
                self.counters.broken.set(how);
            }
            tracing::error!(%reason, operations = batch.len(), "the store could not commit");
            // Some errors end the transaction by themselves, some leave it open.
            if !self.connection.is_autocommit()
                && let Err(error) = self.connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "the store could not roll back");
            }
        }
        done
    }

    fn transaction(&self, batch: &mut [Box<dyn Operation>], mail_is_taken: bool) -> Result<(), Failure> {
        // IMMEDIATE: wait for another process now, not in the middle, where SQLite could only give up.
        self.execute("BEGIN IMMEDIATE")?;
        let writing = Writing { connection: &self.connection, last_event: Cell::new(None), counts: Counts::default() };
        for operation in batch {
            if operation.is_new_mail() && !mail_is_taken {
                operation.refuse(StoreError::Unavailable("the disk is full".to_owned()));
                continue;
            }
            self.execute("SAVEPOINT operation")?;
            let well = operation.perform(&writing);
            if self.connection.is_autocommit() {
                // The error was one of those that end the whole transaction; what came before is undone with it.
                return Err(Failure::Full(StoreError::Unavailable("the transaction was lost".to_owned())));
            }
            if !well {
                self.execute("ROLLBACK TO operation")?;
            }
            self.execute("RELEASE operation")?;
            writing.counts.settle(well);
        }
        let happened = writing.counts.write(&self.connection)?;
        self.check_files()?;
        #[cfg(test)]
        self.counters.broken.injected()?;
        self.execute("COMMIT")?;
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.happened.add(happened);
        self.check_files()
    }

    /// A file that was deleted or replaced still takes writes, and nobody will ever find them.
    fn check_files(&self) -> Result<(), Failure> {
        self.files.iter().try_for_each(Identity::check).map_err(Failure::Other)
    }

    fn execute(&self, sql: &str) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached(sql)?.query_row([], |_| Ok(())).optional().map(|_| ())
    }
}
